"""Files of a new project: its tests, its workflow, and its template beside `template.yaml`."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from packaging.requirements import Requirement
from samtranslator.yaml_helper import yaml_parse

from resonate_infra.scaffold import FILES, ProjectTemplate, scaffold
from resonate_infra.server.assembly import PORT
from resonate_infra.testing.stack import OfflineStack
from tests.support.command_line import CommandLine
from tests.support.dev_process import started
from tests.support.shipped_template import ROOT, document

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEMPLATES: tuple[ProjectTemplate, ...] = get_args(ProjectTemplate)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "new" / "orders"
    assert scaffold(directory) == [directory / name for name in FILES["worker"]]
    return directory


@pytest.fixture
def api(tmp_path: Path) -> Path:
    scaffold(tmp_path / "api", template="api")
    return tmp_path / "api"


@pytest.fixture(params=TEMPLATES)
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a project of each template."""
    scaffold(tmp_path / request.param, template=request.param)
    return tmp_path / request.param


def run(project: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_new_project_passes_its_own_tests(either: Path) -> None:
    done = run(either, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")

    assert done.returncode == 0, done.stdout + done.stderr
    assert {"worker": "3 passed", "api": "12 passed"}[either.name] in done.stdout


def test_new_project_has_no_finding_of_the_lint(either: Path) -> None:
    done = run(either, sys.executable, "-m", "resonate_infra.cli", "lint", ".")

    assert (done.returncode, "no finding" in done.stderr + done.stdout) == (0, True), done


def test_new_project_files_are_those_of_the_folder() -> None:
    folder = ROOT / "infra" / "resonate_infra" / "project"
    written = {source for files in FILES.values() for source in files.values()}

    tracked = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {path for path in tracked if "__pycache__" not in path} == written


def test_new_project_requires_this_release() -> None:
    text = (ROOT / "infra/resonate_infra/project/common/requirements-dev.txt").read_text(encoding="utf-8")
    (ours,) = (each for each in map(Requirement, re.findall("^[a-z].*", text, re.MULTILINE)) if "resonate" in each.name)

    assert ours.name == PROJECT["name"]
    assert ours.specifier.contains(PROJECT["version"])
    assert ours.extras <= PROJECT["optional-dependencies"].keys()


def test_development_container_installs_the_requirements(either: Path) -> None:
    container = json.loads((either / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))

    runtime = yaml_parse((either / "template.yaml").read_text())["Resources"]["WorkerFunction"]["Properties"]["Runtime"]
    assert container["image"].endswith(f":{runtime.removeprefix('python')}")
    assert "pip install -r requirements-dev.txt" in container["postCreateCommand"]
    assert container["forwardPorts"] == [PORT]


def test_readme_of_a_new_project_has_commands_that_exist(either: Path) -> None:
    """The environment is ours. `make installs` installs the wheel into a new one."""
    blocks = re.findall(r"```console\n(.*?)```", (either / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    names = [command.split()[0] for command in commands]
    invocation = next(command for command in commands if command.startswith("resonate invoke"))
    server = next(command for command in commands if command.startswith("resonate dev"))
    with started("--port", "0", *shlex.split(server)[2:], cwd=either) as process:
        url = f"http://localhost:{process.api().port}"
        short = invocation.replace("cooling_off=5", "cooling_off=0.1")
        ran = CommandLine(RESONATE_URL=url).ok(*shlex.split(short)[1:])

    assert "resonate dev --lambda worker=app:handler --reload" in commands
    assert ran.out == '"order order-17: 30.00 reserved, captured"\n'
    assert set(names) <= {"pip", "python", "python3", "resonate", "sam", "curl"}


def test_new_project_workflow_runs_deployed(project: Path) -> None:
    with OfflineStack(code={"WorkerFunction": project / "app.py"}) as stack:
        stack.client().options(target="worker").begin_rpc("order-1", "order", 30.0)
        began = stack.clock.now()

        assert stack.run_until_complete("order-1").state == "resolved"
        assert 86_400 <= (stack.clock.now() - began) / 1000 < 86_402
        assert stack.invocations["WorkerFunction"] == 2


def test_api_of_a_new_project_starts_a_deployed_workflow(api: Path) -> None:
    def request(method: str, body: str | None = None) -> tuple[int, Any]:
        context = {"http": {"method": method, "path": "/orders/17"}, "stage": "$default"}
        event = {"version": "2.0", "rawPath": "/orders/17", "headers": {}, "requestContext": context, "body": body}
        answer = stack.invoke("ApiFunction", event)
        return answer["statusCode"], json.loads(answer["body"])

    with OfflineStack(code={"WorkerFunction": api / "app.py", "ApiFunction": api / "api.py"}) as stack:
        assert request("GET")[0] == 404
        assert request("PUT", '{"amount": 30}')[0] == 202
        stack.run_until_complete("17")
        done = request("GET")

    receipt = "order 17: 30.00 reserved, captured"
    assert done == (200, {"id": "17", "status": "resolved", "receipt": receipt})


def test_api_template_is_that_of_the_worker_and_an_api(project: Path, api: Path) -> None:
    worker, whole = (yaml_parse((each / "template.yaml").read_text()) for each in (project, api))
    added = whole["Resources"].keys() - worker["Resources"].keys()

    assert {name: whole["Resources"][name] for name in worker["Resources"]} == worker["Resources"]
    assert added == {"ApiFunction", "ApiRole", "ApiLogGroup", "HttpApi"}
    assert (whole["Parameters"], whole["Conditions"]) == (worker["Parameters"], worker["Conditions"])
    assert (api / "app.py").read_text() == (project / "app.py").read_text()
    assert (api / "test_app.py").read_text() == (project / "test_app.py").read_text()


def test_api_of_a_new_project_admits_signed_requests_only(api: Path) -> None:
    resources = yaml_parse((api / "template.yaml").read_text())["Resources"]
    events = resources["ApiFunction"]["Properties"]["Events"].values()

    assert resources["HttpApi"]["Properties"]["Auth"] == {"EnableIamAuthorizer": True, "DefaultAuthorizer": "AWS_IAM"}
    assert all(each["Properties"]["ApiId"] == {"Ref": "HttpApi"} for each in events)
    assert not any("Auth" in each["Properties"] for each in events)


def test_api_of_a_new_project_has_its_workers_settings(api: Path) -> None:
    resources = yaml_parse((api / "template.yaml").read_text())["Resources"]
    ours, theirs = (
        resources[name]["Properties"]["Environment"]["Variables"] for name in ("ApiFunction", "WorkerFunction")
    )
    statements = [
        [
            {"Action": each["Action"], "Resource": each["Resource"]}
            for each in resources[name]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"][1:]
        ]
        for name in ("ApiRole", "WorkerRole")
    ]

    assert {name: value for name, value in theirs.items() if name not in ours}.keys() == {
        "RESONATE_PIN_ALIAS",
        "POWERTOOLS_METRICS_NAMESPACE",
    }
    assert {name: ours[name] for name in theirs if name in ours} == {
        name: value for name, value in theirs.items() if name in ours
    }
    assert statements[0] == statements[1]


def test_new_project_admits_the_deployment_to_its_versions(project: Path) -> None:
    resources: dict[str, Any] = yaml_parse((project / "template.yaml").read_text())["Resources"]
    permissions = [each for each in resources.values() if each["Type"] == "AWS::Lambda::Permission"]
    roles = {each["Properties"]["Principal"]["Ref"] for each in permissions}
    admitted = {
        (each["Properties"]["FunctionName"]["Ref"], each["Properties"]["Principal"]["Ref"]) for each in permissions
    }

    assert admitted == {(name, role) for name in ("WorkerFunction", "WorkerAlias", "WorkerVersion") for role in roles}
    kept = {name for name, each in resources.items() if each.get("UpdateReplacePolicy") == "Retain"}
    assert kept == {name for name in resources if "Version" in name}, "what belongs to one version"
    for name in ("WorkerVersion", "WorkerAlias", "WorkerVersionInvocations", "WorkerAliasInvocations"):
        ours, theirs = document()["Resources"][name], resources[name]
        assert (theirs["Condition"], theirs["Properties"]) == ("PinsVersions", ours["Properties"])


def test_new_project_template_reads_the_parameters_of_ours(tmp_path: Path) -> None:
    scaffold(tmp_path, stack="shop")
    theirs = yaml_parse((tmp_path / "template.yaml").read_text())["Parameters"]
    ours = document()["Resources"]
    written = {
        each["Properties"]["Name"]["Fn::Sub"].replace("${AWS::StackName}", "shop")
        for each in ours.values()
        if each["Type"] == "AWS::SSM::Parameter"
    }

    assert {each["Default"] for each in theirs.values() if each["Type"].startswith("AWS::SSM")} == written


def test_new_project_worker_has_the_variables_of_ours(project: Path) -> None:
    # Three variables concern only the functions of the deployment: groups, endpoint and debugging.
    ours = document()
    theirs = yaml_parse((project / "template.yaml").read_text())
    variables = theirs["Resources"]["WorkerFunction"]["Properties"]["Environment"]["Variables"]
    expected = ours["Globals"]["Function"]["Environment"]["Variables"]

    assert set(expected) - set(variables) == {"RESONATE_GROUPS", "AWS_ENDPOINT_URL", "POWERTOOLS_LOGGER_LOG_EVENT"}
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == expected["POWERTOOLS_METRICS_NAMESPACE"]
    assert theirs["Conditions"]["HasMetrics"] == ours["Conditions"]["HasMetrics"]
    written = {
        each["Properties"]["Name"]["Fn::Sub"].rpartition("/")[2]: each["Properties"]["Value"]
        for each in ours["Resources"].values()
        if each["Type"] == "AWS::SSM::Parameter"
    }
    assert (written["payload-threshold"], written["payload-limit"], written["metrics"]) == (
        {"Ref": "PayloadThreshold"},
        {"Ref": "PayloadLimit"},
        {"Ref": "Metrics"},
    )
    for variable in ("RESONATE_PAYLOAD_THRESHOLD", "RESONATE_PAYLOAD_LIMIT"):
        assert variables[variable] == expected[variable]


def test_new_project_worker_has_the_permissions_of_ours(project: Path) -> None:
    def allowed(template: Path) -> set[str]:
        role: Any = yaml_parse(template.read_text())["Resources"]["WorkerRole"]
        [policy] = role["Properties"]["Policies"]
        actions = [each["Action"] for each in policy["PolicyDocument"]["Statement"]]
        return {action for each in actions for action in ([each] if isinstance(each, str) else each)}

    assert allowed(project / "template.yaml") == allowed(ROOT / "template.yaml")


def test_scaffold_does_not_overwrite_files(project: Path) -> None:
    (project / "test_app.py").unlink()
    (project / "app.py").write_text("mine")

    with pytest.raises(FileExistsError, match=r"app\.py.*template\.yaml.*choose another directory"):
        scaffold(project)
    assert (project / "app.py").read_text() == "mine"
    assert not (project / "test_app.py").exists()


def test_scaffold_keeps_a_workflow_that_exists(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for name in (".github/workflows/test.yml", ".devcontainer/devcontainer.json", "requirements-dev.txt"):
        directory = tmp_path / name.replace("/", "-")
        (directory / name).parent.mkdir(parents=True)
        (directory / name).symlink_to("nowhere")
        with subtests.test(name), pytest.raises(FileExistsError, match=re.escape(f"{name}: choose another directory")):
            scaffold(directory)
        assert [path for path in directory.rglob("*") if not path.is_dir()] == [directory / name]


def test_scaffold_refuses_an_unknown_template(tmp_path: Path) -> None:
    name: Any = "web"
    with pytest.raises(ValueError, match="'web' is not a template: choose worker or api"):
        scaffold(tmp_path / "orders", template=name)
    assert not (tmp_path / "orders").exists()


def test_scaffold_refuses_an_invalid_stack_name(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for stack in ("", "1shop", "my stack", "a/b", "x" * 129):
        with subtests.test(stack), pytest.raises(ValueError, match="is no name of a stack"):
            scaffold(tmp_path / "orders", stack=stack)
    assert not (tmp_path / "orders").exists()

"""Files of a new project: its tests, its workflow, and its template beside `template.yaml`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from resonate_infra.scaffold import FILES, scaffold
from resonate_infra.testing.stack import OfflineStack
from tests.support.shipped_template import ROOT, document


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "new" / "orders"
    assert scaffold(directory) == [directory / name for name in FILES]
    return directory


def test_new_project_passes_its_own_test(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_new_project_workflow_runs_deployed(project: Path) -> None:
    with OfflineStack(code={"WorkerFunction": project / "app.py"}) as stack:
        stack.client().options(target="worker").begin_rpc("order-1", "order", 30.0)
        began = stack.clock.now()

        assert stack.run_until_complete("order-1").state == "resolved"
        assert 86_400 <= (stack.clock.now() - began) / 1000 < 86_402
        assert stack.invocations["WorkerFunction"] == 2


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


def test_scaffold_refuses_an_invalid_stack_name(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for stack in ("", "1shop", "my stack", "a/b", "x" * 129):
        with subtests.test(stack), pytest.raises(ValueError, match="is no name of a stack"):
            scaffold(tmp_path / "orders", stack=stack)
    assert not (tmp_path / "orders").exists()

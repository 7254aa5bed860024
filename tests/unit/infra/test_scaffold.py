"""The project that is scaffolded: its own tests pass, its workflows run deployed, and its template fits ours."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from resonate_infra.scaffold import FILES, scaffold
from resonate_infra.testing.stack import OfflineStack

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "new" / "orders"
    assert scaffold(directory) == [directory / name for name in FILES]
    return directory


def test_the_test_of_a_new_project_passes(project: Path) -> None:
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


def test_its_workflow_runs_on_the_deployment(project: Path) -> None:
    with OfflineStack(code={"WorkerFunction": project / "app.py"}) as stack:
        stack.client().options(target="worker").begin_rpc("order-1", "order", 30.0)
        began = stack.clock.now()

        assert stack.run_until_complete("order-1").state == "resolved"
        assert 86_400 <= (stack.clock.now() - began) / 1000 < 86_402
        assert stack.invocations["WorkerFunction"] == 2


def test_its_template_looks_for_what_ours_writes(tmp_path: Path) -> None:
    scaffold(tmp_path, stack="shop")
    theirs = yaml_parse((tmp_path / "template.yaml").read_text())["Parameters"]
    ours = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    written = {
        each["Properties"]["Name"]["Fn::Sub"].replace("${AWS::StackName}", "shop")
        for each in ours.values()
        if each["Type"] == "AWS::SSM::Parameter"
    }

    assert {each["Default"] for each in theirs.values() if each["Type"].startswith("AWS::SSM")} == written


def test_its_worker_is_told_what_ours_is(project: Path) -> None:
    """All but what concerns the deployment's own functions: its group map, the pushes it receives, its debugging."""
    ours = yaml_parse((ROOT / "template.yaml").read_text())
    theirs = yaml_parse((project / "template.yaml").read_text())
    told = theirs["Resources"]["WorkerFunction"]["Properties"]["Environment"]["Variables"]
    expected = ours["Globals"]["Function"]["Environment"]["Variables"]

    assert set(expected) - set(told) == {"RESONATE_GROUPS", "AWS_ENDPOINT_URL", "POWERTOOLS_LOGGER_LOG_EVENT"}
    assert told["POWERTOOLS_METRICS_NAMESPACE"] == expected["POWERTOOLS_METRICS_NAMESPACE"]
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
        assert told[variable] == expected[variable]


def test_its_worker_may_do_what_ours_may(project: Path) -> None:
    def allowed(template: Path) -> set[str]:
        role: Any = yaml_parse(template.read_text())["Resources"]["WorkerRole"]
        [policy] = role["Properties"]["Policies"]
        return {action for each in policy["PolicyDocument"]["Statement"] for action in each["Action"]}

    assert allowed(project / "template.yaml") == allowed(ROOT / "template.yaml")


def test_nothing_is_overwritten(project: Path) -> None:
    (project / "test_app.py").unlink()
    (project / "app.py").write_text("mine")

    with pytest.raises(FileExistsError, match=r"app\.py.*template\.yaml.*choose another directory"):
        scaffold(project)
    assert (project / "app.py").read_text() == "mine"
    assert not (project / "test_app.py").exists()


@pytest.mark.parametrize("stack", ["", "1shop", "my stack", "a/b", "x" * 129])
def test_a_name_that_no_stack_can_have_is_refused(tmp_path: Path, stack: str) -> None:
    with pytest.raises(ValueError, match="is no name of a stack"):
        scaffold(tmp_path / "orders", stack=stack)
    assert not (tmp_path / "orders").exists()

"""`resonate lint`: exit codes, forms of output, and what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from resonate_infra.cli.application import COMMANDS
from tests.support.command_line import CommandLine

ROOT = Path(__file__).parents[5]
GOOD = "def flow(ctx):\n    yield ctx.sleep(1)\n"
BAD = "import time\nraise SystemExit('this file was imported')\ndef flow(ctx):\n    yield ctx.sleep(time.time())\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("good.py", GOOD), ("bad.py", BAD), ("broken.py", "def f(:\n")):
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("files")
def test_lint_of_clean_files_is_exit_code_0() -> None:
    ran = CommandLine().run("lint", "good.py")

    assert (ran.code, ran.out, ran.err) == (0, "", "1 file, 1 workflow, no finding\n")


@pytest.mark.usefixtures("files")
def test_lint_with_findings_is_exit_code_1() -> None:
    ran = CommandLine().run("lint", "good.py", "bad.py")

    assert ran.code == 1
    assert ran.out.startswith("bad.py:4:21: RS001 `time.time` in the workflow `flow` ")
    assert ran.out.count("\n") == 1
    assert ran.err == "2 files, 2 workflows, 1 finding\n"


@pytest.mark.usefixtures("files")
def test_lint_of_a_broken_file_is_exit_code_2() -> None:
    ran = CommandLine().run("lint", ".")

    assert ran.code == 2
    assert ran.out.startswith("bad.py:4:21: RS001 ")
    assert ran.err.startswith("error: broken.py:1 is not Python: ")


@pytest.mark.usefixtures("files")
def test_lint_applies_the_selected_rules() -> None:
    assert CommandLine().run("lint", "bad.py", "--ignore", "RS001").code == 0
    assert CommandLine().run("lint", "bad.py", "--select", "RS1,RS2", "--select", "RS3").code == 0
    assert CommandLine().run("lint", "bad.py", "--select", "RS0").code == 1


@pytest.mark.usefixtures("files")
def test_lint_writes_json_and_sarif() -> None:
    for option in (("--json",), ("--format", "json"), ("--json", "--format", "text")):
        ran = CommandLine().run("lint", "bad.py", *option)
        assert [each["code"] for each in json.loads(ran.out)["findings"]] == ["RS001"]
        assert ran.code == 1
    ran = CommandLine().run("lint", "bad.py", "--format", "sarif")
    assert [each["ruleId"] for each in json.loads(ran.out)["runs"][0]["results"]] == ["RS001"]


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("from resonate_infra.cli.main import main; main(['lint', 'examples/hello_world'])", {"resonate"}),
        ("import resonate_infra.lint.checking, resonate_infra.lint.output", {"resonate", "resonate_store", "msgspec"}),
    ],
)
def test_lint_imports_neither_the_sdk_nor_aws(program: str, absent: set[str]) -> None:
    script = f"{program}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert not (absent | {"boto3", "botocore", "urllib3", "croniter", "starlette"}) & set(done.stdout.split())


def test_hook_of_pre_commit_runs_an_existing_command() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    program, command = hook["entry"].split()
    assert program == "resonate"
    assert command in COMMANDS
    assert hook["id"] in (ROOT / "docs" / "lint.md").read_text()
    # pre-commit installs the package without extras.
    assert hook["additional_dependencies"] == [each for each in extras["cli"] if each.startswith("typer")]


def test_explain_shows_the_section_of_a_code() -> None:
    shown = CommandLine().ok("explain", "rs101").out
    assert shown.startswith("RS101 command-not-yielded\n\n")
    status = CommandLine().json("explain", "410")
    assert (status["title"], status["page"]) == ("Status 410", "docs/errors.md")
    assert "ReceiverEndedError" in status["text"]


def test_explain_refuses_an_unknown_code() -> None:
    told = CommandLine().fails("explain", "NotRegistredError")
    assert told == (2, "nothing explains 'NotRegistredError', did you mean NotRegisteredError?")

"""All commands: help, and failures as one line and an exit code."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.cli import exits
from resonate_infra.cli.application import COMMANDS, loaded
from resonate_infra.cli.commands import executions
from tests.support.command_line import CommandLine

ROOT = Path(__file__).parents[4]


def test_help_lists_the_commands() -> None:
    shown = CommandLine().ok("--help").out

    for command in ("dev", "invoke", "tree", "init", "executions", "promises", "tasks", "schedules"):
        assert f"│ {command} " in shown
    assert CommandLine().ok("-h").out == shown


def test_missing_command_shows_help_and_is_exit_code_2() -> None:
    for arguments in ((), ("promises",), ("tasks",), ("schedules",), ("executions",)):
        ran = CommandLine().run(*arguments)
        assert (ran.code, ran.err) == (2, "")
        assert "Commands" in ran.out


def test_wrong_usage_is_one_line_and_exit_code_2() -> None:
    for arguments, expected in (
        (("nothing",), "nothing.*; see resonate --help"),
        (("promises", "get"), "ID.*; see resonate promises get --help"),
        (("promises", "get", "a", "--nothing"), "--nothing.*; see resonate promises get --help"),
    ):
        code, line = CommandLine().fails(*arguments)
        assert code == 2
        assert re.search(expected, line)


def test_defect_is_one_line_and_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a defect\nof two lines")

    monkeypatch.setattr(executions, "find", broken)

    code, line = CommandLine().fails("executions", "list")
    assert code == 1
    assert line.startswith("KeyError: ")
    assert line.endswith("(a defect of this program: RESONATE_TRACEBACK=1 shows where)")
    with pytest.raises(KeyError):
        CommandLine(RESONATE_TRACEBACK="1").run("executions", "list")


def test_version_is_that_of_the_package() -> None:
    assert CommandLine().ok("--version").out.startswith("resonate ")


def commands() -> Iterator[str]:
    for name in COMMANDS:
        group: Any = loaded(name)
        below = getattr(group, "commands", None)
        yield from [f"resonate {name}"] if below is None else (f"resonate {name} {each}" for each in below)


def test_cli_page_has_each_command_and_exit_code() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()

    assert set(re.findall(r"\*\*`(resonate(?: [a-z]+)+)", re.sub(r"\s+", " ", text))) == set(commands())
    codes = {code for name, code in vars(exits).items() if name.isupper() and isinstance(code, int)}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == codes


def test_commands_have_a_help_text_and_the_option_json() -> None:
    for path in commands():
        shown = CommandLine().ok(*path.split()[1:], "--help").out
        assert "--json" in shown or path == "resonate dev", path


def test_list_of_commands_has_the_help_of_each() -> None:
    found = {name: loaded(name) for name in COMMANDS}

    assert [command.name for command in found.values()] == list(COMMANDS)
    assert {name: command.help.split("\n\n")[0] for name, command in found.items()} == {
        name: listed.help for name, listed in COMMANDS.items()
    }


def test_list_of_commands_is_shown_without_importing_a_command() -> None:
    program = "\n".join(
        [
            "import sys",
            "from resonate_infra.cli.main import main",
            "main(['--help'])",
            "print([name for name in sys.modules if name.startswith('resonate_infra.cli.commands.')], file=sys.stderr)",
        ]
    )
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert completed.stderr == "[]\n"

"""The commands put together: help, and what goes wrong as one line and an exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.cli import exits
from resonate_infra.cli.application import application
from resonate_infra.cli.commands import executions
from tests.support.command_line import CommandLine

ROOT = Path(__file__).parents[4]


def test_help_names_every_command() -> None:
    shown = CommandLine().ok("--help").out

    for command in ("dev", "invoke", "tree", "init", "executions", "promises", "tasks", "schedules"):
        assert f"│ {command} " in shown
    assert CommandLine().ok("-h").out == shown


@pytest.mark.parametrize("arguments", [(), ("promises",), ("tasks",), ("schedules",), ("executions",)])
def test_no_command_is_help_and_exit_code_2(arguments: tuple[str, ...]) -> None:
    ran = CommandLine().run(*arguments)

    assert (ran.code, ran.err) == (2, "")
    assert "Commands" in ran.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing",), "nothing.*; see resonate --help"),
        (("promises", "get"), "ID.*; see resonate promises get --help"),
        (("promises", "get", "a", "--nothing"), "--nothing.*; see resonate promises get --help"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: tuple[str, ...], told: str) -> None:
    code, line = CommandLine().fails(*arguments)

    assert code == 2
    assert re.search(told, line)


def test_a_defect_is_one_line_and_shown_whole_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a defect\nof two lines")

    monkeypatch.setattr(executions, "find", broken)

    code, line = CommandLine().fails("executions", "list")
    assert code == 1
    assert line.startswith("KeyError: ")
    assert line.endswith("(a defect of this program: RESONATE_TRACEBACK=1 shows where)")
    with pytest.raises(KeyError):
        CommandLine(RESONATE_TRACEBACK="1").run("executions", "list")


def test_the_version_is_that_of_the_package() -> None:
    assert CommandLine().ok("--version").out.startswith("resonate ")


def commands(group: Any, path: str = "resonate") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def test_the_documentation_has_every_command_and_every_exit_code() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    told = set(re.findall(r"\*\*`(resonate(?: [a-z]+)+)", re.sub(r"\s+", " ", text)))

    assert told == set(commands(application()))
    codes = {code for name, code in vars(exits).items() if name.isupper() and isinstance(code, int)}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == codes


def test_every_command_has_a_help_text_and_json_wherever_it_says_something() -> None:
    for path in commands(application()):
        shown = CommandLine().ok(*path.split()[1:], "--help").out
        assert "--json" in shown or path == "resonate dev", path

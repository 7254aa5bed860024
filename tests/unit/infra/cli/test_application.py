"""The commands put together: help, and what goes wrong as one line and an exit code."""

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


def commands() -> Iterator[str]:
    for name in COMMANDS:
        group: Any = loaded(name)
        below = getattr(group, "commands", None)
        yield from [f"resonate {name}"] if below is None else (f"resonate {name} {each}" for each in below)


def test_the_documentation_has_every_command_and_every_exit_code() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    told = set(re.findall(r"\*\*`(resonate(?: [a-z]+)+)", re.sub(r"\s+", " ", text)))

    assert told == set(commands())
    codes = {code for name, code in vars(exits).items() if name.isupper() and isinstance(code, int)}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == codes


def test_every_command_has_a_help_text_and_json_wherever_it_says_something() -> None:
    for path in commands():
        shown = CommandLine().ok(*path.split()[1:], "--help").out
        assert "--json" in shown or path == "resonate dev", path


@pytest.mark.parametrize("name", COMMANDS)
def test_list_of_commands_says_what_each_command_says_of_itself(name: str) -> None:
    command = loaded(name)

    assert command.name == name
    assert command.help.split("\n\n")[0] == COMMANDS[name].help


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

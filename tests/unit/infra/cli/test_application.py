"""All commands: help, and failures as one line and an exit code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.cli.application import COMMANDS, loaded
from resonate_infra.cli.commands import executions
from resonate_infra.inspection import exits
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


def test_start_imports_typer_and_little_else() -> None:
    script = "import sys; from resonate_infra.cli.main import main; main(['--version']); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    version, imported = run.stdout.splitlines()
    assert version.startswith("resonate ")
    assert "resonate_infra.cli.application" in imported.split()
    slow = {"resonate", "resonate_store", "msgspec", "rich", "pydantic", "boto3", "starlette", "importlib.metadata"}
    assert slow & {*imported.split()} == set()


REFUSED: list[tuple[str, int, str]] = [
    ("promises create x -d {", 2, "--data is no JSON: '{'"),
    ("promises create x -d NaN", 2, "--data is no JSON: 'NaN' (NaN is not JSON)"),
    ("promises create x --tag shop", 2, "--tag must be NAME=TEXT, got 'shop'"),
    ("promises create x --timeout soon", 2, "--timeout must be a duration such as 30"),
    ("promises reject x -d 1 -m no", 2, "a promise is rejected with --data or with --message"),
    ("promises search --state lost", 2, "--state"),
    ("promises search --limit 0", 2, "--limit"),
    (f"promises create {'x' * 2000}", 1, "promise.create of 'xxx"),
    ("promises get x --url ftp://localhost", 2, "ftp://localhost"),
    ("promises get x --url http://", 2, "http://"),
    ("schedules create bad --cron '61 * * * *' -f double", 1, "schedule.create of 'bad': "),
    ("schedules create bad --cron @daily -f double --timezone Nowhere", 1, "schedule.create of 'bad': "),
    ("schedules create bad --cron @daily -f double -d 1", 2, "a function takes --arg and --kwarg, and --data"),
    ("schedules create bad --cron @daily -a 1", 2, "are for a function: give --func, or --data instead"),
    ("schedules create bad -f double", 2, "--cron"),
    ("invoke bad", 2, "--func"),
    ("invoke bad -f order -a 1 -a EUR", 2, "--arg 2 is no JSON: 'EUR' ("),
    ("invoke bad -f order -k currency=EUR", 2, "--kwarg currency is no JSON: 'EUR' ("),
    ("invoke bad -f order -k a=1 -k a=2", 2, "--kwarg gives 'a' twice"),
    ("invoke bad -f order --wait-timeout 1", 2, "--wait-timeout says how long to wait: give --wait, too"),
    ("invoke bad -f order --url http://a --table b", 2, "promises are at --url or in --table: give one of both"),
    ("invoke bad -f order --url http://localhost:1", 7, "http://localhost:1 cannot be reached: "),
    ("executions delete first --state failed", 2, "give an ID, or options that select executions, not both"),
    ("executions delete", 2, "give the ID to delete, or select executions: "),
    ("history export first -o /no/such.json", 1, "No such file or directory"),
    ("init /dev/null/orders", 1, "Not a directory"),
    ("init /dev/null/orders --stack '1 shop'", 2, "'1 shop' is no name of a stack"),
    ("lint /no/such.py", 2, "/no/such.py cannot be read: No such file or directory"),
    ("lint . --select RS9", 2, "--select names 'RS9', and no rule begins so: the codes are RS001 to RS402"),
    ("lint . --json --format sarif", 2, "--json and --format sarif are two forms: give one of both"),
    ("lint . --format xml", 2, "--format"),
    ("lint", 2, "PATH"),
    ("--json lint .", 2, "--json does not belong before lint: it has options of its own"),
    ("dev --port 65536", 2, "--port"),
    ("dev --retention 0", 2, "--retention must be longer than nothing"),
    ("dev --lambda-timeout long", 2, "--lambda-timeout must be a duration"),
    ("dev --group worker", 2, "--group must be NAME=ADDRESS, got 'worker'"),
    ("dev --group worker=poll", 2, "--group"),
    ("dev --cors '*' --cors example.com", 2, "--cors names 'example.com': an origin is such as https://"),
    ("dev --allow-host http://foo:3", 1, "--allow-host names 'http://foo:3': give the name of a host"),
    ("dev --lambda worker", 1, "'worker' maps no group to a handler"),
    ("dev --data a --table b", 1, "promises are kept in a file or in a table: give one of both"),
    ("dev --auth-public-key /no/such/file", 1, "the public key cannot be used"),
]


def test_refused_command_is_one_line_and_starts_nothing(resonate: CommandLine, subtests: pytest.Subtests) -> None:
    for command, code, expected in REFUSED:
        with subtests.test(command):
            ended, line = resonate.fails(*shlex.split(command))
            assert ended == code
            assert expected in line
    assert resonate.run("promises", "get", "bad").code == 6


def test_missing_record_is_exit_code_6(resonate: CommandLine) -> None:
    for command in ("tasks get", "tasks halt", "tasks continue", "tree", "tree --json", "history export"):
        missing = "task" if command.startswith("tasks") else "promise"
        assert resonate.fails(*command.split(), "nobody") == (6, f"there is no {missing} 'nobody'")


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

    monkeypatch.setattr(executions, "selection_of", broken)

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

    assert set(re.findall(r"\*\*`(resonate(?: [a-z-]+)+)", re.sub(r"\s+", " ", text))) == set(commands())
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

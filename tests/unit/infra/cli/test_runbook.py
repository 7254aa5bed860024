"""The runbook of docs/console.md: each command of it, and each button, on the executions of its pictures."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from resonate_infra.server.assembly import Server, ServerOptions
from resonate_store.model.clock import ManualClock, installed
from tests.support.command_line import CommandLine
from tests.support.console_demo import MONDAY, fill
from tests.support.console_pages import text_of
from tests.support.dynamo import Table

PAGE = Path(__file__).parents[4] / "docs" / "console.md"


class Step(NamedTuple):
    """A row of the runbook: what to do on the console, and the command."""

    console: str
    command: list[str]


def steps() -> list[Step]:
    """Return the rows of the runbook."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Runbook: an execution failed at night\n")[2]
    found: list[Step] = []
    for row in re.findall(r"^\| (?!step|---)(.*) \|$", section.partition("\n## ")[0], re.MULTILINE):
        _, on_console, terminal = row.split(" | ")
        command = re.match(r"`resonate ([^`]+)`", terminal)
        assert command is not None, row
        found.append(Step(on_console, shlex.split(command[1])))
    return found


@pytest.fixture(scope="module")
def shop() -> Iterator[Server]:
    """Server with the executions of the pictures, a few minutes after they have failed."""
    clock = ManualClock(MONDAY)
    server = Server(ServerOptions(port=0), clock)
    fill(server.store, clock)
    with installed(clock), server.running():
        yield server


def _says(*words: str) -> Callable[[str], bool]:
    return lambda text: all(word in text for word in words)


RESULTS: dict[str, Callable[[str], bool]] = {
    "executions list --state failed --since 12h": _says("order-4119", "ConnectionError"),
    "tree order-4119": _says(".3  run charge  rejected", "refused the connection"),
    "history export order-4119": _says('"order-4119.3~1"', '"order-4119.3~2"'),
    "executions list --state failed --func order --all": _says("order-4107", "order-4114", "order-4119"),
    "executions redrive order-4119": _says("order-4119@1 runs order-4119 again from command 3; 2 records were copied"),
    "executions fork order-4119 --from 2": _says("runs order-4119 again from command 2; 1 records were copied"),
    "tasks continue refund-88": _says("pending"),
    "executions retry-now order-4121": _says("order-4121"),
    "tree stocktake-7": _says("waiting for a worker of warehouse"),
    "executions cancel order-4123 --reason TEXT": _says("order-4123"),
}
"""What each command of the runbook must say."""
BUTTONS = {
    "executions list --state failed --since 12h": "/executions?state=failed&since=12h",
    "tree order-4119": "/execution?id=order-4119&step=order-4119.3",
    "history export order-4119": "/execution?id=order-4119&step=order-4119.3",
    "executions list --state failed --func order --all": "/executions?state=failed&func=order",
    "executions redrive order-4119": "/execution?id=order-4119",
    "executions fork order-4119 --from 2": "/execution?id=order-4119&step=order-4119.2",
    "tasks continue refund-88": "/execution?id=refund-88",
    "executions retry-now order-4121": "/execution?id=order-4121",
    "tree stocktake-7": "/workers",
    "executions cancel order-4123 --reason TEXT": "/execution?id=order-4123",
}
"""The page on which an operator does the same."""


def test_buttons_of_the_runbook_are_on_the_console(shop: Server, subtests: pytest.Subtests) -> None:
    for step in steps():
        with subtests.test(step.console):
            page = httpx.get(f"{shop.url}/console{BUTTONS[' '.join(step.command)]}").raise_for_status().text
            words = re.findall(r"\*\*(\w[\w ]*)\*\*", step.console)
            assert [word for word in words if word not in text_of(page)] == []
    failed = httpx.get(f"{shop.url}/console/executions?state=failed&since=12h").text
    assert "order-4119" in failed
    assert "order-4118" not in failed
    assert text_of(httpx.get(f"{shop.url}/console/promise?id=order-4119.3&part=panel").text).count("failed at") == 2


@pytest.fixture(params=["server", "table"])
def resonate(request: pytest.FixtureRequest) -> Iterator[CommandLine]:
    """Command line over the server, and over a table with the same executions."""
    if request.param == "server":
        shop: Server = request.getfixturevalue("shop")
        yield CommandLine(RESONATE_URL=shop.url)
        return
    table: Table = request.getfixturevalue("table")
    clock = ManualClock(MONDAY)
    fill(table.store(clock), clock)
    with installed(clock):
        yield CommandLine(RESONATE_TABLE=table.name)


def test_commands_of_the_runbook_work(resonate: CommandLine, subtests: pytest.Subtests) -> None:
    assert [" ".join(step.command) for step in steps()] == [*RESULTS]
    for step in steps():
        with subtests.test(" ".join(step.command)):
            said = resonate.ok(*step.command).out
            assert RESULTS[" ".join(step.command)](said), said
    trees = [json.loads(resonate.ok("tree", f"order-4119@{number}", "--json").out) for number in (1, 2)]
    assert [len(each["children"]) for each in trees] == [2, 1]
    assert resonate.json("tasks", "get", "refund-88")["state"] == "pending"
    assert resonate.json("executions", "list", "--state", "retrying")["executions"] == []
    assert resonate.json("tasks", "get", "order-4123")["cancel"] == "TEXT"

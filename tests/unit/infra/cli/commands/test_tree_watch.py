"""`resonate tree --watch`. Its clock makes the execution proceed at each pause."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from resonate.payloads.codec import encode
from resonate_infra.cli.commands import tree
from resonate_infra.server.assembly import Server, ServerOptions
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import Store
from resonate_store.model.clock import ManualClock, installed
from resonate_store.model.execution_requests import ExecutionDelete
from resonate_store.model.requests import PromiseGet, TaskHalt, TaskHeartbeat, TaskReference
from tests.support.command_line import CommandLine
from tests.support.console_demo import MONDAY, SECOND, Shop
from tests.support.dynamo import Table


class Scene:
    """Execution whose next event happens whenever the command pauses.

    Args:
        store: the store.
        resonate: the command line that reads the same promises.
    """

    def __init__(self, store: Store, resonate: CommandLine, clock: Pauses) -> None:
        self.shop = Shop(store, clock)
        self.resonate = resonate
        self.clock = clock
        self.shop.begin("a", MONDAY)

    def plays(self, *events: Callable[[], None]) -> None:
        self.clock.events = [*events]

    def sells(self) -> None:
        """A step, a pause without event, a call, and the end."""
        shop = self.shop
        self.plays(
            lambda: shop.step("a.1", "charge", MONDAY + SECOND, 100, "paid"),
            lambda: None,
            lambda: shop.sleep("a.2", MONDAY + 4 * SECOND, MONDAY + 60 * SECOND),
            lambda: shop.end("a", MONDAY + 5 * SECOND, "sold"),
        )


class Pauses(ManualClock):
    """Clock whose pauses are the events of a scene."""

    def __init__(self) -> None:
        super().__init__(MONDAY)
        self.events: list[Callable[[], None]] = []
        self.pauses: list[int] = []

    def sleep(self, milliseconds: int) -> None:
        assert self.events, "the command waits for more than happens"
        self.pauses.append(milliseconds)
        self.advance(milliseconds)
        self.events.pop(0)()


@pytest.fixture
def clock() -> Iterator[Pauses]:
    clock = Pauses()
    with installed(clock):
        yield clock


@pytest.fixture(params=["memory", "sqlite", "table"])
def scene(request: pytest.FixtureRequest, clock: Pauses, tmp_path: Path) -> Iterator[Scene]:
    """An execution on a server in memory, on one with a SQLite file, and in a table."""
    if request.param == "table":
        table: Table = request.getfixturevalue("table")
        yield Scene(
            DynamoStore(table.name, client=table.client, clock=clock), CommandLine(RESONATE_TABLE=table.name), clock
        )
        return
    data = str(tmp_path / "promises.db") if request.param == "sqlite" else None
    server = Server(ServerOptions(port=0, data=data), clock)
    with server.running():
        yield Scene(server.store, CommandLine(RESONATE_URL=server.url), clock)


def test_watch_writes_each_change_until_the_end(scene: Scene) -> None:
    scene.sells()
    ran = scene.resonate.ok("tree", "a", "--watch")
    drawings = ran.out.split("--- ")
    assert [each.partition("\n")[0].strip() for each in drawings[1:]] == [
        "2026-11-30T09:00:01Z",
        "2026-11-30T09:00:04Z",
        "2026-11-30T09:00:05Z",
    ]
    assert ["charge" in each for each in drawings] == [False, True, True, True]
    assert ["a sleep" in each for each in drawings] == [False, False, True, True]
    assert [' resolved  5.0s  "sold"' in each for each in drawings] == [False, False, False, True]
    assert (ran.err, scene.clock.pauses) == ("", [1_000] * 4)


def test_watch_does_not_write_a_lease_that_is_extended(scene: Scene) -> None:
    shop = scene.shop
    beat = TaskHeartbeat("shop-1", (TaskReference("a", 1),))
    scene.plays(lambda: shop.ask(beat), lambda: shop.ask(beat), lambda: shop.end("a", MONDAY + 3 * SECOND, "sold"))
    trees = [json.loads(line) for line in scene.resonate.ok("tree", "a", "--watch", "--json").out.splitlines()]
    assert [each["state"] for each in trees] == ["pending", "resolved"]
    assert trees[0]["task"]["expiresAt"] == MONDAY + 60 * SECOND


def test_watch_writes_a_line_of_json_for_each_change(scene: Scene) -> None:
    scene.sells()
    lines = scene.resonate.ok("tree", "a", "--watch", "--json", "--interval", "2s").out.splitlines()
    trees = [json.loads(line) for line in lines]
    assert [len(each["children"]) for each in trees] == [0, 1, 2, 2]
    assert [each["state"] for each in trees] == ["pending"] * 3 + ["resolved"]
    assert scene.clock.pauses == [2_000] * 4


def test_watch_draws_on_a_terminal_until_the_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(
        file=screen, force_terminal=True, width=100, height=2, markup=False, highlight=False, emoji=False
    )
    monkeypatch.setattr(tree, "console", lambda: terminal)
    scene.sells()
    scene.resonate.ok("tree", "a", "--watch")
    drawn = screen.getvalue()
    assert drawn.count("execution of order") == 6  # Rich draws the last one twice
    assert "for 2.1s" in drawn  # the duration of the pause without an event
    assert "---" not in drawn
    final = drawn.rpartition("execution of order")[2]  # higher than the terminal, and complete
    assert ("charge" in final, "a sleep" in final, '"sold"' in final) == (True, True, True)
    assert drawn.endswith("\x1b[?25h")  # the cursor is visible again


def test_watch_ends_with_ctrl_c(scene: Scene) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    scene.plays(lambda: scene.shop.step("a.1", "charge", MONDAY + SECOND, 100), interrupt)
    ran = scene.resonate.run("tree", "a", "--watch")
    assert (ran.code, ran.err) == (130, "")
    assert ran.out.count("execution of order") == 2
    promise = scene.shop.store.apply(PromiseGet("a")).promise
    assert promise is not None
    assert promise.pending


def test_watch_of_a_halted_execution_ends_with_its_deletion(scene: Scene) -> None:
    def delete() -> None:
        scene.shop.settle("a", MONDAY + 3 * SECOND)
        scene.shop.ask(ExecutionDelete("a"))

    scene.plays(lambda: scene.shop.ask(TaskHalt("a", reason="no disk")), lambda: None, delete)
    ran = scene.resonate.run("tree", "a", "--watch")
    assert (ran.code, ran.err) == (6, "error: there is no promise 'a'\n")
    assert ran.out.count("halted") == 1
    assert len(scene.clock.pauses) == 3


def test_ended_execution_is_shown_once(scene: Scene) -> None:
    scene.shop.end("a", MONDAY + SECOND, encode("sold", "it"))
    assert scene.resonate.ok("tree", "a", "--watch").out.count("execution of order") == 1


@pytest.mark.parametrize("text", ["0", "100ms", "soon"])
def test_interval_that_is_too_short_is_refused(scene: Scene, text: str) -> None:
    code, error = scene.resonate.fails("tree", "a", "--watch", "--interval", text)
    assert (code, "--interval" in error) == (2, True)

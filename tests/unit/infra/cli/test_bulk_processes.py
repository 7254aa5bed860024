"""Bulk redrives in processes of their own, on a terminal, that get Ctrl-C or are killed."""

from __future__ import annotations

import itertools
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from resonate_infra.server.assembly import Server, ServerOptions
from resonate_store.local.embedded import EmbeddedStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.execution_requests import ExecutionCount, TaskCopy
from resonate_store.model.requests import PromiseGet, PromiseSearch, Request, Response, TaskContinue, TaskFork, TaskGet
from tests.support.console_demo import MONDAY, Shop, told
from tests.support.hypothesis_settings import in_ci
from tests.support.present import present

COUNT = 1_000 if "RESONATE_CI" in os.environ else 40
"""How many executions have failed."""
RESONATE = [sys.executable, "-m", "resonate_infra.cli"]
SELECTED = ["executions", "redrive", "--state", "failed", "--func", "order", "--yes"]
PATIENCE_S = 100.0


class Ended(NamedTuple):
    """What a process has come to: its exit code (negative: a signal), and what it wrote."""

    code: int
    terminal: str
    output: str


class Terminal:
    """Runner of command lines whose error stream is a terminal.

    Args:
        url: the server.
        folder: the folder for their journals.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._environment = {**os.environ, "RESONATE_URL": url, "XDG_CONFIG_HOME": str(folder), "TERM": "xterm"}
        self._environment |= {"COLUMNS": "120", "NO_COLOR": "1"}
        self._process: subprocess.Popen[str] | None = None

    def run(self, *arguments: str) -> Ended:
        """Run a command line until it ends."""
        ours, theirs = pty.openpty()
        written = bytearray()

        def read() -> None:
            while True:
                try:
                    part = os.read(ours, 65_536)
                except OSError:  # the process has closed its end
                    return
                written.extend(part)

        command = [*RESONATE, *arguments]
        with subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=theirs, stdin=theirs, text=True
        ) as process:
            self._process = process
            os.close(theirs)
            reader = threading.Thread(target=read)
            reader.start()
            output, _ = process.communicate(timeout=PATIENCE_S)
            reader.join(PATIENCE_S)
        os.close(ours)
        return Ended(process.returncode, written.decode().replace("\r\n", "\n"), output)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the present process."""
        present(self._process).send_signal(number)


class Watched:
    """Hook in the store of the server. `before` and `after` get each request of a fork."""

    def __init__(self) -> None:
        self.before: Callable[[Request], None] = lambda _: None
        self.after: Callable[[Request], None] = lambda _: None
        self.forks: list[str] = []
        self.continued: list[str] = []

    def note(self, request: Request) -> None:
        if isinstance(request, TaskFork):
            self.forks.append(request.id)
        elif isinstance(request, TaskContinue):
            self.continued.append(request.id)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    apply = EmbeddedStore.apply

    def hooked(store: EmbeddedStore, request: Request) -> Response:
        watched.before(request)
        response = apply(store, request)
        watched.note(request)
        watched.after(request)
        return response

    monkeypatch.setattr(EmbeddedStore, "apply", hooked)
    return watched


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite file in which orders have failed in their second step."""
    path, clock = tmp_path_factory.mktemp("orders") / "promises.db", ManualClock(MONDAY)
    store = SqliteStore(str(path), clock)
    shop, error = Shop(store, clock), told("ConnectionError", "no answer")
    for number in range(COUNT):
        id, at = f"order-{number}", MONDAY + number * 1_000
        shop.begin(id, at)
        shop.step(f"{id}.1", "reserve", at + 10, 100, {"stock": 1})
        shop.step(f"{id}.2", "charge", at + 200, 300, error=error)
        shop.end(id, at + 600, error=error)
    store.close()
    return path


@pytest.fixture
def server(orders: Path, tmp_path: Path) -> Iterator[Server]:
    data = shutil.copy(orders, tmp_path / "promises.db")
    server = Server(ServerOptions(port=0, data=str(data)), ManualClock(MONDAY + COUNT * 1_000))
    with server.running():
        yield server


@pytest.fixture
def terminal(server: Server, tmp_path: Path) -> Terminal:
    return Terminal(server.url, tmp_path / "config")


def redriven_once(server: Server) -> None:
    """Assert that each order runs again, once and with the outcome of its first step."""
    apply = server.store.apply
    counts = present(apply(ExecutionCount()).counts)
    assert (counts.pending, counts.rejected, counts.resolved) == (COUNT, COUNT, 0)
    for number in range(COUNT):
        id = f"order-{number}"
        assert present(apply(PromiseGet(f"{id}@1")).promise).pending
        task = present(apply(TaskGet(f"{id}@1")).task)
        assert (task.state, task.version) == ("pending", 1)
        records = apply(PromiseSearch(id=f"{id}@1.", limit=10)).promises
        steps = [(each.id, each.state) for each in present(records) if not each.id.endswith("~keys")]
        assert steps == [(f"{id}@1.1", "resolved")]


def test_progress_shows_rate_and_remaining_time(server: Server, terminal: Terminal) -> None:
    ended = terminal.run(*SELECTED)
    assert (ended.code, ended.output) == (0, f"redrive: {COUNT} done, 0 skipped, 0 failed, of {COUNT}\n")
    assert re.search(rf"redrive .*\d+/{COUNT} +[\d.]+/s +\d:\d\d:\d\d", ended.terminal), ended.terminal
    assert ended.terminal.rstrip().endswith("\x1b[2K")  # the bar is gone
    redriven_once(server)


def test_redrive_after_ctrl_c_is_resumed_by_its_own_words(server: Server, terminal: Terminal, watched: Watched) -> None:
    interruptions = itertools.count(1)

    def interrupt(request: Request) -> None:
        if isinstance(request, TaskFork) and len(watched.forks) % (COUNT // 4 + 1) == COUNT // 8:
            next(interruptions)
            terminal.signal(signal.SIGINT)

    watched.before = interrupt
    arguments, runs = SELECTED, 0
    while (ended := terminal.run(*arguments)).code == 130:
        runs += 1
        done = re.search(rf"interrupted after (\d+) of {COUNT}; to continue: resonate (.*)", ended.terminal)
        assert done is not None, ended
        assert len(watched.continued) == int(done[1])  # the execution that it was in was redriven completely
        arguments = shlex.split(done[2])
    assert (ended.code, runs, next(interruptions)) == (0, 4, 5)
    assert ended.output == f"redrive: {COUNT} done, 0 skipped, 0 failed, of {COUNT}\n"
    assert len(watched.forks) == len(set(watched.forks)) == COUNT
    redriven_once(server)


@in_ci
@pytest.mark.parametrize("when", ["before", "after"])
def test_redrive_that_is_killed_anywhere_is_resumed_exactly_once(
    server: Server, terminal: Terminal, watched: Watched, when: str
) -> None:
    """The process dies before, or after, each kind of request of a fork, at different executions."""
    deaths = [TaskFork, TaskCopy, TaskContinue]
    left, seen = [*deaths], itertools.count()

    def die(request: Request) -> None:
        if left and type(request) is left[0] and next(seen) % (COUNT // 4) == COUNT // 8:
            left.pop(0)
            terminal.signal(signal.SIGKILL)

    setattr(watched, when, die)
    ended = terminal.run(*SELECTED)
    journal = re.search(r"--resume (\S+)", ended.terminal)
    assert journal is not None, ended
    for _ in deaths:
        assert ended.code == -signal.SIGKILL
        ended = terminal.run("executions", "redrive", "--resume", journal[1])
    assert (ended.code, left) == (0, [])
    assert set(watched.forks) == {f"order-{number}@1" for number in range(COUNT)}
    redriven_once(server)

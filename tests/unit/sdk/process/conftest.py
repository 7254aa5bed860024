"""Connections to stores in memory and to a server, for tests of a process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate import Resonate
from resonate.worker.resources import Resources
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseCreate
from tests.support.serving import Serving
from tests.support.steps import PATIENCE
from tests.support.watched_stores import Connect, Memory, stop


@pytest.fixture
def memory(clock: ManualClock) -> Memory:
    return Memory(clock)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make clients that are stopped when the test is over."""
    made: list[Resonate] = []

    def make(make: Connect = Resonate, **arguments: Any) -> Resonate:
        made.append(make(**arguments))
        return made[-1]

    yield make
    for resonate in made:
        resonate.stop()


@pytest.fixture
def remote(serving: Serving, connect: Connect) -> Connect:
    """Make clients of a server that are stopped when the test is over."""

    def make(group: str = "default", **arguments: Any) -> Resonate:
        return connect(Resonate.remote, **{"url": serving.url, "group": group, "workers": 2, **arguments})

    return make


@pytest.fixture
def client(remote: Connect, serving: Serving) -> Resonate:
    """A client of a server that has the promise p."""
    serving.store.apply(PromiseCreate("p", serving.clock.now() + 60_000))
    return remote("client")


@pytest.fixture
def local(memory: Memory, connect: Connect) -> Resonate:
    """A client with two workers on the store in memory, which has the promise p."""
    memory.apply(PromiseCreate("p", memory.clock.now() + 60_000))
    return connect(store=memory, workers=2)


@pytest.fixture
def stop_as_it_ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[Resonate, threading.Event], None]:
    """Stop a client, and let what runs end once nothing else begins any more."""
    begun, begin = threading.Event(), Resources.stop

    def noted(self: Resources) -> Any:
        pools = begin(self)
        begun.set()
        return pools

    def stop_and_end(resonate: Resonate, enough: threading.Event) -> None:
        threading.Thread(target=lambda: begun.wait(PATIENCE) and enough.set()).start()
        stop(resonate)

    monkeypatch.setattr(Resources, "stop", noted)
    return stop_and_end

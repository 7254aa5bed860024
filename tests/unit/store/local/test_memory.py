"""The store in memory: its clock and its lock."""

from __future__ import annotations

import pytest

from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock, installed
from tests.support.build import OUTSIDE, SECOND, TARGETED, create, get, heartbeat
from tests.support.present import present
from tests.support.substrates import T0


def test_memory_without_a_clock_uses_the_ambient_one(clock: ManualClock) -> None:
    with installed(clock):
        memory = MemoryStore()
    assert present(memory.apply(create("w", TARGETED)).promise).created_at == T0
    assert memory.clock is clock


def test_memory_stays_open_after_an_invocation(memory: MemoryStore) -> None:
    opened = memory.open()
    opened.apply(create("p"))
    opened.close()
    assert memory.apply(get("p")).ok


def test_tick_of_many_entries_releases_the_lock(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> None:
    ids = ("a", "b", "c", "d", "e")
    left: list[int] = []

    class Lock:
        """A lock that notes the number of pending promises at each release."""

        depth = 0

        def __enter__(self) -> None:
            self.depth += 1

        def __exit__(self, *_: object) -> None:
            self.depth -= 1
            if self.depth == 0:
                left.append(sum(record.pending for record in map(memory.record, ids) if record is not None))

    monkeypatch.setattr("threading.RLock", Lock)
    monkeypatch.setattr("resonate_store.local.embedded.BATCH", 2)
    memory = MemoryStore(clock)
    for id in ids:
        memory.apply(create(id, OUTSIDE, at=T0 + SECOND))
    left.clear()
    clock.advance(SECOND)
    assert memory.tick() == 5
    assert left[:3] == [3, 1, 0]


def test_heartbeat_of_many_tasks_releases_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    class Counting(ManualClock):
        """Each request asks it for the time once."""

        def now(self) -> int:
            held[-1] += 1
            return super().now()

    class Lock:
        def __enter__(self) -> None:
            held.append(0)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("threading.RLock", Lock)
    store = MemoryStore(Counting())
    assert store.apply(heartbeat(*((f"w{n}", 1) for n in range(1_201)))).status == 200
    assert held == [500, 500, 201]
    assert store.apply(heartbeat(*(("", 1) for _ in range(1_201)))).status == 400

"""One store under test, whatever keeps its records.

The fixture `store` runs a test once per substrate. So does `new_store`, which makes a store with each call. A test says
what a request answers, what is stored, and what the effects reach: messages, timers, schedules, retention. Here
`deliver` carries effects out, as the stream's consumer does, on all substrates alike. A test can hold them back, to
play a late or repeated delivery.

The folders that use these fixtures import them in their `conftest.py`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Protocol

import pytest

from resonate_store.delivery.outlets import deliver
from resonate_store.dynamo.store import DynamoStore
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.machine.effects import Change, Prune, Unblock, message_of, repeated
from resonate_store.model.clock import Clock, ManualClock
from resonate_store.model.records import Key, PromiseView, Record, TaskRecord
from resonate_store.model.requests import PromiseWake, Request, Response
from resonate_store.model.schedule_requests import ScheduleFire

T0 = 1_750_000_000_000
"""The first instant of every test: a Sunday, 15:06:40 UTC."""


class Substrate(Protocol):
    """What all substrates offer beside `Store`."""

    def transact(self, request: Request) -> tuple[Response, list[Change]]: ...
    def children(self, id: str, separator: str = ".") -> Any: ...
    def delete_generations(self, prune: Prune, /) -> Any: ...
    def record(self, id: str) -> Record | None: ...
    def due(self, now: int) -> Any: ...


Connect = Callable[[Clock], Substrate]


class Skewed:
    """A clock that differs from another by a fixed number of milliseconds."""

    def __init__(self, clock: Clock, offset: int) -> None:
        self._clock = clock
        self._offset = offset

    def now(self) -> int:
        return self._clock.now() + self._offset

    def sleep(self, milliseconds: int) -> None:
        self._clock.sleep(milliseconds)


class World:
    """A store, its clock, and whatever its effects reach.

    Attributes:
        sent: messages in the order in which they left, as (address, message).
        armed: timers, as (promise id, instant).
        recurring: what fires each schedule by itself, as schedule id -> (cron expression, time zone).
        fired: single firings of schedules, as (schedule id, instant).
        retained: roots that may expire, as (id, created_at, settled_at).
        pruned: executions whose earlier generations were to be deleted.
        outlets: what effects are carried out with.
        backlog: changes whose effects have not been carried out, while deliveries are held back.
    """

    def __init__(self, connect: Connect, clock: ManualClock, reading: Clock | None = None) -> None:
        self.clock = clock
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.armed: list[tuple[str, int]] = []
        self.recurring: dict[str, tuple[str, str | None]] = {}
        self.fired: list[tuple[str, int]] = []
        self.retained: list[tuple[str, int, int]] = []
        self.pruned: list[Prune] = []
        self.backlog: deque[Change] = deque()
        self.outlets = _Outlets(self)
        self._connect = connect
        self._store = connect(reading or clock)
        self._holding = False

    def apply(self, request: Request) -> Response:
        """Carry out a request, then its effects."""
        response, changes = self._store.transact(request)
        self.backlog.extend(changes)
        self.deliver()
        return response

    def deliver(self) -> None:
        """Carry out the effects of everything written so far, and theirs, unless deliveries are held back."""
        while self.backlog and not self._holding:
            deliver(self.backlog.popleft(), self.outlets)

    @contextmanager
    def holding(self) -> Iterator[deque[Change]]:
        """Hold deliveries back; they are made afterwards, unless the test has taken them out of the backlog."""
        self.hold()
        yield self.backlog
        self.release()

    def hold(self) -> None:
        """Keep deliveries in the backlog from now on."""
        self._holding = True

    def release(self) -> None:
        """Make the deliveries that were held back, and the later ones at once again."""
        self._holding = False
        self.deliver()

    def tick(self) -> None:
        """What the sweep does: wake what is due, and deliver what a lost event has left behind."""
        for kind, id in self._store.due(self.clock.now()):
            _, changes = self._store.transact(PromiseWake(id) if kind == "promise" else ScheduleFire(id))
            self.backlog.extend(repeated(change) for change in changes)
            self.deliver()

    def pass_time(self, milliseconds: int) -> None:
        """Move the clock, then sweep."""
        self.clock.advance(milliseconds)
        self.tick()

    def due(self) -> list[str]:
        """The ids of what is due now."""
        return [id for _, id in self._store.due(self.clock.now())]

    def neighbour(self, offset: int) -> World:
        """The same records, seen by a process whose clock differs by `offset` milliseconds."""
        return World(self._connect, self.clock, Skewed(self.clock, offset))

    def record(self, id: str) -> Record | None:
        """The record as it is stored."""
        return self._store.record(id)

    def stored(self, id: str) -> Record:
        """The record as it is stored; it must exist."""
        record = self.record(id)
        assert record is not None, f"{id} is not stored"
        return record

    def task(self, id: str) -> TaskRecord:
        """The task as it is stored; it must exist."""
        task = self.stored(id).task
        assert task is not None, f"{id} has no task"
        return task

    def children(self, id: str, separator: str = ".") -> dict[str, PromiseView]:
        return {promise.id: promise for promise in self._store.children(id, separator)}

    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        """What was sent since the last call."""
        sent = list(self.sent)
        self.sent.clear()
        return sent


class _Outlets:
    def __init__(self, world: World) -> None:
        self._world = world

    def apply(self, request: Request) -> Response:
        response, changes = self._world._store.transact(request)
        self._world.backlog.extend(changes)
        return response

    def send(self, address: str, message: dict[str, Any]) -> None:
        self._world.sent.append((address, message))

    def notify(self, address: str, promise: PromiseView) -> None:
        self.send(address, message_of(Unblock(address, promise)))

    def arm(self, id: str, at: int) -> None:
        self._world.armed.append((id, at))

    def disarm(self, id: str) -> None:
        self._world.armed = [armed for armed in self._world.armed if armed[0] != id]

    def arm_schedule(self, id: str, cron: str, timezone: str | None) -> None:
        self._world.recurring[id] = (cron, timezone)

    def fire_schedule(self, id: str, at: int) -> None:
        self._world.fired.append((id, at))

    def disarm_schedule(self, id: str) -> None:
        self._world.recurring.pop(id, None)

    def prune(self, outdated: Prune) -> None:
        self._world.pruned.append(outdated)
        self._world._store.delete_generations(outdated)

    def retain(self, id: str, created_at: int, settled_at: int) -> None:
        self._world.retained.append((id, created_at, settled_at))


class _SharedClock:
    """The clock of a store that several processes share: it shows the time of the process that makes the request."""

    def __init__(self, clock: Clock) -> None:
        self.reading = clock

    def now(self) -> int:
        return self.reading.now()

    def sleep(self, milliseconds: int) -> None:
        self.reading.sleep(milliseconds)


class _Process:
    """A store in this process, as another process with a clock of its own uses it."""

    def __init__(self, store: MemoryStore | SqliteStore, shared: _SharedClock, clock: Clock) -> None:
        self._store = store
        self._shared = shared
        self._clock = clock

    def transact(self, request: Request) -> tuple[Response, list[Change]]:
        self._shared.reading = self._clock
        return self._store.transact(request)

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        self._shared.reading = self._clock
        return self._store.children(id, separator)

    def delete_generations(self, prune: Prune) -> None:
        self._store.delete_generations(prune)

    def record(self, id: str) -> Record | None:
        return self._store.record(id)

    def due(self, now: int) -> list[Key]:
        return self._store.due(now)


class _OnTable:
    """A store of a table that leaves all effects to its caller."""

    def __init__(self, store: DynamoStore) -> None:
        self._store = store

    def transact(self, request: Request) -> tuple[Response, list[Change]]:
        return self._store.transact(request, announce=False)

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        return self._store.children(id, separator)

    def delete_generations(self, prune: Prune) -> None:
        self._store.delete_generations(prune)

    def record(self, id: str) -> Record | None:
        return self._store.record(id)

    def due(self, now: int) -> list[Key]:
        return self._store.due(now)


def in_memory(clock: ManualClock) -> World:
    """An empty store in memory, for what is too slow on moto or none of DynamoDB's business."""
    shared = _SharedClock(clock)
    store = MemoryStore(shared)
    return World(lambda reading: _Process(store, shared, reading), clock)


@contextmanager
def in_sqlite(clock: ManualClock) -> Generator[World]:
    """An empty store in SQLite; the file is not the point."""
    shared = _SharedClock(clock)
    with closing(SqliteStore(":memory:", shared)) as store:
        yield World(lambda reading: _Process(store, shared, reading), clock)


@contextmanager
def in_dynamo(client: Any, clock: ManualClock) -> Generator[World]:
    """An empty store in a table of its own."""
    from tests.support.dynamo import Table

    table = Table(client, streaming=False)
    yield World(lambda reading: _OnTable(table.store(reading, shards=2)), clock)
    table.delete()


@pytest.fixture(name="clock")
def manual_clock() -> ManualClock:
    return ManualClock(T0)


EVERYWHERE = ["memory", "sqlite", "dynamo"]
SUBSTRATES = EVERYWHERE if "RESONATE_CI" in os.environ else ["memory"]
"""The corpus and the lockstep test run on all substrates. Integration runs the rule tests on all of them, too."""


class NewStore(Protocol):
    """Makes an empty store of one substrate. The clock is a new one unless it is given."""

    def __call__(self, clock: ManualClock | None = None) -> World: ...


@pytest.fixture(name="new_store", params=SUBSTRATES)
def any_substrate(request: pytest.FixtureRequest) -> Iterator[NewStore]:
    """Return what makes stores, once per substrate: for tests with a store for each case."""
    with ExitStack() as stores:

        def new_store(clock: ManualClock | None = None) -> World:
            clock = clock or ManualClock(T0)
            if request.param == "memory":
                return in_memory(clock)
            if request.param == "sqlite":
                return stores.enter_context(in_sqlite(clock))
            return stores.enter_context(in_dynamo(request.getfixturevalue("dynamo"), clock))

        yield new_store


@pytest.fixture(name="store")
def any_store(new_store: NewStore, clock: ManualClock) -> World:
    """Return an empty store, once per substrate."""
    return new_store(clock)

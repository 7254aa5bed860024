"""The debug requests: a server that a test drives, step by step, at times that it chooses (docs/protocol.md 1.8).

They stop a store's clockwork, hold its messages back and empty it. `EmbeddedDebug` does that to any store that is owned
by one process. Whatever is debugged has to be made on a `RequestClock`: that is how `resonate:debug_time` reaches the
machine without anybody passing the time along.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from msgspec import Raw, Struct

from resonate_store.interface import Send
from resonate_store.model.clock import Clock
from resonate_store.model.records import PromiseView, Record, Task
from resonate_store.protocol.wire import WireError, read

PREFIX = "debug."
END_OF_TIME = 2**47
"""The last instant that a test may choose, in the year 6429: calendars end in 9999, and much is due later than now."""


class PromiseTimeout(Struct):
    id: str
    timeout: int


class DebugCallback(Struct):
    awaiter: str
    awaited: str


class Listener(Struct):
    id: str
    address: str


class TaskTimeout(Struct):
    """What a task is waiting for: 0, to be offered again; 1, for its lease to end."""

    id: str
    type: int
    timeout: int


class DebugMessage(Struct):
    address: str
    message: dict[str, Any]


class Snapshot(Struct, rename="camel"):
    """Everything that is in a store, each list ordered by id."""

    promises: list[PromiseView]
    promise_timeouts: list[PromiseTimeout]
    callbacks: list[DebugCallback]
    listeners: list[Listener]
    tasks: list[Task]
    task_timeouts: list[TaskTimeout]
    messages: list[DebugMessage]


class Debug(Protocol):
    """What the debug requests ask of the owner of a store."""

    def start(self) -> None:
        """Do nothing by itself any more, and hold messages back."""
        ...

    def stop(self) -> None:
        """Go on, and send what was held back."""
        ...

    def reset(self) -> None:
        """Forget everything."""
        ...

    def tick(self, time: int) -> None:
        """Do what is due at the instant `time` (milliseconds), and send nothing."""
        ...

    def snap(self) -> Snapshot:
        """Show everything there is."""
        ...

    def at(self, time: int) -> AbstractContextManager[Any]:
        """Have it be `time` (milliseconds) for what this thread does in the block."""
        ...


class TickData(Struct):
    time: int


def is_instant(time: int) -> bool:
    return 0 <= time <= END_OF_TIME


def perform(debug: Debug, kind: str, data: Raw, debug_time: int | None) -> Any:
    """Carry a debug request out and return the data of its response.

    Raises:
        WireError: there is no such request, or its data is wrong.
    """
    match kind:
        case "debug.start":
            debug.start()
        case "debug.stop":
            debug.stop()
        case "debug.reset":
            debug.reset()
        case "debug.tick":
            debug.tick(_time_of(data, debug_time))
            return []
        case "debug.snap":
            return debug.snap()
        case _:
            raise WireError(f"Unknown operation: {kind}")
    return {}


def _time_of(data: Raw, debug_time: int | None) -> int:
    time = read(TickData, data, "Invalid request").time
    if debug_time is not None and time != debug_time:
        raise WireError(f"Invalid request: the time {time} differs from resonate:debug_time {debug_time}")
    if not is_instant(time):
        raise WireError(f"Invalid request: the time is not an instant in milliseconds, from 0 to {END_OF_TIME}")
    return time


class RequestClock:
    """A clock that shows a request the time that the request brought along, and everybody else the real one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._local = threading.local()

    def now(self) -> int:
        time: int | None = getattr(self._local, "time", None)
        return self._clock.now() if time is None else time

    def sleep(self, milliseconds: int) -> None:
        self._clock.sleep(milliseconds)

    @contextmanager
    def at(self, time: int) -> Generator[None]:
        """Show `time` (milliseconds) to this thread for as long as the block runs."""
        before: int | None = getattr(self._local, "time", None)
        self._local.time = time
        try:
            yield
        finally:
            self._local.time = before


class Owned(Protocol):
    """A store in this process: what `EmbeddedDebug` needs of it."""

    @property
    def send(self) -> Send: ...

    def subscribe(self, *, send: Send | None = None) -> Send: ...

    def records(self) -> list[Record]: ...

    def tick(self) -> int: ...

    def clear(self) -> None:
        """Forget all records and schedules."""
        ...


class EmbeddedDebug:
    """The debug requests over a store in this process.

    Whoever calls the store's `tick` when something is due leaves it alone while `paused`.

    Args:
        store: made on `clock`; its messages are held back while paused.
        clock: the store's clock.
        on_resume: called when the store's own clockwork may go on.
    """

    def __init__(self, store: Owned, clock: RequestClock, on_resume: Callable[[], None] | None = None) -> None:
        self.paused = False
        self._store = store
        self._clock = clock
        self._on_resume = on_resume
        self._lock = threading.Lock()
        self._held: dict[tuple[str, ...], DebugMessage] = {}
        self._send = store.send  # before a message can arrive
        self._send = store.subscribe(send=self._post)

    def start(self) -> None:
        with self._lock:
            self.paused = True

    def stop(self) -> None:
        with self._lock:
            self.paused = False
            held, self._held = self._held, {}
        for message in held.values():
            self._send(message.address, message.message)
        if self._on_resume is not None:
            self._on_resume()

    def reset(self) -> None:
        self._store.clear()
        with self._lock:
            self._held.clear()

    def tick(self, time: int) -> None:
        with self._clock.at(time):
            self._store.tick()

    def at(self, time: int) -> AbstractContextManager[None]:
        return self._clock.at(time)

    def snap(self) -> Snapshot:
        with self._lock:
            messages = [self._held[key] for key in sorted(self._held)]
        return snapshot_of(self._store.records(), messages)

    def _post(self, address: str, message: dict[str, Any]) -> None:
        with self._lock:
            if self.paused:
                self._held[_subject(address, message)] = DebugMessage(address, message)
                return
        self._send(address, message)


def snapshot_of(records: Sequence[Record], messages: list[DebugMessage]) -> Snapshot:
    """Everything that is in a store.

    Args:
        records: all of them, by id.
        messages: those that are held back, by what they are about.
    """
    waiting = [record for record in records if record.pending]
    return Snapshot(
        promises=[record.promise() for record in records],
        promise_timeouts=[PromiseTimeout(record.id, record.timeout_at) for record in waiting if record.armed],
        callbacks=[DebugCallback(awaiter, record.id) for record in waiting for awaiter, _ in sorted(record.waiters)],
        listeners=[Listener(record.id, address) for record in waiting for address in sorted(record.listeners)],
        tasks=[task for record in records if (task := record.task_view()) is not None],
        task_timeouts=list(_task_timeouts(waiting)),
        messages=messages,
    )


def _task_timeouts(records: Iterable[Record]) -> Iterable[TaskTimeout]:
    for record in records:
        task = record.task
        if task is not None and task.state == "pending" and task.retry_at is not None:
            yield TaskTimeout(record.id, 0, task.retry_at)
        elif task is not None and task.state == "acquired" and task.expires_at is not None:
            yield TaskTimeout(record.id, 1, task.expires_at)


def _subject(address: str, message: dict[str, Any]) -> tuple[str, ...]:
    """What a message is about: a later one about the same takes its place."""
    if message["kind"] == "execute":
        return (message["data"]["task"]["id"], "execute")
    return (message["data"]["promise"]["id"], "unblock", address)

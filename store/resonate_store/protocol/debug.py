"""Debug requests: a test drives a server step by step, at instants that the test chooses (docs/protocol.md 1.8).

The requests pause a store, hold its messages back, read all its records and delete them. `EmbeddedDebug` does that for
a store in one process. The store must use a `RequestClock`, which shows it the time in `resonate:debug_time`.
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
"""The last instant (ms) that a test may choose: in the year 6429. Deadlines after it stay within the year 9999."""


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
    """Instant `timeout` (ms) at which a task is offered again (type 0) or its lease ends (type 1)."""

    id: str
    type: int
    timeout: int


class DebugMessage(Struct):
    address: str
    message: dict[str, Any]


class Snapshot(Struct, rename="camel"):
    """All records of a store. Each list is ordered by id."""

    promises: list[PromiseView]
    promise_timeouts: list[PromiseTimeout]
    callbacks: list[DebugCallback]
    listeners: list[Listener]
    tasks: list[Task]
    task_timeouts: list[TaskTimeout]
    messages: list[DebugMessage]


class Debug(Protocol):
    """Operations of the debug requests on a store."""

    def start(self) -> None:
        """Pause the store: no timer fires, and messages are held back."""
        ...

    def stop(self) -> None:
        """End the pause and send the messages that were held back."""
        ...

    def reset(self) -> None:
        """Delete all records and messages."""
        ...

    def tick(self, time: int) -> None:
        """Do what is due at the instant `time` (ms). Do not send messages."""
        ...

    def snap(self) -> Snapshot:
        """Return all records and the messages that are held back."""
        ...

    def at(self, time: int) -> AbstractContextManager[Any]:
        """Show the instant `time` (ms) to this thread in the block."""
        ...


class TickData(Struct):
    time: int


def is_instant(time: int) -> bool:
    return 0 <= time <= END_OF_TIME


def perform(debug: Debug, kind: str, data: Raw, debug_time: int | None) -> Any:
    """Carry out a debug request and return the data of its response.

    Raises:
        WireError: the request does not exist, or its data is wrong.
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
    """A clock that shows a request the time in its head. Other threads see the real time."""

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
        """Show the instant `time` (ms) to this thread while the block runs."""
        before: int | None = getattr(self._local, "time", None)
        self._local.time = time
        try:
            yield
        finally:
            self._local.time = before


class Owned(Protocol):
    """The members of a store in this process that `EmbeddedDebug` uses."""

    @property
    def send(self) -> Send: ...

    def subscribe(self, *, send: Send | None = None) -> Send: ...

    def records(self) -> list[Record]: ...

    def tick(self) -> int: ...

    def clear(self) -> None:
        """Delete all records and schedules."""
        ...


class EmbeddedDebug:
    """The debug requests for a store in this process.

    While `paused` is true, the owner of the store must not call its `tick`.

    Args:
        store: a store that was created with `clock`. Its messages are held back while paused.
        clock: the store's clock.
        on_resume: called when the pause ends.
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
    """Return all records of a store as a snapshot.

    Args:
        records: all records, ordered by id.
        messages: the messages that are held back, ordered by their key.
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
    """Return the key of a held message. A later message with the same key replaces the held one."""
    if message["kind"] == "execute":
        return (message["data"]["task"]["id"], "execute")
    return (message["data"]["promise"]["id"], "unblock", address)

"""The store in memory: a dictionary, a lock, and the effects done in process.

It is the whole product for `Resonate()`, and the reference that the other substrates are compared with. Nothing runs by
itself: `tick` does what is due, and whoever owns the store calls it when `next_wake_at` comes. Messages leave through
`send`, outside the lock, so a receiver may call back at once.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

from resonate_store.clock import Clock, ambient
from resonate_store.effects import Change, repeated
from resonate_store.ids import parent
from resonate_store.interface import deliver
from resonate_store.machine import NeedRecords, NeedSchedule, Outcome, decide, perform
from resonate_store.machine.draft import Need
from resonate_store.records import Entry, Promise, Record, ScheduleRecord
from resonate_store.requests import PromiseWake, Request, Response, ScheduleFire

Key = tuple[Literal["promise", "schedule"], str]
Send = Callable[[str, dict[str, Any]], None]


def _unheard(address: str, message: dict[str, Any]) -> None:
    """Nobody is connected: a lost execute message is offered again, a lost unblock message is read instead."""


class MemoryStore:
    """A promise store that lives and ends with the process.

    Args:
        clock: the source of time.
        send: takes an address and a message; called outside the store's lock, and must not wait for the receiver.
    """

    def __init__(self, clock: Clock | None = None, send: Send = _unheard) -> None:
        self.clock: Clock = clock or ambient()
        self.send: Send = send
        self.on_wake: Callable[[int], None] | None = None
        self._lock = threading.RLock()
        self._records: dict[str, Record] = {}
        self._schedules: dict[str, ScheduleRecord] = {}
        self._children: dict[str, dict[str, None]] = {}
        self._wakes: list[tuple[int, Key]] = []
        self._undelivered: deque[Change] = deque()
        self._outbox: deque[tuple[str, dict[str, Any]]] = deque()
        self._outlets = _InProcess(self)

    def apply(self, request: Request) -> Response:
        """Carry out one request and all its effects."""
        with self._lock:
            response = perform(request, self._run)
            self._deliver()
        if self._outbox:  # most requests, every step among them, send nothing
            self._flush()
        return response

    def transact(self, request: Request) -> tuple[Response, list[Change]]:
        """Carry out one request, but leave its effects to the caller."""
        with self._lock:
            response = perform(request, self._run)
            changes = list(self._undelivered)
            self._undelivered.clear()
        return response, changes

    def children(self, id: str, separator: str = ".") -> Sequence[Promise]:
        with self._lock:
            now = self.clock.now()
            return [
                record.promise()
                for record in self._children_of(id)
                if record.id[len(id)] == separator and (not record.pending or record.timeout_at > now)
            ]

    def open(self) -> MemoryStore:
        return self

    def close(self) -> None:
        """Nothing to end: the store and its process are one."""

    def record(self, id: str) -> Record | None:
        """The record as it is stored."""
        return self._records.get(id)

    def records(self) -> list[Record]:
        """All promise records, by id."""
        with self._lock:
            return [self._records[id] for id in sorted(self._records)]

    def next_wake_at(self) -> int | None:
        """The earliest instant (milliseconds) at which `tick` has something to do."""
        with self._lock:
            while self._wakes and self._wake_of(self._wakes[0][1]) != self._wakes[0][0]:
                heapq.heappop(self._wakes)
            return self._wakes[0][0] if self._wakes else None

    def due(self, now: int) -> list[Key]:
        """The entries whose `wake_at` has come, the earliest first; they stay due until they are woken."""
        with self._lock:
            found = {entry for entry in self._wakes if entry[0] <= now and self._wake_of(entry[1]) == entry[0]}
            return [key for _, key in sorted(found)]

    def tick(self) -> int:
        """Do everything that is due now, the earliest first.

        Returns:
            The number of entries that were woken.
        """
        woken = 0
        with self._lock:
            while (at := self.next_wake_at()) is not None and at <= self.clock.now():
                kind, id = heapq.heappop(self._wakes)[1]
                perform(PromiseWake(id) if kind == "promise" else ScheduleFire(id), self._run)
                self._undelivered = deque(map(repeated, self._undelivered))
                self._deliver()
                woken += 1
        self._flush()
        return woken

    def _run(self, request: Request) -> Response:
        outcome: Outcome = decide(request, self.clock.now(), self._fetch)
        for change in outcome.changes:
            self._write(change)
        return outcome.response

    def _fetch(self, need: Need) -> Any:
        if isinstance(need, NeedRecords):
            return tuple(map(self._records.get, need.ids))
        if isinstance(need, NeedSchedule):
            return self._schedules.get(need.id)
        return tuple(self._children_of(need.id))

    def _children_of(self, id: str) -> list[Record]:
        return [self._records[child] for child in self._children.get(id, ())]

    def _write(self, change: Change) -> None:
        before, after = change
        if isinstance(after, Record):
            self._records[after.id] = after
            if before is None:
                above = parent(after.id)
                if above:
                    self._children.setdefault(above, {})[after.id] = None
            if after.wake_at is None and (before is None or before.wake_at is None):
                return  # nothing is due on it and nothing was, so nothing follows from the write
        elif isinstance(after, ScheduleRecord):
            self._schedules[after.id] = after
        elif isinstance(before, ScheduleRecord):
            del self._schedules[before.id]
        self._arm(before, after)
        self._undelivered.append(change)

    def _arm(self, before: Entry | None, after: Entry | None) -> None:
        if after is None or after.wake_at is None or (before is not None and before.wake_at == after.wake_at):
            return
        key: Key = ("promise" if isinstance(after, Record) else "schedule", after.id)
        heapq.heappush(self._wakes, (after.wake_at, key))
        if self.on_wake is not None and self._wakes[0][1] == key:
            self.on_wake(after.wake_at)

    def _wake_of(self, key: Key) -> int | None:
        entry = self._records.get(key[1]) if key[0] == "promise" else self._schedules.get(key[1])
        return None if entry is None else entry.wake_at

    def _deliver(self) -> None:
        while self._undelivered:
            deliver(self._undelivered.popleft(), self._outlets)

    def _flush(self) -> None:
        while True:
            with self._lock:
                if not self._outbox:
                    return
                address, message = self._outbox.popleft()
            self.send(address, message)


class _InProcess:
    """The effects' surroundings when everything is in one process.

    Timers and schedules need no arming: `wake_at` is the timer. Nothing is retained: the store ends with the process.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def apply(self, request: Request) -> Response:
        # What effects ask for is one operation on ids that are stored already: nothing to check or to take apart.
        return self._store._run(request)  # pyright: ignore[reportPrivateUsage]

    def send(self, address: str, message: dict[str, Any]) -> None:
        self._store._outbox.append((address, message))  # pyright: ignore[reportPrivateUsage]

    def arm(self, id: str, at: int) -> None:
        pass

    def arm_schedule(self, id: str, at: int) -> None:
        pass

    def disarm_schedule(self, id: str) -> None:
        pass

    def retain(self, id: str, created_at: int, settled_at: int) -> None:
        pass

"""Predicted records, which a request uses instead of reading them (docs/rules.md D10).

A read takes as long as the write that follows it. A request is therefore first tried on predictions. A record that it
creates is predicted as absent, any other record as the image that this store wrote or read last. This is safe, because
an outcome counts only if the condition of its write proves each prediction. A wrong prediction fails the write, and the
failure returns the true image.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from resonate_store.dynamo.writes import written
from resonate_store.machine import Outcome
from resonate_store.model.execution_requests import TaskContinueAs, TaskCopy
from resonate_store.model.ids import message_id
from resonate_store.model.message_requests import MessageSend, TaskReceive
from resonate_store.model.records import Entry, Key, Record, key_of
from resonate_store.model.requests import (
    PromiseAwait,
    PromiseCreate,
    PromiseDelivered,
    PromiseRecord,
    PromiseSettle,
    Request,
    TaskCreate,
    TaskExtend,
    TaskFence,
    TaskFulfill,
    TaskRegister,
    TaskRelease,
    TaskSuspend,
    TaskSuspendRegistered,
)

MAX_REMEMBERED: Final = 10_000


class Memory:
    """The latest images of records that may be written again.

    Above `MAX_REMEMBERED` the oldest are dropped. A settled promise without outstanding effects is not written again,
    so it is not kept.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._lock = threading.Lock()

    def remember(self, entries: Mapping[Key, Entry | None]) -> None:
        """Store the latest images. None is an entry that does not exist."""
        with self._lock:
            for (kind, id), entry in entries.items():
                if kind == "promise":
                    self._records.pop(id, None)
                if isinstance(entry, Record) and (entry.pending or entry.owes):
                    self._records[id] = entry
            while len(self._records) > MAX_REMEMBERED:
                del self._records[next(iter(self._records))]

    def predict(self, request: Request) -> dict[Key, Entry | None]:
        """Return predictions for records of `request`."""
        predicted: dict[Key, Entry | None] = {}
        for id, created in _predictable(request):
            record = self._records.get(id)
            if record is not None or created:
                predicted["promise", id] = record
        return predicted


def _predictable(request: Request) -> Iterator[tuple[str, bool]]:
    """Yield the ids of records that `request` probably writes or checks, and whether it creates them."""
    match request:
        case PromiseCreate() | PromiseRecord():
            yield request.id, True
        case TaskCreate():
            yield request.promise.id, True
        case TaskCopy():
            yield request.promise.id, True
        case TaskFence():
            yield request.id, False
            yield request.action.id, isinstance(request.action, PromiseCreate)
        case MessageSend():  # the receiver has probably changed since this store saw it, and a transaction costs more
            yield message_id(request.id, request.key), True
        case TaskReceive():
            yield request.id, False
            yield request.message, False
            if request.timed:
                yield request.place, False
        case TaskSuspend() | TaskRegister():
            yield request.id, False
            for awaited in request.awaited:
                yield awaited, False
        case (
            PromiseSettle()
            | PromiseDelivered()
            | TaskFulfill()
            | TaskRelease()
            | TaskExtend()
            | TaskSuspendRegistered()
            | TaskContinueAs()
            | PromiseAwait()
        ):
            yield request.id, False
        case _:
            pass


class Known:
    """The entries of one operation: those that were read in this try, and those that are assumed."""

    def __init__(self, assumed: dict[Key, Entry | None]) -> None:
        self._assumed = assumed
        self._relied_on: set[Key] = set()
        self._read: dict[Key, Entry | None] = {}

    def missing(self, keys: Iterable[Key]) -> list[Key]:
        return [key for key in keys if key not in self._read and key not in self._assumed]

    def entries(self, keys: Sequence[Key]) -> list[Entry | None]:
        self._relied_on |= self._assumed.keys() & keys
        return [self._read[key] if key in self._read else self._assumed[key] for key in keys]

    def current(self, key: Key) -> Entry | None:
        """Return the entry that was read for a key, or None."""
        return self._read.get(key)

    def unproven(self, outcome: Outcome) -> list[Key]:
        """Return the assumptions that the write of `outcome` does not prove. An outcome without a write proves none."""
        proven: set[Key] = set()
        if outcome.changes:
            proven = written(outcome).keys() | {key_of(record) for record in outcome.held}
        return [key for key in self._relied_on if key not in proven]

    def learn(self, read: Mapping[Key, Entry | None]) -> None:
        """Note entries that were just read. They are no longer assumptions."""
        self._read |= read
        self._relied_on -= read.keys()
        for key in read:
            self._assumed.pop(key, None)

    def outdate(self, current: Mapping[Key, Entry | None]) -> None:
        """Start again from these present entries.

        Entries that were read earlier become assumptions, as they may be outdated.
        """
        self._assumed |= self._read
        self._relied_on = set()
        self._read = {}
        self.learn(current)

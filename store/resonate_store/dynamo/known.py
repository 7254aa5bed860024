"""What a request may assume of records that it has not read.

A read costs as much time as the write that follows it. So a request is first tried on what its records most likely
are: absent, when it creates them; otherwise the image that this store wrote or read last. That is safe because an
outcome is only used when its write proves every assumption with a condition; the first wrong one fails
the write, and the failure brings the true image.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from resonate_store.dynamo.writes import written
from resonate_store.machine import Outcome
from resonate_store.model.records import Entry, Key, Record, key_of
from resonate_store.model.requests import (
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
    """The images that may still matter, the latest of each id; the oldest go when there are too many.

    What is settled and owes nobody anything is never written again, so it is not kept.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._lock = threading.Lock()

    def remember(self, entries: Mapping[Key, Entry | None]) -> None:
        """Take note of the latest images; None is an entry that does not exist."""
        with self._lock:
            for (kind, id), entry in entries.items():
                if kind == "promise":
                    self._records.pop(id, None)
                if isinstance(entry, Record) and (entry.pending or entry.owes):
                    self._records[id] = entry
            while len(self._records) > MAX_REMEMBERED:
                del self._records[next(iter(self._records))]

    def predict(self, request: Request) -> dict[Key, Entry | None]:
        """What `request` may be tried on without reading it."""
        predicted: dict[Key, Entry | None] = {}
        for id, created in _predictable(request):
            record = self._records.get(id)
            if record is not None or created:
                predicted["promise", id] = record
        return predicted


def _predictable(request: Request) -> Iterator[tuple[str, bool]]:
    """The ids of the records that `request` is likely to write or hold, and whether it creates them."""
    match request:
        case PromiseCreate() | PromiseRecord():
            yield request.id, True
        case TaskCreate():
            yield request.promise.id, True
        case TaskFence():
            yield request.id, False
            yield request.action.id, isinstance(request.action, PromiseCreate)
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
        ):
            yield request.id, False
        case _:
            pass


class Known:
    """What one operation knows of the entries: read in this try, or only assumed."""

    def __init__(self, assumed: dict[Key, Entry | None]) -> None:
        self._assumed = assumed
        self._relied_on: set[Key] = set()
        self._read: dict[Key, Entry | None] = {}

    def missing(self, keys: Iterable[Key]) -> list[Key]:
        return [key for key in keys if key not in self._read and key not in self._assumed]

    def entries(self, keys: Sequence[Key]) -> list[Entry | None]:
        self._relied_on |= self._assumed.keys() & keys
        return [self._read[key] if key in self._read else self._assumed[key] for key in keys]

    def unproven(self, outcome: Outcome) -> list[Key]:
        """The assumptions that the write of `outcome` does not prove; without a write it proves none."""
        proven: set[Key] = set()
        if outcome.changes:
            proven = written(outcome).keys() | {key_of(record) for record in outcome.held}
        return [key for key in self._relied_on if key not in proven]

    def learn(self, read: Mapping[Key, Entry | None]) -> None:
        """Take these entries, just read, for what they are."""
        self._read |= read
        self._relied_on -= read.keys()
        for key in read:
            self._assumed.pop(key, None)

    def outdate(self, current: Mapping[Key, Entry | None]) -> None:
        """Start over from these entries: what was read together with others may be as old as they were."""
        self._assumed |= self._read
        self._relied_on = set()
        self._read = {}
        self.learn(current)

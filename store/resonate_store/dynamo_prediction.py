"""What a request may assume of records that it has not read.

A read costs as much time as the write that follows it. So a request is first tried on what its records most likely
are: absent, when it creates them; otherwise the image that this store wrote or read last. That is safe because an
outcome is only used when its write proves every assumption with a condition (`unproven`); the first wrong one fails
the write, and the failure brings the true image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from resonate_store.machine import Outcome
from resonate_store.models import Key, key_of
from resonate_store.records import Entry, Record
from resonate_store.requests import (
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

    def remember(self, key: Key, entry: Entry | None) -> None:
        """Take note of the latest image of an entry."""
        self._records.pop(key[1], None) if key[0] == "promise" else None
        if isinstance(entry, Record) and (entry.pending or entry.owes):
            self._records[entry.id] = entry
            if len(self._records) > MAX_REMEMBERED:
                self._records.pop(next(iter(self._records)), None)

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


def unproven(assumed: Iterable[Key], outcome: Outcome) -> list[Key]:
    """Those assumptions that the write of `outcome` does not prove; without a write it proves none."""
    if not outcome.changes:
        return list(assumed)
    proven = {key_of(after or before) for before, after in outcome.changes if (after or before) is not None}
    proven |= {key_of(record) for record in outcome.held}
    return [key for key in assumed if key not in proven]

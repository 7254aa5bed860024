"""The workspace of one transition.

A transition is a generator. It yields what it needs to see, is sent the answer, and returns an `Outcome`: the response
and the records to write. The draft in between does, once for every request kind, what all of them owe the record:
a due promise is settled before anybody acts on it (docs/rules.md P4), and every write counts `rev` up, stamps its
instant and moves `wake_at`. Nothing here reads a clock or a disk, so every substrate can drive it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from resonate_store.machine.effects import Change
from resonate_store.model.records import (
    EMPTY,
    Entry,
    PromiseState,
    PromiseView,
    Record,
    Schedule,
    ScheduleRecord,
    Task,
    TaskRecord,
    Value,
)
from resonate_store.model.requests import Response, Search
from resonate_store.model.tags import TIMER

REDELIVERY_MS = 60_000
"""How long a settlement may take to reach everybody before the sweep repeats it."""


class NeedRecords(Struct, frozen=True):
    """The promise records with these ids; answered by a tuple of `Record | None`."""

    ids: tuple[str, ...]


class NeedSchedule(Struct, frozen=True):
    """The schedule with this id; answered by `ScheduleRecord | None`."""

    id: str


class NeedChildren(Struct, frozen=True):
    """The direct children of this promise; answered by a tuple of records."""

    id: str


Place = tuple[int | str, str]
"""A place in the order in which a substrate goes through its records.

A place in the order of the search itself begins with a number and is understood everywhere; one that begins with a text
is the substrate's own.
"""
Shown = PromiseView | Task | Schedule


class NeedPage(Struct, frozen=True, eq=False):
    """What a search finds after a place in its order; answered by a `Page`, or None if there is no such place."""

    search: Search
    after: Place | None
    now: int


class Page(Struct, frozen=True):
    """What was found, and where to go on from; a `position` of None says that this was all."""

    found: tuple[Shown, ...]
    position: Place | None = None


Need = NeedRecords | NeedSchedule | NeedChildren | NeedPage


class Outcome(Struct, frozen=True):
    """What a transition decided.

    `changes` are written together or not at all. `held` are task records that must still be held at the version they
    show when that happens, although they are not written.
    """

    response: Response
    changes: tuple[Change, ...] = ()
    held: tuple[Record, ...] = ()


Transition = Generator[Need, Any, Outcome]


def settled(record: Record, state: PromiseState, value: Value, at: int) -> Record:
    """The record after its settlement; its task is fulfilled in the same write (docs/rules.md T4)."""
    task = record.task
    if task is not None:
        task = TaskRecord("fulfilled", task.version)
    return replace(record, state=state, value=value, settled_at=at, task=task)


def timeout_state(tags: dict[str, str]) -> PromiseState:
    """What a promise with these tags becomes when its time is up: a timer has elapsed, anything else was late."""
    return "resolved" if tags.get(TIMER) == "true" else "rejected_timedout"


def materialised(record: Record, now: int) -> Record:
    """The record with a due deadline acted on (docs/rules.md P4)."""
    if not record.pending or record.timeout_at > now:
        return record
    return settled(record, timeout_state(record.tags), EMPTY, record.timeout_at)


def due_at(record: Record, now: int) -> int | None:
    """The earliest instant at which anything is due on the record, if ever."""
    if not record.pending:
        return now + REDELIVERY_MS if record.owes else None
    deadline = record.timeout_at if record.armed else None
    at = _task_due_at(record.task)
    if deadline is None or (at is not None and at < deadline):
        return at
    return deadline


def _task_due_at(task: TaskRecord | None) -> int | None:
    """When the task is offered again, or its lease ends."""
    if task is None:
        return None
    if task.state == "pending":
        return task.retry_at
    return task.expires_at if task.state == "acquired" else None


class Draft:
    """The records of one transition, as read and as they shall be."""

    __slots__ = ("_after", "_before", "_held", "_rearmed", "now")

    def __init__(self, now: int) -> None:
        self.now = now
        self._before: dict[str, Record | None] = {}
        self._after: dict[str, Record | None] = {}
        self._held: tuple[Record, ...] = ()
        self._rearmed: tuple[str, ...] = ()

    def read(self, *ids: str) -> Generator[Need, Any, tuple[Record | None, ...]]:
        """The current records with these ids, due deadlines acted on."""
        found: tuple[Record | None, ...] = yield NeedRecords(ids)
        for id, record in zip(ids, found, strict=True):
            self._before[id] = record
            self._after[id] = None if record is None else materialised(record, self.now)
        return tuple([self._after[id] for id in ids])

    def put(self, record: Record) -> Record:
        """Take `record` as the new image of its id."""
        self._after[record.id] = record
        return record

    def hold(self, record: Record) -> None:
        """Require that the task of `record` is still held as it is now when the changes are written."""
        self._held += (record,)

    def rearm(self, id: str) -> None:
        """Set the wake-up to exactly what is due; otherwise one in the future only moves earlier (docs/rules.md C2)."""
        self._rearmed += (id,)

    def outcome(self, response: Response) -> Outcome:
        changes: list[Change] = []
        for id, after in self._after.items():
            before = self._before.get(id)
            exact = id in self._rearmed
            if after is None or (after is before and not exact):
                continue
            wake_at = self._wake_at(before, due_at(after, self.now), exact=exact)
            if after is before and before is not None and wake_at == before.wake_at:
                continue
            rev = 1 if before is None else before.rev + 1
            changes.append(Change(before, replace(after, wake_at=wake_at, written_at=self.now, rev=rev)))
        return Outcome(response, tuple(changes), self._held)

    def _wake_at(self, before: Record | None, due: int | None, *, exact: bool) -> int | None:
        if before is None or before.wake_at is None or before.wake_at <= self.now or due is None or exact:
            return due
        return min(before.wake_at, due)


def first_written(record: Record, now: int) -> Record:
    """A new record with the bookkeeping of its first write."""
    return replace(record, wake_at=due_at(record, now), written_at=now, rev=1)


def stamped_schedule(after: ScheduleRecord, before: ScheduleRecord | None, now: int) -> ScheduleRecord:
    """The schedule with the bookkeeping of a write; it is due when it next runs, unless it is paused."""
    rev = 1 if before is None else before.rev + 1
    return replace(after, wake_at=None if after.paused else after.next_run_at, written_at=now, rev=rev)


def deletion(before: Entry) -> Change:
    """The change that removes an entry."""
    return Change(before, None)

"""Workspace of one transition.

A transition is a generator. It yields what it needs to read, gets the answer, and returns an `Outcome`: the response
and the records to write. The draft does what is the same for all kinds of requests. It settles a due promise before the
transition sees it (docs/rules.md P4). For each write it increases `rev`, sets the instant of the write and computes
`wake_at`. This module reads no clock and no storage, so every store can drive a transition.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from resonate_store.machine.effects import Change
from resonate_store.model.execution_requests import ExecutionView
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
"""How long (ms) the delivery of a settlement may take before the sweep repeats it."""


class NeedRecords(Struct, frozen=True):
    """What a transition yields to read promise records. The answer is a tuple of `Record | None`, in the same order."""

    ids: tuple[str, ...]


class NeedSchedule(Struct, frozen=True):
    """What a transition yields to read a schedule. The answer is `ScheduleRecord | None`."""

    id: str


class NeedChildren(Struct, frozen=True):
    """What a transition yields to read the direct children of a promise. The answer is a tuple of records.

    If `generation` is not None, only the children of this generation are read.
    """

    id: str
    generation: int | None = None


Place = tuple[int | str, str]
"""Position in the order in which a store reads its records for a search.

A position in the order of the search itself begins with a number, and every store can continue from it. A position that
begins with a text has a meaning in one store only.
"""
Shown = PromiseView | Task | Schedule | ExecutionView


class NeedPage(Struct, frozen=True, eq=False):
    """What a transition yields to read one page of a search.

    The page begins after the position `after`, or at the beginning. The answer is a `Page`, or None if the position is
    not valid.
    """

    search: Search
    after: Place | None
    now: int


class Page(Struct, frozen=True):
    """One page of a search. The next page begins after `position`; None means that this page is the last."""

    found: tuple[Shown, ...]
    position: Place | None = None


class NeedCounts(Struct, frozen=True, eq=False):
    """What a transition yields to count executions that were created from `since` until before `until` (ms).

    The answer is an `executions.Counted`.
    """

    since: int | None
    until: int | None


Need = NeedRecords | NeedSchedule | NeedChildren | NeedPage | NeedCounts


class Outcome(Struct, frozen=True):
    """Decision of a transition.

    The store writes all `changes` in one transaction, or none. It does so only if each task in `held` is still acquired
    at the same version. The records in `held` are checked and not written.
    """

    response: Response
    changes: tuple[Change, ...] = ()
    held: tuple[Record, ...] = ()


Transition = Generator[Need, Any, Outcome]


def settled(record: Record, state: PromiseState, value: Value, at: int) -> Record:
    """Return the record after its settlement. Its task is fulfilled in the same write (docs/rules.md T4)."""
    task = record.task
    if task is not None:
        task = TaskRecord("fulfilled", task.version)
    return replace(record, state=state, value=value, settled_at=at, task=task, cancel=None)


def timeout_state(tags: dict[str, str]) -> PromiseState:
    """Return the state of a promise after its deadline: "resolved" for a timer, else "rejected_timedout"."""
    return "resolved" if tags.get(TIMER) == "true" else "rejected_timedout"


def materialised(record: Record, now: int) -> Record:
    """Return the record, settled if its deadline has passed (docs/rules.md P4)."""
    if not record.pending or record.timeout_at > now:
        return record
    return settled(record, timeout_state(record.tags), EMPTY, record.timeout_at)


def due_at(record: Record, now: int) -> int | None:
    """Return the earliest instant (ms) at which anything is due on the record, or None (docs/rules.md C2)."""
    if not record.pending:
        return now + REDELIVERY_MS if record.owes else None
    if record.task is not None and record.task.covered:
        return None
    deadline = record.timeout_at if record.armed else None
    at = _task_due_at(record.task)
    if deadline is None or (at is not None and at < deadline):
        return at
    return deadline


def _task_due_at(task: TaskRecord | None) -> int | None:
    """Return when (ms) the task is offered again or its lease ends, or None."""
    if task is None:
        return None
    if task.state == "pending":
        return task.retry_at
    return task.expires_at if task.state == "acquired" else None


class Draft:
    """The records of one transition: their images as read, and the images to write."""

    __slots__ = ("_after", "_before", "_held", "_left", "_rearmed", "now")

    def __init__(self, now: int) -> None:
        self.now = now
        self._before: dict[str, Record | None] = {}
        self._after: dict[str, Record | None] = {}
        self._held: tuple[Record, ...] = ()
        self._rearmed: tuple[str, ...] = ()
        self._left: dict[str, int] = {}

    def read(self, *ids: str) -> Generator[Need, Any, tuple[Record | None, ...]]:
        """Read the records with these ids. Due promises are settled in the result."""
        found: tuple[Record | None, ...] = yield NeedRecords(ids)
        for id, record in zip(ids, found, strict=True):
            self._before[id] = record
            self._after[id] = None if record is None else materialised(record, self.now)
        return tuple([self._after[id] for id in ids])

    def unchanged(self, id: str) -> bool:
        """Return whether the transition has no change of this record, not even that its deadline has passed."""
        return self._after[id] is self._before[id]

    def put(self, record: Record) -> Record:
        """Set the image to write for the id of `record`, and return it."""
        self._after[record.id] = record
        return record

    def hold(self, record: Record) -> None:
        """Require that the task of `record` is still acquired at this version when the changes are written."""
        self._held += (record,)

    def rearm(self, id: str) -> None:
        """Set the wake-up of this record to the instant that is due, also if it is later (docs/rules.md C2)."""
        self._rearmed += (id,)

    def leave(self, id: str, until: int) -> None:
        """Clear the wake-up of a record if it comes before the instant `until` (ms) (C8)."""
        self._left[id] = until

    def outcome(self, response: Response) -> Outcome:
        changes: list[Change] = []
        for id, after in self._after.items():
            before = self._before.get(id)
            settles = before is not None and before.pending and after is not None and not after.pending
            exact = id in self._rearmed and not settles
            if after is None or (after is before and not exact):
                continue
            wake_at = self._wake_at(before, after, exact=exact)
            if wake_at is not None and wake_at < self._left.get(id, 0):
                wake_at = None
            if after is before and before is not None and wake_at == before.wake_at:
                continue
            rev = 1 if before is None else before.rev + 1
            changes.append(Change(before, replace(after, wake_at=wake_at, written_at=self.now, rev=rev)))
        return Outcome(response, tuple(changes), self._held)

    def _wake_at(self, before: Record | None, after: Record, *, exact: bool) -> int | None:
        due = due_at(after, self.now)
        if due is not None and before is not None and before.wake_at is not None and not after.pending and not exact:
            # The settlement is delivered at once, and then has no wake-up. If not, the sweep finds the old one.
            return min(before.wake_at, due)
        if before is None or before.wake_at is None or before.wake_at <= self.now or exact:
            return due
        if due is None:
            # A wait often ends before its wake-up. Removing it now, and setting it again, would cost two writes.
            return before.wake_at if after.pending else None
        return min(before.wake_at, due)


def first_written(record: Record, now: int) -> Record:
    """Return a new record with `wake_at`, `written_at` and `rev` set for its first write."""
    return replace(record, wake_at=due_at(record, now), written_at=now, rev=1)


def stamped_schedule(after: ScheduleRecord, before: ScheduleRecord | None, now: int) -> ScheduleRecord:
    """Return the schedule `after` with `wake_at`, `written_at` and `rev` set for its write.

    It is due at `next_run_at`, unless it is paused.
    """
    rev = 1 if before is None else before.rev + 1
    return replace(after, wake_at=None if after.paused else after.next_run_at, written_at=now, rev=rev)


def deletion(before: Entry) -> Change:
    """Return the change that deletes an entry."""
    return Change(before, None)

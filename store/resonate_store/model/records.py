"""What the store keeps, and what it shows.

`Record` is the aggregate: a promise, its task if it has one, and everybody who waits on it, in one item, so that a
settlement is one conditional write (docs/rules.md P1). `PromiseView`, `Task` and `Schedule` are the views of it that
travel (docs/protocol.md 1.3). Their field names in camel case are the protocol's; unset fields are omitted.

All structs are frozen; a change is a new struct. They hold plain data and no cycles, so those of which a store keeps
many are left out of garbage collection. Instants are milliseconds since the epoch, durations milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Literal, cast

from msgspec import Struct

from resonate_store.model.ids import is_below, parent
from resonate_store.model.tags import (
    EXTERNAL,
    LINEAGE,
    ORIGIN,
    PARENT,
    TARGET,
    TIMER,
)

PromiseState = Literal["pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"]
SettledState = Literal["resolved", "rejected", "rejected_canceled"]
"""The states that a client may settle a promise to (docs/rules.md P7)."""
TaskState = Literal["pending", "acquired", "suspended", "halted", "fulfilled"]
CatchUp = Literal["all", "latest", "none"]
"""Which of the occurrences that were missed are made up for: each in order, only the last, or none."""
Overlap = Literal["allow", "skip"]
"""Whether an occurrence happens while the promise of the previous one is pending."""

END_OF_TIME = 2**53
"""The last instant (ms), and the longest duration, that every JSON reader gets right."""

STANDING = "\0"
"""Stands before the awaiter's id in the key of a registration that counts for every version; no id contains it."""


class Value(Struct, frozen=True, gc=False, omit_defaults=True):
    """An opaque payload: `data` as text, plus headers that say how to read it."""

    headers: dict[str, str] | None = None
    data: str | None = None


def begins_tree(id: str, tags: Mapping[str, str]) -> bool:
    """Whether a promise is the top of a retention tree.

    It is when it names no other origin, or one that it is not below: no deletion of that one would find it. Below such
    a promise, those that name their parent go with it.
    """
    top = tags.get(ORIGIN, id)
    if id.startswith(f"{top}.") and top:  # as in nearly every case
        return False
    if top == id:
        return True
    return not is_below(id, top) and (tags.get(PARENT) or None) != parent(id)


def lineage_elsewhere(id: str, tags: Mapping[str, str]) -> list[str]:
    """The ids in a promise's lineage tags that are neither its own nor above it."""
    named = (tags[name] for name in LINEAGE if name in tags)
    return [other for other in named if other != id and not is_below(id, other)]


class Claim(Value, frozen=True, omit_defaults=True):
    """A large value that lies elsewhere: what its record keeps instead, and who reads the table may find.

    `size` is the value's in bytes. `unconfirmed` says that whatever removes unclaimed uploads may still take the
    object for one (decision 0033). Responses of a store show the value itself.
    """

    key: str = ""
    size: int = 0
    unconfirmed: bool = False


EMPTY = Value()


class PromiseView(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A promise as the protocol shows it."""

    id: str
    state: PromiseState
    param: Value
    value: Value
    tags: dict[str, str]
    timeout_at: int
    created_at: int
    settled_at: int | None = None

    @property
    def pending(self) -> bool:
        return self.state == "pending"

    @property
    def whole(self) -> bool:
        """Whether both values are here."""
        return not isinstance(self.param, Claim) and not isinstance(self.value, Claim)


class Task(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A task as the protocol shows it; what follows `pid` is ours (docs/compatibility.md).

    `retry_at` is the instant before which a pending task is not offered. `workers` is how many workers poll for it now;
    only a server that they poll knows it, and only `promise.get` shows it, of a pending task.
    `resumed_by` is shown to the worker that acquires a task: the awaited promises that have resumed it.
    """

    id: str
    state: TaskState
    version: int
    resumes: int
    ttl: int | None = None
    pid: str | None = None
    attempts: int = 0
    error: str | None = None
    halted_at: int | None = None
    retry_at: int | None = None
    workers: int | None = None
    resumed_by: tuple[str, ...] = ()


class Schedule(Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A schedule as the protocol shows it; what follows `last_run_at` is ours (docs/compatibility.md)."""

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Value
    promise_tags: dict[str, str]
    created_at: int
    next_run_at: int
    last_run_at: int | None = None
    timezone: str | None = None
    catch_up: CatchUp = "all"
    overlap: Overlap = "allow"
    paused: bool = False
    description: str | None = None
    tags: dict[str, str] = {}
    last_promise: str | None = None
    skipped_at: int | None = None
    skip_reason: str | None = None


class TaskRecord(Struct, frozen=True, gc=False, omit_defaults=True):
    """The task's half of a record.

    `offers` counts how often an execute message went out since the task became pending; zero means that it is held
    back until `retry_at`. `attempts` counts acquisitions that ended without progress (docs/rules.md L4).
    """

    state: TaskState
    version: int
    pid: str | None = None
    ttl: int | None = None
    acquired_at: int | None = None
    expires_at: int | None = None
    retry_at: int | None = None
    offers: int = 0
    resumes: tuple[str, ...] = ()
    attempts: int = 0
    error: str | None = None
    halted_at: int | None = None


class Record(Struct, frozen=True, gc=False, omit_defaults=True):
    """A promise with its task, its waiters and its bookkeeping: one item of the store.

    `callbacks` maps an awaiter's id to the task version that waits, which a later wait refreshes. An explicit
    registration has a second entry, under `STANDING` and the id, with the instant of the awaiter's creation: it counts
    for every version of this life until it is delivered, and code that does not know it finds the first entry.
    `listeners` maps an address to the instant of registration. `rev` increments with every write, `written_at` is the
    instant of the last one, `wake_at` the earliest instant at which anything may be due. `delivered` says that a
    settlement has reached everybody.
    """

    id: str
    state: PromiseState
    timeout_at: int
    created_at: int
    param: Value = EMPTY
    value: Value = EMPTY
    tags: dict[str, str] = {}
    settled_at: int | None = None
    task: TaskRecord | None = None
    callbacks: dict[str, int] = {}
    listeners: dict[str, int] = {}
    delivered: bool = False
    wake_at: int | None = None
    written_at: int = 0
    rev: int = 0

    @property
    def pending(self) -> bool:
        return self.state == "pending"

    @property
    def target(self) -> str | None:
        return self.tags.get(TARGET)

    @property
    def timer(self) -> bool:
        return self.tags.get(TIMER) == "true"

    @property
    def root(self) -> bool:
        """Whether this record is the top of a retention tree (docs/rules.md E1)."""
        return begins_tree(self.id, self.tags)

    @property
    def armed(self) -> bool:
        """Whether its deadline is kept without anybody reading it (docs/rules.md P8)."""
        return bool(
            TARGET in self.tags or self.timer or self.tags.get(EXTERNAL) == "true" or self.callbacks or self.listeners
        )

    @property
    def owes(self) -> bool:
        """Whether its settlement still has to reach somebody."""
        if self.delivered or self.state == "pending":
            return False
        return bool(self.callbacks or self.listeners) or begins_tree(self.id, self.tags)

    @property
    def waiters(self) -> list[tuple[str, int | None]]:
        """The ids of the tasks that wait, each with the version that does; None if every version does."""
        waiters: list[tuple[str, int | None]] = []
        for key, version in self.callbacks.items():
            if key.startswith(STANDING):
                waiters.append((key.removeprefix(STANDING), None))
            elif STANDING + key not in self.callbacks:
                waiters.append((key, version))
        return waiters

    def promise(self) -> PromiseView:
        return PromiseView(
            id=self.id,
            state=self.state,
            param=self.param,
            value=self.value,
            tags=self.tags,
            timeout_at=self.timeout_at,
            created_at=self.created_at,
            settled_at=self.settled_at,
        )

    def task_view(self) -> Task | None:
        if self.task is None:
            return None
        return Task(
            id=self.id,
            state=self.task.state,
            version=self.task.version,
            resumes=len(self.task.resumes),
            ttl=self.task.ttl,
            pid=self.task.pid,
            attempts=self.task.attempts,
            error=self.task.error,
            halted_at=self.task.halted_at,
            retry_at=self.task.retry_at if self.task.state == "pending" and not self.task.offers else None,
        )


class ScheduleRecord(Struct, frozen=True, omit_defaults=True):
    """A schedule and its bookkeeping: one item of the store.

    `last_promise` is the promise of the latest occurrence that was created. `skipped_at` is the latest occurrence that
    was not, and `skip_reason` says why.
    """

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    created_at: int
    next_run_at: int
    promise_param: Value = EMPTY
    promise_tags: dict[str, str] = {}
    last_run_at: int | None = None
    timezone: str | None = None
    catch_up: CatchUp = "all"
    overlap: Overlap = "allow"
    paused: bool = False
    description: str | None = None
    tags: dict[str, str] = {}
    last_promise: str | None = None
    skipped_at: int | None = None
    skip_reason: str | None = None
    wake_at: int | None = None
    written_at: int = 0
    rev: int = 0

    def schedule(self) -> Schedule:
        return Schedule(
            id=self.id,
            cron=self.cron,
            promise_id=self.promise_id,
            promise_timeout=self.promise_timeout,
            promise_param=self.promise_param,
            promise_tags=self.promise_tags,
            created_at=self.created_at,
            next_run_at=self.next_run_at,
            last_run_at=self.last_run_at,
            timezone=self.timezone,
            # A default is left out when it is the very same object.
            catch_up=cast("CatchUp", sys.intern(self.catch_up)),
            overlap=cast("Overlap", sys.intern(self.overlap)),
            paused=self.paused,
            description=self.description,
            tags=self.tags,
            last_promise=self.last_promise,
            skipped_at=self.skipped_at,
            skip_reason=self.skip_reason,
        )


Entry = Record | ScheduleRecord

Key = tuple[Literal["promise", "schedule"], str]
"""The kind and the id of an entry."""


def key_of(entry: Entry) -> Key:
    """Return the key of an entry."""
    return ("promise" if isinstance(entry, Record) else "schedule", entry.id)

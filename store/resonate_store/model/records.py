"""Records that the stores keep, and the views of them that clients get.

A `Record` holds a promise, its task if it has one, its callbacks and its listeners in one item. A settlement is
therefore one conditional write (docs/rules.md P1). `PromiseView`, `Task` and `Schedule` are the views that travel
(docs/protocol.md 1.3). In JSON their field names are in camel case, and unset fields are omitted.

All structs are frozen: a change makes a new struct. They contain no reference cycles, so the most frequent ones are
left out of garbage collection. Instants are milliseconds since the epoch, durations are milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Literal, cast

from msgspec import Struct

from resonate_store.model.ids import is_below, is_retry_timer, parent
from resonate_store.model.tags import (
    EXTERNAL,
    KEY_STEM,
    LINEAGE,
    ORIGIN,
    PARENT,
    TARGET,
    TIMER,
)

PromiseState = Literal["pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"]
SettledState = Literal["resolved", "rejected", "rejected_canceled"]
"""The states to which a client can settle a promise (docs/rules.md P7)."""
TaskState = Literal["pending", "acquired", "suspended", "halted", "fulfilled"]
CatchUp = Literal["all", "latest", "none"]
"""Which missed occurrences are created: all in order, only the latest, or none (docs/rules.md S5)."""
Overlap = Literal["allow", "skip"]
"""Whether an occurrence is created while the promise of the previous one is pending (docs/rules.md S6)."""

END_OF_TIME = 2**53
"""The last instant (ms) and the longest duration (ms). JSON readers represent integers exactly up to this number."""

STANDING = "\0"
"""Prefix of the awaiter's id in the key of an explicit callback (docs/rules.md W4). Ids cannot contain it."""


class Value(Struct, frozen=True, gc=False, omit_defaults=True):
    """A payload that the store does not interpret: a text, and headers that say how to read it."""

    headers: dict[str, str] | None = None
    data: str | None = None


def begins_tree(id: str, tags: Mapping[str, str]) -> bool:
    """Return whether a promise is a root, the top of a retention tree (docs/rules.md E1).

    A promise is a root if it names no other origin. It is also a root if it is not below the origin that it names,
    because the deletion of that origin would not find it. In the second case it is not a root if its tag
    `resonate:parent` names the id directly above it. It is then deleted with its parent.
    """
    top = tags.get(ORIGIN, id)
    if id.startswith(f"{top}.") and top:  # nearly every promise
        return False
    if top == id:
        return True
    return not is_below(id, top) and (tags.get(PARENT) or None) != parent(id)


def lineage_elsewhere(id: str, tags: Mapping[str, str]) -> list[str]:
    """Return the ids in a promise's lineage tags that are neither its own id nor above it.

    The beginning of its idempotency keys counts, because it can be the id of another execution.
    """
    named = (tags[name] for name in (*LINEAGE, KEY_STEM) if name in tags)
    return [other for other in named if other != id and not is_below(id, other)]


class Claim(Value, frozen=True, omit_defaults=True):
    """Reference to a large value in S3. A record, and so a reader of the table, has it in place of the value.

    `size` is the size of the value in bytes. If `unconfirmed` is true, the cleanup of unclaimed uploads may still
    delete the object (docs/decisions/0033). Responses of a store contain the value itself.
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
    def timer(self) -> bool:
        """Whether it resolves at its deadline."""
        return self.tags.get(TIMER) == "true"

    @property
    def whole(self) -> bool:
        """Whether both values are present, not only references to them."""
        return not isinstance(self.param, Claim) and not isinstance(self.value, Claim)


class Task(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel", kw_only=True):
    """A task as the protocol shows it. The fields after `pid` are additions to the official protocol.

    `resumes` is how many buffered resumes it has. `ttl` is the length of its lease in milliseconds. `attempts` is how
    many attempts in a row ended without progress (docs/rules.md L4). `error` is the error of the last one, or the
    reason of a halt. `halted_at` and `retry_at` are instants in milliseconds. A pending task is not offered before
    `retry_at`.

    `workers` is how many workers poll for a pending task now. Only a server that workers poll knows it, and only the
    response of `promise.get` has it. `resumed_by` lists the awaited promises that have resumed the task. Only the
    worker that acquires the task gets it. `cancel` is the reason of a cancellation of the execution (docs/rules.md X1).
    `generation` is the number of the present history, from 2 on. It is None for the first one (docs/rules.md G1).
    `messages` is how many messages its inbox has accepted. `receives` are the names of the messages that it waits for
    while it is suspended. `pinned` is the function version that the task is offered to (docs/rules.md N1). `awaits` is
    one of the promises that the suspended task awaits. Only an `ExecutionView` has it. `expires_at` is the instant (ms)
    at which the lease of an acquired task ends. Only the response of `promise.get` has it.
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
    cancel: str | None = None
    generation: int | None = None
    messages: int = 0
    receives: tuple[str, ...] = ()
    awaits: str | None = None
    pinned: str | None = None
    expires_at: int | None = None


class Schedule(Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A schedule as the protocol shows it. The fields after `last_run_at` are additions to the official protocol.

    `promise_timeout` is a duration in milliseconds. The other numbers are instants in milliseconds.
    """

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
    """The task in a record.

    `offers` counts the execute messages since the task became pending. At 0 the task is held back until `retry_at`.
    `attempts` counts acquisitions in a row that ended without progress (docs/rules.md L4). `covered` is whether a
    suspended task awaits a promise that is due no later than its own (docs/rules.md C8). `unawaited` are promises
    whose settlement does not resume the suspended task, although they have its callback (W19). `receives` are the names
    of messages that resume the suspended task (M3). `awaits` is one of the promises that it awaits (Q5).
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
    covered: bool = False
    unawaited: tuple[str, ...] = ()
    receives: tuple[str, ...] = ()
    awaits: str | None = None


class Inbox(Struct, frozen=True, gc=False, omit_defaults=True):
    """Counters of the messages of an execution (docs/rules.md M2).

    `accepted` counts all of them. `waiting` counts those that are not taken, and `waiting_bytes` is their size (bytes).
    """

    accepted: int = 0
    waiting: int = 0
    waiting_bytes: int = 0


class Cancellation(Struct, frozen=True, gc=False, omit_defaults=True):
    """Request to cancel an execution, made at the instant `at` (ms)."""

    at: int
    reason: str = ""


class Record(Struct, frozen=True, gc=False, omit_defaults=True):
    """A promise with its task, callbacks and listeners: one item of the store.

    - `callbacks` maps the id of an awaiter to the version of its task that waits. A later registration refreshes the
      version. An explicit callback has a second entry, whose key is `STANDING` and the id. Its number is the instant at
      which the awaiter was created. The entry counts for every version of the awaiter until it is delivered, but not if
      the awaiter was deleted and created again (docs/rules.md W4). Older releases do not know this entry and use the
      first one.
    - `listeners` maps an address to the instant of its registration.
    - `delivered` is true when all effects of the settlement have been carried out.
    - `wake_at` is the earliest instant at which anything may be due.
    - `cancel` is the request to cancel the execution, until the promise settles (docs/rules.md X1).
    - `generation` is the number of the present history of an execution that has continued as a new one. It is None in
      the first generation (docs/rules.md G1).
    - `inbox` counts the messages of the execution, if it had any.
    - `pinned` is the address of the function version to which the task is offered. An empty text means the version that
      acquires it next. None means that the task is not pinned (docs/rules.md N1).
    - `written_at` is the instant of the last write. `rev` increases by 1 with each write.
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
    cancel: Cancellation | None = None
    generation: int | None = None
    inbox: Inbox | None = None
    pinned: str | None = None

    @property
    def pending(self) -> bool:
        return self.state == "pending"

    @property
    def target(self) -> str | None:
        return self.tags.get(TARGET)

    @property
    def offered_to(self) -> str | None:
        """The address to which the task is offered: the function version that it is pinned to, else its target."""
        return self.pinned or self.target

    @property
    def timer(self) -> bool:
        return self.tags.get(TIMER) == "true"

    @property
    def root(self) -> bool:
        """Whether this record is the root of a retention tree (docs/rules.md E1)."""
        return begins_tree(self.id, self.tags)

    @property
    def armed(self) -> bool:
        """Whether the store settles the promise at its deadline without a request (docs/rules.md P8)."""
        return bool(
            TARGET in self.tags or self.timer or self.tags.get(EXTERNAL) == "true" or self.callbacks or self.listeners
        )

    @property
    def accepted(self) -> int:
        """How many messages its inbox has accepted."""
        return 0 if self.inbox is None else self.inbox.accepted

    @property
    def owes(self) -> bool:
        """Whether effects of its settlement have not been carried out yet (docs/rules.md W10)."""
        if self.delivered or self.state == "pending":
            return False
        return bool(self.callbacks or self.listeners) or begins_tree(self.id, self.tags)

    @property
    def waiters(self) -> list[tuple[str, int | None]]:
        """The ids of the tasks that wait, each with the version that waits. None means every version."""
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
        task = self.task
        if task is None:
            return None
        return Task(
            id=self.id,
            state=task.state,
            version=task.version,
            resumes=len(task.resumes),
            ttl=task.ttl,
            pid=task.pid,
            attempts=task.attempts,
            error=task.error,
            halted_at=task.halted_at,
            retry_at=task.retry_at if task.state == "pending" and not task.offers else None,
            cancel=None if self.cancel is None else self.cancel.reason,
            generation=self.generation,
            messages=self.accepted,
            receives=task.receives,
            pinned=self.pinned,
        )


class ScheduleRecord(Struct, frozen=True, omit_defaults=True):
    """A schedule: one item of the store.

    `last_promise` is the promise of the last occurrence that was created. `skipped_at` is the last occurrence that was
    left out, and `skip_reason` says why.
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
            # msgspec omits a default only if it is the identical object, so the texts are interned.
            catch_up=cast("CatchUp", sys.intern(self.catch_up)),
            overlap=cast("Overlap", sys.intern(self.overlap)),
            paused=self.paused,
            description=self.description,
            tags=self.tags,
            last_promise=self.last_promise,
            skipped_at=self.skipped_at,
            skip_reason=self.skip_reason,
        )


def shown_wait(awaited: Iterable[Record | PromiseView]) -> str | None:
    """Return which of the promises that a task awaits a list shows: a retry timer, else a call, else the first."""

    def rank(promise: Record | PromiseView) -> int:
        return 0 if is_retry_timer(promise.id) else 1 if TARGET in promise.tags and not promise.timer else 2

    first = min(awaited, key=rank, default=None)
    return None if first is None else first.id


Entry = Record | ScheduleRecord

Key = tuple[Literal["promise", "schedule"], str]
"""Kind and id of an entry."""


def key_of(entry: Entry) -> Key:
    return ("promise" if isinstance(entry, Record) else "schedule", entry.id)

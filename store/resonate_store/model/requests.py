"""Every request that the store answers, and the one shape of its answers.

The first group is the protocol's (docs/protocol.md 1.5), without the envelopes of nested actions: that is the edge's
business. The second group is internal and never on the wire: recording a finished step, and what time and deliveries
do to a record. Both are answered by the same machine.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from resonate_store.model.records import (
    EMPTY,
    CatchUp,
    Overlap,
    PromiseState,
    PromiseView,
    Schedule,
    SettledState,
    Task,
    TaskState,
    Value,
)


class PromiseGet(Struct, frozen=True, gc=False, rename="camel"):
    """Read a promise; the answer shows its task too, which lies in the same record."""

    kind: ClassVar = "promise.get"
    id: str


class PromiseCreate(Struct, frozen=True, gc=False, rename="camel"):
    """Create a promise, or find the one that has this id. `timeout_at` is an instant in milliseconds."""

    kind: ClassVar = "promise.create"
    id: str
    timeout_at: int
    param: Value = EMPTY
    tags: dict[str, str] = {}


class PromiseSettle(Struct, frozen=True, gc=False, rename="camel"):
    kind: ClassVar = "promise.settle"
    id: str
    state: SettledState
    value: Value = EMPTY


class PromiseRegisterCallback(Struct, frozen=True, rename="camel"):
    """Resume the task `awaiter` when the promise `awaited` settles."""

    kind: ClassVar = "promise.register_callback"
    awaited: str
    awaiter: str


class PromiseRegisterListener(Struct, frozen=True, rename="camel"):
    """Send the settled promise to `address`."""

    kind: ClassVar = "promise.register_listener"
    awaited: str
    address: str


class PromiseSearch(Struct, frozen=True, rename="camel"):
    """Find promises, a page at a time; without any condition, all of them.

    `tags` must all be present with these texts. `state` is what a reader would be shown: a pending promise whose
    deadline has passed counts as settled. Two conditions are our addition: the id must begin with `id`, and with
    `roots` only executions are found, the newest first, where everything else comes by id. `limit` (1 to 1,000) is
    the most that one page holds; a page may hold fewer, and only one without a `cursor` is the last.
    """

    kind: ClassVar = "promise.search"
    state: PromiseState | None = None
    tags: dict[str, str] = {}
    id: str | None = None
    roots: bool = False
    limit: int = 100
    cursor: str | None = None


class TaskGet(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "task.get"
    id: str


class TaskCreate(Struct, frozen=True, rename="camel"):
    """Create a targeted promise together with its task, acquired by `pid` for `ttl` milliseconds."""

    kind: ClassVar = "task.create"
    pid: str
    ttl: int
    promise: PromiseCreate


class TaskAcquire(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "task.acquire"
    id: str
    version: int
    pid: str
    ttl: int


class TaskRelease(Struct, frozen=True, rename="camel"):
    """Give an acquired task back.

    `handover` says that the holder ran out of time, which is nobody's failure; any other release is an attempt that
    ended, and `error` its reason (docs/rules.md L4).
    """

    kind: ClassVar = "task.release"
    id: str
    version: int
    handover: bool = False
    error: str | None = None


class TaskFulfill(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "task.fulfill"
    id: str
    version: int
    settle: PromiseSettle


class TaskSuspend(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "task.suspend"
    id: str
    version: int
    awaited: tuple[str, ...]


class TaskFence(Struct, frozen=True, rename="camel"):
    """Create or settle a promise on condition that the task is held at this version."""

    kind: ClassVar = "task.fence"
    id: str
    version: int
    action: PromiseCreate | PromiseSettle


class TaskReference(Struct, frozen=True, rename="camel"):
    id: str
    version: int


class TaskHeartbeat(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "task.heartbeat"
    pid: str
    tasks: tuple[TaskReference, ...]


class TaskHalt(Struct, frozen=True, rename="camel"):
    """Stop a task until somebody continues it.

    `version`, if given, must be the one at which the task is held; `reason` is shown to whoever looks at the task.
    """

    kind: ClassVar = "task.halt"
    id: str
    version: int | None = None
    reason: str | None = None


class TaskContinue(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "task.continue"
    id: str


class TaskSearch(Struct, frozen=True, rename="camel"):
    """Find tasks, a page at a time, like `PromiseSearch`."""

    kind: ClassVar = "task.search"
    state: TaskState | None = None
    limit: int = 100
    cursor: str | None = None


class ScheduleGet(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "schedule.get"
    id: str


class ScheduleCreate(Struct, frozen=True, rename="camel"):
    """Create a promise on every occurrence of `cron`; `promise_timeout` is a duration in milliseconds.

    What follows `promise_tags` is ours, and other servers ignore it: the IANA time zone of `cron` (UTC if None), what
    happens to occurrences that were missed or that begin before the previous one has ended, and a note and tags that
    the schedule itself keeps.
    """

    kind: ClassVar = "schedule.create"
    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Value = EMPTY
    promise_tags: dict[str, str] = {}
    timezone: str | None = None
    catch_up: CatchUp = "all"
    overlap: Overlap = "allow"
    description: str | None = None
    tags: dict[str, str] = {}


class ScheduleDelete(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "schedule.delete"
    id: str


class ScheduleSearch(Struct, frozen=True, rename="camel"):
    """Find schedules, a page at a time, like `PromiseSearch`; `tags` are those of the promises they create."""

    kind: ClassVar = "schedule.search"
    tags: dict[str, str] = {}
    limit: int = 10
    cursor: str | None = None


class SchedulePause(Struct, frozen=True, rename="camel"):
    """Ours: let no occurrence happen until the schedule is resumed."""

    kind: ClassVar = "schedule.pause"
    id: str


class ScheduleResume(Struct, frozen=True, rename="camel"):
    """Ours: go on with the next occurrence from now; those during the pause do not count as missed."""

    kind: ClassVar = "schedule.resume"
    id: str


class ScheduleTrigger(Struct, frozen=True, rename="camel"):
    """Ours: let an occurrence happen now, beside those of `cron` and even while the schedule is paused."""

    kind: ClassVar = "schedule.trigger"
    id: str


class PromiseRecord(Struct, frozen=True, gc=False):
    """Internal: store the outcome of a step that has already run (docs/rules.md P11).

    `created_at` is when the step began. It is not fenced by a task: the first writer wins and the others adopt.
    """

    kind: ClassVar = "promise.record"
    id: str
    timeout_at: int
    created_at: int
    state: SettledState
    value: Value = EMPTY
    param: Value = EMPTY
    tags: dict[str, str] = {}


class TaskRegister(Struct, frozen=True):
    """Internal: register callbacks at this version while the task stays acquired (docs/rules.md T9)."""

    kind: ClassVar = "task.register"
    id: str
    version: int
    awaited: tuple[str, ...]


class TaskSuspendRegistered(Struct, frozen=True):
    """Internal: suspend a task whose callbacks are registered, unless one of them has been resumed since."""

    kind: ClassVar = "task.suspend_registered"
    id: str
    version: int


class TaskExtend(Struct, frozen=True):
    """Internal: one task of a heartbeat."""

    kind: ClassVar = "task.extend"
    id: str
    version: int
    pid: str


class TaskVerify(Struct, frozen=True):
    """Internal: whether a task is still held at this version and its promise is pending; no value is read.

    Unless `consistent` is set, the answer may be a moment old: that costs half as much in a table.
    """

    kind: ClassVar = "task.verify"
    id: str
    version: int
    consistent: bool = False


class TaskResume(Struct, frozen=True):
    """Internal: the promise `awaited` settled; tell the task whose `version` waits for it.

    None stands for a registration that counts for every version; `awaited` keeps it until it is delivered.
    """

    kind: ClassVar = "task.resume"
    id: str
    version: int | None
    awaited: str


class PromiseDelivered(Struct, frozen=True):
    """Internal: a settlement has reached everybody who waited for it."""

    kind: ClassVar = "promise.delivered"
    id: str


class PromiseWake(Struct, frozen=True):
    """Internal: do whatever is due on a record now - its deadline, its lease, its redispatch - and re-arm it.

    `offers_apart_ms` is the longest pause before a task that no worker has taken is offered again; the machine's own if
    None.
    """

    kind: ClassVar = "promise.wake"
    id: str
    offers_apart_ms: int | None = None


class ScheduleFire(Struct, frozen=True):
    """Internal: create every occurrence of a schedule that is due now."""

    kind: ClassVar = "schedule.fire"
    id: str


ProtocolRequest = (
    PromiseGet
    | PromiseCreate
    | PromiseSettle
    | PromiseRegisterCallback
    | PromiseRegisterListener
    | PromiseSearch
    | TaskGet
    | TaskCreate
    | TaskAcquire
    | TaskRelease
    | TaskFulfill
    | TaskSuspend
    | TaskFence
    | TaskHeartbeat
    | TaskHalt
    | TaskContinue
    | TaskSearch
    | ScheduleGet
    | ScheduleCreate
    | ScheduleDelete
    | ScheduleSearch
    | SchedulePause
    | ScheduleResume
    | ScheduleTrigger
)
InternalRequest = (
    PromiseRecord
    | TaskRegister
    | TaskSuspendRegistered
    | TaskExtend
    | TaskVerify
    | TaskResume
    | PromiseDelivered
    | PromiseWake
    | ScheduleFire
)
Request = ProtocolRequest | InternalRequest
Search = PromiseSearch | TaskSearch | ScheduleSearch
"""The requests that are answered with a page of what matches."""


class Response(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The answer to any request.

    `status` is the protocol's (200, 300, 400, 404, 409, 413, 422, 503); with 4xx and 5xx `error` says what was wrong.
    `preload` holds the settled promises that a suspension refused with 300 names. `action_status` is the inner status
    of a fence: 200, or 404 when the promise to settle does not exist. A search is answered by `promises`, `tasks` or
    `schedules`, which are None in every other response, and by the `cursor` of the next page if there may be one.
    """

    status: int = 200
    error: str | None = None
    promise: PromiseView | None = None
    task: Task | None = None
    schedule: Schedule | None = None
    preload: tuple[PromiseView, ...] = ()
    action_status: int = 200
    promises: tuple[PromiseView, ...] | None = None
    tasks: tuple[Task, ...] | None = None
    schedules: tuple[Schedule, ...] | None = None
    cursor: str | None = None

    @property
    def ok(self) -> bool:
        return self.status == 200

"""Requests that a store answers, and the response to all of them. Those about schedules are in `schedule_requests`,
those about whole executions in `execution_requests`, and those about messages in `message_requests`.

The first group is the protocol's (docs/protocol.md 1.5). The envelopes of nested actions are not here; `protocol/wire`
reads them. The second group is internal and does not travel: it records finished steps, fires timers and schedules, and
delivers effects. The same state machine decides about both groups.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from resonate_store.model.execution_requests import (
    ExecutionCounts,
    ExecutionPauses,
    ExecutionRequest,
    ExecutionSearch,
    ExecutionView,
    Holder,
    TaskContinueAs,
)
from resonate_store.model.message_requests import MessageSend, StatePut, TaskPublish, TaskReceive
from resonate_store.model.message_requests import TaskRegister as TaskRegister
from resonate_store.model.message_requests import TaskSuspend as TaskSuspend
from resonate_store.model.message_requests import TaskSuspendRegistered as TaskSuspendRegistered
from resonate_store.model.records import (
    EMPTY,
    PromiseState,
    PromiseView,
    Schedule,
    SettledState,
    Task,
    TaskState,
    Value,
)
from resonate_store.model.schedule_requests import BackfillCounts, ScheduleFire, ScheduleRequest, ScheduleSearch


class PromiseGet(Struct, frozen=True, gc=False, rename="camel"):
    """Request for a promise. The response also shows its task."""

    kind: ClassVar = "promise.get"
    id: str


class PromiseCreate(Struct, frozen=True, gc=False, rename="camel"):
    """Request to create a promise. If the id exists, the response shows the stored promise.

    `timeout_at` is the deadline, an instant in milliseconds.
    """

    kind: ClassVar = "promise.create"
    id: str
    timeout_at: int
    param: Value = EMPTY
    tags: dict[str, str] = {}


class AwaitedCreate(PromiseCreate, frozen=True, gc=False):
    """Internal request to create a promise and register a callback of the task `awaiter` at `version` (W19).

    If the promise exists and is pending, the callback is registered on it. The response says in `awaited` whether this
    callback is registered.
    """

    awaiter: str = ""
    version: int = 0


class PromiseAwait(Struct, frozen=True, gc=False):
    """Internal request to register a callback of the task `awaiter` at `version` on the promise `id` (W19).

    The response says in `awaited` whether this callback is registered. It is not if the promise is settled, or has a
    callback of a later version.
    """

    kind: ClassVar = "promise.await"
    id: str
    awaiter: str
    version: int


class PromiseSettle(Struct, frozen=True, gc=False, rename="camel"):
    """Request to settle a promise. The first settlement wins (docs/rules.md P7)."""

    kind: ClassVar = "promise.settle"
    id: str
    state: SettledState
    value: Value = EMPTY


class SettleAndResume(PromiseSettle, frozen=True, gc=False):
    """Internal request to settle a promise and to resume the one task that waits for it (W21)."""


class PromiseRegisterCallback(Struct, frozen=True, rename="camel"):
    """Request to resume the task `awaiter` when the promise `awaited` settles."""

    kind: ClassVar = "promise.register_callback"
    awaited: str
    awaiter: str


class PromiseRegisterListener(Struct, frozen=True, rename="camel"):
    """Request to send the promise `awaited` to `address` when it settles."""

    kind: ClassVar = "promise.register_listener"
    awaited: str
    address: str


class PromiseSearch(Struct, frozen=True, rename="camel"):
    """Search for promises. Without conditions it finds all of them.

    `state` is the state that a reader would see: a pending promise whose deadline has passed counts as settled. A
    promise must have all `tags` with these texts. Two conditions are additions to the official protocol: the id must
    begin with `id`, and `roots` finds only the roots of executions, the newest first. Without `roots` the order is by
    id.

    One page has at most `limit` promises, 1 to 1,000. It may have fewer. Only a page without a `cursor` is the last.
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
    """Request to create a promise with a target, and its task.

    The process `pid` acquires the task for `ttl` milliseconds.
    """

    kind: ClassVar = "task.create"
    pid: str
    ttl: int
    promise: PromiseCreate


class TaskFork(PromiseCreate, frozen=True, gc=False, rename="camel"):
    """Request to create an execution whose task is halted until records are copied (docs/rules.md F1).

    It is an addition to the official protocol. The tag `resonate:forked-from` names the execution that is copied.
    `generation` is that of the history that is copied; None is the first. If the promise exists, the response shows it.
    """

    kind: ClassVar = "task.fork"
    generation: int | None = None


class TaskAcquire(Struct, frozen=True, rename="camel"):
    """Request to acquire a pending task at `version`. The process `pid` holds it for `ttl` milliseconds.

    `pin` is the address of the function version that makes the request, `lambda://name:version`. The first acquisition
    pins the task to it (docs/rules.md N1). It is an addition to the official protocol.
    """

    kind: ClassVar = "task.acquire"
    id: str
    version: int
    pid: str
    ttl: int
    pin: str | None = None


class TaskRelease(Struct, frozen=True, rename="camel"):
    """Request to release an acquired task.

    `handover` says that the holder ran out of time. Such a release does not count as an attempt. Another release
    without progress counts as one, and `error` is its reason (docs/rules.md L4).
    """

    kind: ClassVar = "task.release"
    id: str
    version: int
    handover: bool = False
    error: str | None = None


class TaskFulfill(Struct, frozen=True, rename="camel"):
    """Request to settle the promise of an acquired task. This fulfills the task."""

    kind: ClassVar = "task.fulfill"
    id: str
    version: int
    settle: PromiseSettle


class FulfillAndTakeOver(TaskFulfill, frozen=True):
    """Internal request to fulfill a task, and then to acquire the task that waited for it (W20).

    The response has the acquired task in `task`, and its promise in `preload`, if `successor` serves its target.
    """

    successor: Holder | None = None


class TaskFence(Struct, frozen=True, rename="camel"):
    """Request to create or settle another promise, on condition that the task is acquired at this version."""

    kind: ClassVar = "task.fence"
    id: str
    version: int
    action: PromiseCreate | PromiseSettle


class PromiseRecord(Struct, frozen=True, gc=False, rename="camel"):
    """Request to store the outcome of a step that has run (docs/rules.md P11).

    `created_at` is the instant at which the step began. No task fences the request: the first writer wins, and later
    writers adopt the stored outcome. A client cannot send it alone, but as the action of a `TaskRecordStep`.
    """

    kind: ClassVar = "promise.record"
    id: str
    timeout_at: int
    created_at: int
    state: SettledState
    value: Value = EMPTY
    param: Value = EMPTY
    tags: dict[str, str] = {}


class TaskRecordStep(Struct, frozen=True, rename="camel"):
    """Request to record a step if the task is acquired at this version. An addition to the official protocol.

    The write itself has no condition on the task.
    """

    kind: ClassVar = "task.record"
    id: str
    version: int
    record: PromiseRecord


class ContinueWithArguments(TaskContinueAs, frozen=True):
    """Internal request to record the arguments of the next history, and to begin it, in one write (G4).

    If a promise has the id of `arguments` already, nothing is changed. The response then has this promise, and no task.
    """

    arguments: PromiseRecord


class TaskReference(Struct, frozen=True, rename="camel"):
    id: str
    version: int


class TaskHeartbeat(Struct, frozen=True, rename="camel"):
    """Request to extend the leases of tasks that the process `pid` holds."""

    kind: ClassVar = "task.heartbeat"
    pid: str
    tasks: tuple[TaskReference, ...]


class TaskHalt(Struct, frozen=True, rename="camel"):
    """Request to halt a task until `task.continue`.

    With a `version`, the task must be acquired at this version. The task shows `reason` as its error.
    """

    kind: ClassVar = "task.halt"
    id: str
    version: int | None = None
    reason: str | None = None


class TaskContinue(Struct, frozen=True, rename="camel"):
    """Request to make a halted task pending and to offer it.

    A fork needs `copied`, which says that all its records are copied. That field is an addition to the official
    protocol.
    """

    kind: ClassVar = "task.continue"
    id: str
    copied: bool = False


class TaskSearch(Struct, frozen=True, rename="camel"):
    """Search for tasks. It has pages like `PromiseSearch`."""

    kind: ClassVar = "task.search"
    state: TaskState | None = None
    limit: int = 100
    cursor: str | None = None


class TaskExtend(Struct, frozen=True):
    """Internal request to extend the lease of one task of a heartbeat."""

    kind: ClassVar = "task.extend"
    id: str
    version: int
    pid: str


class TaskVerify(Struct, frozen=True):
    """Internal question whether a task is acquired at this version and its promise is pending. No value is read.

    Without `consistent`, DynamoDB may answer from a state that is a moment old. That costs half as much.
    """

    kind: ClassVar = "task.verify"
    id: str
    version: int
    consistent: bool = False


class TaskResume(Struct, frozen=True):
    """Internal request to resume the task `id` at `version`, because the promise `awaited` has settled.

    A `version` of None means an explicit callback, which counts for every version (docs/rules.md W4). The record of
    `awaited` has it until the request is carried out. If `successor` serves the target of the task, it acquires the
    task in the same write, and the response has the task and its promise.
    """

    kind: ClassVar = "task.resume"
    id: str
    version: int | None
    awaited: str
    successor: Holder | None = None


class PromiseDelivered(Struct, frozen=True):
    """Internal request to mark a settled promise as delivered: all its effects have been carried out."""

    kind: ClassVar = "promise.delivered"
    id: str


class PromiseWake(Struct, frozen=True):
    """Internal request to do what is due on a record: settle it, end its lease or offer its task.

    It arms the next wake-up.

    `offers_apart_ms` is the longest pause (ms) between two offers of a task. None means `tasks.MAX_PAUSE_MS`.
    `redelivery_ms` is how long (ms) after its write a settlement is left to the process that delivers it (W18).
    """

    kind: ClassVar = "promise.wake"
    id: str
    offers_apart_ms: int | None = None
    redelivery_ms: int = 0


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
    | TaskRecordStep
    | TaskFork
    | TaskHeartbeat
    | TaskHalt
    | TaskContinue
    | TaskSearch
    | ScheduleRequest
    | MessageSend
    | TaskReceive
    | TaskPublish
    | ExecutionRequest
)
InternalRequest = (
    PromiseRecord
    | TaskRegister
    | TaskSuspendRegistered
    | TaskExtend
    | TaskVerify
    | TaskResume
    | AwaitedCreate
    | PromiseAwait
    | ContinueWithArguments
    | FulfillAndTakeOver
    | SettleAndResume
    | PromiseDelivered
    | PromiseWake
    | ScheduleFire
    | StatePut
    | ExecutionPauses
)
Request = ProtocolRequest | InternalRequest
Search = PromiseSearch | TaskSearch | ScheduleSearch | ExecutionSearch
"""Requests that are answered with a page of what they find."""


class Response(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Response to any request.

    - `status` is a status of the protocol: 200, 300, 400, 404, 409, 410, 413, 422, 429 or 503. From 400 on, `error`
      says what is wrong.
    - `preload` has the settled awaited promises if a suspension was refused with 300.
    - `action_status` is the status of the action of a fence: 200, or 404 if the promise to settle does not exist.
    - `promises`, `tasks`, `schedules` or `executions` is the page of a search. They are None for other requests.
    - `cursor` names the next page. It is None on the last page.
    - `generation` is the generation of a task whose suspension was refused with 300, if it is not the first.
    - `awaited` is whether the callback of an `AwaitedCreate` or `PromiseAwait` is registered.
    - `cancel` is whether a `PromiseCancel` is "accepted", or the execution is cancelled "already". It is None if the
      promise has settled.
    - `counts` is the answer to an `ExecutionCount`. `count` is how many pauses an `ExecutionRetry` has ended, or how
      many promises an `ExecutionDelete` has deleted.
    - `backfill` is how many occurrences one step of a `ScheduleBackfill` has created, found and skipped.
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
    executions: tuple[ExecutionView, ...] | None = None
    cursor: str | None = None
    counts: ExecutionCounts | None = None
    count: int | None = None
    awaited: bool = False
    cancel: str | None = None
    generation: int | None = None
    backfill: BackfillCounts | None = None

    @property
    def ok(self) -> bool:
        return self.status == 200

"""Validation of requests before any record is read (docs/rules.md V1 to V14).

Every store calls it first, so all stores give the same error text for the same mistake. A text names what is wrong and,
if it is not obvious, what to do instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from resonate_store.machine import executions
from resonate_store.machine.checks import schedules
from resonate_store.machine.checks.fields import SETTLED_STATES, lease, limit, names, state, timeout, value, version
from resonate_store.model import addresses, ids
from resonate_store.model.execution_requests import (
    ExecutionCount,
    ExecutionSearch,
    PromiseCancel,
    TaskContinueAs,
    TaskCopy,
    TaskRepin,
    problem_with_generation,
)
from resonate_store.model.ids import problem_with_name, problem_with_place
from resonate_store.model.limits import problem_with_size, size_of
from resonate_store.model.message_requests import MessageSend, TaskPublish, TaskReceive
from resonate_store.model.records import EMPTY, END_OF_TIME
from resonate_store.model.requests import (
    AwaitedCreate,
    ContinueWithArguments,
    FulfillAndTakeOver,
    PromiseCreate,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    PromiseSettle,
    Request,
    SettleAndResume,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFork,
    TaskFulfill,
    TaskHeartbeat,
    TaskRecordStep,
    TaskSearch,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import (
    ScheduleBackfill,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
    ScheduleUpdate,
)
from resonate_store.model.tags import DELAY, FORKED_FROM, LINEAGE, ORIGIN, SCOPE, TARGET, TIMER

_INSTANT = re.compile(r"[0-9]{1,18}\Z")


def problem_with(request: Request) -> str | None:
    """Return what is wrong with `request`, or None if it is valid."""
    return CHECKS.get(type(request), by_id)(request)


def by_id(request: Any) -> str | None:
    return ids.problem_with(request.id)


def _creation(request: PromiseCreate) -> str | None:
    return (
        ids.problem_with(request.id)
        or timeout(request.timeout_at)
        or names("tag", request.tags)
        or _lineage(request)
        or value("param", request.param)
        or _dispatch(request)
    )


def _lineage(request: PromiseCreate | PromiseRecord) -> str | None:
    if set(map(request.tags.get, LINEAGE)) <= {request.id, None}:  # the lineage of a root
        return None
    for name in LINEAGE:
        named = request.tags.get(name, request.id)
        if named != request.id and (problem := ids.problem_with(named, f"id in the tag {name}")):
            return problem
    return None


def _dispatch(request: PromiseCreate) -> str | None:
    target = request.tags.get(TARGET)
    if target is not None and (problem := addresses.problem_with(target)):
        return f"Invalid {TARGET}: {problem}"
    delay = request.tags.get(DELAY)
    if delay is None:
        return None
    if not _INSTANT.match(delay):
        return f"{DELAY} must be an instant in milliseconds since the epoch, got {delay[:60]!r}"
    if int(delay) >= request.timeout_at:
        return f"{DELAY} {delay} is not before the promise's timeout {request.timeout_at}"
    return f"{DELAY} holds back a dispatch and needs a {TARGET} tag" if target is None else None


def _settlement(request: PromiseSettle) -> str | None:
    return ids.problem_with(request.id) or state(request.state) or value("value", request.value)


class _Known:
    """The tags that were last found valid, and those before them.

    Steps of a workflow that call the same function share one dictionary of tags.
    """

    tags: dict[str, str] | None = None
    earlier: dict[str, str] | None = None


def _recording(request: PromiseRecord) -> str | None:
    given = request.value
    return (
        ids.problem_with(request.id)
        or (None if 0 <= request.timeout_at <= END_OF_TIME else timeout(request.timeout_at))
        or (None if request.state in SETTLED_STATES else state(request.state))
        or (None if request.tags is _Known.tags else _tags_of_step(request.tags))
        or (None if request.param is EMPTY else value("param", request.param))
        or (None if given.headers is None and (given.data or "").isascii() else value("value", given))
    )


def _tags_of_step(tags: dict[str, str]) -> str | None:
    if tags is _Known.earlier:
        return None
    if problem := names("tag", tags):
        return problem
    if tags.get(SCOPE) != "local":
        return f"the record of a finished step is local: tag it {SCOPE}=local"
    _Known.tags, _Known.earlier = tags, _Known.tags
    return None


def _step(request: TaskRecordStep) -> str | None:
    """Check a record that a client sends. That of a worker in this process has valid tags."""
    record = request.record
    problem = ids.problem_with(request.id) or _recording(record) or _lineage(record)
    if problem is not None:
        return problem
    if record.id == request.id:
        return f"a task records the steps below it, not its own promise {request.id!r}"
    if not 0 <= record.created_at <= END_OF_TIME:
        return f"createdAt is an instant in milliseconds since the epoch and cannot be {record.created_at}"
    if TARGET in record.tags:
        return f"the record of a finished step has no task: remove {TARGET}"
    return None


def _continuation(request: TaskContinueAs) -> str | None:
    return problem_with_generation(request.id, request.generation, END_OF_TIME)


def _continuation_with_arguments(request: ContinueWithArguments) -> str | None:
    problem = problem_with_generation(request.id, request.generation, END_OF_TIME)
    return problem or _recording(request.arguments)


def _fork(request: TaskFork) -> str | None:
    problem = _creation(request) or problem_with_generation(request.id, request.generation, END_OF_TIME)
    if problem is not None:
        return problem
    if TARGET not in request.tags or request.tags.get(TIMER) == "true" or DELAY in request.tags:
        return f"a fork is an execution: it needs a {TARGET} tag, and neither {TIMER} nor {DELAY}"
    return None if request.tags.get(FORKED_FROM) else f"a fork names the execution that is copied: tag it {FORKED_FROM}"


def _copy(request: TaskCopy) -> str | None:
    copy = request.promise
    problem = (
        ids.problem_with(request.id)
        or problem_with_place(copy.id, request.id)
        or _creation(PromiseCreate(copy.id, copy.timeout_at, copy.param, copy.tags))
        or value("value", copy.value)
    )
    if problem is not None:
        return problem
    if copy.tags.get(ORIGIN) != request.id:
        return f"the copy {copy.id!r} belongs to the fork: tag it {ORIGIN}={request.id}"
    if copy.pending != (copy.settled_at is None):
        return f"the copy {copy.id!r} is {copy.state}: give settledAt for a settled promise only"
    instants = (copy.created_at, copy.created_at if copy.settled_at is None else copy.settled_at)
    if not all(0 <= at <= END_OF_TIME for at in instants):
        return f"createdAt and settledAt are instants in milliseconds since the epoch and cannot be {instants}"
    return f"a pending copy has no task: remove {TARGET}" if copy.pending and TARGET in copy.tags else None


def _callback(request: PromiseRegisterCallback) -> str | None:
    problem = ids.problem_with(request.awaited, "awaited id") or ids.problem_with(request.awaiter, "awaiter id")
    if problem is None and request.awaited == request.awaiter:
        return f"promise {request.awaited!r} cannot await itself"
    return problem


def _listener(request: PromiseRegisterListener) -> str | None:
    if problem := ids.problem_with(request.awaited, "awaited id"):
        return problem
    if problem := addresses.problem_with(request.address):
        return f"Invalid listener address: {problem}"
    return None


def _task_creation(request: TaskCreate) -> str | None:
    problem = _creation(request.promise) or lease(request.pid, request.ttl)
    if problem is not None:
        return problem
    if TARGET not in request.promise.tags:
        return f"task.create needs a {TARGET} tag: without a target there is no task"
    if request.promise.tags.get(TIMER) == "true":  # docs/rules.md P9
        return f"promise {request.promise.id!r} is a timer, which has no task: remove {TIMER} or create a promise"
    if DELAY in request.promise.tags:
        return f"task.create cannot be delayed: remove the {DELAY} tag"
    return None


def _acquisition(request: TaskAcquire) -> str | None:
    problem = ids.problem_with(request.id) or version(request.version) or lease(request.pid, request.ttl)
    return problem or addresses.problem_with_pin(request.pin)


def _fulfillment(request: TaskFulfill) -> str | None:
    problem = ids.problem_with(request.id) or _settlement(request.settle)
    if problem is None and request.settle.id != request.id:
        return f"task {request.id!r} is fulfilled by settling its own promise, not {request.settle.id!r}"
    return problem


def _suspension(request: TaskSuspend) -> str | None:
    problem = ids.problem_with(request.id) or version(request.version)
    if problem is not None:
        return problem
    for name in request.receives:
        if problem := problem_with_name("name of a message", name):
            return problem
    if not request.awaited and not request.receives:
        return f"task {request.id!r} suspends on nothing: name at least one awaited promise, or a message"
    for awaited in request.awaited:
        if problem := ids.problem_with(awaited, "awaited id"):
            return problem
        if awaited == request.id:
            return f"task {request.id!r} cannot await its own promise"
    return None


def _fence(request: TaskFence) -> str | None:
    action = request.action
    problem = ids.problem_with(request.id) or (
        _creation(action) if isinstance(action, PromiseCreate) else _settlement(action)
    )
    if problem is None and action.id == request.id:
        return f"a fence acts on another promise than its task's own, {request.id!r}"
    return problem


def _message(request: MessageSend) -> str | None:
    return (
        ids.problem_with(request.id)
        or problem_with_name("name of a message", request.name)
        or problem_with_name("idempotency key", request.key, ids.MAX_ID_BYTES)
        or ids.problem_with(ids.message_id(request.id, request.key), "id of the message")
        or value("message", request.value)
        or problem_with_size(size_of(request.value))
    )


def _receipt(request: TaskReceive) -> str | None:
    return (
        ids.problem_with(request.id)
        or version(request.version)
        or ids.problem_with(request.message, "id of the message")
        or problem_with_name("name of a message", request.name)
        or problem_with_place(request.place, request.id)
    )


def _publication(request: TaskPublish) -> str | None:
    record = PromiseRecord(request.place, request.timeout_at, 0, "resolved", request.value, tags=request.tags)
    return (
        ids.problem_with(request.id)
        or version(request.version)
        or problem_with_place(request.place, request.id)
        or problem_with_name("key of a published value", request.key)
        or ids.problem_with(ids.state_id(request.id, request.key), "id of the published value")
        or _recording(record)
        or _lineage(record)
    )


def _heartbeat(request: TaskHeartbeat) -> str | None:
    for task in request.tasks:
        if problem := ids.problem_with(task.id):
            return problem
    return None


def _promise_search(request: PromiseSearch) -> str | None:
    problem = limit(request.limit) or names("tag", request.tags)
    if problem is None and request.id:
        return ids.problem_with(request.id, "id prefix")
    return problem


def _execution_search(request: ExecutionSearch) -> str | None:
    return limit(request.limit) or names("tag", request.tags) or executions.problem_with_search(request)


def _task_search(request: TaskSearch) -> str | None:
    return limit(request.limit)


def _schedule_search(request: ScheduleSearch) -> str | None:
    return limit(request.limit) or names("tag", request.tags)


CHECKS: dict[type, Callable[[Any], str | None]] = {
    PromiseCreate: _creation,
    AwaitedCreate: _creation,
    PromiseSettle: _settlement,
    PromiseCancel: executions.problem_with_cancellation,
    SettleAndResume: _settlement,
    PromiseRecord: _recording,
    PromiseRegisterCallback: _callback,
    PromiseRegisterListener: _listener,
    PromiseSearch: _promise_search,
    ExecutionSearch: _execution_search,
    ExecutionCount: executions.problem_with_range,
    TaskCreate: _task_creation,
    TaskAcquire: _acquisition,
    TaskFulfill: _fulfillment,
    FulfillAndTakeOver: _fulfillment,
    TaskSuspend: _suspension,
    TaskFence: _fence,
    TaskRecordStep: _step,
    TaskContinueAs: _continuation,
    ContinueWithArguments: _continuation_with_arguments,
    TaskRepin: executions.problem_with_repin,
    TaskFork: _fork,
    TaskCopy: _copy,
    TaskHeartbeat: _heartbeat,
    MessageSend: _message,
    TaskReceive: _receipt,
    TaskPublish: _publication,
    TaskSearch: _task_search,
    ScheduleCreate: schedules.schedule,
    ScheduleUpdate: schedules.schedule,
    ScheduleBackfill: schedules.backfill,
    ScheduleGet: schedules.schedule_id,
    ScheduleDelete: schedules.schedule_id,
    ScheduleSearch: _schedule_search,
    ScheduleFire: schedules.schedule_id,
    SchedulePause: schedules.schedule_id,
    ScheduleResume: schedules.schedule_id,
    ScheduleTrigger: schedules.schedule_id,
}
"""Check of each kind of request. A kind that is absent has only an id to check.

Every step of a workflow is checked. A check therefore returns the first problem, and builds nothing if there is none.
"""

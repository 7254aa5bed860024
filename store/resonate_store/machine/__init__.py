"""State machine: one pure transition for each kind of request, and the loop that drives it.

A store (memory, SQLite or DynamoDB) reads records and calls `decide`. It writes the outcome on condition that the
records have not changed since, and starts again if they have. All rules are in this package, and a store adds none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from resonate_store.machine import (
    executions,
    generations,
    messages,
    promises,
    schedules,
    suspensions,
    tasks,
    wake,
)
from resonate_store.machine.draft import (
    Need,
    NeedChildren,
    NeedCounts,
    NeedPage,
    NeedRecords,
    NeedSchedule,
    Outcome,
    Transition,
)
from resonate_store.machine.search import search
from resonate_store.machine.validation import CHECKS, by_id
from resonate_store.model.execution_requests import (
    ExecutionCount,
    ExecutionGet,
    ExecutionPauses,
    ExecutionRetry,
    ExecutionSearch,
    PromiseCancel,
    TaskContinueAs,
    TaskCopy,
    TaskRepin,
)
from resonate_store.model.ids import is_retry_timer
from resonate_store.model.message_requests import MessageSend, StatePut, TaskPublish, TaskReceive
from resonate_store.model.records import Record
from resonate_store.model.requests import (
    AwaitedCreate,
    ContinueWithArguments,
    FulfillAndTakeOver,
    PromiseAwait,
    PromiseCreate,
    PromiseDelivered,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    PromiseSettle,
    PromiseWake,
    Request,
    Response,
    SettleAndResume,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskExtend,
    TaskFence,
    TaskFork,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRecordStep,
    TaskRegister,
    TaskRelease,
    TaskResume,
    TaskSearch,
    TaskSuspend,
    TaskSuspendRegistered,
    TaskVerify,
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

MAX_AWAITED = 99
"""How many promises one transaction can register callbacks on, in addition to the task itself (docs/rules.md T9)."""

TRANSITION_OF: dict[type, Callable[[Any, int], Transition]] = {
    PromiseGet: promises.get,
    PromiseCreate: promises.create,
    AwaitedCreate: promises.create_awaited,
    PromiseAwait: promises.await_one,
    PromiseSettle: promises.settle,
    PromiseCancel: executions.cancel,
    SettleAndResume: tasks.settle_and_resume,
    PromiseRegisterCallback: promises.register_callback,
    PromiseRegisterListener: promises.register_listener,
    PromiseSearch: search,
    ExecutionSearch: search,
    ExecutionGet: executions.get,
    ExecutionCount: executions.count,
    ExecutionRetry: executions.retry,
    ExecutionPauses: executions.pauses,
    PromiseRecord: promises.record_outcome,
    PromiseDelivered: promises.delivered,
    PromiseWake: wake.wake,
    TaskGet: tasks.get,
    TaskCreate: tasks.create,
    TaskAcquire: tasks.acquire,
    TaskRelease: tasks.release,
    TaskFulfill: tasks.fulfill,
    FulfillAndTakeOver: tasks.fulfill,
    TaskContinueAs: generations.continue_as,
    ContinueWithArguments: generations.continue_with,
    TaskRepin: tasks.repin,
    TaskFork: generations.fork,
    TaskCopy: generations.copy,
    TaskSuspend: suspensions.suspend,
    TaskRegister: suspensions.register,
    TaskSuspendRegistered: suspensions.suspend_registered,
    TaskFence: tasks.fence,
    TaskExtend: tasks.extend,
    TaskVerify: tasks.verify,
    TaskHalt: tasks.halt,
    TaskContinue: tasks.resume_halted,
    TaskResume: tasks.resume,
    TaskSearch: search,
    MessageSend: messages.send,
    TaskReceive: messages.receive,
    StatePut: messages.put_state,
    ScheduleGet: schedules.get,
    ScheduleCreate: schedules.create,
    ScheduleUpdate: schedules.update,
    ScheduleDelete: schedules.delete,
    SchedulePause: schedules.pause,
    ScheduleResume: schedules.resume,
    ScheduleTrigger: schedules.trigger,
    ScheduleBackfill: schedules.backfill,
    ScheduleFire: schedules.fire,
    ScheduleSearch: search,
}

_SPLIT = frozenset({TaskHeartbeat, TaskRecordStep, TaskPublish, TaskSuspend, ExecutionRetry})
"""The kinds of requests that may be several operations."""

Fetch = Callable[[Need], Any]
"""Reads from the store what a transition needs."""


def perform(request: Request, run: Callable[[Request], Response]) -> Response:
    """Validate a request, split it into its operations and run them. Most requests are one operation.

    Args:
        request: any request.
        run: carries out one operation, atomically.
    """
    problem = CHECKS.get(type(request), by_id)(request)  # `problem_with`, without its call at every step
    if problem is not None:
        return Response(status=400, error=problem)
    if type(request) not in _SPLIT:
        return run(request)
    if isinstance(request, TaskHeartbeat):
        for task in request.tasks:
            run(TaskExtend(task.id, task.version, request.pid))
        return Response()
    if isinstance(request, TaskRecordStep):
        held = run(TaskVerify(request.id, request.version, consistent=True))
        return run(request.record) if held.ok else held
    if isinstance(request, ExecutionRetry):
        return executions.retry_all(request, run)
    if isinstance(request, TaskPublish):
        for part in (TaskVerify(request.id, request.version, consistent=True), StatePut(request)):
            answer = run(part)
            if not answer.ok:
                return answer
        return run(messages.record_of(request))
    if isinstance(request, TaskSuspend) and len(set(request.awaited)) > MAX_AWAITED:
        awaited = tuple(dict.fromkeys(request.awaited))
        for start in range(0, len(awaited), MAX_AWAITED):
            chunk = awaited[start : start + MAX_AWAITED]
            response = run(TaskRegister(request.id, request.version, chunk))
            if not response.ok:
                return response
        registered = TaskSuspendRegistered(
            request.id,
            request.version,
            cancel_seen=request.cancel_seen,
            receives=request.receives,
            seen=request.seen,
            awaits=next(filter(is_retry_timer, awaited), awaited[0]),
        )
        return run(registered)
    return run(request)


def decide(request: Request, now: int, fetch: Fetch) -> Outcome:
    """Run one transition and return its outcome.

    Args:
        request: the request to decide about.
        now: the instant of the operation in milliseconds. If a record that the transition reads was written later, the
            transition starts again at that instant (docs/rules.md P6). A slow clock therefore cannot undo a write.
        fetch: reads what the transition needs.
    """
    known: dict[Need, Any] | None = None
    seen: list[tuple[Need, Any]] = []
    transition = TRANSITION_OF[type(request)]
    while True:
        steps = transition(request, now)
        answer: Any = None
        try:
            while True:
                need = steps.send(answer)
                if known is not None and need in known:
                    answer = known[need]
                else:
                    answer = fetch(need)
                    seen.append((need, answer))
                latest = _latest_write(need, answer)
                if latest > now:
                    now = latest
                    known = dict(seen)
                    break
        except StopIteration as stop:
            return stop.value


def _latest_write(need: Need, answer: Any) -> int:
    latest = 0
    if isinstance(need, NeedRecords):
        for record in cast("tuple[Record | None, ...]", answer):
            if record is not None and record.written_at > latest:
                latest = record.written_at
    elif isinstance(need, NeedSchedule) and answer is not None:
        latest = answer.written_at
    return latest


first_record = promises.first_record
first_task = tasks.first_task
with_all_told = promises.with_all_told
already_delivered = promises.already_delivered

__all__ = [
    "MAX_AWAITED",
    "Fetch",
    "NeedChildren",
    "NeedCounts",
    "NeedPage",
    "NeedRecords",
    "NeedSchedule",
    "Outcome",
    "already_delivered",
    "decide",
    "first_record",
    "first_task",
    "perform",
    "with_all_told",
]

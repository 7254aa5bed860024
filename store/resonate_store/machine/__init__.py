"""The state machine: one pure transition per request kind, and the loop that drives one.

A substrate - memory, SQLite, DynamoDB - reads records, runs `decide`, writes what it decided on condition that nothing
changed in between, and starts over if something did. It never decides anything itself; the semantics live here, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from resonate_store.machine import promises, schedules, tasks, wake
from resonate_store.machine.draft import Need, NeedChildren, NeedPage, NeedRecords, NeedSchedule, Outcome, Transition
from resonate_store.machine.search import search
from resonate_store.machine.validation import problem_with
from resonate_store.model.records import Record
from resonate_store.model.requests import (
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
    ScheduleCreate,
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskExtend,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRegister,
    TaskRelease,
    TaskResume,
    TaskSearch,
    TaskSuspend,
    TaskSuspendRegistered,
    TaskVerify,
)

MAX_AWAITED = 99
"""Promises that one transaction can register callbacks on, besides the task itself (docs/rules.md T9)."""

_TRANSITIONS: dict[type, Callable[[Any, int], Transition]] = {
    PromiseGet: promises.get,
    PromiseCreate: promises.create,
    PromiseSettle: promises.settle,
    PromiseRegisterCallback: promises.register_callback,
    PromiseRegisterListener: promises.register_listener,
    PromiseSearch: search,
    PromiseRecord: promises.record_outcome,
    PromiseDelivered: promises.delivered,
    PromiseWake: wake.wake,
    TaskGet: tasks.get,
    TaskCreate: tasks.create,
    TaskAcquire: tasks.acquire,
    TaskRelease: tasks.release,
    TaskFulfill: tasks.fulfill,
    TaskSuspend: tasks.suspend,
    TaskRegister: tasks.register,
    TaskSuspendRegistered: tasks.suspend_registered,
    TaskFence: tasks.fence,
    TaskExtend: tasks.extend,
    TaskVerify: tasks.verify,
    TaskHalt: tasks.halt,
    TaskContinue: tasks.resume_halted,
    TaskResume: tasks.resume,
    TaskSearch: search,
    ScheduleGet: schedules.get,
    ScheduleCreate: schedules.create,
    ScheduleDelete: schedules.delete,
    SchedulePause: schedules.pause,
    ScheduleResume: schedules.resume,
    ScheduleTrigger: schedules.trigger,
    ScheduleFire: schedules.fire,
    ScheduleSearch: search,
}

Fetch = Callable[[Need], Any]
"""Answers one need of a transition from the substrate's records."""


def perform(request: Request, run: Callable[[Request], Response]) -> Response:
    """Carry a request out as the operations it consists of; most are one.

    Args:
        request: any request.
        run: carries out one operation, atomically.
    """
    problem = problem_with(request)
    if problem is not None:
        return Response(status=400, error=problem)
    if isinstance(request, TaskHeartbeat):
        for task in request.tasks:
            run(TaskExtend(task.id, task.version, request.pid))
        return Response()
    if isinstance(request, TaskSuspend) and len(set(request.awaited)) > MAX_AWAITED:
        awaited = tuple(dict.fromkeys(request.awaited))
        for start in range(0, len(awaited), MAX_AWAITED):
            chunk = awaited[start : start + MAX_AWAITED]
            response = run(TaskRegister(request.id, request.version, chunk))
            if not response.ok:
                return response
        return run(TaskSuspendRegistered(request.id, request.version))
    return run(request)


def decide(request: Request, now: int, fetch: Fetch) -> Outcome:
    """Run one transition to its outcome.

    `now` (milliseconds) is the operation's only reading of the clock, raised to the last write of any record it reads
    (docs/rules.md P6), in which case the transition starts over: a clock that lags behind another must not undo
    what they have acted on.
    """
    known: dict[Need, Any] | None = None
    seen: list[tuple[Need, Any]] = []
    transition = _TRANSITIONS[type(request)]
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

__all__ = [
    "MAX_AWAITED",
    "Fetch",
    "NeedChildren",
    "NeedPage",
    "NeedRecords",
    "NeedSchedule",
    "Outcome",
    "decide",
    "first_record",
    "first_task",
    "perform",
    "with_all_told",
]

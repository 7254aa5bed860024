"""A request and a response of every kind."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from resonate_store.model.execution_requests import (
    ExecutionCount,
    ExecutionCounts,
    ExecutionDelete,
    ExecutionGet,
    ExecutionRetry,
    ExecutionSearch,
    ExecutionView,
    PromiseCancel,
    TaskContinueAs,
    TaskCopy,
    TaskRepin,
)
from resonate_store.model.message_requests import MessageSend, TaskPublish, TaskReceive
from resonate_store.model.records import PromiseView, Schedule, Task, Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    PromiseSettle,
    ProtocolRequest,
    Response,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFork,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRecordStep,
    TaskReference,
    TaskRelease,
    TaskSearch,
    TaskSuspend,
)
from resonate_store.model.schedule_requests import (
    BackfillCounts,
    ScheduleBackfill,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
    ScheduleUpdate,
)

CREATE = PromiseCreate("a.1", 1000, Value({"h": "1"}, "ZGF0YQ=="), {"resonate:target": "poll://any@default"})
SETTLE = PromiseSettle("a", "rejected_canceled", Value(data="dg=="))
RECORD = PromiseRecord("a.1", 1000, 5, "rejected", Value(data="dg=="), tags={"resonate:scope": "local"})
PROMISE = PromiseView(
    id="a", state="pending", param=Value(), value=Value(data="x"), tags={"k": "v"}, timeout_at=1000, created_at=5
)
SETTLED = msgspec.structs.replace(PROMISE, state="resolved", settled_at=7)
TASK = Task(id="a", state="acquired", version=3, resumes=1, ttl=60_000, pid="p")
CANCELLED = msgspec.structs.replace(TASK, cancel="too late")
SCHEDULE = Schedule(
    id="s",
    cron="* * * * *",
    promise_id="{{.id}}",
    promise_timeout=10,
    promise_param=Value(),
    promise_tags={},
    created_at=1,
    next_run_at=2,
)
SHOWN_PROMISE: dict[str, Any] = {
    "id": "a",
    "state": "pending",
    "param": {},
    "value": {"data": "x"},
    "tags": {"k": "v"},
    "timeoutAt": 1000,
    "createdAt": 5,
}
SHOWN_SETTLED = {**SHOWN_PROMISE, "state": "resolved", "settledAt": 7}
SHOWN_TASK = {"id": "a", "state": "acquired", "version": 3, "resumes": 1, "ttl": 60000, "pid": "p"}
SHOWN_SCHEDULE = {
    "id": "s",
    "cron": "* * * * *",
    "promiseId": "{{.id}}",
    "promiseTimeout": 10,
    "promiseParam": {},
    "promiseTags": {},
    "createdAt": 1,
    "nextRunAt": 2,
}
"""The same records in JSON."""
EXECUTION = ExecutionView(
    promise=PROMISE, status="retrying", task=TASK, awaited=SETTLED, awaited_task=TASK, shortened=True
)
SHOWN_EXECUTION = {
    "promise": SHOWN_PROMISE,
    "status": "retrying",
    "task": SHOWN_TASK,
    "awaited": SHOWN_SETTLED,
    "awaitedTask": SHOWN_TASK,
    "shortened": True,
}
REQUESTS: list[ProtocolRequest] = [
    PromiseGet("a"),
    CREATE,
    SETTLE,
    PromiseCancel("a"),
    PromiseCancel("a", "too late", force=True),
    PromiseRegisterCallback("a", "b"),
    PromiseRegisterListener("a", "https://example.com"),
    PromiseSearch(),
    PromiseSearch("resolved", {"k": "v"}, "a.", limit=7, cursor="after"),
    PromiseSearch(roots=True),
    TaskGet("a"),
    TaskCreate("p", 60_000, CREATE),
    TaskAcquire("a", 1, "p", 60_000),
    TaskAcquire("a", 1, "p", 60_000, "lambda://worker:7"),
    TaskRelease("a", 1),
    TaskRelease("a", 1, handover=True, error="out of time"),
    TaskFulfill("a", 1, SETTLE),
    TaskSuspend("a", 1, ("b", "c", "b")),
    TaskSuspend("a", 1, ("b",), cancel_seen=False),
    TaskSuspend("a", 1, ("b",), cancel_seen=True),
    TaskFence("a", 1, CREATE),
    TaskFence("a", 1, SETTLE),
    TaskSuspend("a", 1, ("b",), receives=("chat",), seen=3),
    TaskSuspend("a", 1, (), receives=("chat", "stop")),
    TaskRecordStep("a", 1, RECORD),
    MessageSend("a", "chat", "k", Value(data="dg==")),
    TaskReceive("a", 1, "a.message-1", "chat", "a.1"),
    TaskReceive("a", 1, "a.message-1", "chat", "a.1", timed=True),
    TaskPublish("a", 1, "a.1", "progress", 1000, Value(data="dg=="), {"resonate:scope": "local"}),
    TaskHeartbeat("p", (TaskReference("a", 1), TaskReference("b", 2))),
    TaskHeartbeat("p", ()),
    TaskHalt("a"),
    TaskHalt("a", 4, "poison"),
    TaskContinue("a"),
    TaskContinue("a", copied=True),
    TaskContinueAs("a", 1, 2),
    ExecutionSearch(),
    ExecutionSearch("failed", "order", {"k": "v"}, "a", 5, 9, limit=7, cursor="after"),
    ExecutionGet("a"),
    ExecutionCount(),
    ExecutionCount(5, 9),
    ExecutionRetry("a"),
    ExecutionDelete("a"),
    TaskRepin("a"),
    TaskRepin("a", "lambda://worker:7"),
    TaskRepin("a", unpin=True),
    TaskFork("a", 1000, Value(data="dg=="), {"k": "v"}),
    TaskFork("a", 1000, generation=2),
    TaskCopy("a", SETTLED),
    TaskSearch(),
    TaskSearch("halted", 7, "after"),
    ScheduleGet("s"),
    ScheduleCreate("s", "* * * * *", "{{.id}}.{{.timestamp}}", 10, Value(data="x"), {"k": "v"}),
    ScheduleCreate(
        "s", "@daily", "{{.timestamp}}", 10, Value(), {}, "Europe/Berlin", "latest", "skip", "Nightly", {"team": "a"}
    ),
    ScheduleDelete("s"),
    SchedulePause("s"),
    ScheduleResume("s"),
    ScheduleTrigger("s"),
    ScheduleUpdate("s", "* * * * *", "{{.id}}.{{.timestamp}}", 10, Value(data="x"), {"k": "v"}),
    ScheduleBackfill("s", 1, 2),
    ScheduleBackfill("s", 1, 2, "skip"),
    ScheduleSearch(),
    ScheduleSearch({"k": "v"}, 7, "after"),
]
RESPONSES: list[tuple[ProtocolRequest, Response, dict[str, Any]]] = [
    (PromiseGet("a"), Response(promise=PROMISE), {"promise": SHOWN_PROMISE}),
    (PromiseGet("a"), Response(promise=PROMISE, task=TASK), {"promise": SHOWN_PROMISE, "task": SHOWN_TASK}),
    (CREATE, Response(promise=PROMISE), {"promise": SHOWN_PROMISE}),
    (SETTLE, Response(promise=SETTLED), {"promise": SHOWN_SETTLED}),
    (PromiseCancel("a"), Response(promise=SETTLED), {"promise": SHOWN_SETTLED}),
    (
        PromiseCancel("a"),
        Response(promise=PROMISE, cancel="accepted"),
        {"promise": SHOWN_PROMISE, "cancel": "accepted"},
    ),
    (PromiseRegisterCallback("a", "b"), Response(promise=PROMISE), {"promise": SHOWN_PROMISE}),
    (PromiseSearch(), Response(promises=()), {"promises": []}),
    (PromiseSearch(), Response(promises=(PROMISE,), cursor="a"), {"promises": [SHOWN_PROMISE], "cursor": "a"}),
    (TaskGet("a"), Response(task=TASK), {"task": SHOWN_TASK}),
    (
        TaskCreate("p", 1, CREATE),
        Response(task=TASK, promise=PROMISE),
        {"task": SHOWN_TASK, "promise": SHOWN_PROMISE, "preload": []},
    ),
    (
        TaskAcquire("a", 2, "p", 1),
        Response(task=TASK, promise=PROMISE, preload=(SETTLED,)),
        {"task": SHOWN_TASK, "promise": SHOWN_PROMISE, "preload": [SHOWN_SETTLED]},
    ),
    (TaskRelease("a", 1), Response(), {}),
    (TaskFulfill("a", 1, SETTLE), Response(promise=SETTLED), {"promise": SHOWN_SETTLED}),
    (TaskSuspend("a", 1, ("b",)), Response(), {}),
    (TaskSuspend("a", 1, ("b",)), Response(status=300), {"preload": []}),
    (TaskSuspend("a", 1, ("b",)), Response(status=300, preload=(SETTLED,)), {"preload": [SHOWN_SETTLED]}),
    (
        TaskSuspend("a", 1, ("b",), cancel_seen=False),
        Response(status=300, task=CANCELLED),
        {"preload": [], "task": {**SHOWN_TASK, "cancel": "too late"}},
    ),
    (
        TaskSuspend("a", 1, ("b",), receives=("chat",)),
        Response(status=300, task=TASK, preload=(SETTLED,)),
        {"preload": [SHOWN_SETTLED], "task": SHOWN_TASK},
    ),
    (
        ExecutionSearch(),
        Response(executions=(EXECUTION,), cursor="a"),
        {"executions": [SHOWN_EXECUTION], "cursor": "a"},
    ),
    (ExecutionGet("a"), Response(executions=(EXECUTION,)), {"executions": [SHOWN_EXECUTION]}),
    (
        ExecutionCount(),
        Response(counts=ExecutionCounts(pending=3, resolved=2, rejected=0, rejected_canceled=0, rejected_timedout=1)),
        {"counts": {"pending": 3, "resolved": 2, "rejected": 0, "rejectedCanceled": 0, "rejectedTimedout": 1}},
    ),
    (ExecutionRetry("a"), Response(count=2), {"count": 2}),
    (ExecutionDelete("a"), Response(count=7), {"count": 7}),
    (MessageSend("a", "chat", "k"), Response(promise=PROMISE), {"promise": SHOWN_PROMISE}),
    (TaskReceive("a", 1, "a.m", "chat", "a.1"), Response(promise=SETTLED), {"promise": SHOWN_SETTLED}),
    (TaskPublish("a", 1, "a.1", "progress", 9), Response(promise=SETTLED), {"promise": SHOWN_SETTLED}),
    (
        TaskFence("a", 1, CREATE),
        Response(promise=PROMISE, preload=(SETTLED,)),
        {
            "action": {
                "kind": "promise.create",
                "head": {"corrId": "c7", "status": 200, "version": "2026-04-01"},
                "data": {"promise": SHOWN_PROMISE},
            },
            "preload": [SHOWN_SETTLED],
        },
    ),
    (
        TaskFence("a", 1, SETTLE),
        Response(action_status=404, error="Promise not found"),
        {
            "action": {
                "kind": "promise.settle",
                "head": {"corrId": "c7", "status": 404, "version": "2026-04-01"},
                "data": "Promise not found",
            },
            "preload": [],
        },
    ),
    (TaskRecordStep("a", 1, RECORD), Response(promise=SETTLED), {"promise": SHOWN_SETTLED}),
    (TaskHeartbeat("p", ()), Response(), {}),
    (TaskHalt("a"), Response(), {}),
    (TaskContinue("a"), Response(), {}),
    (
        TaskContinueAs("a", 1, 2),
        Response(task=replace(TASK, generation=2)),
        {"task": {**SHOWN_TASK, "generation": 2}},
    ),
    (
        TaskRepin("a"),
        Response(task=replace(TASK, pinned="")),
        {"task": {**SHOWN_TASK, "pinned": ""}},
    ),
    (
        TaskFork("a", 1000),
        Response(promise=PROMISE, task=TASK),
        {"promise": SHOWN_PROMISE, "task": SHOWN_TASK},
    ),
    (TaskCopy("a", SETTLED), Response(promise=SETTLED), {"promise": SHOWN_SETTLED}),
    (TaskSearch(), Response(tasks=(TASK,)), {"tasks": [SHOWN_TASK]}),
    (ScheduleGet("s"), Response(schedule=SCHEDULE), {"schedule": SHOWN_SCHEDULE}),
    (ScheduleDelete("s"), Response(), {}),
    (SchedulePause("s"), Response(schedule=SCHEDULE), {"schedule": SHOWN_SCHEDULE}),
    (ScheduleResume("s"), Response(schedule=SCHEDULE), {"schedule": SHOWN_SCHEDULE}),
    (
        ScheduleTrigger("s"),
        Response(schedule=SCHEDULE, promise=PROMISE),
        {"schedule": SHOWN_SCHEDULE, "promise": SHOWN_PROMISE},
    ),
    (ScheduleUpdate("s", "@daily", "x", 1), Response(schedule=SCHEDULE), {"schedule": SHOWN_SCHEDULE}),
    (
        ScheduleBackfill("s", 1, 2),
        Response(schedule=SCHEDULE, backfill=BackfillCounts(1, 2, 3), cursor="2"),
        {"schedule": SHOWN_SCHEDULE, "backfill": {"created": 1, "existing": 2, "skipped": 3}, "cursor": "2"},
    ),
    (ScheduleSearch(), Response(schedules=(SCHEDULE,), cursor="s"), {"schedules": [SHOWN_SCHEDULE], "cursor": "s"}),
]

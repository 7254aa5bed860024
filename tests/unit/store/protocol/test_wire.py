"""Requests and responses survive the wire in both directions, and what is no request is refused by name."""

import json
from typing import Any

import msgspec
import pytest

from resonate_store.model.records import PromiseView, Schedule, Task, Value
from resonate_store.model.requests import (
    InternalRequest,
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    PromiseSettle,
    PromiseWake,
    ProtocolRequest,
    Response,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskReference,
    TaskRelease,
    TaskSearch,
    TaskSuspend,
)
from resonate_store.protocol.wire import (
    DATA,
    UnknownKind,
    WireError,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

CREATE = PromiseCreate("a.1", 1000, Value({"h": "1"}, "ZGF0YQ=="), {"resonate:target": "poll://any@default"})
SETTLE = PromiseSettle("a", "rejected_canceled", Value(data="dg=="))
PROMISE = PromiseView(
    id="a", state="pending", param=Value(), value=Value(data="x"), tags={"k": "v"}, timeout_at=1000, created_at=5
)
SETTLED = msgspec.structs.replace(PROMISE, state="resolved", settled_at=7)
TASK = Task(id="a", state="acquired", version=3, resumes=1, ttl=60_000, pid="p")
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

REQUESTS: list[ProtocolRequest] = [
    PromiseGet("a"),
    CREATE,
    SETTLE,
    PromiseRegisterCallback("a", "b"),
    PromiseRegisterListener("a", "https://example.com"),
    PromiseSearch(),
    PromiseSearch("resolved", {"k": "v"}, "a.", limit=7, cursor="after"),
    PromiseSearch(roots=True),
    TaskGet("a"),
    TaskCreate("p", 60_000, CREATE),
    TaskAcquire("a", 1, "p", 60_000),
    TaskRelease("a", 1),
    TaskRelease("a", 1, handover=True, error="out of time"),
    TaskFulfill("a", 1, SETTLE),
    TaskSuspend("a", 1, ("b", "c", "b")),
    TaskFence("a", 1, CREATE),
    TaskFence("a", 1, SETTLE),
    TaskHeartbeat("p", (TaskReference("a", 1), TaskReference("b", 2))),
    TaskHeartbeat("p", ()),
    TaskHalt("a"),
    TaskHalt("a", 4, "poison"),
    TaskContinue("a"),
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
    ScheduleSearch(),
    ScheduleSearch({"k": "v"}, 7, "after"),
]

RESPONSES: list[tuple[ProtocolRequest, Response, dict[str, Any]]] = [
    (PromiseGet("a"), Response(promise=PROMISE), {"promise": "PROMISE"}),
    (PromiseGet("a"), Response(promise=PROMISE, task=TASK), {"promise": "PROMISE", "task": "TASK"}),
    (CREATE, Response(promise=PROMISE), {"promise": "PROMISE"}),
    (SETTLE, Response(promise=SETTLED), {"promise": "SETTLED"}),
    (PromiseRegisterCallback("a", "b"), Response(promise=PROMISE), {"promise": "PROMISE"}),
    (PromiseSearch(), Response(promises=()), {"promises": []}),
    (PromiseSearch(), Response(promises=(PROMISE,), cursor="a"), {"promises": ["PROMISE"], "cursor": "a"}),
    (TaskGet("a"), Response(task=TASK), {"task": "TASK"}),
    (
        TaskCreate("p", 1, CREATE),
        Response(task=TASK, promise=PROMISE),
        {"task": "TASK", "promise": "PROMISE", "preload": []},
    ),
    (
        TaskAcquire("a", 2, "p", 1),
        Response(task=TASK, promise=PROMISE, preload=(SETTLED,)),
        {"task": "TASK", "promise": "PROMISE", "preload": ["SETTLED"]},
    ),
    (TaskRelease("a", 1), Response(), {}),
    (TaskFulfill("a", 1, SETTLE), Response(promise=SETTLED), {"promise": "SETTLED"}),
    (TaskSuspend("a", 1, ("b",)), Response(), {}),
    (TaskSuspend("a", 1, ("b",)), Response(status=300), {"preload": []}),
    (TaskSuspend("a", 1, ("b",)), Response(status=300, preload=(SETTLED,)), {"preload": ["SETTLED"]}),
    (
        TaskFence("a", 1, CREATE),
        Response(promise=PROMISE),
        {
            "action": {
                "kind": "promise.create",
                "head": {"corrId": "c7", "status": 200, "version": "2026-04-01"},
                "data": {"promise": "PROMISE"},
            },
            "preload": [],
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
    (TaskHeartbeat("p", ()), Response(), {}),
    (TaskHalt("a"), Response(), {}),
    (TaskContinue("a"), Response(), {}),
    (TaskSearch(), Response(tasks=(TASK,)), {"tasks": ["TASK"]}),
    (ScheduleGet("s"), Response(schedule=SCHEDULE), {"schedule": "SCHEDULE"}),
    (ScheduleDelete("s"), Response(), {}),
    (SchedulePause("s"), Response(schedule=SCHEDULE), {"schedule": "SCHEDULE"}),
    (ScheduleResume("s"), Response(schedule=SCHEDULE), {"schedule": "SCHEDULE"}),
    (
        ScheduleTrigger("s"),
        Response(schedule=SCHEDULE, promise=PROMISE),
        {"schedule": "SCHEDULE", "promise": "PROMISE"},
    ),
    (ScheduleSearch(), Response(schedules=(SCHEDULE,), cursor="s"), {"schedules": ["SCHEDULE"], "cursor": "s"}),
]
RECORDS: dict[str, Any] = {
    "PROMISE": {
        "id": "a",
        "state": "pending",
        "param": {},
        "value": {"data": "x"},
        "tags": {"k": "v"},
        "timeoutAt": 1000,
        "createdAt": 5,
    },
    "SETTLED": {
        "id": "a",
        "state": "resolved",
        "param": {},
        "value": {"data": "x"},
        "tags": {"k": "v"},
        "timeoutAt": 1000,
        "createdAt": 5,
        "settledAt": 7,
    },
    "TASK": {"id": "a", "state": "acquired", "version": 3, "resumes": 1, "ttl": 60000, "pid": "p"},
    "SCHEDULE": {
        "id": "s",
        "cron": "* * * * *",
        "promiseId": "{{.id}}",
        "promiseTimeout": 10,
        "promiseParam": {},
        "promiseTags": {},
        "createdAt": 1,
        "nextRunAt": 2,
    },
}


def spelled_out(data: Any) -> Any:
    match data:
        case dict():
            return {name: spelled_out(value) for name, value in data.items()}
        case list():
            return [spelled_out(value) for value in data]
        case _:
            return RECORDS.get(data, data)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.kind)
def test_a_request_survives_the_wire(request_: ProtocolRequest) -> None:
    kind, data = encode_request(request_)

    assert kind == request_.kind
    assert decode_request(kind, msgspec.json.encode(data)) == request_
    assert decode_request(kind, json.loads(msgspec.json.encode(data))) == request_


def test_every_kind_is_tried() -> None:
    assert {request.kind for request in REQUESTS} == DATA.keys()
    assert len(DATA) == 24


@pytest.mark.parametrize(("request_", "response", "data"), RESPONSES, ids=lambda part: getattr(part, "kind", None))
def test_a_response_survives_the_wire(request_: ProtocolRequest, response: Response, data: dict[str, Any]) -> None:
    written = msgspec.json.encode(encode_response(request_, response, "c7"))

    assert json.loads(written) == spelled_out(data)
    assert decode_response(request_, response.status, written) == response


def test_optional_keys_travel_only_when_they_are_set() -> None:
    assert encode_request(TaskRelease("a", 1)) == ("task.release", {"id": "a", "version": 1})
    assert encode_request(TaskHalt("a")) == ("task.halt", {"id": "a"})


def test_actions_travel_in_envelopes() -> None:
    kind, data = encode_request(TaskSuspend("a", 1, ("b",)))

    assert (kind, msgspec.to_builtins(data)) == (
        "task.suspend",
        {
            "id": "a",
            "version": 1,
            "actions": [
                {"kind": "promise.register_callback", "head": {}, "data": {"awaited": "b", "awaiter": "a"}},
            ],
        },
    )


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500])
def test_a_failure_is_a_bare_string(status: int) -> None:
    failure = Response(status=status, error="because")

    assert encode_response(PromiseGet("a"), failure) == "because"
    assert decode_response(PromiseGet("a"), status, b'"because"') == failure
    assert decode_response(PromiseGet("a"), status, {"error": "because"}) == failure


def test_a_failure_that_is_neither_is_shown_as_it_is() -> None:
    assert decode_response(PromiseGet("a"), 502, {"message": "bad"}).error == '{"message":"bad"}'


@pytest.mark.parametrize("kind", sorted(request.kind for request in InternalRequest.__args__))
def test_an_internal_request_is_unknown_on_the_wire(kind: str) -> None:
    with pytest.raises(UnknownKind, match=rf"Unknown operation: {kind}"):
        decode_request(kind, {"id": "a"})


def test_an_internal_request_is_not_sent() -> None:
    with pytest.raises(WireError, match=r"promise\.wake is internal"):
        encode_request(PromiseWake("a"))  # type: ignore[arg-type]
    with pytest.raises(WireError, match=r"promise\.record is internal"):
        encode_request(PromiseRecord("a", 1, 1, "resolved"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("promise.get", {}, "^Invalid request: .*id"),
        ("promise.get", {"id": 7}, "^Invalid request: .*id"),
        ("promise.get", [], "^Invalid request: "),
        ("promise.get", b'{"id": "a"', "^Invalid request: "),
        ("promise.get", b'{"id": "\xff"}', "^Invalid request: "),
        ("promise.get", b'{"id": "\\ud800 \\u0041"}', "^Invalid request: "),
        ("promise.get", {"id": "\ud800"}, "^Invalid request: "),
        ("promise.get", b'{"id": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deeply"),
        ("promise.create", {"id": "a"}, "timeoutAt"),
        ("promise.create", {"id": "a", "timeoutAt": 1.5}, "timeoutAt"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "tags": {"a": 1}}, "tags"),
        ("promise.settle", {"id": "a", "state": "pending"}, "state"),
        ("promise.settle", {"id": "a", "state": "rejected_timedout"}, "state"),
        ("promise.search", {"state": "lost"}, "state"),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"head": {}, "data": {"id": "a", "timeoutAt": 1}}}, "kind"),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"kind": "", "data": {"id": "a", "timeoutAt": 1}}}, "head"),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"kind": "", "head": 0, "data": {}}}, "id"),
        (
            "task.suspend",
            {
                "id": "a",
                "version": 1,
                "actions": [{"kind": "", "head": {}, "data": {"awaited": "b", "awaiter": "c"}}],
            },
            "another awaiter",
        ),
        (
            "task.fence",
            {"id": "a", "version": 1, "action": {"kind": "promise.get", "data": {"id": "b"}}},
            "Invalid fence action kind: 'promise.get'",
        ),
        (
            "task.fence",
            {"id": "a", "version": 1, "action": {"kind": "promise.settle", "data": {"id": "b"}}},
            "fence's action: .*state",
        ),
        ("task.heartbeat", {"pid": "p", "tasks": [{"id": "a"}]}, "version"),
    ],
)
def test_what_is_no_request_is_refused_by_name(kind: str, data: Any, message: str) -> None:
    with pytest.raises(WireError, match=message):
        decode_request(kind, data)


@pytest.mark.parametrize(("sent", "kept"), [(2**53, 2**53), (2**53 + 1, 2**53), (2**63 - 1, 2**53), (2**63, 2**63)])
def test_timeout_beyond_the_last_instant_is_read_as_never(sent: int, kept: int) -> None:
    create = {"id": "p", "timeoutAt": sent}
    action = {"kind": "promise.create", "head": {}, "data": create}
    task: Any = decode_request("task.create", {"pid": "p", "ttl": 1, "action": action})
    fence: Any = decode_request("task.fence", {"id": "t", "version": 1, "action": action})
    read: list[Any] = [decode_request("promise.create", create), task.promise, fence.action]
    assert [creation.timeout_at for creation in read] == [kept] * 3
    schedule = {"id": "s", "cron": "* * * * *", "promiseId": "x", "promiseTimeout": sent}
    read = [decode_request("schedule.create", schedule)]
    assert [each.promise_timeout for each in read] == [kept]


def test_what_the_protocol_does_not_know_is_ignored() -> None:
    assert decode_request("promise.get", {"id": "a", "later": [1]}) == PromiseGet("a")
    assert decode_response(TaskGet("a"), 200, {"task": RECORDS["TASK"], "later": 1}) == Response(task=TASK)


@pytest.mark.parametrize(
    ("request_", "data", "message"),
    [
        (PromiseGet("a"), {}, "holds no promise"),
        (TaskAcquire("a", 0, "p", 1), {"task": RECORDS["TASK"]}, "holds no promise"),
        (TaskSearch(), {}, "holds no tasks"),
        (TaskFence("a", 1, CREATE), {}, "holds no action"),
        (TaskFence("a", 1, CREATE), {"action": {"head": {"status": 200}, "data": {}}}, "its action holds no promise"),
        (PromiseGet("a"), {"promise": {"id": "a"}}, "promise"),
        (PromiseGet("a"), b"<html>", "^Invalid response to promise.get: "),
    ],
)
def test_what_is_no_response_is_refused_by_name(request_: ProtocolRequest, data: Any, message: str) -> None:
    with pytest.raises(WireError, match=message):
        decode_response(request_, 200, data)

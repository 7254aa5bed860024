"""Requests and responses survive the wire in both directions, and what is no request is refused by name."""

import json
from typing import Any

import msgspec
import pytest

from resonate_store.model.requests import (
    InternalRequest,
    PromiseGet,
    PromiseRecord,
    PromiseWake,
    ProtocolRequest,
    Response,
    TaskAcquire,
    TaskFence,
    TaskGet,
    TaskHalt,
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
from tests.support.samples import CREATE, REQUESTS, RESPONSES, TASK

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

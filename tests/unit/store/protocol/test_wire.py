"""Requests and responses as JSON, in both directions."""

import json
from typing import Any

import msgspec
import pytest

from resonate_store.model.requests import (
    AwaitedCreate,
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
from resonate_store.protocol.forms import DATA
from resonate_store.protocol.wire import (
    UnknownKind,
    WireError,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from tests.support.samples import CREATE, REQUESTS, RESPONSES, SHOWN_TASK, TASK

RECORD_DATA = {"id": "a.1", "timeoutAt": 9, "createdAt": 1, "state": "resolved"}


def test_request_can_be_encoded_and_decoded(subtests: pytest.Subtests) -> None:
    for request in REQUESTS:
        with subtests.test(request=request):
            kind, data = encode_request(request)

            assert kind == request.kind
            assert decode_request(kind, msgspec.json.encode(data)) == request
            assert decode_request(kind, json.loads(msgspec.json.encode(data))) == request


def test_request_samples_have_all_kinds() -> None:
    assert {request.kind for request in REQUESTS} == DATA.keys()
    assert len(DATA) == 40


def test_response_can_be_encoded_and_decoded(subtests: pytest.Subtests) -> None:
    for request, response, data in RESPONSES:
        with subtests.test(request=request, response=response):
            written = msgspec.json.encode(encode_response(request, response, "c7"))

            assert json.loads(written) == data
            assert decode_response(request, response.status, written) == response


def test_request_omits_keys_that_are_not_set() -> None:
    assert encode_request(TaskRelease("a", 1)) == ("task.release", {"id": "a", "version": 1})
    assert encode_request(TaskHalt("a")) == ("task.halt", {"id": "a"})


def test_request_puts_actions_into_envelopes() -> None:
    kind, data = encode_request(TaskSuspend("a", 1, ("b",)))
    callback = {"kind": "promise.register_callback", "head": {}, "data": {"awaited": "b", "awaiter": "a"}}

    assert (kind, msgspec.to_builtins(data)) == ("task.suspend", {"id": "a", "version": 1, "actions": [callback]})


def test_response_of_a_failure_is_a_string(subtests: pytest.Subtests) -> None:
    for status in [400, 404, 409, 422, 500]:
        with subtests.test(status=status):
            failure = Response(status=status, error="because")

            assert encode_response(PromiseGet("a"), failure) == "because"
            assert decode_response(PromiseGet("a"), status, b'"because"') == failure
            assert decode_response(PromiseGet("a"), status, {"error": "because"}) == failure


def test_response_of_an_unknown_failure_is_shown_as_json() -> None:
    assert decode_response(PromiseGet("a"), 502, {"message": "bad"}).error == '{"message":"bad"}'


def test_internal_request_is_unknown_when_decoded(subtests: pytest.Subtests) -> None:
    known = {request.kind for request in ProtocolRequest.__args__}
    for kind in sorted({request.kind for request in InternalRequest.__args__} - known):
        with subtests.test(kind=kind), pytest.raises(UnknownKind, match=rf"Unknown operation: {kind}"):
            decode_request(kind, {"id": "a"})


def test_internal_request_is_not_encoded() -> None:
    with pytest.raises(WireError, match=r"promise\.wake is internal"):
        encode_request(PromiseWake("a"))  # type: ignore[arg-type]
    with pytest.raises(WireError, match=r"promise\.record is internal"):
        encode_request(PromiseRecord("a", 1, 1, "resolved"))  # type: ignore[arg-type]
    with pytest.raises(WireError, match=r"promise\.create is internal"):
        encode_request(AwaitedCreate("a", 1, awaiter="w", version=1))


def test_invalid_request_raises_an_error_that_names_it(subtests: pytest.Subtests) -> None:
    callback = {"kind": "", "head": {}, "data": {"awaited": "b", "awaiter": "c"}}
    for kind, data, message in [
        ("promise.get", {"id": 7}, "^Invalid request: .*id"),
        ("promise.get", [], "^Invalid request: "),
        ("promise.get", b'{"id": "a"', "^Invalid request: "),
        ("promise.get", b'{"id": "\xff"}', "^Invalid request: "),
        ("promise.get", b'{"id": "\\ud800 \\u0041"}', "^Invalid request: "),
        ("promise.get", {"id": "\ud800"}, "^Invalid request: "),
        ("promise.get", b'{"id": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deeply"),
        ("promise.create", {"id": "a", "timeoutAt": 1.5}, "timeoutAt"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "tags": {"a": 1}}, "tags"),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"head": {}, "data": {"id": "a", "timeoutAt": 1}}}, "kind"),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"kind": "", "data": {"id": "a", "timeoutAt": 1}}}, "head"),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"kind": "", "head": 0, "data": {}}}, "id"),
        ("task.suspend", {"id": "a", "version": 1, "actions": [callback]}, "another awaiter"),
        ("task.fence", {"id": "a", "version": 1, "action": callback}, "Invalid fence action kind: ''"),
        (
            "task.fence",
            {"id": "a", "version": 1, "action": {"kind": "promise.settle", "data": {"id": "b"}}},
            "fence's action: .*state",
        ),
        (
            "task.record",
            {"id": "a", "version": 1, "action": {"kind": "promise.create", "head": {}, "data": RECORD_DATA}},
            "Invalid record action kind: 'promise.create'",
        ),
        (
            "task.record",
            {"id": "a", "version": 1, "action": {"kind": "promise.record", "head": {}, "data": {"id": "b"}}},
            "timeoutAt",
        ),
        ("task.heartbeat", {"pid": "p", "tasks": [{"id": "a"}]}, "version"),
    ]:
        with subtests.test(kind=kind, message=message), pytest.raises(WireError, match=message):
            decode_request(kind, data)


def test_timeout_after_the_last_instant_is_read_as_never(subtests: pytest.Subtests) -> None:
    for sent, kept in [(2**53, 2**53), (2**53 + 1, 2**53), (2**63 - 1, 2**53), (2**63, 2**63)]:
        with subtests.test(sent=sent, kept=kept):
            create = {"id": "p", "timeoutAt": sent}
            action = {"kind": "promise.create", "head": {}, "data": create}
            task: Any = decode_request("task.create", {"pid": "p", "ttl": 1, "action": action})
            record = {**create, "createdAt": 1, "state": "resolved"}
            step: Any = decode_request(
                "task.record",
                {"id": "t", "version": 1, "action": {"kind": "promise.record", "head": {}, "data": record}},
            )
            fence: Any = decode_request("task.fence", {"id": "t", "version": 1, "action": action})
            read: list[Any] = [decode_request("promise.create", create), task.promise, fence.action, step.record]
            assert [creation.timeout_at for creation in read] == [kept] * 4
            schedule = {"id": "s", "cron": "* * * * *", "promiseId": "x", "promiseTimeout": sent}
            read = [decode_request("schedule.create", schedule)]
            assert [each.promise_timeout for each in read] == [kept]


def test_unknown_keys_are_ignored() -> None:
    assert decode_request("promise.get", {"id": "a", "later": [1]}) == PromiseGet("a")
    assert decode_response(TaskGet("a"), 200, {"task": SHOWN_TASK, "later": 1}) == Response(task=TASK)


def test_invalid_response_raises_an_error_that_names_it(subtests: pytest.Subtests) -> None:
    for request, data, message in [
        (PromiseGet("a"), {}, "holds no promise"),
        (TaskAcquire("a", 0, "p", 1), {"task": SHOWN_TASK}, "holds no promise"),
        (TaskSearch(), {}, "holds no tasks"),
        (TaskFence("a", 1, CREATE), {}, "holds no action"),
        (TaskFence("a", 1, CREATE), {"action": {"head": {"status": 200}, "data": {}}}, "its action holds no promise"),
        (PromiseGet("a"), {"promise": {"id": "a"}}, "promise"),
        (PromiseGet("a"), b"<html>", "^Invalid response to promise.get: "),
    ]:
        with subtests.test(request=request, message=message), pytest.raises(WireError, match=message):
            decode_response(request, 200, data)

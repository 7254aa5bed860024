"""The server side of the protocol, from envelope to envelope."""

import json
import logging
from typing import Any

import msgspec
import pytest

from resonate_store.interface import StoreError
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import ProtocolRequest
from resonate_store.protocol.forms import DATA
from resonate_store.protocol.service import BOUNDED, BOUNDED_BYTES, Limits, Permit, Refused, Service, is_bounded
from tests.support.envelopes import LATER, TARGET, ask, envelope, read

CREATE = {"id": "a", "timeoutAt": LATER, "tags": TARGET}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def service(store: MemoryStore) -> Service:
    return Service(store)


def test_promise_get_shows_the_workers_of_a_pending_task(store: MemoryStore) -> None:
    service = Service(store, workers=lambda promise: len(promise.tags))
    ask(service, "promise.create", CREATE)

    assert ask(service, "promise.get", {"id": "a"}).data["task"]["workers"] == 1
    assert "workers" not in ask(service, "task.get", {"id": "a"}).data["task"]
    ask(service, "task.acquire", {"id": "a", "version": 0, "pid": "p", "ttl": 60_000})
    assert "workers" not in ask(service, "promise.get", {"id": "a"}).data["task"]


def test_promise_get_shows_when_a_paused_task_is_offered(service: Service) -> None:
    ask(service, "promise.create", CREATE)
    for version in (1, 2):
        assert "retryAt" not in ask(service, "promise.get", {"id": "a"}).data["task"]
        ask(service, "task.acquire", {"id": "a", "version": version - 1, "pid": "p", "ttl": 60_000})
        ask(service, "task.release", {"id": "a", "version": version, "error": "no"})

    assert ask(service, "promise.get", {"id": "a"}).data["task"]["retryAt"] == 1_750_000_002_000


def test_preload_of_a_fulfilled_task_is_empty(service: Service) -> None:
    ask(service, "promise.create", {"id": "a.1", "timeoutAt": LATER})
    action = {"kind": "promise.create", "head": {}, "data": {**CREATE, "timeoutAt": 1}}
    answer = ask(service, "task.create", {"pid": "p", "ttl": 1, "action": action})

    assert (answer.data["task"]["state"], answer.data["preload"]) == ("fulfilled", [])


def test_service_answers_with_the_first_problem(service: Service, subtests: pytest.Subtests) -> None:
    for body, kind, corr_id, message in [
        (b"", "unknown", "0", "Invalid request envelope: "),
        (b"\xff", "unknown", "0", "Invalid request envelope: "),
        (b'{"x":' + b"[" * 100_000, "unknown", "0", "Invalid request envelope: it is nested too deeply"),
        (b'{"kind": "promise.get"}', "promise.get", "0", "Invalid request envelope: "),
        (b'{"kind": 7, "head": {"corrId": "c"}}', "unknown", "c", "Invalid request envelope: "),
        (envelope("", {}), "", "c1", "Missing or invalid 'kind' field"),
        (envelope("promise.get", None), "promise.get", "c1", "Invalid 'data' field"),
        (envelope("promise.get", {}, version="1"), "promise.get", "c1", "Unsupported protocol version '1'"),
        (envelope("promise.get", {"id": ""}), "promise.get", "c1", "the id is empty"),
    ]:
        with subtests.test(body=body, kind=kind, corr_id=corr_id, message=message):
            answer = read(service.answer(body))

            assert answer.status == 400
            assert (answer.envelope["kind"], answer.envelope["head"]["corrId"]) == (kind, corr_id)
            assert answer.data.startswith(message)


class Doorkeeper:
    """Admits one token, and covers no request."""

    prefix = "t1."

    def admit(self, token: str | None) -> Permit:
        if token != "letmein":
            raise Refused(401, "Unauthorized")
        return self

    def covers(self, request: ProtocolRequest | None) -> bool:  # noqa: ARG002
        return False


def test_service_asks_its_guard_after_the_version_check(store: MemoryStore) -> None:
    service = Service(store, guard=Doorkeeper())

    assert ask(service, "nothing", {}, version="1").status == 400
    assert ask(service, "nothing", {})[:2] == (401, "Unauthorized")
    assert ask(service, "nothing", {}, auth="letmein").data == "Forbidden"
    assert ask(service, "debug.snap", {}, auth="letmein").data == "Forbidden"
    assert ask(service, "promise.create", CREATE, auth="letmein").status == 403
    assert ask(service, "promise.create", CREATE).status == 401
    assert store.records() == []


def test_service_names_the_limit_that_is_exceeded(service: Service, subtests: pytest.Subtests) -> None:
    action = {"kind": "promise.create", "head": {}, "data": {**CREATE, "tags": {"k": "x" * 4096}}}
    for kind, data, message in [
        ("promise.create", {"id": "a", "timeoutAt": 1, "tags": {str(n): "" for n in range(101)}}, "there are 101 tags"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "tags": {"é": "x" * 4095}}, "the tag 'é' has 4097 bytes"),
        ("promise.search", {"tags": {"k": "x" * 4096}}, "4097 bytes"),
        ("task.search", {"limit": 1001}, "limit"),
        ("task.create", {"pid": "p", "ttl": 1, "action": action}, "4097 bytes"),
        ("task.fence", {"id": "b", "version": 1, "action": action}, "4097 bytes"),
        (
            "schedule.create",
            {"id": "s", "cron": "* * * * *", "promiseId": "x", "promiseTimeout": 1, "promiseTags": {"k": "x" * 4096}},
            "4097 bytes",
        ),
    ]:
        with subtests.test(kind=kind, data=data, message=message):
            answer = ask(service, kind, data)

            assert answer.status == 400
            assert message in answer.data


def test_service_refuses_a_body_above_its_limit(store: MemoryStore) -> None:
    body = envelope("promise.create", CREATE)

    assert read(Service(store, limits=Limits(body_bytes=len(body))).answer(body)).status == 200
    answer = read(Service(store, limits=Limits(body_bytes=len(body) - 1)).answer(body))
    assert (answer.status, answer.data) == (413, f"The request has {len(body)} bytes and {len(body) - 1} is the limit")


class Failing(MemoryStore):
    error: Exception = RuntimeError("secret of the house")

    def apply(self, request: Any) -> Any:  # noqa: ARG002
        raise self.error


def test_service_logs_a_defect_and_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = ask(Service(Failing()), "promise.get", {"id": "a"})

    assert (answer.status, answer.data) == (500, "Internal error")
    assert "secret" not in json.dumps(answer.envelope)
    assert "secret of the house" in caplog.text


def test_service_answers_503_if_the_store_fails(caplog: pytest.LogCaptureFixture) -> None:
    store = Failing()
    store.error = StoreError("no such table arn:secret")
    answer = ask(Service(store), "promise.get", {"id": "a"})

    assert (answer.status, answer.data) == (503, "The store cannot answer at the moment")
    assert "arn:secret" in caplog.text


def test_requests_about_many_records_are_not_bounded() -> None:
    known = {kind: is_bounded(msgspec.json.encode({"data": {}, "head": {}, "kind": kind})) for kind in DATA}

    assert DATA.keys() >= BOUNDED
    assert sorted(kind for kind, bounded in known.items() if not bounded) == [
        "execution.count",
        "execution.delete",
        "execution.retry",
        "execution.search",
        "promise.cancel",
        "promise.search",
        "promise.settle",
        "schedule.backfill",
        "schedule.search",
        "schedule.trigger",
        "schedule.update",
        "task.acquire",
        "task.continue_as",
        "task.create",
        "task.fence",
        "task.fulfill",
        "task.release",
        "task.search",
        "task.suspend",
    ]
    beats = {
        "kind": "task.heartbeat",
        "data": {"pid": "p", "tasks": [{"id": f"t{n}", "version": 1} for n in range(500)]},
    }
    assert not is_bounded(msgspec.json.encode(beats))
    large = {"kind": "promise.create", "data": {"id": "p", "param": {"data": "x" * BOUNDED_BYTES}}}
    assert not is_bounded(msgspec.json.encode(large))
    assert not any(map(is_bounded, (b"", b"{", b"[]", b'{"kind": 7}', b'{"kind": "debug.reset"}', b"\xff")))

"""The server side of the protocol, from envelope to envelope."""

import json
import logging
from typing import Any

import pytest

from resonate_store.interface import StoreError
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseRecord, ProtocolRequest
from resonate_store.protocol.service import Limits, Permit, Refused, Service
from resonate_store.protocol.wire import VERSION
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


def test_a_request_is_answered_in_its_envelope(service: Service) -> None:
    answer = ask(service, "promise.create", {"id": "a", "timeoutAt": LATER}, corrId="77")

    assert answer.envelope == {
        "kind": "promise.create",
        "head": {"corrId": "77", "status": 200, "version": VERSION},
        "data": {
            "promise": {
                "id": "a",
                "state": "pending",
                "param": {},
                "value": {},
                "tags": {},
                "timeoutAt": LATER,
                "createdAt": 1_750_000_000_000,
            }
        },
    }


def test_a_pending_task_shows_how_many_workers_poll_for_it(store: MemoryStore) -> None:
    service = Service(store, workers=lambda promise: len(promise.tags))
    ask(service, "promise.create", CREATE)

    assert ask(service, "promise.get", {"id": "a"}).data["task"]["workers"] == 1
    assert "workers" not in ask(service, "task.get", {"id": "a"}).data["task"]
    ask(service, "task.acquire", {"id": "a", "version": 0, "pid": "p", "ttl": 60_000})
    assert "workers" not in ask(service, "promise.get", {"id": "a"}).data["task"]


def test_a_task_that_is_held_back_shows_until_when(service: Service) -> None:
    ask(service, "promise.create", CREATE)
    for version in (1, 2):
        assert "retryAt" not in ask(service, "promise.get", {"id": "a"}).data["task"]
        ask(service, "task.acquire", {"id": "a", "version": version - 1, "pid": "p", "ttl": 60_000})
        ask(service, "task.release", {"id": "a", "version": version, "error": "no"})

    assert ask(service, "promise.get", {"id": "a"}).data["task"]["retryAt"] == 1_750_000_002_000


def test_a_task_goes_through_its_life(service: Service) -> None:
    pending = ask(service, "promise.create", CREATE)
    acquired = ask(service, "task.acquire", {"id": "a", "version": 0, "pid": "p", "ttl": 60_000})
    child = {"kind": "promise.create", "data": {"id": "a.1", "timeoutAt": LATER}}
    fenced = ask(service, "task.fence", {"id": "a", "version": 1, "action": child}, corrId="c9")
    callback = {"kind": "promise.register_callback", "head": {}, "data": {"awaited": "a.1", "awaiter": "a"}}
    suspended = ask(service, "task.suspend", {"id": "a", "version": 1, "actions": [callback, callback]})
    settled = ask(service, "promise.settle", {"id": "a.1", "state": "resolved", "value": {"data": "MQ=="}})
    again = ask(service, "task.acquire", {"id": "a", "version": 1, "pid": "p", "ttl": 60_000})
    redirected = ask(service, "task.suspend", {"id": "a", "version": 2, "actions": [callback]})
    outcome = {"kind": "promise.settle", "head": {}, "data": {"id": "a", "state": "resolved"}}
    fulfilled = ask(service, "task.fulfill", {"id": "a", "version": 2, "action": outcome})

    assert pending.status == 200
    assert acquired.data["task"] == {
        "id": "a",
        "state": "acquired",
        "version": 1,
        "resumes": 0,
        "ttl": 60_000,
        "pid": "p",
    }
    assert acquired.data["preload"] == []
    assert fenced.data["action"]["head"] == {"corrId": "c9", "status": 200, "version": VERSION}
    assert fenced.data["action"]["data"]["promise"]["id"] == "a.1"
    assert fenced.data["preload"] == []
    assert (suspended.status, suspended.data) == (200, {})
    assert settled.data["promise"]["value"] == {"data": "MQ=="}
    assert again.data["task"]["version"] == 2
    assert [promise["id"] for promise in again.data["preload"]] == ["a.1"]
    assert redirected.status == 300
    assert [promise["id"] for promise in redirected.data["preload"]] == ["a.1"]
    assert fulfilled.data["promise"]["state"] == "resolved"
    assert ask(service, "task.get", {"id": "a"}).data["task"]["state"] == "fulfilled"


def test_preload_names_all_direct_children_and_what_was_awaited(service: Service, store: MemoryStore) -> None:
    ask(service, "promise.create", CREATE)
    ask(service, "promise.create", {"id": "b", "timeoutAt": LATER})
    ask(service, "promise.settle", {"id": "b", "state": "resolved"})
    store.apply(PromiseRecord("a.1", LATER, 1, "resolved", tags={"resonate:scope": "local"}))
    ask(service, "promise.create", {"id": "a.2", "timeoutAt": LATER, "tags": {"resonate:timer": "true"}})
    ask(service, "promise.create", {"id": "a.2.1", "timeoutAt": LATER})
    acquired = ask(service, "task.acquire", {"id": "a", "version": 0, "pid": "p", "ttl": 60_000})
    callback = {"kind": "", "head": None, "data": {"awaited": "b", "awaiter": "a"}}
    redirected = ask(service, "task.suspend", {"id": "a", "version": 1, "actions": [callback]})

    assert [promise["id"] for promise in acquired.data["preload"]] == ["a.1", "a.2"]
    assert [promise["id"] for promise in redirected.data["preload"]] == ["a.1", "a.2", "b"]


def test_preload_names_the_children_of_an_official_client(service: Service) -> None:
    """Its first level is set off by a colon."""
    ask(service, "promise.create", CREATE)
    for id in ("a:1", "a:1.1", "a:2"):
        ask(service, "promise.create", {"id": id, "timeoutAt": LATER})
    acquired = ask(service, "task.acquire", {"id": "a", "version": 0, "pid": "p", "ttl": 60_000})

    assert [promise["id"] for promise in acquired.data["preload"]] == ["a:1", "a:2"]


def test_a_task_that_is_over_has_no_preload(service: Service) -> None:
    ask(service, "promise.create", {"id": "a.1", "timeoutAt": LATER})
    action = {"kind": "promise.create", "head": {}, "data": {**CREATE, "timeoutAt": 1}}
    answer = ask(service, "task.create", {"pid": "p", "ttl": 1, "action": action})

    assert (answer.data["task"]["state"], answer.data["preload"]) == ("fulfilled", [])


@pytest.mark.parametrize(
    ("body", "kind", "corr_id", "message"),
    [
        (b"", "unknown", "0", "Invalid request envelope: "),
        (b"[]", "unknown", "0", "Invalid request envelope: "),
        (b"\xff", "unknown", "0", "Invalid request envelope: "),
        (b'{"x":' + b"[" * 100_000, "unknown", "0", "Invalid request envelope: it is nested too deeply"),
        (b'{"kind": "promise.get"}', "promise.get", "0", "Invalid request envelope: "),
        (b'{"kind": 7, "head": {"corrId": "c"}}', "unknown", "c", "Invalid request envelope: "),
        (b'{"kind": "k", "head": {"corrId": "c"}, "data": {}}', "k", "c", "Invalid request envelope: "),
        (b'{"kind": "k", "head": {"corrId": "c", "version": "2026-04-01"}}', "k", "c", "Invalid request envelope: "),
        (envelope("", {}), "", "c1", "Missing or invalid 'kind' field"),
        (envelope("", 7), "", "c1", "Missing or invalid 'kind' field"),
        (envelope("promise.get", 7, version="1"), "promise.get", "c1", "Invalid 'data' field"),
        (envelope("promise.get", None), "promise.get", "c1", "Invalid 'data' field"),
        (envelope("promise.get", {}, version="1"), "promise.get", "c1", "Unsupported protocol version '1'"),
        (envelope("nothing", {}), "nothing", "c1", "Unknown operation: nothing"),
        (envelope("promise.wake", {"id": "a"}), "promise.wake", "c1", "Unknown operation: promise.wake"),
        (envelope("promise.get", {}), "promise.get", "c1", "Invalid request: "),
        (envelope("promise.get", {"id": ""}), "promise.get", "c1", "the id is empty"),
    ],
)
def test_the_first_rule_that_is_broken_answers(
    service: Service, body: bytes, kind: str, corr_id: str, message: str
) -> None:
    answer = read(service.answer(body))

    assert answer.status == 400
    assert (answer.envelope["kind"], answer.envelope["head"]["corrId"]) == (kind, corr_id)
    assert answer.data.startswith(message)


class Doorkeeper:
    """Knows one token, whose bearer may do nothing."""

    def admit(self, token: str | None) -> Permit:
        if token != "letmein":
            raise Refused(401, "Unauthorized")
        return self

    def covers(self, request: ProtocolRequest | None) -> bool:  # noqa: ARG002
        return False


def test_a_guard_is_asked_after_the_version_and_before_anything_else(store: MemoryStore) -> None:
    service = Service(store, guard=Doorkeeper())

    assert ask(service, "nothing", {}, version="1").status == 400
    assert ask(service, "nothing", {})[:2] == (401, "Unauthorized")
    assert ask(service, "nothing", {}, auth="letmein").data == "Forbidden"
    assert ask(service, "debug.snap", {}, auth="letmein").data == "Forbidden"
    assert ask(service, "promise.create", CREATE, auth="letmein").status == 403
    assert ask(service, "promise.create", CREATE).status == 401
    assert store.records() == []


def test_debugging_is_refused_where_it_is_off(service: Service) -> None:
    assert ask(service, "debug.start", {})[:2] == (403, "Debug operations are disabled")
    assert ask(service, "promise.get", {"id": "a"}, **{"resonate:debug_time": 7}).status == 403
    assert ask(service, "promise.get", {"id": "a"}, **{"resonate:debug_time": None}).status == 404


def test_what_official_clients_send_is_accepted(service: Service) -> None:
    tags = {**TARGET, "resonate:origin": "countdown.1", "resonate:branch": "countdown.1"}

    created = ask(service, "promise.create", {**CREATE, "id": "countdown.1", "tags": tags}, **{"resonate:origin": "x"})
    empty = ask(service, "task.heartbeat", {"pid": "p", "tasks": []})
    mixed = ask(
        service, "task.heartbeat", {"pid": "p", "tasks": [{"id": "x.1", "version": 1}, {"id": "y", "version": 1}]}
    )

    assert created.status == 200
    assert (empty.status, empty.data, mixed.status, mixed.data) == (200, {}, 200, {})


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("promise.get", {"id": "a" * 1001}, "1000 is the limit"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "tags": {str(n): "" for n in range(101)}}, "there are 101 tags"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "tags": {"é": "x" * 4095}}, "the tag 'é' has 4097 bytes"),
        ("promise.search", {"tags": {"k": "x" * 4096}}, "4097 bytes"),
        ("promise.search", {"limit": 0}, "limit"),
        ("promise.search", {"limit": 1001}, "limit"),
        ("task.search", {"limit": 1001}, "limit"),
        ("schedule.search", {"limit": 1001}, "limit"),
        (
            "task.create",
            {"pid": "p", "ttl": 1, "action": {"kind": "", "head": {}, "data": {**CREATE, "tags": {"k": "x" * 4096}}}},
            "4097 bytes",
        ),
        (
            "task.fence",
            {
                "id": "b",
                "version": 1,
                "action": {"kind": "promise.create", "data": {**CREATE, "tags": {"k": "x" * 4096}}},
            },
            "4097 bytes",
        ),
        (
            "schedule.create",
            {"id": "s", "cron": "* * * * *", "promiseId": "x", "promiseTimeout": 1, "promiseTags": {"k": "x" * 4096}},
            "4097 bytes",
        ),
    ],
)
def test_limits_are_named(service: Service, kind: str, data: Any, message: str) -> None:
    answer = ask(service, kind, data)

    assert answer.status == 400
    assert message in answer.data


def test_a_body_may_be_as_large_as_the_limit_says(store: MemoryStore) -> None:
    body = envelope("promise.create", CREATE)

    assert read(Service(store, limits=Limits(body_bytes=len(body))).answer(body)).status == 200
    answer = read(Service(store, limits=Limits(body_bytes=len(body) - 1)).answer(body))
    assert (answer.status, answer.data) == (413, f"The request has {len(body)} bytes and {len(body) - 1} is the limit")


class Failing(MemoryStore):
    error: Exception = RuntimeError("secret of the house")

    def apply(self, request: Any) -> Any:  # noqa: ARG002
        raise self.error


def test_a_defect_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = ask(Service(Failing()), "promise.get", {"id": "a"})

    assert (answer.status, answer.data) == (500, "Internal error")
    assert "secret" not in json.dumps(answer.envelope)
    assert "secret of the house" in caplog.text


def test_a_store_that_cannot_answer_says_so(caplog: pytest.LogCaptureFixture) -> None:
    store = Failing()
    store.error = StoreError("no such table arn:secret")
    answer = ask(Service(store), "promise.get", {"id": "a"})

    assert (answer.status, answer.data) == (503, "The store cannot answer at the moment")
    assert "arn:secret" in caplog.text


def test_searches_are_answered_page_by_page(service: Service) -> None:
    for id in ("x1", "x2", "y1"):
        ask(service, "promise.create", {**CREATE, "id": id})
    first = ask(service, "promise.search", {"state": "pending", "limit": 2})
    second = ask(service, "promise.search", {"state": "pending", "limit": 2, "cursor": first.data["cursor"]})
    prefixed = ask(service, "promise.search", {"id": "x"})

    found = [promise["id"] for promise in first.data["promises"] + second.data["promises"]]
    assert sorted(found) == ["x1", "x2", "y1"]
    assert "cursor" not in second.data
    assert {promise["id"] for promise in prefixed.data["promises"]} == {"x1", "x2"}
    assert len(ask(service, "task.search", {}).data["tasks"]) == 3
    assert ask(service, "schedule.search", {}).data == {"schedules": []}

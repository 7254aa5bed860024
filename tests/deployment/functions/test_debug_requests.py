"""Debug requests of a deployment, and how its other functions follow them.

The corpus (tests/spec) runs over such a deployment too, and tests the responses.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from resonate_infra.testing.stack import OfflineStack
from resonate_store.dynamo.debug_items import DynamoDebug, Held
from resonate_store.model.clock import ManualClock
from tests.deployment.functions.conftest import NIGHT, ask
from tests.support.receiver import Server
from tests.support.tokens import public, token

DAY = 86_400_000
WORKER = {"resonate:target": "poll://any@worker"}
LARGE = "x" * 20_000
SCHEDULE = {"id": "s", "cron": "* * * * *", "promiseId": "s.{{.timestamp}}", "promiseTimeout": 1, "promiseTags": WORKER}


@pytest.fixture(scope="module")
def deployment() -> Iterator[OfflineStack]:
    parameters: dict[str, str | int] = {"DebugRequests": "on", "PayloadThreshold": 10_000}
    with OfflineStack(parameters=parameters, clock=ManualClock(NIGHT)) as stack:
        yield stack


@pytest.fixture
def stack(deployment: OfflineStack) -> OfflineStack:
    deployment.clear()
    return deployment


@pytest.fixture
def receiver() -> Iterator[Server]:
    receiver = Server()
    yield receiver
    receiver.close()


def data_of(stack: OfflineStack, kind: str, data: Any, at: int | None = None) -> Any:
    head: dict[str, Any] = {} if at is None else {"resonate:debug_time": at}
    answer = ask(stack, kind, data, **head)
    assert answer.status in (200, 201), answer.data
    return answer.data


def promise(id: str, data: str | None = None, **tags: str) -> dict[str, Any]:
    param = {} if data is None else {"param": {"data": data}}
    return {"id": id, "timeoutAt": NIGHT + 30 * DAY, "tags": tags, **param}


def call(function: str, *args: Any) -> str:
    return b64encode(json.dumps({"func": function, "args": args, "kwargs": {}, "version": 1}).encode()).decode()


def state(stack: OfflineStack, id: str) -> str:
    return data_of(stack, "promise.get", {"id": id})["promise"]["state"]


def held(stack: OfflineStack) -> list[tuple[str, str]]:
    """Return the addresses and kinds of the held messages."""
    messages = data_of(stack, "debug.snap", {})["messages"]
    return [(each["address"], each["message"]["kind"]) for each in messages]


def test_stopped_deployment_does_nothing_until_debug_stop(stack: OfflineStack) -> None:
    data_of(stack, "promise.create", promise("before", call("sleeping_workflow", "before", 60.0), **WORKER))
    stack.pump()
    data_of(stack, "promise.create", promise("unseen", call("hello_world", "you"), **WORKER))
    data_of(stack, "debug.start", {})  # The stream has not delivered the last write yet.
    data_of(stack, "promise.create", promise("during", call("sleeping_workflow", "during", 60.0), **WORKER))
    data_of(stack, "schedule.create", SCHEDULE)
    stack.reset_counts()
    stack.advance(minutes=5)

    assert stack.invocations["WorkerFunction"] == 0
    assert [state(stack, id) for id in ("before", "unseen", "during")] == ["pending"] * 3
    assert held(stack) == [("poll://any@worker", "execute")]
    assert "lastRunAt" not in data_of(stack, "schedule.get", {"id": "s"})["schedule"]

    data_of(stack, "debug.stop", {})
    stack.advance(minutes=3)

    assert [state(stack, id) for id in ("before", "unseen", "during")] == ["resolved"] * 3
    assert held(stack) == []
    assert "lastRunAt" in data_of(stack, "schedule.get", {"id": "s"})["schedule"]


def test_messages_released_by_debug_stop_are_sent(stack: OfflineStack, receiver: Server) -> None:
    data_of(stack, "debug.start", {})
    data_of(stack, "promise.create", promise("a", LARGE))
    data_of(stack, "promise.register_listener", {"awaited": "a", "address": receiver.url})
    data_of(stack, "promise.settle", {"id": "a", "state": "resolved", "value": {"data": LARGE}})
    data_of(stack, "promise.create", promise("w", call("hello_world", "you"), **WORKER))
    (unblock, _) = data_of(stack, "debug.snap", {})["messages"]
    data_of(stack, "debug.stop", {})
    data_of(stack, "debug.start", {})
    assert held(stack) == []
    data_of(stack, "promise.create", promise("later", call("hello_world", "you"), **WORKER))
    stack.pump()

    ((_, message, _),) = receiver.received
    assert message == unblock["message"]
    assert message["data"]["promise"]["value"]["data"] == LARGE
    assert [state(stack, id) for id in ("w", "later")] == ["resolved", "pending"]
    assert held(stack) == [("poll://any@worker", "execute")]
    (item,) = [item for item in items(stack) if item["sk"]["S"].startswith("message#")]
    assert item["id"]["S"] == "later", "what has been sent is not kept"


def test_debug_tick_of_a_running_deployment_is_announced(stack: OfflineStack) -> None:
    data_of(stack, "promise.create", promise("w", call("sleeping_workflow", "w", 3600.0), **WORKER))
    stack.pump()
    data_of(stack, "debug.tick", {"time": stack.clock.now() + 3_600_000})
    stack.pump()

    assert state(stack, "w") == "resolved"


def test_debug_reset_empties_the_table_and_unclaims_large_values(stack: OfflineStack) -> None:
    data_of(stack, "promise.create", promise("large", LARGE))
    data_of(stack, "promise.create", promise("w", call("hello_world", "you"), **WORKER))
    data_of(stack, "schedule.create", SCHEDULE)
    stack.pump()
    data_of(stack, "debug.start", {})
    data_of(stack, "promise.create", promise("v", call("hello_world", "you"), **WORKER))
    bucket, s3 = stack.deployment.bucket, stack.cloud.client("s3")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    data_of(stack, "debug.reset", {})

    assert [item["sk"]["S"] for item in items(stack)] == ["pause"], "the deployment stays stopped"
    tags = [s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] for key in keys]
    assert tags == [[{"Key": "resonate", "Value": "unclaimed"}]]


def settle_again(stack: OfflineStack, at: int) -> None:
    data_of(stack, "promise.create", promise("x"), at=at)
    data_of(stack, "promise.settle", {"id": "x", "state": "resolved", "value": {}}, at=at)


@pytest.mark.parametrize("stopped", [True, False])
def test_debug_reset_does_not_affect_later_writes(stack: OfflineStack, stopped: bool) -> None:
    now = stack.clock.now()
    if stopped:
        data_of(stack, "debug.start", {})
    settle_again(stack, now)
    if not stopped:
        stack.pump()  # The root now has a retention marker, which is removed late.
    data_of(stack, "debug.reset", {})
    settle_again(stack, now)
    data_of(stack, "debug.stop", {})
    stack.pump()

    assert state(stack, "x") == "resolved"


def test_record_that_expires_during_a_stop_is_deleted_later() -> None:
    parameters: dict[str, str | int] = {"DebugRequests": "on", "RetentionDays": 1}
    with OfflineStack(parameters=parameters, name="expiring", clock=ManualClock(NIGHT)) as stack:
        stack.expires = True
        settle_again(stack, NIGHT)
        stack.pump()
        data_of(stack, "debug.start", {})
        stack.advance(days=2)
        assert state(stack, "x") == "resolved"
        data_of(stack, "debug.stop", {})
        stack.advance(days=3)

        assert items(stack) == []


def test_message_held_during_debug_stop_is_sent(
    stack: OfflineStack, receiver: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_of(stack, "debug.start", {})
    data_of(stack, "promise.create", promise("a"))
    data_of(stack, "promise.register_listener", {"awaited": "a", "address": receiver.url})
    hold = DynamoDebug.hold

    def late(debug: DynamoDebug, message: Held) -> None:
        monkeypatch.setattr(DynamoDebug, "hold", hold)
        data_of(stack, "debug.stop", {})
        hold(debug, message)

    monkeypatch.setattr(DynamoDebug, "hold", late)
    data_of(stack, "promise.settle", {"id": "a", "state": "resolved", "value": {}})
    stack.pump()

    assert [message["kind"] for _, message, _ in receiver.received] == ["unblock"]


def test_debug_tick_delivers_lost_effects(stack: OfflineStack, receiver: Server) -> None:
    data_of(stack, "promise.create", promise("a"))
    data_of(stack, "promise.register_listener", {"awaited": "a", "address": receiver.url})
    stack.lost = lambda _: True
    data_of(stack, "promise.settle", {"id": "a", "state": "resolved", "value": {}})
    stack.pump()
    stack.lost = None
    assert receiver.received == []
    data_of(stack, "debug.tick", {"time": stack.clock.now() + DAY})
    stack.pump()

    assert [message["kind"] for _, message, _ in receiver.received] == ["unblock"]


@pytest.mark.parametrize("time", [2**47 + 1, 2**53])
def test_debug_time_beyond_the_calendar_is_refused(stack: OfflineStack, time: int) -> None:
    head: dict[str, Any] = {"resonate:debug_time": time}
    answer = ask(stack, "promise.create", promise("a"), **head)

    assert (answer.status, ask(stack, "debug.tick", {"time": time}).status) == (400, 400)
    data_of(stack, "promise.create", {"id": "a", "timeoutAt": 2**53}, at=2**47)
    data_of(stack, "schedule.create", SCHEDULE, at=2**47)
    data_of(stack, "promise.settle", {"id": "a", "state": "resolved", "value": {}}, at=2**47)
    stack.pump()
    assert state(stack, "a") == "resolved"


def items(stack: OfflineStack) -> list[dict[str, Any]]:
    return stack.cloud.client("dynamodb").scan(TableName=stack.deployment.table_name)["Items"]


def test_search_omits_items_of_debugging(stack: OfflineStack) -> None:
    data_of(stack, "debug.start", {})
    data_of(stack, "promise.create", promise("w", **WORKER))

    assert [each["id"] for each in data_of(stack, "promise.search", {"tags": WORKER})["promises"]] == ["w"]


def test_token_with_a_prefix_permits_no_debug_request() -> None:
    parameters: dict[str, str | int] = {"DebugRequests": "on", "AuthPublicKey": public("rsa")}
    with OfflineStack(parameters=parameters, name="guarded-debugging", clock=ManualClock(NIGHT)) as stack:

        def status(kind: str, data: Any, **claims: Any) -> int:
            auth = token(exp=NIGHT // 1000 + 3600, **claims)
            return ask(stack, kind, data, auth=auth, signed=False).status

        for kind, data in (("debug.snap", {}), ("debug.reset", {}), ("debug.tick", {"time": 0})):
            assert status(kind, data, prefix="t1.") == 403
            assert status(kind, data, prefix=None, role="admin") == 200
        assert ask(stack, "debug.reset", {}, signed=False).status == 401

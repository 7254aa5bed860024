"""HTTP workers and listeners: messages go through the push queue to a server on this machine."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from resonate.errors import ResonateHaltedError
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.records import PromiseView, Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRegisterListener,
    PromiseSettle,
    TaskAcquire,
    TaskFulfill,
    TaskGet,
)
from resonate_store.model.tags import TARGET
from tests.support.present import present
from tests.support.receiver import Server

DAY = 86_400_000


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def create(stack: OfflineStack, id: str, target: str | None) -> PromiseView:
    tags = {} if target is None else {TARGET: target}
    return present(stack.store.apply(PromiseCreate(id, stack.clock.now() + DAY, tags=tags)).promise)


def execute(id: str, version: int = 0) -> dict[str, Any]:
    return {"kind": "execute", "head": {}, "data": {"task": {"id": id, "version": version}}}


def test_task_is_pushed_to_its_http_target(stack: OfflineStack, server: Server) -> None:
    create(stack, "h1", f"{server.url}/work?tenant=7")
    stack.pump()

    assert server.received == [("/work?tenant=7", execute("h1"), "application/json")]
    # The dispatcher puts it on the queue, and does not wait for the receiver.
    assert stack.operations("sqs") == {"SendMessage": 1}

    task = present(stack.store.apply(TaskAcquire("h1", 0, "http-worker", 60_000)).task)
    settle = PromiseSettle("h1", "resolved", Value(data="Mg=="))
    assert stack.store.apply(TaskFulfill("h1", task.version, settle)).ok
    stack.advance(hours=2)
    assert len(server.received) == 1


def test_push_with_another_status_is_repeated_with_the_next_offer(
    stack: OfflineStack, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [f"h{status}" for status in (301, 400, 404, 500, 503)]
    for id in ids:
        server.status = int(id[1:])
        create(stack, id, server.url)
        stack.pump()
        assert f"{server.url} answered {server.status}" in caplog.text
    assert [body for _, body, _ in server.received] == [execute(id) for id in ids], "the queue repeats no push"

    server.status = 200
    stack.advance(seconds=70)
    assert [sum(body == execute(id) for _, body, _ in server.received) for id in ids] == [2] * len(ids)
    tasks = [present(stack.store.apply(TaskGet(id)).task) for id in ids]
    assert {(task.state, task.attempts) for task in tasks} == {("pending", 0)}


def test_failed_push_does_not_delay_other_pushes(stack: OfflineStack, server: Server) -> None:
    answers = itertools.cycle([500, 200])
    server.before = lambda: setattr(server, "status", next(answers))
    for n in range(5):
        create(stack, f"h{n}", server.url)
    stack.pump()

    assert sorted(body["data"]["task"]["id"] for _, body, _ in server.received) == [f"h{n}" for n in range(5)]


def test_listeners_receive_the_settled_promise(stack: OfflineStack, server: Server) -> None:
    create(stack, "p1", None)
    for address in (f"{server.url}/a", f"{server.url}/b", "poll://uni@client/1"):
        assert stack.store.apply(PromiseRegisterListener("p1", address)).ok
    stack.store.apply(PromiseSettle("p1", "resolved", Value(data="NDI=")))
    settled_at = stack.clock.now()
    stack.pump()

    assert sorted(path for path, _, _ in server.received) == ["/a", "/b"]
    for _, body, _ in server.received:
        assert body["kind"] == "unblock"
        promise = body["data"]["promise"]
        assert (promise["id"], promise["state"], promise["value"]) == ("p1", "resolved", {"data": "NDI="})
        assert promise["settledAt"] == settled_at
        assert "timeoutAt" in promise
    record = present(stack.store.record("p1"))
    assert (record.delivered, record.listeners) == (True, {})


def test_listener_receives_a_value_larger_than_a_message(stack: OfflineStack, server: Server) -> None:
    create(stack, "p1", None)
    assert stack.store.apply(PromiseRegisterListener("p1", server.url)).ok
    large = Value(data="x" * 2_000_000)
    assert stack.store.apply(PromiseSettle("p1", "resolved", large)).ok
    stack.pump()

    ((_, body, _),) = server.received
    assert body["data"]["promise"]["value"] == {"data": large.data}
    stack.expires = True
    stack.advance(days=32)
    assert stack.store.record("p1") is None


def test_group_can_be_mapped_to_an_http_address(server: Server) -> None:
    groups = json.dumps({"gpu": f"{server.url}/gpu"})
    with OfflineStack(parameters={"Groups": groups}, name="pushed") as stack:
        create(stack, "h1", "poll://any@gpu")
        stack.pump()

    assert [path for path, _, _ in server.received] == ["/gpu"]


# Server-side requests


@pytest.fixture
def deployed_only(stack: OfflineStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfflineStack]:
    """Stack whose dispatcher may not push to this machine, as in a deployment."""
    dispatch = stack.deployment.functions["DispatchFunction"]
    functions: Any = stack.deployment.functions
    strict = replace(dispatch, environment={**dispatch.environment, "RESONATE_PUSH_PRIVATE": "off"})
    monkeypatch.setitem(functions, "DispatchFunction", strict)
    stack.processes.forget_all()
    yield stack
    stack.processes.forget_all()


def test_task_with_a_private_target_is_halted(deployed_only: OfflineStack, server: Server) -> None:
    create(deployed_only, "h1", server.url)
    deployed_only.pump()

    assert server.received == []
    task = present(deployed_only.store.apply(TaskGet("h1")).task)
    assert task.state == "halted"
    assert task.error == (
        f"its target {server.url}: 127.0.0.1 is 127.0.0.1, which is not an address of the internet,"
        " and nothing is pushed there"
    )
    client = deployed_only.client(group="client")
    with pytest.raises(ResonateHaltedError, match="not an address of the internet"):
        client.get("h1").result(0)
    client.stop()


def test_acquired_task_with_a_private_target_is_not_halted(deployed_only: OfflineStack, server: Server) -> None:
    create(deployed_only, "h1", server.url)
    assert deployed_only.store.apply(TaskAcquire("h1", 0, "another", 60_000)).ok
    deployed_only.pump()

    task = present(deployed_only.store.apply(TaskGet("h1")).task)
    assert task.state == "acquired"


def test_listener_with_a_private_address_is_sent_nothing(
    deployed_only: OfflineStack, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    create(deployed_only, "p1", None)
    assert deployed_only.store.apply(PromiseRegisterListener("p1", f"{server.url}/a")).ok
    deployed_only.store.apply(PromiseSettle("p1", "resolved"))
    deployed_only.pump()

    assert server.received == []
    assert "a push was refused" in caplog.text
    record = present(deployed_only.store.record("p1"))
    assert record.delivered, "its effects are complete"

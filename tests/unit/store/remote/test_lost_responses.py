"""Requests that a remote store repeats because a response was lost."""

from __future__ import annotations

import pytest

from resonate_store.local.memory import MemoryStore
from resonate_store.model.records import Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseSettle,
    Response,
    ScheduleCreate,
    ScheduleDelete,
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
    TaskSuspend,
)
from resonate_store.model.tags import PARENT
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.present import present
from tests.support.remote import LATER, TARGETED, Client, step
from tests.support.wire import URL


@pytest.fixture
def client() -> Client:
    return Client()


def test_task_create_with_a_lost_response_succeeds(client: Client) -> None:
    client.line.faults = ["lost"]
    response = client.hold()

    assert response.task is not None
    assert (response.status, response.task.version, response.task.pid) == (200, 1, "p")
    assert response.promise is not None
    assert client.apply(step("w.1")).ok
    assert client.kinds()[-1] == "task.fence"


def test_task_create_answered_by_a_failing_gateway_succeeds(client: Client) -> None:
    def gateway(body: bytes) -> Reply:
        client.line.post(body, {}, 1.0)
        return Reply(502, {}, b"<html>")

    client.line.faults = [gateway]
    assert present(client.hold().task).version == 1


def test_task_create_of_another_process_is_409(client: Client) -> None:
    client.memory.apply(TaskCreate("other", 60_000, PromiseCreate("w", LATER, tags=TARGETED)))
    client.line.faults = ["lost"]
    assert client.hold().status == 409


def test_task_held_by_another_thread_is_not_acquired_again(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost"]
    assert client.hold().status == 409

    client.apply(TaskRelease("w", 1, handover=True))
    client.apply(TaskAcquire("w", 1, "p", 60_000))
    client.line.faults = ["lost"]
    assert client.apply(TaskAcquire("w", 1, "p", 60_000)).status == 409


def test_acquisition_with_a_lost_response_succeeds_with_its_children(client: Client) -> None:
    client.memory.apply(PromiseCreate("w", LATER, tags=TARGETED))
    client.memory.apply(PromiseCreate("w.1", LATER, tags={PARENT: "w"}))
    client.line.faults = ["lost"]
    response = client.apply(TaskAcquire("w", 0, "p", 60_000))

    assert response.task is not None
    assert (response.status, response.task.state, response.task.version) == (200, "acquired", 1)
    assert [child.id for child in client.store.children("w")] == ["w.1"]


def test_acquisition_refused_before_is_refused(subtests: pytest.Subtests) -> None:
    for pid, version in [("other", 0), ("p", 1)]:
        with subtests.test(pid=pid, version=version):
            client = Client()
            client.memory.apply(PromiseCreate("w", LATER, tags=TARGETED))
            client.memory.apply(TaskAcquire("w", 0, pid, 60_000))
            client.line.faults = ["lost"]
            assert client.apply(TaskAcquire("w", version, "p", 60_000)).status == 409


def test_acquisition_refused_without_repetition_is_not_checked(subtests: pytest.Subtests) -> None:
    for refusal in ["refused", None]:
        with subtests.test(refusal=refusal):
            client = Client()
            client.memory.apply(PromiseCreate("w", LATER, tags=TARGETED))
            client.memory.apply(TaskAcquire("w", 0, "p", 60_000))
            client.line.faults = [refusal]

            assert client.apply(TaskAcquire("w", 0, "p", 60_000)).status == 409
            assert "task.get" not in client.kinds()


def test_fulfill_with_a_lost_response_succeeds(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost"]
    settle = PromiseSettle("w", "resolved", Value(data="out"))
    response = client.apply(TaskFulfill("w", 1, settle))

    assert response.ok
    assert response.promise is not None
    assert response.promise.value.data == "out"


def test_fulfill_of_a_promise_settled_by_another_is_409(client: Client) -> None:
    client.hold()
    client.memory.apply(PromiseSettle("w", "resolved", Value(data="theirs")))
    client.line.faults = ["lost"]
    assert client.apply(TaskFulfill("w", 1, PromiseSettle("w", "resolved", Value(data="ours")))).status == 409


def test_suspension_with_a_lost_response_succeeds(subtests: pytest.Subtests) -> None:
    for resumed in [False, True]:
        with subtests.test(resumed=resumed):
            client = Client()
            client.hold()
            client.apply(PromiseCreate("p", LATER))

            def settled(_: bytes, memory: MemoryStore = client.memory) -> None:
                memory.apply(PromiseSettle("p", "resolved"))

            client.line.faults = ["lost", settled if resumed else None]
            assert client.apply(TaskSuspend("w", 1, ("p",))).status == 200
            task = client.memory.apply(TaskGet("w")).task
            assert task is not None
            assert (task.state, task.version) == ("pending" if resumed else "suspended", 1)


def test_suspension_of_a_task_acquired_elsewhere_is_409(client: Client) -> None:
    client.hold()
    client.apply(PromiseCreate("p", LATER))

    def go_on(_: bytes) -> None:
        client.memory.apply(PromiseSettle("p", "resolved"))
        client.memory.apply(TaskAcquire("w", 1, "other", 60_000))

    client.line.faults = ["lost", go_on]
    assert client.apply(TaskSuspend("w", 1, ("p",))).status == 409


def test_suspension_answered_300_with_a_lost_response_is_300(client: Client) -> None:
    client.hold()
    client.apply(PromiseCreate("p", LATER))
    client.apply(PromiseSettle("p", "resolved"))
    client.line.faults = ["lost"]
    response = client.apply(TaskSuspend("w", 1, ("p",)))
    assert (response.status, [promise.id for promise in response.preload]) == (300, ["p"])


def test_release_with_a_lost_response_succeeds(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost"]
    assert client.apply(TaskRelease("w", 1, handover=True)).ok


def test_release_with_a_lost_response_succeeds_if_halted_since(client: Client) -> None:
    client.hold()

    def halting(body: bytes) -> Reply:
        client.memory.apply(TaskHalt("w"))
        return client.line.post(body, {}, 1.0)

    client.line.faults = ["lost", halting]
    assert client.apply(TaskRelease("w", 1)).status == 200


def test_release_of_a_task_acquired_elsewhere_is_409(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost", lambda _: client.memory.apply(TaskAcquire("w", 1, "other", 60_000)) and None]
    assert client.apply(TaskRelease("w", 1, handover=True)).status == 409


def test_halt_and_continue_with_a_lost_response_succeed(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost"]
    assert client.apply(TaskHalt("w", 1, "why")).ok
    client.line.faults = ["lost"]
    assert client.apply(TaskContinue("w")).ok
    client.line.faults = ["lost"]
    assert client.apply(TaskHalt("w", 7, "why")).status == 409


def test_fence_with_a_lost_response_succeeds(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost", None, "lost"]
    response = client.apply(step("w.1"))
    assert response.promise is not None
    assert response.promise.state == "resolved"


def test_schedule_delete_with_a_lost_response_succeeds(client: Client) -> None:
    client.apply(ScheduleCreate("s", "* * * * *", "p.{{.timestamp}}", 1000, promise_tags=TARGETED))
    client.line.faults = ["lost"]
    assert client.apply(ScheduleDelete("s")).ok
    assert client.apply(ScheduleDelete("s")).status == 404


def test_idempotent_request_repeated_has_the_same_answer(subtests: pytest.Subtests) -> None:
    for request in [
        PromiseCreate("p", LATER),
        PromiseSettle("p", "resolved", Value(data="out")),
        TaskFence("w", 1, PromiseCreate("w.1", LATER)),
        TaskHeartbeat("p", (TaskReference("w", 1),)),
    ]:
        with subtests.test(request=request):
            answers: list[Response] = []
            for faults in ([], ["lost"], ["lost", Reply(503, {}, b"")]):
                client = Client()
                client.hold()
                client.apply(PromiseCreate("p", LATER))
                # Pauses would show in the instants of what is written.
                store = HttpStore(URL, clock=client.clock, jitter=lambda: 1.999, post=client.line)
                client.line.faults = list(faults)
                answers.append(store.apply(request))
            assert answers[0].ok
            assert answers == [answers[0]] * 3

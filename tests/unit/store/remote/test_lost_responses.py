"""Requests that a remote store repeats because a response was lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from resonate_store.model.records import Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseSettle,
    Request,
    Response,
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
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleDelete
from resonate_store.model.tags import PARENT
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.present import present
from tests.support.remote import LATER, TARGETED, Client, new_client, step  # noqa: F401
from tests.support.wire import URL


def test_task_create_with_a_lost_response_succeeds(client: Client) -> None:
    client.line.faults = ["lost"]
    response = client.hold()

    task = present(response.task)
    assert (response.status, task.version, task.pid) == (200, 1, "p")
    assert response.promise is not None
    assert client.apply(step("w.1")).ok
    assert client.kinds()[-1] == "task.record"


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

    task = present(response.task)
    assert (response.status, task.state, task.version) == (200, "acquired", 1)
    assert [child.id for child in client.store.children("w")] == ["w.1"]


def test_acquisition_refused_without_repetition_is_not_checked(subtests: pytest.Subtests) -> None:
    for refusal in ["refused", None]:
        with subtests.test(refusal=refusal):
            client = Client()
            client.memory.apply(PromiseCreate("w", LATER, tags=TARGETED))
            client.memory.apply(TaskAcquire("w", 0, "p", 60_000))
            client.line.faults = [refusal]

            assert client.apply(TaskAcquire("w", 0, "p", 60_000)).status == 409
            assert "task.get" not in client.kinds()


AGAIN, OTHER = (TaskAcquire("w", 1, pid, 60_000) for pid in ("p", "other"))
OUT = PromiseSettle("w", "resolved", Value(data="out"))
SUSPEND, HAND_OVER = TaskSuspend("w", 1, ("p",)), TaskRelease("w", 1, handover=True)
FOLLOWED: list[tuple[str, Request, Sequence[Request], Sequence[Request], int, str]] = [
    ("fulfilled", TaskFulfill("w", 1, OUT), (), (), 200, "fulfilled 1"),
    ("fulfilled by another", TaskFulfill("w", 1, OUT), [PromiseSettle("w", "resolved")], (), 409, "fulfilled 1"),
    ("suspended", SUSPEND, (), (), 200, "suspended 1"),
    ("suspended and resumed", SUSPEND, (), [PromiseSettle("p", "resolved")], 200, "pending 1"),
    ("suspended and acquired", SUSPEND, (), [PromiseSettle("p", "resolved"), OTHER], 409, "acquired 2"),
    ("handed over", HAND_OVER, (), (), 200, "pending 1"),
    ("handed over and acquired", HAND_OVER, (), [OTHER], 409, "acquired 2"),
    ("released and halted", TaskRelease("w", 1), (), [TaskHalt("w")], 200, "halted 1"),
    ("acquired by another", AGAIN, [HAND_OVER, OTHER], (), 409, "acquired 2"),
    ("acquired before", TaskAcquire("w", 2, "p", 60_000), [HAND_OVER, AGAIN], (), 409, "acquired 2"),
    ("step", step("w.1"), (), (), 200, "acquired 1"),
]
"""Requests of the holder of `w`, what happens before them and before their repetition, the status, and the task."""


def test_lost_response_has_the_status_of_its_effect(subtests: pytest.Subtests) -> None:
    for name, request, before, between, status, task in FOLLOWED:
        with subtests.test(name):
            client = Client()
            client.hold()
            client.memory.apply(PromiseCreate("p", LATER))
            for each in before:
                client.memory.apply(each)

            def meanwhile(_: bytes, client: Client = client, requests: Sequence[Request] = between) -> None:
                for each in requests:
                    client.memory.apply(each)

            client.line.faults = ["lost", meanwhile, "lost"]
            response = client.apply(request)
            assert response.status == status
            shown = present(client.memory.apply(TaskGet("w")).task)
            assert f"{shown.state} {shown.version}" == task
            if isinstance(request, TaskFulfill) and response.ok:
                assert present(response.promise).value.data == "out"


def test_suspension_answered_300_with_a_lost_response_is_300(client: Client) -> None:
    client.hold()
    client.apply(PromiseCreate("p", LATER))
    client.apply(PromiseSettle("p", "resolved"))
    client.line.faults = ["lost"]
    response = client.apply(TaskSuspend("w", 1, ("p",)))
    assert (response.status, [promise.id for promise in response.preload]) == (300, ["p"])


def test_halt_and_continue_with_a_lost_response_succeed(client: Client) -> None:
    client.hold()
    client.line.faults = ["lost"]
    assert client.apply(TaskHalt("w", 1, "why")).ok
    client.line.faults = ["lost"]
    assert client.apply(TaskContinue("w")).ok
    client.line.faults = ["lost"]
    assert client.apply(TaskHalt("w", 7, "why")).status == 409


def test_step_with_a_lost_response_is_recorded_once(client: Client) -> None:
    client.hold()
    client.line.faults = ["refused", "lost", "lost"]
    response = client.apply(step("w.1"))
    assert client.kinds()[1:] == ["task.record"] * 4
    record = client.memory.record("w.1")
    assert record is not None
    assert record.state == "resolved"
    assert present(record.settled_at) < client.clock.now(), "the second try has recorded it"
    assert response.promise == record.promise()


def test_unanswered_step_of_a_lost_task_is_409(client: Client) -> None:
    """The step is recorded, and another worker adopts it."""
    client.hold()
    client.line.faults = ["lost", lambda _: client.memory.apply(TaskHalt("w", 1)) and None]
    assert client.apply(step("w.1")).status == 409
    record = client.memory.record("w.1")
    assert record is not None
    assert (record.state, record.value.data) == ("resolved", "out")


def test_fence_with_a_lost_response_succeeds() -> None:
    client = Client(old=True)
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

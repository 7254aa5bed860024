"""What the task requests store and send (docs/protocol.md 1.4 and 1.5). The corpus has most of their answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from resonate_store.model.records import SettledState, TaskRecord
from resonate_store.model.requests import (
    Request,
    TaskContinue,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRegister,
    TaskSuspendRegistered,
    TaskVerify,
)
from resonate_store.model.tags import TARGET
from tests.support.build import (
    DAY,
    HOUR,
    LISTENER,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TTL,
    acquire,
    create,
    create_task,
    delayed,
    execute,
    fence,
    fulfill,
    heartbeat,
    held,
    listen,
    recorded,
    release,
    settle,
    suspend,
    suspended,
    value,
)
from tests.support.present import present
from tests.support.substrates import T0, NewStore, World

STATES = ("pending", "acquired", "suspended", "halted", "fulfilled")


def in_state(store: World, state: str) -> None:
    """A task `w` in this state, at version 1 unless it is pending, and a promise `a` that it may await."""
    store.apply(create("a", OUTSIDE))
    if state == "pending":
        store.apply(create("w", TARGETED))
    else:
        held(store, "w")
    if state == "suspended":
        store.apply(suspend("w", "a"))
    elif state == "halted":
        store.apply(TaskHalt("w"))
    elif state == "fulfilled":
        store.apply(fulfill("w"))
    store.messages()
    assert store.task("w").state == state


# -- every request against every state --------------------------------------------------------------------------------

ACCEPTED: dict[str, tuple[Request, tuple[str, ...]]] = {
    "create": (create_task("w"), ("pending", "fulfilled")),
    "acquire": (acquire("w", 0), ("pending",)),
    "release": (release("w"), ("acquired",)),
    "fulfill": (fulfill("w"), ("acquired",)),
    "suspend": (suspend("w", "a"), ("acquired",)),
    "fence": (fence("w", create("w.1")), ("acquired",)),
    "verify": (TaskVerify("w", 1), ("acquired",)),
    "halt": (TaskHalt("w"), ("pending", "acquired", "suspended", "halted")),
    "halt at its version": (TaskHalt("w", 1), ("acquired",)),
    "continue": (TaskContinue("w"), ("halted",)),
    "heartbeat": (heartbeat(("w", 1)), STATES),
    "get": (TaskGet("w"), STATES),
}
"""The states of the task in which a request is answered 200. In the other states it is answered 409."""


def test_task_request_in_any_state_is_200_or_409(new_store: NewStore, subtests: pytest.Subtests) -> None:
    for name, (request, accepted) in ACCEPTED.items():
        for state in STATES:
            with subtests.test(name, state=state):
                store = new_store()
                in_state(store, state)
                before = store.stored("w")
                store.clock.advance(SECOND)

                response = store.apply(request)

                assert response.status == (200 if state in accepted else 409)
                assert (response.error is None) == response.ok
                if not response.ok:
                    assert (store.stored("w"), store.record("w.1"), store.messages()) == (before, None, [])


UNKNOWN: list[Request] = [
    TaskGet("w"),
    acquire("w"),
    release("w"),
    fulfill("w"),
    suspend("w", "a"),
    fence("w", create("w.1")),
    fence("w", settle("a")),
    TaskHalt("w"),
    TaskContinue("w"),
    TaskSuspendRegistered("w", 1),
]


def test_task_request_without_a_task_is_404(new_store: NewStore, subtests: pytest.Subtests) -> None:
    for promise in [True, False]:
        for request in UNKNOWN:
            with subtests.test(request=request, promise=promise):
                store = new_store()
                store.apply(create("a", OUTSIDE))
                if promise:
                    store.apply(create("w"))
                before = [store.record(id) for id in ("a", "w", "w.1")]
                response = store.apply(request)
                assert (response.status, response.error) == (404, "Task not found")
                assert [store.record(id) for id in ("a", "w", "w.1")] == before


def test_task_request_at_another_version_is_409_and_writes_nothing(
    new_store: NewStore, subtests: pytest.Subtests
) -> None:
    """docs/rules.md T3: 409 unless the task is acquired at exactly this version, and nothing is written."""
    for version in (0, 1, 3):
        with subtests.test(version=version):
            store = new_store()
            held(store, "w")
            store.apply(create("a", OUTSIDE))
            store.apply(release("w", handover=True))
            store.apply(acquire("w", 1, pid="p2"))
            store.messages()
            before = [store.stored("w"), store.stored("a")]
            for request in (
                release("w", version),
                fulfill("w", version),
                suspend("w", "a", version=version),
                fence("w", create("w.1"), version),
                fence("w", settle("a"), version),
                TaskHalt("w", version),
                TaskRegister("w", version, ("a",)),
                TaskSuspendRegistered("w", version),
            ):
                assert store.apply(request).status == 409
            assert store.apply(heartbeat(("w", version), pid="p2")).status == 200
            assert [store.stored("w"), store.stored("a"), store.record("w.1")] == [*before, None]
            assert store.messages() == []


# -- task.create ------------------------------------------------------------------------------------------------------


def test_task_create_stores_an_acquired_task(store: World) -> None:
    response = store.apply(create_task("w", ttl=MINUTE))
    stored = store.stored("w")
    assert (response.status, response.task, response.promise) == (200, stored.task_view(), stored.promise())
    assert stored.task == TaskRecord(
        "acquired", 1, pid="p1", ttl=MINUTE, acquired_at=T0, expires_at=T0 + MINUTE, resumes=()
    )
    assert (stored.state, stored.created_at, stored.wake_at, stored.rev) == ("pending", T0, T0 + MINUTE, 1)
    assert store.messages() == []


def test_task_create_acquires_a_delayed_task(store: World) -> None:
    store.apply(create("w", delayed(T0 + HOUR)))
    assert present(store.apply(create_task("w")).task).version == 1
    store.pass_time(MINUTE)
    assert store.messages() == []


# -- task.acquire -----------------------------------------------------------------------------------------------------


def test_task_acquire_stores_the_lease(store: World) -> None:
    store.apply(create("w", TARGETED, param="input"))
    store.clock.advance(SECOND)
    response = store.apply(acquire("w", 0, pid="me", ttl=10 * SECOND))
    task = store.task("w")
    assert (response.status, response.promise) == (200, store.stored("w").promise())
    shown = present(response.task)
    assert (shown.version, shown.pid, shown.ttl) == (1, "me", 10 * SECOND)
    assert (task.state, task.acquired_at, task.expires_at) == ("acquired", T0 + SECOND, T0 + 11 * SECOND)
    assert (task.retry_at, task.offers) == (None, 0)


# -- task.heartbeat and the lease -------------------------------------------------------------------------------------


def test_heartbeat_extends_the_lease_by_its_ttl(store: World) -> None:
    held(store, "w", ttl=10 * SECOND)
    for _ in range(5):
        store.pass_time(9 * SECOND)
        assert store.apply(heartbeat(("w", 1))).status == 200
        assert store.task("w").expires_at == store.clock.now() + 10 * SECOND
    store.pass_time(10 * SECOND - 1)
    assert store.task("w").state == "acquired"
    store.pass_time(1)
    assert (store.task("w").state, store.messages()) == ("pending", [execute("w", 1)])


def test_heartbeat_of_another_process_writes_nothing(store: World) -> None:
    held(store, "w")
    before = store.stored("w")
    store.clock.advance(SECOND)
    assert store.apply(heartbeat(("w", 1), pid="p2")).status == 200
    assert store.stored("w") == before


def test_heartbeat_extends_tasks_of_several_origins(store: World) -> None:
    """docs/rules.md L2: mixed origins, unknown and lost tasks and an empty list are all 200."""
    for id in ("a", "b.1", "c"):
        held(store, id)
    store.apply(release("c"))
    store.clock.advance(SECOND)
    assert store.apply(heartbeat(("a", 1), ("b.1", 1), ("c", 1), ("nowhere", 1))).status == 200
    assert store.apply(TaskHeartbeat("p1", ())).status == 200
    assert [store.task(id).expires_at for id in ("a", "b.1", "c")] == [T0 + SECOND + TTL] * 2 + [None]
    assert store.record("nowhere") is None


def test_lease_longer_than_the_promise_does_not_move_its_deadline(store: World) -> None:
    held(store, "w", at=T0 + MINUTE, ttl=HOUR)
    store.pass_time(MINUTE)
    assert (store.stored("w").state, store.task("w").state) == ("rejected_timedout", "fulfilled")


# -- task.release -----------------------------------------------------------------------------------------------------


def test_release_stores_its_error_until_the_next_release(store: World) -> None:
    held(store, "w")
    store.apply(release("w", error="KeyError: 'x'"))
    task = present(store.apply(TaskGet("w")).task)
    assert (task.state, task.attempts, task.error) == ("pending", 1, "KeyError: 'x'")
    store.apply(acquire("w", 1))
    assert present(store.apply(TaskGet("w")).task).error == "KeyError: 'x'"


def test_release_is_offered_at_once_then_after_growing_pauses(store: World) -> None:
    held(store, "w", at=T0 + 100 * DAY)
    store.apply(release("w"))
    assert store.messages() == [execute("w", 1)]
    for version, pause in enumerate([2, 4, 8, 16, 32, 64, 128, 256], start=2):
        store.apply(acquire("w", version - 1))
        store.apply(release("w", version))
        assert store.armed[-1] == ("w", store.clock.now() + pause * SECOND)
        store.pass_time(pause * SECOND - 1)
        assert store.messages() == []
        store.pass_time(1)
        assert store.messages() == [execute("w", version)]


def test_release_after_progress_is_offered_at_once(store: World) -> None:
    held(store, "w")
    store.apply(release("w"))
    store.apply(acquire("w", 1))
    store.clock.advance(1)
    store.apply(recorded("w.1"))
    store.messages()
    store.apply(release("w", 2))

    assert (store.task("w").attempts, store.messages()) == (0, [execute("w", 2)])


def test_release_at_the_instant_of_its_resume_is_paused(store: World) -> None:
    suspended(store, "w", "w.1")
    store.apply(settle("w.1"))
    store.apply(acquire("w", 1))
    store.messages()
    store.apply(release("w", 2))

    assert (store.messages(), store.task("w").retry_at) == ([], T0 + 2 * SECOND)


# -- task.fulfill -----------------------------------------------------------------------------------------------------


def test_fulfill_settles_the_promise_and_notifies_listeners(new_store: NewStore, subtests: pytest.Subtests) -> None:
    states: list[SettledState] = ["resolved", "rejected", "rejected_canceled"]
    for state in states:
        with subtests.test(state=state):
            store = new_store()
            held(store, "w")
            store.apply(listen("w"))
            store.clock.advance(SECOND)
            response = store.apply(fulfill("w", 1, state, "out"))
            promise = present(response.promise)
            assert (promise.state, promise.value, promise.settled_at) == (state, value("out"), T0 + SECOND)
            stored = store.stored("w")
            assert (stored.promise(), stored.task) == (response.promise, TaskRecord("fulfilled", 1))
            assert [(address, message["kind"]) for address, message in store.messages()] == [(LISTENER, "unblock")]


def test_fulfill_resumes_the_calling_workflow(store: World) -> None:
    held(store, "w")
    store.apply(fence("w", create("w.1", TARGETED)))
    store.apply(suspend("w", "w.1"))
    store.apply(acquire("w.1", 0))
    store.messages()
    store.apply(fulfill("w.1"))
    assert store.messages() == [execute("w", 1)]
    assert store.task("w").resumes == ("w.1",)


# -- task.suspend -----------------------------------------------------------------------------------------------------


def test_suspended_task_is_not_offered(store: World) -> None:
    suspended(store, "w", "a")
    store.pass_time(12 * HOUR)
    assert (store.task("w").state, store.messages()) == ("suspended", [])


def test_resumed_task_is_offered_again(store: World) -> None:
    suspended(store, "w", "a")
    store.apply(settle("a"))
    assert store.messages() == [execute("w", 1)]
    store.pass_time(30 * SECOND)
    store.pass_time(60 * SECOND)
    assert store.messages() == [execute("w", 1)] * 2
    assert store.task("w").resumes == ("a",)


def test_acquired_task_names_the_promises_that_resumed_it(store: World) -> None:
    suspended(store, "w", "a")
    store.apply(settle("a"))

    acquired = store.apply(acquire("w", 1)).task
    assert acquired is not None
    assert (acquired.resumed_by, acquired.resumes) == (("a",), 0)
    shown = store.apply(TaskGet("w")).task
    assert shown is not None
    assert shown.resumed_by == ()


# -- task.fence -------------------------------------------------------------------------------------------------------


def test_fence_creates_and_settles_a_promise_once(store: World) -> None:
    held(store, "w")
    before = store.stored("w")
    response = store.apply(fence("w", settle("w.1")))
    assert (response.status, response.action_status, response.error) == (200, 404, "Promise not found")
    response = store.apply(fence("w", create("w.1", TARGETED, param="in")))
    assert (response.status, response.action_status) == (200, 200)
    created = store.stored("w.1")
    assert response.promise == created.promise()
    assert (store.task("w.1").state, store.messages()) == ("pending", [execute("w.1", 0)])
    again = store.apply(fence("w", create("w.1", param="other")))
    assert (again.promise, store.stored("w.1")) == (response.promise, created)

    response = store.apply(fence("w", settle("w.1", "rejected", "why")))
    assert (response.status, response.action_status, present(response.promise).state) == (200, 200, "rejected")
    assert response.promise == store.stored("w.1").promise()
    assert store.apply(fence("w", settle("w.1"))).promise == response.promise
    assert store.stored("w") == before


def test_fence_resumes_the_awaiter_of_its_promise(store: World) -> None:
    suspended(store, "v", "w.1")
    held(store, "w")
    store.apply(fence("w", settle("w.1")))
    assert store.messages() == [execute("v", 1)]


# -- task.halt and task.continue --------------------------------------------------------------------------------------


def test_halt_stores_reason_and_time_once(new_store: NewStore, subtests: pytest.Subtests) -> None:
    for state in ["pending", "acquired", "suspended"]:
        with subtests.test(state=state):
            store = new_store()
            in_state(store, state)
            version = store.task("w").version
            store.clock.advance(SECOND)
            assert store.apply(TaskHalt("w", reason="look at this")).status == 200
            task = present(store.apply(TaskGet("w")).task)
            assert (task.state, task.version, task.error) == ("halted", version, "look at this")
            assert (task.halted_at, task.pid, task.ttl) == (T0 + SECOND, None, None)
            before = store.stored("w")
            store.clock.advance(SECOND)
            assert store.apply(TaskHalt("w", reason="again")).status == 200
            store.pass_time(HOUR)
            assert (replace_wake(store.stored("w")), store.messages()) == (replace_wake(before), [])
            assert store.stored("w").pending


def replace_wake(record: Any) -> Any:
    """The record without what a sweep may change that found nothing due."""
    return msgspec.structs.replace(record, wake_at=None, written_at=0, rev=0)


def test_continue_offers_the_task_again(store: World) -> None:
    held(store, "w")
    store.apply(TaskHalt("w", reason="stop"))
    store.clock.advance(SECOND)
    assert store.apply(TaskContinue("w")).status == 200
    task = store.task("w")
    assert (task.state, task.version, task.retry_at) == ("pending", 1, T0 + 31 * SECOND)
    assert (task.error, task.halted_at) == (None, None)
    assert store.messages() == [execute("w", 1)]
    assert store.apply(TaskContinue("w")).status == 409
    assert present(store.apply(acquire("w", 1)).task).version == 2


# -- redispatch -------------------------------------------------------------------------------------------------------


def test_offers_end_with_the_acquisition(store: World) -> None:
    store.apply(create("w", TARGETED))
    store.pass_time(30 * SECOND)
    assert store.messages() == [execute("w", 0)] * 2
    store.apply(acquire("w", 0, ttl=HOUR))
    store.pass_time(HOUR - 1)
    assert store.messages() == []


def test_pause_between_offers_restarts_with_each_release(store: World) -> None:
    """A task that became pending again is offered after 30 s, however long it had waited before."""
    store.apply(create("w", TARGETED))
    for pause in (30, 60, 120):
        store.pass_time(pause * SECOND)
    store.apply(acquire("w", 0))
    store.apply(release("w", handover=True))
    store.messages()
    store.pass_time(30 * SECOND - 1)
    assert store.messages() == []
    store.pass_time(1)
    assert store.messages() == [execute("w", 1)]


def test_offer_after_a_handover_goes_to_the_target(store: World) -> None:
    store.apply(create("w", {TARGET: "lambda://other"}))
    store.apply(acquire("w", 0))
    store.apply(release("w", handover=True))
    assert {address for address, _ in store.messages()} == {"lambda://other"}

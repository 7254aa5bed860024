"""What the task requests answer and leave behind (docs/protocol.md 1.4 and 1.5), on every substrate."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from resonate_store.model.records import EMPTY, TaskRecord
from resonate_store.model.requests import (
    Request,
    TaskContinue,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
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
    get,
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
from tests.support.substrates import T0, World, any_store, dynamo_client, manual_clock  # noqa: F401

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


# -- every request against every state ----------------------------------------------------------------------------

OUTCOMES: dict[str, tuple[Request, dict[str, int]]] = {
    "create": (create_task("w"), {"pending": 200, "acquired": 409, "suspended": 409, "halted": 409, "fulfilled": 200}),
    "acquire": (
        acquire("w", 0),
        {"pending": 200, "acquired": 409, "suspended": 409, "halted": 409, "fulfilled": 409},
    ),
    "release": (release("w"), {"pending": 409, "acquired": 200, "suspended": 409, "halted": 409, "fulfilled": 409}),
    "fulfill": (fulfill("w"), {"pending": 409, "acquired": 200, "suspended": 409, "halted": 409, "fulfilled": 409}),
    "suspend": (
        suspend("w", "a"),
        {"pending": 409, "acquired": 200, "suspended": 409, "halted": 409, "fulfilled": 409},
    ),
    "fence": (
        fence("w", create("w.1")),
        {"pending": 409, "acquired": 200, "suspended": 409, "halted": 409, "fulfilled": 409},
    ),
    "verify": (
        TaskVerify("w", 1),
        {"pending": 409, "acquired": 200, "suspended": 409, "halted": 409, "fulfilled": 409},
    ),
    "halt": (TaskHalt("w"), {"pending": 200, "acquired": 200, "suspended": 200, "halted": 200, "fulfilled": 409}),
    "halt at its version": (
        TaskHalt("w", 1),
        {"pending": 409, "acquired": 200, "suspended": 409, "halted": 409, "fulfilled": 409},
    ),
    "continue": (
        TaskContinue("w"),
        {"pending": 409, "acquired": 409, "suspended": 409, "halted": 200, "fulfilled": 409},
    ),
    "heartbeat": (
        heartbeat(("w", 1)),
        {"pending": 200, "acquired": 200, "suspended": 200, "halted": 200, "fulfilled": 200},
    ),
    "get": (TaskGet("w"), dict.fromkeys(STATES, 200)),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", OUTCOMES)
def test_a_request_is_answered_by_the_tasks_state(store: World, name: str, state: str) -> None:
    in_state(store, state)
    request, statuses = OUTCOMES[name]
    before = store.stored("w")
    store.clock.advance(SECOND)

    response = store.apply(request)

    assert response.status == statuses[state]
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


@pytest.mark.parametrize("request_", UNKNOWN, ids=lambda request: request.kind)
@pytest.mark.parametrize("promise", [True, False], ids=["a promise without a task", "nothing"])
def test_what_has_no_task_is_404(store: World, request_: Request, promise: bool) -> None:
    store.apply(create("a", OUTSIDE))
    if promise:
        store.apply(create("w"))
    before = [store.record(id) for id in ("a", "w", "w.1")]
    response = store.apply(request_)
    assert (response.status, response.error) == (404, "Task not found")
    assert [store.record(id) for id in ("a", "w", "w.1")] == before


@pytest.mark.parametrize("version", [0, 1, 3])
def test_every_request_of_a_holder_is_fenced_by_version(store: World, version: int) -> None:
    """docs/rules.md T3: 409 unless the task is acquired at exactly this version, and nothing is written."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(release("w", handover=True))
    store.apply(acquire("w", 1, pid="p2"))
    store.messages()
    before = store.stored("w")
    for request in (
        release("w", version),
        fulfill("w", version),
        suspend("w", "a", version=version),
        fence("w", create("w.1"), version),
        fence("w", settle("a"), version),
        TaskHalt("w", version),
        TaskSuspendRegistered("w", version),
    ):
        assert store.apply(request).status == 409
    assert store.apply(heartbeat(("w", version), pid="p2")).status == 200
    assert (store.stored("w"), store.record("w.1"), store.stored("a").pending) == (before, None, True)
    assert store.messages() == []


# -- task.get -----------------------------------------------------------------------------------------------------


def test_a_task_travels_in_the_protocols_words(store: World) -> None:
    """docs/protocol.md 1.3: ttl and pid only while acquired, resumes as a number."""
    store.apply(create("w", TARGETED))
    assert msgspec.to_builtins(store.apply(TaskGet("w")).task) == {
        "id": "w",
        "state": "pending",
        "version": 0,
        "resumes": 0,
    }
    store.apply(acquire("w", 0, pid="me", ttl=1234))
    assert msgspec.to_builtins(store.apply(TaskGet("w")).task) == {
        "id": "w",
        "state": "acquired",
        "version": 1,
        "resumes": 0,
        "ttl": 1234,
        "pid": "me",
    }
    store.apply(fulfill("w"))
    assert msgspec.to_builtins(store.apply(TaskGet("w")).task) == {
        "id": "w",
        "state": "fulfilled",
        "version": 1,
        "resumes": 0,
    }


# -- task.create --------------------------------------------------------------------------------------------------


def test_task_create_of_a_new_id(store: World) -> None:
    response = store.apply(create_task("w", ttl=MINUTE))
    stored = store.stored("w")
    assert (response.status, response.task, response.promise) == (200, stored.task_view(), stored.promise())
    assert stored.task == TaskRecord(
        "acquired", 1, pid="p1", ttl=MINUTE, acquired_at=T0, expires_at=T0 + MINUTE, resumes=()
    )
    assert (stored.state, stored.created_at, stored.wake_at) == ("pending", T0, T0 + MINUTE)
    assert store.messages() == []


def test_task_create_takes_over_a_pending_task(store: World) -> None:
    store.apply(create("w", TARGETED, param="original"))
    response = store.apply(create_task("w"))
    assert (response.task.state, response.task.version) == ("acquired", 1)
    assert response.promise.param == value("original")
    assert store.apply(acquire("w", 0)).status == 409


def test_task_create_takes_over_a_delayed_task(store: World) -> None:
    store.apply(create("w", delayed(T0 + HOUR)))
    assert store.apply(create_task("w")).task.version == 1
    store.pass_time(MINUTE)
    assert store.messages() == []


def test_task_create_of_a_fulfilled_task_answers_its_outcome(store: World) -> None:
    held(store, "w")
    promise = store.apply(fulfill("w", data="out")).promise
    response = store.apply(create_task("w"))
    assert (response.status, response.promise, response.task.state) == (200, promise, "fulfilled")


def test_task_create_of_a_promise_without_a_target_is_422(store: World) -> None:
    store.apply(create("p"))
    before = store.stored("p")
    response = store.apply(create_task("p"))
    assert (response.status, store.stored("p")) == (422, before)
    assert "target" in response.error


def test_task_create_past_the_deadline_is_fulfilled(store: World) -> None:
    response = store.apply(create_task("w", at=T0))
    assert (response.status, response.task.state, response.task.version) == (200, "fulfilled", 0)
    assert (response.promise.state, response.promise.settled_at) == ("rejected_timedout", T0)


# -- task.acquire -------------------------------------------------------------------------------------------------


def test_acquire_takes_the_lease(store: World) -> None:
    store.apply(create("w", TARGETED, param="input"))
    store.clock.advance(SECOND)
    response = store.apply(acquire("w", 0, pid="me", ttl=10 * SECOND))
    task = store.task("w")
    assert (response.status, response.promise) == (200, store.stored("w").promise())
    assert (response.task.version, response.task.pid, response.task.ttl) == (1, "me", 10 * SECOND)
    assert (task.state, task.acquired_at, task.expires_at) == ("acquired", T0 + SECOND, T0 + 11 * SECOND)
    assert (task.retry_at, task.offers) == (None, 0)


@pytest.mark.parametrize("version", [1, 2, 7])
def test_acquire_at_another_version_is_409(store: World, version: int) -> None:
    store.apply(create("w", TARGETED))
    before = store.stored("w")
    response = store.apply(acquire("w", version))
    assert (response.status, response.error) == (409, "Version mismatch")
    assert store.stored("w") == before


def test_only_one_of_two_workers_acquires(store: World) -> None:
    store.apply(create("w", TARGETED))
    other = store.neighbour(0)
    assert store.apply(acquire("w", 0, pid="a")).ok
    response = other.apply(acquire("w", 0, pid="b"))
    assert (response.status, response.error) == (409, "Task is not pending")
    assert store.task("w").pid == "a"


# -- task.heartbeat and the lease ---------------------------------------------------------------------------------


def test_a_heartbeat_extends_the_lease_by_its_ttl(store: World) -> None:
    held(store, "w", ttl=10 * SECOND)
    for _ in range(5):
        store.pass_time(9 * SECOND)
        assert store.apply(heartbeat(("w", 1))).status == 200
        assert store.task("w").expires_at == store.clock.now() + 10 * SECOND
    store.pass_time(10 * SECOND - 1)
    assert store.task("w").state == "acquired"
    store.pass_time(1)
    assert (store.task("w").state, store.messages()) == ("pending", [execute("w", 1)])


def test_a_heartbeat_by_another_process_extends_nothing(store: World) -> None:
    held(store, "w")
    before = store.stored("w")
    store.clock.advance(SECOND)
    assert store.apply(heartbeat(("w", 1), pid="p2")).status == 200
    assert store.stored("w") == before


def test_one_heartbeat_extends_many_tasks_of_any_origin(store: World) -> None:
    """docs/rules.md L2: mixed origins, unknown and lost tasks and an empty list are all 200."""
    for id in ("a", "b.1", "c"):
        held(store, id)
    store.apply(release("c"))
    store.clock.advance(SECOND)
    assert store.apply(heartbeat(("a", 1), ("b.1", 1), ("c", 1), ("nowhere", 1))).status == 200
    assert store.apply(TaskHeartbeat("p1", ())).status == 200
    assert [store.task(id).expires_at for id in ("a", "b.1", "c")] == [T0 + SECOND + TTL] * 2 + [None]
    assert store.record("nowhere") is None


def test_a_lost_lease_is_lost_for_good(store: World) -> None:
    held(store, "w", ttl=10 * SECOND)
    store.pass_time(10 * SECOND)
    store.apply(acquire("w", 1, pid="p2"))
    assert store.apply(heartbeat(("w", 1))).status == 200
    assert (store.task("w").pid, store.task("w").version) == ("p2", 2)
    assert store.apply(fulfill("w", 1)).status == 409
    assert store.apply(fulfill("w", 2)).status == 200


def test_a_lease_that_outlives_the_promise_changes_nothing_about_its_deadline(store: World) -> None:
    held(store, "w", at=T0 + MINUTE, ttl=HOUR)
    store.pass_time(MINUTE)
    assert (store.stored("w").state, store.task("w").state) == ("rejected_timedout", "fulfilled")


# -- task.release -------------------------------------------------------------------------------------------------


def test_a_handover_offers_the_task_at_once(store: World) -> None:
    held(store, "w")
    store.clock.advance(SECOND)
    response = store.apply(release("w", handover=True))
    task = store.task("w")
    assert (response.status, response.promise, response.task) == (200, None, None)
    assert (task.state, task.version, task.pid, task.ttl) == ("pending", 1, None, None)
    assert task.retry_at == T0 + 31 * SECOND
    assert store.messages() == [execute("w", 1)]
    assert store.apply(release("w", handover=True)).status == 409


def test_a_release_keeps_its_error_for_whoever_looks(store: World) -> None:
    held(store, "w")
    store.apply(release("w", error="KeyError: 'x'"))
    task = store.apply(TaskGet("w")).task
    assert (task.state, task.attempts, task.error) == ("pending", 1, "KeyError: 'x'")
    store.apply(acquire("w", 1))
    assert store.apply(TaskGet("w")).task.error == "KeyError: 'x'"


def test_released_task_is_offered_at_once_then_backed_off(store: World) -> None:
    held(store, "w", at=T0 + 100 * DAY)
    store.apply(release("w"))
    assert store.messages() == [execute("w", 1)]
    for version, pause in enumerate([2, 4, 8, 16, 32, 64, 128, 256], start=2):
        store.apply(acquire("w", version - 1))
        store.apply(release("w", version))
        store.pass_time(pause * SECOND - 1)
        assert store.messages() == []
        store.pass_time(1)
        assert store.messages() == [execute("w", version)]


def test_task_released_after_progress_is_offered_at_once(store: World) -> None:
    held(store, "w")
    store.apply(release("w"))
    store.apply(acquire("w", 1))
    store.clock.advance(1)
    store.apply(recorded("w.1"))
    store.messages()
    store.apply(release("w", 2))

    assert (store.task("w").attempts, store.messages()) == (0, [execute("w", 2)])


def test_task_released_in_the_instant_of_its_wake_up_does_not_spin(store: World) -> None:
    suspended(store, "w", "w.1")
    store.apply(settle("w.1"))
    store.apply(acquire("w", 1))
    store.messages()
    store.apply(release("w", 2))

    assert (store.messages(), store.task("w").retry_at) == ([], T0 + 2 * SECOND)


# -- task.fulfill -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["resolved", "rejected", "rejected_canceled"])
def test_fulfill_settles_the_promise(store: World, state: Any) -> None:
    held(store, "w")
    store.apply(listen("w"))
    store.clock.advance(SECOND)
    response = store.apply(fulfill("w", 1, state, "out"))
    assert (response.status, response.promise.state, response.promise.value) == (200, state, value("out"))
    assert response.promise.settled_at == T0 + SECOND
    stored = store.stored("w")
    assert (stored.promise(), stored.task) == (response.promise, TaskRecord("fulfilled", 1))
    assert [(address, message["kind"]) for address, message in store.messages()] == [(LISTENER, "unblock")]


def test_fulfill_after_somebody_else_settled_is_409(store: World) -> None:
    held(store, "w")
    promise = store.apply(settle("w", "rejected_canceled", "stop")).promise
    assert store.apply(fulfill("w")).status == 409
    assert store.apply(get("w")).promise == promise


def test_fulfill_after_the_deadline_is_409(store: World) -> None:
    held(store, "w", at=T0 + MINUTE)
    store.clock.advance(MINUTE)
    assert store.apply(fulfill("w")).status == 409
    assert (store.stored("w").state, store.stored("w").value) == ("rejected_timedout", EMPTY)


def test_a_workflow_that_fulfills_resumes_the_one_that_called_it(store: World) -> None:
    held(store, "w")
    store.apply(fence("w", create("w.1", TARGETED)))
    store.apply(suspend("w", "w.1"))
    store.apply(acquire("w.1", 0))
    store.messages()
    store.apply(fulfill("w.1"))
    assert store.messages() == [execute("w", 1)]
    assert store.task("w").resumes == ("w.1",)


# -- task.suspend -------------------------------------------------------------------------------------------------


def test_a_suspended_task_has_no_lease_and_is_not_offered(store: World) -> None:
    suspended(store, "w", "a")
    store.pass_time(12 * HOUR)
    assert (store.task("w").state, store.messages()) == ("suspended", [])


def test_a_resumed_task_is_offered_again_like_any_other(store: World) -> None:
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


def test_a_suspension_can_be_repeated_on_what_is_left(store: World) -> None:
    """The loop of a worker: 300 names what has settled; the rest can be awaited at the same version."""
    held(store, "w")
    for id in ("a", "b"):
        store.apply(create(id, OUTSIDE))
    store.apply(settle("a"))
    refused = store.apply(suspend("w", "a", "b"))
    assert (refused.status, [promise.id for promise in refused.preload]) == (300, ["a"])
    assert store.apply(suspend("w", "b")).status == 200
    store.apply(settle("b"))
    assert store.messages() == [execute("w", 1)]


def test_a_300_clears_the_buffered_resumes(store: World) -> None:
    """docs/rules.md T8: the worker re-executes with what it is told now, so nothing is told twice."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(create("b", OUTSIDE))
    store.apply(suspend("w", "a", "b"))
    store.apply(settle("a"))
    store.apply(acquire("w", 1))
    store.apply(suspend("w", "b", version=2))
    store.apply(settle("b"))
    store.apply(acquire("w", 2))
    assert store.apply(suspend("w", "a", "b", version=3)).status == 300
    assert (store.task("w").resumes, store.task("w").state) == ((), "acquired")


def test_awaiting_a_deadline_resumes_at_it(store: World) -> None:
    held(store, "w")
    store.apply(create("w.1", {"resonate:timer": "true"}, at=T0 + HOUR))
    store.apply(suspend("w", "w.1"))
    store.pass_time(HOUR)
    assert (store.stored("w.1").state, store.messages()) == ("resolved", [execute("w", 1)])


# -- task.fence ---------------------------------------------------------------------------------------------------


def test_a_fence_creates_a_promise(store: World) -> None:
    held(store, "w")
    response = store.apply(fence("w", create("w.1", TARGETED, param="in")))
    assert (response.status, response.action_status) == (200, 200)
    assert response.promise == store.stored("w.1").promise()
    assert (store.task("w.1").state, store.messages()) == ("pending", [execute("w.1", 0)])
    before = store.stored("w.1")
    again = store.apply(fence("w", create("w.1", param="other")))
    assert (again.promise, store.stored("w.1")) == (response.promise, before)


def test_a_fence_settles_a_promise(store: World) -> None:
    held(store, "w")
    store.apply(create("w.1"))
    response = store.apply(fence("w", settle("w.1", "rejected", "why")))
    assert (response.status, response.action_status, response.promise.state) == (200, 200, "rejected")
    assert response.promise == store.stored("w.1").promise()
    assert store.apply(fence("w", settle("w.1"))).promise == response.promise


def test_a_fence_that_settles_nothing_answers_404_inside(store: World) -> None:
    held(store, "w")
    response = store.apply(fence("w", settle("w.1")))
    assert (response.status, response.action_status, response.error) == (200, 404, "Promise not found")
    assert store.record("w.1") is None


def test_a_fence_leaves_its_task_alone(store: World) -> None:
    held(store, "w")
    before = store.stored("w")
    store.apply(fence("w", create("w.1")))
    store.apply(fence("w", settle("w.1")))
    assert store.stored("w") == before


def test_a_fence_may_settle_what_its_own_task_awaits(store: World) -> None:
    """The settlement of a promise of another execution resumes that execution."""
    suspended(store, "v", "w.1")
    held(store, "w")
    store.apply(fence("w", settle("w.1")))
    assert store.messages() == [execute("v", 1)]


# -- task.halt and task.continue ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "acquired", "suspended"])
def test_halt_stops_a_task_in_any_state(store: World, state: str) -> None:
    in_state(store, state)
    version = store.task("w").version
    store.clock.advance(SECOND)
    assert store.apply(TaskHalt("w", reason="look at this")).status == 200
    task = store.apply(TaskGet("w")).task
    assert (task.state, task.version, task.error, task.halted_at) == (
        "halted",
        version,
        "look at this",
        T0 + SECOND,
    )
    assert (task.pid, task.ttl) == (None, None)
    before = store.stored("w")
    store.clock.advance(SECOND)
    assert store.apply(TaskHalt("w", reason="again")).status == 200
    store.pass_time(HOUR)
    assert (replace_wake(store.stored("w")), store.messages()) == (replace_wake(before), [])
    assert store.stored("w").pending


def replace_wake(record: Any) -> Any:
    """The record without what a sweep that had nothing to do may leave behind."""
    return msgspec.structs.replace(record, wake_at=None, written_at=0, rev=0)


def test_a_halted_task_says_why_even_if_nobody_gave_a_reason(store: World) -> None:
    held(store, "w")
    store.apply(TaskHalt("w"))
    assert store.apply(TaskGet("w")).task.error


def test_a_halted_promise_keeps_its_deadline(store: World) -> None:
    held(store, "w", at=T0 + MINUTE)
    store.apply(TaskHalt("w"))
    store.pass_time(MINUTE)
    assert (store.stored("w").state, store.task("w").state) == ("rejected_timedout", "fulfilled")


def test_a_halted_promise_can_be_settled(store: World) -> None:
    held(store, "w")
    store.apply(TaskHalt("w"))
    assert store.apply(settle("w")).promise.state == "resolved"
    assert store.task("w").state == "fulfilled"


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
    assert store.apply(acquire("w", 1)).task.version == 2


# -- redispatch ---------------------------------------------------------------------------------------------------


def test_an_offer_stops_with_its_acquisition(store: World) -> None:
    store.apply(create("w", TARGETED))
    store.pass_time(30 * SECOND)
    assert store.messages() == [execute("w", 0)] * 2
    store.apply(acquire("w", 0, ttl=HOUR))
    store.pass_time(HOUR - 1)
    assert store.messages() == []


def test_the_pause_between_offers_starts_over_with_every_wait(store: World) -> None:
    """A task that became pending anew is offered after 30 s again, however long it had waited before."""
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


def test_a_message_goes_to_the_target_of_the_promise(store: World) -> None:
    store.apply(create("w", {TARGET: "lambda://other"}))
    store.apply(acquire("w", 0))
    store.apply(release("w", handover=True))
    assert {address for address, _ in store.messages()} == {"lambda://other"}

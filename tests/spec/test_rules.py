"""The thirteen rules at the end of docs/rules.md, each under its own number, on every substrate."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from msgspec.structs import replace

from resonate_store.machine import MAX_AWAITED
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import EMPTY, PromiseView, Value
from resonate_store.model.requests import (
    PromiseWake,
    Request,
    TaskContinue,
    TaskGet,
    TaskHalt,
    TaskRegister,
    TaskResume,
    TaskSuspendRegistered,
    TaskVerify,
)
from resonate_store.model.tags import EXTERNAL, SCOPE, TIMER
from tests.support.build import (
    DAY,
    HOUR,
    LISTENER,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    TTL,
    acquire,
    callback,
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
    registered,
    release,
    schedule,
    settle,
    suspend,
    suspended,
    value,
)
from tests.support.substrates import T0, World, any_store, dynamo_client, in_memory, manual_clock  # noqa: F401

DEADLINE = T0 + MINUTE


def timed_out(promise: PromiseView | None) -> tuple[object, ...]:
    """What a timeout leaves to see."""
    assert promise is not None
    return promise.state, promise.settled_at, promise.value


# -- rule 1: reads materialise ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [{}, TARGETED, OUTSIDE], ids=["plain", "targeted", "external"])
def test_rule_01_a_read_settles_a_due_promise_in_the_store(store: World, tags: dict[str, str]) -> None:
    """Rule 1: a pending promise past its deadline is rejected_timedout, stored so before it is named so."""
    store.apply(create("p", tags, at=DEADLINE))
    store.clock.advance(MINUTE - 1)
    assert store.apply(get("p")).promise.state == "pending"
    store.clock.advance(1)

    assert timed_out(store.apply(get("p")).promise) == ("rejected_timedout", DEADLINE, EMPTY)
    stored = store.stored("p")
    assert timed_out(stored.promise()) == ("rejected_timedout", DEADLINE, EMPTY)
    assert stored.written_at == DEADLINE


def test_rule_01_a_timer_resolves(store: World) -> None:
    """Rule 1: a due promise tagged resonate:timer=true is resolved, with an empty value, at its deadline."""
    store.apply(create("t", TIMED, at=DEADLINE))
    store.clock.advance(HOUR)
    assert timed_out(store.apply(get("t")).promise) == ("resolved", DEADLINE, EMPTY)
    assert store.stored("t").state == "resolved"


def test_rule_01_only_the_exact_tag_makes_a_timer(store: World) -> None:
    """Rule 1: resonate:timer with any other value than "true" is no timer."""
    store.apply(create("t", {TIMER: "yes"}, at=DEADLINE))
    store.clock.advance(MINUTE)
    assert timed_out(store.apply(get("t")).promise) == ("rejected_timedout", DEADLINE, EMPTY)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: get("p"),
        lambda: create("p", TARGETED, at=T0 + DAY),
        lambda: create_task("p", at=T0 + DAY),
        lambda: settle("p"),
        lambda: recorded("p"),
        lambda: callback("p", "awaiter"),
        lambda: callback("other", "p"),
        lambda: listen("p"),
        lambda: TaskGet("p"),
        lambda: acquire("p"),
        lambda: release("p"),
        lambda: fulfill("p"),
        lambda: suspend("p", "other"),
        lambda: suspend("awaiter", "p"),
        lambda: fence("p", create("p.1")),
        lambda: fence("awaiter", settle("p")),
        lambda: TaskHalt("p"),
        lambda: TaskContinue("p"),
        lambda: heartbeat(("p", 0)),
        lambda: PromiseWake("p"),
    ],
    ids=lambda made: made().kind,
)
def test_rule_01_whatever_names_a_due_promise_settles_it(store: World, request_of: Callable[[], Request]) -> None:
    """Rule 1: every request stores the timeout of the promises it names before it acts on them."""
    held(store, "awaiter")
    store.apply(create("other"))
    store.apply(create("p", TARGETED, at=DEADLINE))
    store.clock.advance(MINUTE)

    response = store.apply(request_of())

    stored = store.stored("p")
    assert (stored.state, stored.settled_at, stored.value) == ("rejected_timedout", DEADLINE, EMPTY)
    assert (stored.task.state, stored.task.version) == ("fulfilled", 0)
    assert (stored.callbacks, stored.listeners) == ({}, {})
    if response.promise is not None and response.promise.id == "p":
        assert response.promise == stored.promise()


def test_rule_01_a_preload_leaves_due_records_out(store: World) -> None:
    """Rule 1: children() shows settled and truly pending promises, not those whose timeout nobody has stored."""
    store.apply(recorded("p.1"))
    store.apply(create("p.2", at=DEADLINE))
    store.apply(create("p.3"))
    assert store.children("p").keys() == {"p.1", "p.2", "p.3"}
    store.clock.advance(MINUTE)
    assert store.children("p").keys() == {"p.1", "p.3"}
    store.apply(get("p.2"))
    children = store.children("p")
    assert {id: promise.state for id, promise in children.items()} == {
        "p.1": "resolved",
        "p.2": "rejected_timedout",
        "p.3": "pending",
    }


def test_rule_01_what_one_clock_has_acted_on_stays_true_for_the_others(store: World) -> None:
    """Rule 1: two stores two seconds apart; the slower one cannot settle what the faster one saw time out."""
    ahead = store.neighbour(+2 * SECOND)
    store.apply(create("p", OUTSIDE, at=DEADLINE))
    store.clock.advance(MINUTE - SECOND)
    assert store.apply(get("p")).promise.state == "pending"

    seen = ahead.apply(get("p")).promise
    assert timed_out(seen) == ("rejected_timedout", DEADLINE, EMPTY)
    assert store.apply(settle("p")).promise == seen
    assert store.apply(get("p")).promise == seen


def test_rule_01_now_is_never_before_the_last_write_of_what_is_read(store: World) -> None:
    """Rule 1: a slow clock is raised to the last write of the records it reads, for all of them."""
    ahead = store.neighbour(+2 * SECOND)
    ahead.apply(create_task("w"))
    store.apply(create("c", at=T0 + 1500))

    response = store.apply(fence("w", settle("c")))

    assert timed_out(response.promise) == ("rejected_timedout", T0 + 1500, EMPTY)
    assert store.stored("c").written_at == T0 + 2 * SECOND


def test_rule_01_instants_of_one_record_never_run_backwards(store: World) -> None:
    """Rule 1: a promise created by a fast clock is not settled before it was created."""
    ahead = store.neighbour(+2 * SECOND)
    ahead.apply(create("p"))
    settled = store.apply(settle("p")).promise
    assert (settled.created_at, settled.settled_at) == (T0 + 2 * SECOND, T0 + 2 * SECOND)
    assert store.stored("p").written_at == T0 + 2 * SECOND


# -- rule 2: a task is fulfilled as soon as its promise is --------------------------------------------------------

DEAD: list[tuple[str, Request, int]] = [
    ("pending", acquire("w", 0), 409),
    ("pending", TaskHalt("w"), 409),
    ("pending", PromiseWake("w"), 200),
    ("pending", create_task("w"), 200),
    ("acquired", heartbeat(("w", 1)), 200),
    ("acquired", release("w"), 409),
    ("acquired", release("w", handover=True), 409),
    ("acquired", fulfill("w"), 409),
    ("acquired", suspend("w", "other"), 409),
    ("acquired", TaskRegister("w", 1, ("other",)), 409),
    ("acquired", TaskSuspendRegistered("w", 1), 409),
    ("acquired", fence("w", create("w.1")), 409),
    ("acquired", TaskVerify("w", 1), 409),
    ("acquired", TaskHalt("w"), 409),
    ("acquired", TaskHalt("w", 1), 409),
    ("acquired", PromiseWake("w"), 200),
    ("halted", TaskContinue("w"), 409),
    ("halted", TaskHalt("w"), 409),
    ("suspended", TaskResume("w", 1, "other"), 200),
    ("suspended", PromiseWake("w"), 200),
]


def put_in_state(store: World, state: str) -> None:
    """A task `w` in this state whose promise times out at `DEADLINE`, and a promise `other`."""
    store.apply(create("other", OUTSIDE))
    if state == "pending":
        store.apply(create("w", TARGETED, at=DEADLINE))
    else:
        store.apply(create_task("w", at=DEADLINE, ttl=10 * SECOND))
    if state == "halted":
        store.apply(TaskHalt("w"))
    if state == "suspended":
        store.apply(suspend("w", "other"))
    assert store.task("w").state == state


@pytest.mark.parametrize(("state", "request_", "status"), DEAD, ids=lambda part: getattr(part, "kind", None))
@pytest.mark.parametrize("how", ["deadline", "settled"])
def test_rule_02_nothing_revives_a_task_whose_promise_is_over(
    store: World, state: str, request_: Request, status: int, how: str
) -> None:
    """Rule 2: acquire, heartbeat, release, halt, continue, expiry and redispatch check the promise first."""
    put_in_state(store, state)
    version = store.task("w").version
    if how == "settled":
        store.apply(settle("w", "rejected_canceled"))
    store.messages()
    store.clock.advance(MINUTE)  # past the promise's deadline, the task's lease and its next offer

    response = store.apply(request_)
    store.pass_time(HOUR)

    assert response.status == status
    assert (store.task("w").state, store.task("w").version) == ("fulfilled", version)
    assert store.stored("w").state == ("rejected_canceled" if how == "settled" else "rejected_timedout")
    assert store.messages() == []
    assert store.stored("other").callbacks in ({}, {"w": 1})
    assert store.record("w.1") is None
    assert store.apply(TaskGet("w")).task.state == "fulfilled"


def test_rule_02_settling_the_promise_fulfills_its_task_at_once(store: World) -> None:
    """Rule 2: whoever settles the promise, its task is fulfilled by the same write."""
    held(store, "w")
    before = store.stored("w").rev
    store.apply(settle("w"))
    assert store.task("w").state == "fulfilled"
    assert store.stored("w").rev <= before + 2  # the settlement, and the note that it was delivered
    assert store.apply(fulfill("w")).status == 409


# -- rule 3: arming -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [TARGETED, TIMED, OUTSIDE], ids=["targeted", "timer", "external"])
def test_rule_03_an_external_promise_times_out_by_itself(store: World, tags: dict[str, str]) -> None:
    """Rule 3: targeted promises, timers and those tagged resonate:external=true carry an armed deadline."""
    store.apply(create("p", tags, at=T0 + 20 * SECOND))
    store.pass_time(20 * SECOND - 1)
    assert store.stored("p").pending
    store.pass_time(1)
    assert (store.stored("p").pending, store.stored("p").settled_at) == (False, T0 + 20 * SECOND)


@pytest.mark.parametrize("tags", [{}, {SCOPE: "local"}, {EXTERNAL: "false"}, {TIMER: "false"}])
def test_rule_03_a_plain_promise_is_not_armed(store: World, tags: dict[str, str]) -> None:
    """Rule 3: plain local children are in no index and are settled when somebody reads them."""
    store.apply(create("p", tags, at=DEADLINE))
    assert store.stored("p").wake_at is None
    store.pass_time(HOUR)
    assert store.stored("p").pending
    assert store.armed == []


def test_rule_03_a_callback_arms_a_plain_promise(store: World) -> None:
    """Rule 3: a wait on a promise that is not external arms it, so the awaiter is resumed at the deadline."""
    store.apply(create("p", at=T0 + HOUR))
    suspended(store, "w", "p")
    store.pass_time(HOUR)
    assert timed_out(store.stored("p").promise()) == ("rejected_timedout", T0 + HOUR, EMPTY)
    assert (store.task("w").state, store.messages()) == ("pending", [execute("w", 1)])


def test_rule_03_a_listener_arms_a_plain_promise(store: World) -> None:
    """Rule 3: a listener's wait arms too; it is told at the deadline."""
    store.apply(create("p", at=T0 + HOUR))
    store.apply(listen("p"))
    store.pass_time(HOUR)
    ((address, message),) = store.messages()
    assert address == LISTENER
    assert (message["kind"], message["data"]["promise"]["state"]) == ("unblock", "rejected_timedout")


# -- rule 4: only acquisition increments the version --------------------------------------------------------------


def test_rule_04_a_new_task_created_by_its_worker_is_at_version_1(store: World) -> None:
    """Rule 4: task.create of a new id gives version 1, acquired, and sends nothing."""
    task = store.apply(create_task("w")).task
    assert (task.state, task.version, task.pid, task.ttl) == ("acquired", 1, "p1", TTL)
    assert store.messages() == []


def test_rule_04_an_execute_message_carries_the_version_to_present(store: World) -> None:
    """Rule 4: acquire answers the next version, which fences everything afterwards; the message's one is used up."""
    store.apply(create("w", TARGETED))
    assert store.messages() == [execute("w", 0)]
    assert store.apply(acquire("w", 0)).task.version == 1
    assert store.apply(acquire("w", 0)).status == 409
    assert store.apply(fence("w", create("w.1"), version=0)).status == 409
    assert store.apply(fence("w", create("w.1"), version=1)).status == 200


def test_rule_04_nothing_but_an_acquisition_counts_the_version_up(store: World) -> None:
    """Rule 4: suspend, resume, release, expiry, redispatch, halt, continue and fulfil keep the version."""
    versions: list[tuple[str, int]] = []

    def note() -> None:
        versions.append((store.task("w").state, store.task("w").version))

    store.apply(create("other", OUTSIDE))
    store.apply(create("w", TARGETED))
    note()
    for request in (acquire("w", 0), suspend("w", "other"), settle("other"), acquire("w", 1)):
        store.apply(request)
        note()
    store.apply(release("w", 2, handover=True))
    note()
    store.pass_time(30 * SECOND)  # offered again
    note()
    store.apply(acquire("w", 2))
    store.pass_time(TTL)  # lease expiry
    note()
    for request in (TaskHalt("w"), TaskContinue("w"), acquire("w", 3), heartbeat(("w", 4)), fulfill("w", 4)):
        store.apply(request)
        note()
    assert versions == [
        ("pending", 0),
        ("acquired", 1),
        ("suspended", 1),
        ("pending", 1),
        ("acquired", 2),
        ("pending", 2),
        ("pending", 2),
        ("pending", 3),
        ("halted", 3),
        ("pending", 3),
        ("acquired", 4),
        ("acquired", 4),
        ("fulfilled", 4),
    ]


# -- rule 5: suspend is atomic ------------------------------------------------------------------------------------


def test_rule_05_all_pending_registers_every_callback_and_suspends(store: World) -> None:
    """Rule 5: callbacks on all awaited promises and the suspension are one transaction."""
    held(store, "w")
    for id in ("a", "b", "c"):
        store.apply(create(id, OUTSIDE))
    with store.holding() as changes:
        assert store.apply(suspend("w", "a", "b", "c")).status == 200
        assert {change.after.id for change in changes} == {"w", "a", "b", "c"}
    assert [store.stored(id).callbacks for id in ("a", "b", "c")] == [{"w": 1}] * 3
    task = store.task("w")
    assert (task.state, task.version, task.pid, task.ttl, task.expires_at) == ("suspended", 1, None, None, None)


@pytest.mark.parametrize("how", ["settled", "due"])
def test_rule_05_any_settled_answers_300_and_registers_nothing(store: World, how: str) -> None:
    """Rule 5: with one awaited promise settled the task stays acquired and the answer names what has settled."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(create("b", OUTSIDE, at=DEADLINE if how == "due" else T0 + DAY))
    store.apply(create("c", OUTSIDE))
    store.apply(settle("b")) if how == "settled" else store.clock.advance(MINUTE)

    response = store.apply(suspend("w", "a", "b", "c"))

    assert (response.status, response.preload) == (300, (store.stored("b").promise(),))
    assert not store.stored("b").pending
    assert [store.stored(id).callbacks for id in ("a", "c")] == [{}, {}]
    assert (store.task("w").state, store.task("w").version) == ("acquired", 1)
    assert store.apply(fulfill("w")).ok


def test_rule_05_a_missing_promise_registers_nothing(store: World) -> None:
    """Rule 5: 422 names the promise that does not exist; the others get no callback."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    response = store.apply(suspend("w", "a", "nowhere"))
    assert response.status == 422
    assert "nowhere" in response.error
    assert (store.stored("a").callbacks, store.task("w").state) == ({}, "acquired")


def many(store: World, count: int) -> tuple[str, ...]:
    ids = tuple(f"x{n}" for n in range(count))
    for id in ids:
        store.apply(create(id, OUTSIDE))
    return ids


@pytest.fixture
def chunks_of_five(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller chunks: moto copies the whole table for every item of a transaction."""
    monkeypatch.setattr("resonate_store.machine.MAX_AWAITED", 5)


def await_many(store: World, count: int) -> None:
    held(store, "w")
    ids = many(store, count)
    assert store.apply(suspend("w", *ids)).status == 200
    assert store.task("w").state == "suspended"
    assert all(store.stored(id).callbacks == {"w": 1} for id in ids)
    store.apply(settle(ids[-1]))
    assert (store.task("w").state, store.messages()) == ("pending", [execute("w", 1)])


@pytest.mark.parametrize("count", [99, 100, 198, 199, 1000])
def test_rule_05_more_than_99_can_be_awaited(clock: ManualClock, count: int) -> None:
    """Rule 5: more than 99 ids are registered in chunks at this version, then the task suspends in one write."""
    assert MAX_AWAITED == 99
    await_many(in_memory(clock), count)


@pytest.mark.usefixtures("chunks_of_five")
@pytest.mark.parametrize("count", [5, 6, 10, 13])
def test_rule_05_any_number_can_be_awaited(store: World, count: int) -> None:
    """Rule 5: the chunks, made smaller, on every substrate."""
    await_many(store, count)


@pytest.mark.usefixtures("chunks_of_five")
def test_rule_05_a_settled_one_in_the_last_chunk_answers_300(store: World) -> None:
    """Rule 5: in chunks, too, any settled promise answers 300 and leaves the task acquired."""
    held(store, "w")
    ids = many(store, 12)
    store.apply(settle(ids[-1]))
    response = store.apply(suspend("w", *ids))
    assert (response.status, [promise.id for promise in response.preload]) == (300, [ids[-1]])
    assert store.task("w").state == "acquired"


@pytest.mark.usefixtures("chunks_of_five")
def test_rule_05_callbacks_left_behind_are_inert(store: World) -> None:
    """Rule 5: what a refused suspension registered in its first chunks does not wake a later version."""
    held(store, "w")
    ids = many(store, 12)
    store.apply(settle(ids[-1]))
    store.apply(suspend("w", *ids))
    assert store.stored(ids[0]).callbacks == {"w": 1}
    store.apply(release("w", handover=True))
    store.apply(acquire("w", 1))
    store.apply(create("other", OUTSIDE))
    store.apply(suspend("w", "other", version=2))
    store.messages()
    store.apply(settle(ids[0]))
    assert (store.task("w").state, store.messages()) == ("suspended", [])


def test_rule_05_suspending_on_chunks_requires_that_nothing_was_resumed_since(store: World) -> None:
    """Rule 5: a promise that settles between its chunk and the suspension makes that answer 300, once."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(create("b", OUTSIDE))
    assert store.apply(TaskRegister("w", 1, ("a", "b"))).status == 200
    assert store.task("w").state == "acquired"
    store.apply(settle("a"))
    assert store.task("w").resumes == ("a",)
    assert store.apply(TaskSuspendRegistered("w", 1)).status == 300
    assert (store.task("w").state, store.task("w").resumes) == ("acquired", ())
    assert store.apply(TaskSuspendRegistered("w", 1)).status == 200
    assert store.task("w").state == "suspended"


@pytest.mark.usefixtures("chunks_of_five")
@pytest.mark.parametrize(("count", "left_behind"), [(5, 0), (6, 5)])
def test_rule_05_only_what_does_not_fit_is_registered_in_chunks(store: World, count: int, left_behind: int) -> None:
    """Rule 5: what one transaction holds is all or nothing; beyond it a refusal may leave inert callbacks."""
    held(store, "w")
    ids = many(store, count)
    store.apply(settle(ids[-1]))
    assert store.apply(suspend("w", *ids)).status == 300
    assert sum(store.stored(id).callbacks == {"w": 1} for id in ids) == left_behind


@pytest.mark.parametrize("request_", [TaskRegister("w", 2, ("a",)), TaskSuspendRegistered("w", 2)])
def test_rule_05_chunks_are_fenced(store: World, request_: Request) -> None:
    """Rule 5: chunks are registered, and the suspension written, at the version that is held."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    assert store.apply(request_).status == 409
    assert (store.stored("a").callbacks, store.task("w").state) == ({}, "acquired")


# -- rule 6: resume is exactly once -------------------------------------------------------------------------------


def test_rule_06_a_settlement_resumes_a_suspended_task(store: World) -> None:
    """Rule 6: the task becomes pending at its version, resumes is {awaited}, one execute message leaves."""
    suspended(store, "w", "a", "b")
    rev = store.stored("w").rev
    store.apply(settle("a"))
    task = store.task("w")
    assert (task.state, task.version, task.resumes, task.retry_at) == ("pending", 1, ("a",), T0 + 30 * SECOND)
    assert store.messages() == [execute("w", 1)]
    assert store.stored("w").rev == rev + 1
    assert store.apply(TaskGet("w")).task.resumes == 1
    assert store.apply(acquire("w", 1)).task.resumes == 0


def test_rule_06_a_second_settlement_of_the_same_wait_sends_nothing(store: World) -> None:
    """Rule 6: a pending task buffers the resumes of its own version; it is offered once."""
    suspended(store, "w", "a", "b")
    store.apply(settle("a"))
    store.apply(settle("b"))
    assert (store.task("w").state, set(store.task("w").resumes)) == ("pending", {"a", "b"})
    assert store.messages() == [execute("w", 1)]


def test_rule_06_a_repeated_delivery_changes_nothing(store: World) -> None:
    """Rule 6: at-least-once delivery of one settlement is one resume."""
    suspended(store, "w", "a")
    with store.holding() as changes:
        store.apply(settle("a"))
        changes.extend([*changes, *changes])
    assert store.messages() == [execute("w", 1)]
    resumed = store.stored("w")
    store.apply(TaskResume("w", 1, "a"))
    assert store.stored("w") == resumed


def test_rule_06_a_late_delivery_does_not_resume_a_later_version(store: World) -> None:
    """Rule 6: a resume that arrives after the task was acquired and suspended again is stale."""
    suspended(store, "w", "a", "b")
    store.apply(settle("a"))
    store.apply(acquire("w", 1))
    store.apply(create("c", OUTSIDE))
    store.apply(suspend("w", "c", version=2))
    store.messages()
    before = store.stored("w")
    store.apply(TaskResume("w", 1, "a"))  # again, and late
    store.apply(settle("b"))  # registered at version 1
    assert store.stored("w") == before
    assert store.messages() == []


def test_rule_06_a_stale_resume_is_not_buffered_by_a_running_task(store: World) -> None:
    """Rule 6: a running task buffers the resumes of its own version only."""
    suspended(store, "w", "a", "b")
    store.apply(settle("a"))
    store.apply(acquire("w", 1))
    store.apply(settle("b"))
    assert (store.task("w").state, store.task("w").resumes) == ("acquired", ())


def test_rule_06_a_running_task_buffers_resumes_of_its_version(store: World) -> None:
    """Rule 6: register_callback by the holder counts for the version it holds; nothing is sent meanwhile."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(callback("a", "w"))
    assert store.stored("a").callbacks == registered("w")
    store.apply(settle("a"))
    assert (store.task("w").state, store.task("w").resumes, store.messages()) == ("acquired", ("a",), [])


def test_rule_06_a_task_does_not_suspend_past_a_resume_that_it_has_not_seen(store: World) -> None:
    """Rule 6: what a running task was told while it ran makes its suspension answer 300, once."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(create("b", OUTSIDE))
    store.apply(callback("a", "w"))
    store.apply(settle("a"))

    refused = store.apply(suspend("w", "b"))
    assert (refused.status, store.task("w").state, store.stored("b").callbacks) == (300, "acquired", {})
    assert store.apply(suspend("w", "b")).status == 200


def test_rule_06_registering_again_refreshes_the_version(store: World) -> None:
    """Rule 6: a callback remembers the version of its last registration, so the later wait is honoured."""
    suspended(store, "w", "a", "b")
    store.apply(settle("a"))
    store.apply(acquire("w", 1))
    assert store.stored("b").callbacks == {"w": 1}
    store.apply(suspend("w", "b", version=2))
    assert store.stored("b").callbacks == {"w": 2}
    store.messages()
    store.apply(settle("b"))
    assert (store.task("w").state, store.messages()) == ("pending", [execute("w", 2)])


def test_rule_06_an_unchanged_registration_writes_nothing(store: World) -> None:
    """Rule 6: registering again at the same version changes nothing."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(callback("a", "w"))
    before = store.stored("a")
    assert store.apply(callback("a", "w")).promise.state == "pending"
    assert store.stored("a") == before


@pytest.mark.parametrize("state", ["pending", "halted"])
def test_rule_06_a_waiting_awaiter_registers_for_its_next_version(store: World, state: str) -> None:
    """Rule 6: register_callback by a pending or halted awaiter counts from its next acquisition."""
    store.apply(create("a", OUTSIDE))
    store.apply(create("b", OUTSIDE))
    store.apply(create("w", TARGETED))
    if state == "halted":
        store.apply(TaskHalt("w"))
    store.apply(callback("a", "w"))
    assert store.stored("a").callbacks == registered("w")
    if state == "halted":
        store.apply(TaskContinue("w"))
    store.apply(acquire("w", 0))
    store.apply(suspend("w", "b"))
    store.messages()
    store.apply(settle("a"))
    assert (store.task("w").state, store.messages()) == ("pending", [execute("w", 1)])


def test_rule_06_a_suspended_awaiter_registers_for_its_present_version(store: World) -> None:
    """Rule 6: somebody else may add a wait to a suspended task."""
    suspended(store, "w", "a")
    store.apply(create("b", OUTSIDE))
    store.apply(callback("b", "w"))
    assert store.stored("b").callbacks == registered("w")
    store.apply(settle("b"))
    assert (store.task("w").resumes, store.messages()) == (("b",), [execute("w", 1)])


@pytest.mark.parametrize("end", ["halt", "fulfill", "deadline", "settle"])
def test_rule_06_a_task_that_is_over_ignores_resumes(store: World, end: str) -> None:
    """Rule 6: fulfilled and logically dead tasks ignore every resume; a halted one stays halted and notes it."""
    suspended(store, "w", "a", at=DEADLINE)
    if end == "halt":
        store.apply(TaskHalt("w"))
    elif end == "deadline":
        store.clock.advance(MINUTE)
    elif end == "settle":
        store.apply(settle("w"))
    else:
        store.apply(TaskResume("w", 1, "x"))
        store.apply(acquire("w", 1))
        store.apply(fulfill("w", 2))
    store.messages()
    store.apply(settle("a"))
    assert store.messages() == []
    assert store.task("w").state == ("halted" if end == "halt" else "fulfilled")
    assert store.task("w").resumes == (("a",) if end == "halt" else ())


@pytest.mark.parametrize("end", ["release", "handover", "second release", "expiry", "last attempt", "halt", "continue"])
def test_rule_06_resumes_are_counted_until_the_next_acquisition(store: World, end: str) -> None:
    """Rule 6: however an attempt ends, what it was not told stays counted."""
    store.apply(create("w", TARGETED))
    for _ in range({"second release": 1, "last attempt": 9}.get(end, 0)):
        crash(store, "w")
    version = store.task("w").version + 1
    store.apply(acquire("w", version - 1))
    store.apply(create("a", OUTSIDE))
    store.apply(callback("a", "w"))
    store.apply(settle("a"))
    if end == "expiry":
        store.pass_time(TTL)
    elif end in ("halt", "continue"):
        store.apply(TaskHalt("w"))
    else:
        store.apply(release("w", version, handover=end == "handover"))
    if end == "continue":
        store.apply(TaskContinue("w"))

    assert store.task("w").state == ("halted" if end in ("halt", "last attempt") else "pending")
    assert store.apply(TaskGet("w")).task.resumes == 1
    store.apply(TaskContinue("w"))
    assert store.apply(acquire("w", version)).task.resumes == 0


def test_rule_06_a_resume_of_what_does_not_exist_is_ignored(store: World) -> None:
    """Rule 6: no awaiter, or an awaiter without a task, is no failure of the delivery."""
    store.apply(create("plain"))
    before = store.stored("plain")
    assert store.apply(TaskResume("plain", 0, "a")).status == 200
    assert store.apply(TaskResume("nowhere", 0, "a")).status == 200
    assert (store.stored("plain"), store.record("nowhere")) == (before, None)


def test_rule_06_a_halted_task_loses_no_resume(store: World) -> None:
    """Rule 6: what settled while the task was halted is seen by the run that follows `continue`."""
    suspended(store, "w", "a")
    store.apply(TaskHalt("w"))
    store.apply(settle("a"))
    store.apply(TaskContinue("w"))
    assert store.messages() == [execute("w", 1)]
    store.apply(acquire("w", 1))
    assert store.apply(suspend("w", "a", version=2)).status == 300


# -- rule 7: a settled promise takes no new waiters ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["settled", "due"])
def test_rule_07_a_settled_promise_takes_no_callback_or_listener(store: World, how: str) -> None:
    """Rule 7: both are answered with the settled promise, and neither is stored nor told."""
    held(store, "w")
    store.apply(create("a", OUTSIDE, at=DEADLINE))
    store.apply(settle("a")) if how == "settled" else store.clock.advance(MINUTE)
    for request in (callback("a", "w"), listen("a")):
        response = store.apply(request)
        assert (response.status, response.promise) == (200, store.stored("a").promise())
        assert response.promise.state == ("resolved" if how == "settled" else "rejected_timedout")
    assert (store.stored("a").callbacks, store.stored("a").listeners) == ({}, {})
    assert (store.task("w").resumes, store.messages()) == ((), [])


@pytest.mark.parametrize("state", ["pending", "rejected_timedout", "fulfilled", ""])
def test_rule_07_clients_settle_to_three_states_only(store: World, state: str) -> None:
    """Rule 7: any other state is refused by every request that settles, and nothing is written."""
    held(store, "w")
    store.apply(create("a"))
    before = [store.stored("a"), store.stored("w")]
    for request in (
        settle("a", state),  # type: ignore[arg-type]
        fulfill("w", 1, state),  # type: ignore[arg-type]
        fence("w", settle("a", state)),  # type: ignore[arg-type]
        recorded("b", state),  # type: ignore[arg-type]
    ):
        response = store.apply(request)
        assert response.status == 400
        assert repr(state) in response.error
    assert [store.stored("a"), store.stored("w"), store.record("b")] == [*before, None]


@pytest.mark.parametrize("state", ["resolved", "rejected", "rejected_canceled"])
def test_rule_07_clients_may_settle_to(store: World, state: str) -> None:
    """Rule 7: the three states, stored with the value given."""
    store.apply(create("a"))
    promise = store.apply(settle("a", state)).promise  # type: ignore[arg-type]
    assert (promise.state, promise.value, promise.settled_at) == (state, value("done"), T0)


@pytest.mark.parametrize("how", ["settled", "due"])
def test_rule_07_an_awaiter_that_is_over_registers_nothing(store: World, how: str) -> None:
    """Rule 7, seen from the other side: a task whose promise is settled waits for nothing any more."""
    held(store, "w", at=DEADLINE)
    store.apply(create("a", OUTSIDE))
    store.apply(fulfill("w")) if how == "settled" else store.clock.advance(MINUTE)
    assert store.apply(callback("a", "w")).promise.state == "pending"
    assert store.stored("a").callbacks == {}


# -- rule 8: an armed timer means "not before" --------------------------------------------------------------------


def test_rule_08_an_early_firing_changes_nothing(store: World) -> None:
    """Rule 8: a wake-up before anything is due leaves the record as it is, still armed."""
    store.apply(create("t", TIMED, at=DEADLINE))
    store.apply(create("w", TARGETED))
    suspended(store, "s", "t")
    before = [store.stored(id) for id in ("t", "w", "s")]
    store.messages()
    store.clock.advance(MINUTE // 2 - 1)
    for id in ("t", "w", "s"):
        store.apply(PromiseWake(id))
    assert [store.stored(id) for id in ("t", "w", "s")] == before
    assert store.messages() == []


def test_rule_08_a_late_firing_does_what_was_due(store: World) -> None:
    """Rule 8: however late, a timer settles at its own deadline, and the awaiter is resumed."""
    store.apply(create("t", TIMED, at=DEADLINE))
    suspended(store, "s", "t")
    store.clock.advance(HOUR)
    store.apply(PromiseWake("t"))
    assert timed_out(store.stored("t").promise()) == ("resolved", DEADLINE, EMPTY)
    assert store.messages() == [execute("s", 1)]


@pytest.mark.parametrize("what", ["timer", "lease", "offer"])
def test_rule_08_a_repeated_firing_does_it_once(store: World, what: str) -> None:
    """Rule 8: the second firing of one timer finds nothing due."""
    id = {"timer": "t", "lease": "l", "offer": "w"}[what]
    store.apply(create("t", TIMED, at=T0 + TTL))
    store.apply(create_task("l"))
    store.apply(create("w", TARGETED))
    store.clock.advance(TTL)
    store.messages()
    store.apply(PromiseWake(id))
    done = store.stored(id)
    assert store.messages() == ([] if what == "timer" else [execute(id, 0 if what == "offer" else 1)])
    store.apply(PromiseWake(id))
    assert (store.stored(id), store.messages()) == (done, [])


def test_rule_08_a_firing_leaves_the_exact_next_instant_behind(store: World) -> None:
    """Rule 8: after a wake-up that came too early for the rest, the record is armed for what is due next."""
    store.apply(create("w", TARGETED, at=T0 + HOUR))
    store.apply(acquire("w", 0, ttl=10 * MINUTE))
    assert store.stored("w").wake_at == T0 + 30 * SECOND  # moved later lazily
    store.pass_time(30 * SECOND)
    assert store.stored("w").wake_at == T0 + 10 * MINUTE
    assert store.task("w").state == "acquired"


def test_rule_08_a_settlement_found_late_is_repeated_a_minute_from_now(store: World) -> None:
    """Rule 8: a wake-up that has come is not left in the past, where the next sweep would repeat what is under way."""
    store.apply(create("p", OUTSIDE, at=T0 + HOUR))
    store.clock.advance(2 * HOUR)
    with store.holding():
        store.apply(get("p"))
        assert store.stored("p").wake_at == store.clock.now() + MINUTE


def test_rule_08_waking_what_does_not_exist_is_harmless(store: World) -> None:
    """Rule 8: a timer may outlive its promise."""
    assert store.apply(PromiseWake("gone")).status == 404
    assert store.record("gone") is None


# -- rule 9: other origins ----------------------------------------------------------------------------------------


def test_rule_09_promises_of_other_origins_can_be_awaited(store: World) -> None:
    """Rule 9: a suspension spans partitions, and so does the callback of a running awaiter."""
    suspended(store, "one.1", "one.2", "two", "three.4.5")
    store.apply(create("four.1", OUTSIDE))
    assert store.apply(callback("four.1", "one.1")).status == 200
    store.apply(settle("three.4.5"))
    assert store.task("one.1").resumes == ("three.4.5",)
    assert store.messages() == [execute("one.1", 1)]


# -- rule 10: timers have no task, duplicates are merged- ------------------------------------------------------


def test_rule_10_a_timer_has_no_task_wherever_it_is_addressed_to(store: World) -> None:
    """Rule 10, as the official SDKs need it: their sleeps carry a target; nobody is sent one, and it resolves."""
    held(store, "w")
    assert store.apply(create("t", {**TARGETED, **TIMED}, at=T0 + 5_000)).ok
    assert store.stored("t").task is None
    assert store.apply(suspend("w", "t")).status == 200
    assert store.messages() == []
    store.pass_time(5_000)
    assert store.messages() == [execute("w", 1)]
    assert store.stored("t").state == "resolved"


def test_rule_10_a_task_cannot_be_made_of_a_timer(store: World) -> None:
    """Rule 10: 400, naming the tag, and nothing is stored."""
    response = store.apply(create_task("t", {**TARGETED, **TIMED}))
    assert response.status == 400
    assert TIMER in response.error
    assert store.record("t") is None


def test_rule_10_the_occurrences_of_a_schedule_are_no_timers(store: World) -> None:
    """Rule 10: an occurrence is targeted, so schedule.create refuses the timer tag as promise.create does."""
    response = store.apply(schedule("s", tags={**TARGETED, **TIMED}))
    assert response.status == 400
    assert TIMER in response.error


def test_rule_10_duplicate_awaited_ids_are_merged(store: World) -> None:
    """Rule 10: one callback per promise, however often it is named."""
    suspended(store, "w", "a", "b", "a", "a")
    assert (store.stored("a").callbacks, store.stored("b").callbacks) == ({"w": 1}, {"w": 1})
    store.apply(settle("a"))
    assert store.messages() == [execute("w", 1)]


def test_rule_10_a_duplicate_that_has_settled_is_named_once(store: World) -> None:
    """Rule 10: the 300 that answers a suspension names each settled promise once."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(settle("a"))
    assert [promise.id for promise in store.apply(suspend("w", "a", "a")).preload] == ["a"]


def test_rule_10_duplicates_do_not_count_towards_the_chunks(store: World) -> None:
    """Rule 10: hundreds of mentions of two promises are two callbacks in one transaction."""
    held(store, "w")
    for id in ("a", "b"):
        store.apply(create(id, OUTSIDE))
    revs = [store.stored(id).rev for id in ("a", "b", "w")]
    assert store.apply(suspend("w", *["a", "b"] * 100)).status == 200
    assert [store.stored(id).rev for id in ("a", "b", "w")] == [rev + 1 for rev in revs]


# -- rule 11: resonate:delay --------------------------------------------------------------------------------------


def test_rule_11_a_delay_holds_the_first_dispatch_back(store: World) -> None:
    """Rule 11: nothing is sent before the instant; then one message, offered again 30 s later."""
    store.apply(create("w", delayed(T0 + HOUR)))
    assert store.messages() == []
    assert store.armed == [("w", T0 + HOUR)]
    store.pass_time(HOUR - 1)
    assert store.messages() == []
    store.pass_time(1)
    assert store.messages() == [execute("w", 0)]
    store.pass_time(30 * SECOND - 1)
    assert store.messages() == []
    store.pass_time(1)
    assert store.messages() == [execute("w", 0)]


@pytest.mark.parametrize("until", [0, T0 - 1, T0])
def test_rule_11_a_delay_that_is_over_holds_nothing_back(store: World, until: int) -> None:
    """Rule 11: an instant in the past means now."""
    store.apply(create("w", delayed(until)))
    assert store.messages() == [execute("w", 0)]


def test_rule_11_a_held_back_promise_still_times_out(store: World) -> None:
    """Rule 11: the delay is before the timeout, and a settlement before it leaves nothing to dispatch."""
    store.apply(create("w", delayed(T0 + HOUR)))
    store.apply(settle("w", "rejected_canceled"))
    store.pass_time(HOUR)
    assert (store.messages(), store.task("w").state) == ([], "fulfilled")


# -- rule 12: attempts are bounded, waiting is not ----------------------------------------------------------------


def crash(store: World, id: str, *, between: Callable[[], object] = lambda: None) -> None:
    """Acquire the task and let its lease run out, doing `between` while it is held."""
    version = store.task(id).version
    assert store.apply(acquire(id, version, ttl=10 * SECOND)).ok
    store.clock.advance(SECOND)
    between()
    store.pass_time(9 * SECOND)


def fail(store: World, id: str, error: str = "boom") -> None:
    """Acquire the task, release it with an error, and wait until it is offered again."""
    assert store.apply(acquire(id, store.task(id).version)).ok
    store.clock.advance(SECOND)
    assert store.apply(release(id, store.task(id).version, error=error)).ok
    store.pass_time((store.task(id).retry_at or store.clock.now()) - store.clock.now())


@pytest.mark.parametrize("attempt", [crash, fail], ids=["lease expiry", "release"])
def test_rule_12_ten_attempts_without_progress_halt_the_task(store: World, attempt: Callable[..., None]) -> None:
    """Rule 12: nine are counted and repeated, the tenth halts with reason, time and last error in `tasks get`."""
    store.apply(create("w", TARGETED))
    for n in range(1, 10):
        attempt(store, "w")
        assert (store.task("w").state, store.task("w").attempts) == ("pending", n)
    store.messages()
    store.apply(acquire("w", 9, pid="p9", ttl=10 * SECOND))
    store.clock.advance(10 * SECOND)
    at = store.clock.now()
    store.tick() if attempt is crash else store.apply(release("w", 10, error="boom"))

    task = store.apply(TaskGet("w")).task
    assert (task.state, task.version, task.attempts, task.halted_at) == ("halted", 10, 10, at)
    assert "10 attempts" in task.error
    assert ("boom" if attempt is fail else "p9") in task.error
    store.pass_time(HOUR)
    assert store.messages() == []
    assert store.stored("w").pending
    assert store.apply(acquire("w", 10)).status == 409


def test_rule_12_an_expired_lease_is_offered_again_at_once(store: World) -> None:
    """Rule 12: the next worker need not wait; the error says whose lease ended."""
    store.apply(create("w", TARGETED))
    store.messages()
    crash(store, "w")
    assert store.messages() == [execute("w", 1)]
    task = store.task("w")
    assert (task.pid, task.ttl, task.expires_at, task.retry_at) == (None, None, None, T0 + 40 * SECOND)
    assert "p1" in task.error


def test_rule_12_a_failed_attempt_is_repeated_after_a_growing_pause(store: World) -> None:
    """Rule 12: a poison task does not spin: its offers are further and further apart, the error is kept."""
    store.apply(create_task("w"))
    store.apply(release("w", error="boom"))
    pauses: list[int] = []
    for version in range(1, 6):
        store.apply(acquire("w", version))
        store.messages()
        store.clock.advance(SECOND)
        store.apply(release("w", version + 1, error=f"boom {version}"))
        assert (store.messages(), store.task("w").error) == ([], f"boom {version}")
        pause = (store.task("w").retry_at or 0) - store.clock.now()
        assert store.armed[-1] == ("w", store.task("w").retry_at)
        store.pass_time(pause)
        assert store.messages() == [execute("w", version + 1)]
        pauses.append(pause)
    assert pauses == sorted(set(pauses))


PROGRESS: dict[str, Callable[[World, int], object]] = {
    "a recorded step": lambda store, n: store.apply(recorded(f"w.{n}", began=store.clock.now())),
    "a created child": lambda store, n: store.apply(create(f"w.{n}")),
    "a settled child": lambda store, n: store.apply(settle(f"w.c{n}")),
    "a child of a running coroutine": lambda store, n: store.apply(recorded(f"w.0.{n}")),
}


@pytest.mark.parametrize("progress", PROGRESS.values(), ids=PROGRESS.keys())
@pytest.mark.parametrize("ends", ["lease expiry", "release"])
def test_rule_12_progress_resets_the_count(store: World, progress: Callable[[World, int], object], ends: str) -> None:
    """Rule 12: a new durable record since the attempt began, at any depth of the execution, resets the count."""
    store.apply(create("w", TARGETED))
    store.apply(create("w.0"))
    store.apply(create("w.c4"))
    store.clock.advance(SECOND)
    for _ in range(4):
        crash(store, "w")
    assert store.task("w").attempts == 4
    if ends == "lease expiry":
        crash(store, "w", between=lambda: progress(store, 4))
    else:
        store.apply(acquire("w", 4))
        store.clock.advance(SECOND)
        progress(store, 4)
        store.apply(release("w", 5, error="boom"))
    assert (store.task("w").state, store.task("w").attempts) == ("pending", 0)


def test_rule_12_a_record_of_another_execution_is_no_progress(store: World) -> None:
    """Rule 12: what a called workflow does, or an id that merely looks alike, does not excuse the caller."""
    store.apply(create("w", TARGETED))
    store.apply(create("w.1", TARGETED))
    store.clock.advance(SECOND)
    for id in ("w.1.1", "w2.1", "x"):
        crash(store, "w", between=lambda id=id: store.apply(recorded(id)))
    assert store.task("w").attempts == 3


def test_rule_12_suspension_resets_the_count(store: World) -> None:
    """Rule 12: a task that could suspend has got somewhere."""
    store.apply(create("w", TARGETED))
    store.apply(create("a", OUTSIDE))
    for _ in range(9):
        crash(store, "w")
    store.apply(acquire("w", 9))
    store.apply(suspend("w", "a", version=10))
    store.apply(settle("a"))
    crash(store, "w")
    assert (store.task("w").state, store.task("w").attempts) == ("pending", 1)


def test_rule_12_a_handover_is_no_attempt(store: World) -> None:
    """Rule 12: a release because time is running out is not counted, and is offered at once, any number of times."""
    store.apply(create("w", TARGETED))
    crash(store, "w")
    for version in range(1, 13):
        store.apply(acquire("w", version))
        store.clock.advance(SECOND)
        store.messages()
        assert store.apply(release("w", version + 1, handover=True)).status == 200
        assert store.messages() == [execute("w", version + 1)]
    assert (store.task("w").state, store.task("w").attempts) == ("pending", 1)


def test_rule_12_progress_resets_the_count_of_a_handover_too(store: World) -> None:
    """Rule 12: however an attempt ends, a durable record made in it resets the count."""
    store.apply(create("w", TARGETED))
    for _ in range(9):
        crash(store, "w")
    store.apply(acquire("w", 9))
    store.clock.advance(SECOND)
    store.apply(recorded("w.1", began=store.clock.now()))
    store.apply(release("w", 10, handover=True))
    assert store.task("w").attempts == 0


def test_rule_12_a_task_that_nobody_acquires_is_offered_for_ever(store: World) -> None:
    """Rule 12: offered again after 30 s, doubling to 5 min, as long as its promise is pending; never halted."""
    store.apply(create("w", TARGETED, at=T0 + 2 * DAY))
    offers = [T0]
    while len(offers) < 30:
        store.messages()
        store.pass_time((store.task("w").retry_at or 0) - store.clock.now())
        assert store.messages() == [execute("w", 0)]
        offers.append(store.clock.now())
    gaps = [later - earlier for earlier, later in pairwise(offers)]
    assert gaps == [30_000, 60_000, 120_000, 240_000, *[300_000] * 25]
    assert (store.task("w").state, store.task("w").attempts) == ("pending", 0)
    store.messages()
    store.pass_time(2 * DAY)
    assert (store.messages(), store.task("w").state) == ([], "fulfilled")


def test_rule_12_a_continued_task_starts_counting_afresh(store: World) -> None:
    """Rule 12: somebody has looked at it; it gets ten attempts again."""
    store.apply(create("w", TARGETED))
    for _ in range(10):
        crash(store, "w")
    assert store.task("w").state == "halted"
    store.messages()
    store.apply(TaskContinue("w"))
    assert store.messages() == [execute("w", 10)]
    crash(store, "w")
    assert (store.task("w").state, store.task("w").attempts, store.task("w").halted_at) == ("pending", 1, None)


# -- rule 13: recording a finished step ---------------------------------------------------------------------------


def test_rule_13_a_new_step_is_stored_settled(store: World) -> None:
    """Rule 13: one write; created_at is when the step began, settled_at when it was recorded."""
    store.clock.advance(5 * SECOND)
    promise = store.apply(recorded("w.1", "rejected", "why", began=T0 + SECOND)).promise
    stored = store.stored("w.1")
    assert promise == stored.promise()
    assert (stored.state, stored.value, stored.param) == ("rejected", value("why"), value("param"))
    assert (stored.created_at, stored.settled_at, stored.timeout_at) == (T0 + SECOND, T0 + 5 * SECOND, T0 + DAY)
    assert (stored.tags, stored.task) == ({SCOPE: "local"}, None)


def test_rule_13_a_local_step_costs_one_write_and_no_wakeup(store: World) -> None:
    """Rule 13: the record of a step inside a tree is written once and never looked at by the sweep."""
    request = replace(recorded("w.1"), tags={SCOPE: "local", "resonate:origin": "w"})
    store.apply(request)
    stored = store.stored("w.1")
    assert (stored.rev, stored.wake_at) == (1, None)
    assert (store.retained, store.armed, store.messages()) == ([], [], [])


def test_rule_13_a_settled_record_is_adopted(store: World) -> None:
    """Rule 13: the first writer wins, the others adopt its outcome and write nothing."""
    first = store.apply(recorded("w.1", data="first")).promise
    before = store.stored("w.1")
    store.clock.advance(SECOND)
    assert store.apply(recorded("w.1", "rejected", "second")).promise == first
    assert store.stored("w.1") == before


def test_rule_13_a_pending_record_is_settled(store: World) -> None:
    """Rule 13: a step that was created first keeps its own param, tags and times, and whoever waits is told."""
    store.apply(create("w.1", param="original"))
    store.apply(listen("w.1"))
    store.clock.advance(SECOND)
    promise = store.apply(recorded("w.1", data="out", began=T0 + 1)).promise
    assert (promise.state, promise.value, promise.param) == ("resolved", value("out"), value("original"))
    assert (promise.created_at, promise.settled_at, promise.tags) == (T0, T0 + SECOND, {})
    assert [(address, message["kind"]) for address, message in store.messages()] == [(LISTENER, "unblock")]


def test_rule_13_finished_past_its_deadline_it_is_stored_timed_out(store: World) -> None:
    """Rule 13: a new record of a late step has the timeout, not the value, as its outcome."""
    store.clock.advance(2 * MINUTE)
    promise = store.apply(recorded("w.1", at=DEADLINE, began=T0)).promise
    assert timed_out(promise) == ("rejected_timedout", DEADLINE, EMPTY)
    assert promise == store.stored("w.1").promise()


def test_rule_13_an_existing_record_past_its_deadline_is_adopted_timed_out(store: World) -> None:
    """Rule 13: the deadline of the stored promise counts, not the one that the record brings."""
    store.apply(create("w.1", at=DEADLINE))
    store.clock.advance(MINUTE)
    assert timed_out(store.apply(recorded("w.1")).promise) == ("rejected_timedout", DEADLINE, EMPTY)


def test_rule_13_recording_is_not_fenced(store: World) -> None:
    """Rule 13: a worker that has lost its task may still record the step that it finished."""
    held(store, "w", ttl=10 * SECOND)
    store.pass_time(10 * SECOND)
    store.apply(acquire("w", 1, pid="p2"))
    assert store.apply(recorded("w.1", data="by the old worker")).ok
    assert store.apply(fence("w", create("w.1"), version=2)).promise.value == value("by the old worker")


def test_rule_13_an_empty_value_stays_empty(store: World) -> None:
    """Rule 13: a step without a result is stored without one."""
    promise = store.apply(replace(recorded("w.1"), value=Value(), param=Value())).promise
    assert (promise.value, promise.param) == (EMPTY, EMPTY)

"""The rules 1, 2, 3 and 8 at the end of docs/rules.md, each under its own number: what is due.

The corpus has what answers show. These tests are about stored records, effects and time.
"""

from __future__ import annotations

import pytest

from resonate_store.model.records import EMPTY, PromiseView
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
)
from tests.support.present import present
from tests.support.substrates import T0, NewStore, World

DEADLINE = T0 + MINUTE


def timed_out(promise: PromiseView | None) -> tuple[object, ...]:
    """What a timeout leaves to see."""
    assert promise is not None
    return promise.state, promise.settled_at, promise.value


# -- rule 1: reads materialise ----------------------------------------------------------------------------------------


def test_rule_01_get_settles_a_due_promise(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 1: a pending promise past its deadline is stored settled before a response shows it so."""
    for tags, state in (
        ({}, "rejected_timedout"),
        (TARGETED, "rejected_timedout"),
        (OUTSIDE, "rejected_timedout"),
        ({TIMER: "yes"}, "rejected_timedout"),
        (TIMED, "resolved"),
    ):
        with subtests.test(tags=tags):
            store = new_store()
            store.apply(create("p", tags, at=DEADLINE))
            store.clock.advance(MINUTE - 1)
            assert present(store.apply(get("p")).promise).state == "pending"
            store.clock.advance(1)

            assert timed_out(store.apply(get("p")).promise) == (state, DEADLINE, EMPTY)
            stored = store.stored("p")
            assert timed_out(stored.promise()) == (state, DEADLINE, EMPTY)
            assert stored.written_at == DEADLINE


def test_rule_01_request_about_a_due_promise_settles_it(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 1: every request stores the timeout of the promises it names before it acts on them."""
    requests: list[Request] = [
        get("p"),
        create("p", TARGETED, at=T0 + DAY),
        create_task("p", at=T0 + DAY),
        settle("p"),
        recorded("p"),
        callback("p", "awaiter"),
        callback("other", "p"),
        listen("p"),
        TaskGet("p"),
        acquire("p"),
        release("p"),
        fulfill("p"),
        suspend("p", "other"),
        suspend("awaiter", "p"),
        fence("p", create("p.1")),
        fence("awaiter", settle("p")),
        TaskHalt("p"),
        TaskContinue("p"),
        heartbeat(("p", 0)),
        PromiseWake("p"),
    ]
    for request in requests:
        with subtests.test(request=request):
            store = new_store()
            held(store, "awaiter")
            store.apply(create("other"))
            store.apply(create("p", TARGETED, at=DEADLINE))
            store.clock.advance(MINUTE)

            response = store.apply(request)

            stored = store.stored("p")
            assert (stored.state, stored.settled_at, stored.value) == ("rejected_timedout", DEADLINE, EMPTY)
            assert (present(stored.task).state, present(stored.task).version) == ("fulfilled", 0)
            assert (stored.callbacks, stored.listeners) == ({}, {})
            if response.promise is not None and response.promise.id == "p":
                assert response.promise == stored.promise()


def test_rule_01_children_leave_out_due_promises(store: World) -> None:
    """Rule 1: children() shows a due promise only after a request has stored its timeout."""
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


def test_rule_01_slower_clock_keeps_the_timeout_of_another(store: World) -> None:
    """Rule 1: two stores two seconds apart; the slower one cannot settle what the faster one saw time out."""
    ahead = store.neighbour(+2 * SECOND)
    store.apply(create("p", OUTSIDE, at=DEADLINE))
    store.clock.advance(MINUTE - SECOND)
    assert present(store.apply(get("p")).promise).state == "pending"

    seen = ahead.apply(get("p")).promise
    assert timed_out(seen) == ("rejected_timedout", DEADLINE, EMPTY)
    assert store.apply(settle("p")).promise == seen
    assert store.apply(get("p")).promise == seen


def test_rule_01_now_is_not_before_the_last_write(store: World) -> None:
    """Rule 1: a slow clock is raised to the last write of the records it reads, for all of them."""
    ahead = store.neighbour(+2 * SECOND)
    ahead.apply(create_task("w"))
    store.apply(create("c", at=T0 + 1500))

    response = store.apply(fence("w", settle("c")))

    assert timed_out(response.promise) == ("rejected_timedout", T0 + 1500, EMPTY)
    assert store.stored("c").written_at == T0 + 2 * SECOND


def test_rule_01_promise_is_not_settled_before_its_creation(store: World) -> None:
    """Rule 1: a promise created by a fast clock is not settled before it was created."""
    ahead = store.neighbour(+2 * SECOND)
    ahead.apply(create("p"))
    settled = present(store.apply(settle("p")).promise)
    assert (settled.created_at, settled.settled_at) == (T0 + 2 * SECOND, T0 + 2 * SECOND)
    assert store.stored("p").written_at == T0 + 2 * SECOND


# -- rule 2: a task is fulfilled as soon as its promise is ------------------------------------------------------------

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


def test_rule_02_no_request_revives_a_fulfilled_task(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 2: acquire, heartbeat, release, halt, continue, expiry and redispatch check the promise first."""
    for how in ["deadline", "settled"]:
        for state, request, status in DEAD:
            with subtests.test(state=state, request=request, how=how):
                store = new_store()
                put_in_state(store, state)
                version = store.task("w").version
                if how == "settled":
                    store.apply(settle("w", "rejected_canceled"))
                store.messages()
                store.clock.advance(MINUTE)  # past the promise's deadline, the task's lease and its next offer

                response = store.apply(request)
                store.pass_time(HOUR)

                assert response.status == status
                assert (store.task("w").state, store.task("w").version) == ("fulfilled", version)
                assert store.stored("w").state == ("rejected_canceled" if how == "settled" else "rejected_timedout")
                assert store.messages() == []
                assert store.stored("other").callbacks in ({}, {"w": 1})
                assert store.record("w.1") is None
                assert present(store.apply(TaskGet("w")).task).state == "fulfilled"


def test_rule_02_settle_fulfills_the_task_in_one_write(store: World) -> None:
    """Rule 2: the write that settles the promise also fulfills its task."""
    held(store, "w")
    before = store.stored("w").rev
    store.apply(settle("w"))
    assert store.task("w").state == "fulfilled"
    assert store.stored("w").rev <= before + 2  # the settlement, and the note that it was delivered
    assert store.apply(fulfill("w")).status == 409


# -- rule 3: arming ---------------------------------------------------------------------------------------------------


def test_rule_03_plain_promise_is_not_armed(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 3: plain local promises are not in an index. A request that reads them settles them."""
    for tags in [{}, {SCOPE: "local"}, {EXTERNAL: "false"}, {TIMER: "false"}]:
        with subtests.test(tags=tags):
            store = new_store()
            store.apply(create("p", tags, at=DEADLINE))
            assert store.stored("p").wake_at is None
            store.pass_time(HOUR)
            assert store.stored("p").pending
            assert store.armed == []


# -- rule 8: an armed timer means "not before" ------------------------------------------------------------------------


def test_rule_08_early_firing_changes_nothing(store: World) -> None:
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


def test_rule_08_repeated_firing_changes_nothing(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 8: the second firing of one timer finds nothing due."""
    for what in ["timer", "lease", "offer"]:
        with subtests.test(what=what):
            store = new_store()
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


def test_rule_08_early_firing_stores_the_exact_next_instant(store: World) -> None:
    """Rule 8: after a wake-up that came too early for the rest, the record is armed for what is due next."""
    store.apply(create("w", TARGETED, at=T0 + HOUR))
    store.apply(acquire("w", 0, ttl=10 * MINUTE))
    assert store.stored("w").wake_at == T0 + 30 * SECOND  # moved later lazily
    store.pass_time(30 * SECOND)
    assert store.stored("w").wake_at == T0 + 10 * MINUTE
    assert store.task("w").state == "acquired"


def test_rule_w18_sweep_leaves_a_settlement_alone_for_a_minute(store: World) -> None:
    """W18: the wake-up of the promise stays, and the sweep does not repeat a delivery that is under way."""
    swept = PromiseWake("p", redelivery_ms=MINUTE)
    store.apply(create("p", OUTSIDE, at=T0 + HOUR))
    store.clock.advance(2 * HOUR)
    with store.holding():
        store.apply(get("p"))
        settled = store.stored("p")
        assert settled.wake_at == T0 + HOUR
        store.clock.advance(MINUTE - 1)
        store.apply(swept)
        assert store.stored("p") == settled
        store.clock.advance(1)
        store.apply(swept)
        assert store.stored("p").wake_at == store.clock.now() + MINUTE


def test_rule_08_wake_up_of_an_unknown_promise_is_404(store: World) -> None:
    """Rule 8: a timer may outlive its promise."""
    assert store.apply(PromiseWake("gone")).status == 404
    assert store.record("gone") is None

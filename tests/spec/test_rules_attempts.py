"""The rules 11 to 13 at the end of docs/rules.md, each under its own number: offers, attempts and recorded steps.

The corpus has what answers show. These tests are about stored records, effects and time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from msgspec.structs import replace

from resonate_store.model.records import EMPTY, PromiseView, Value
from resonate_store.model.requests import TaskGet
from resonate_store.model.tags import SCOPE
from tests.support.build import (
    DAY,
    HOUR,
    LISTENER,
    MINUTE,
    SECOND,
    TARGETED,
    acquire,
    crash,
    create,
    delayed,
    execute,
    fence,
    held,
    listen,
    recorded,
    release,
    settle,
    value,
)
from tests.support.present import present
from tests.support.substrates import T0, NewStore, World

DEADLINE = T0 + MINUTE


def timed_out(promise: PromiseView | None) -> tuple[object, ...]:
    """What a timeout leaves to see."""
    assert promise is not None
    return promise.state, promise.settled_at, promise.value


# -- rule 11: resonate:delay ------------------------------------------------------------------------------------------


def test_rule_11_delay_postpones_the_first_offer(store: World) -> None:
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


def test_rule_11_promise_settled_during_its_delay_is_not_offered(store: World) -> None:
    """Rule 11: the delay is before the timeout, and a settlement before it leaves nothing to dispatch."""
    store.apply(create("w", delayed(T0 + HOUR)))
    store.apply(settle("w", "rejected_canceled"))
    store.pass_time(HOUR)
    assert (store.messages(), store.task("w").state) == ([], "fulfilled")


# -- rule 12: attempts are bounded, waiting is not --------------------------------------------------------------------


def fail(store: World, id: str, error: str = "boom") -> None:
    """Acquire the task, release it with an error, and wait until it is offered again."""
    assert store.apply(acquire(id, store.task(id).version)).ok
    store.clock.advance(SECOND)
    assert store.apply(release(id, store.task(id).version, error=error)).ok
    store.pass_time((store.task(id).retry_at or store.clock.now()) - store.clock.now())


def test_rule_12_ten_attempts_without_progress_halt_the_task(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 12: nine are counted and repeated, the tenth halts with reason, time and last error in `tasks get`."""
    for attempt in [crash, fail]:
        with subtests.test(attempt=attempt):
            store = new_store()
            store.apply(create("w", TARGETED))
            for n in range(1, 10):
                attempt(store, "w")
                assert (store.task("w").state, store.task("w").attempts) == ("pending", n)
            store.messages()
            store.apply(acquire("w", 9, pid="p9", ttl=10 * SECOND))
            store.clock.advance(10 * SECOND)
            at = store.clock.now()
            store.tick() if attempt is crash else store.apply(release("w", 10, error="boom"))

            task = present(store.apply(TaskGet("w")).task)
            assert (task.state, task.version, task.attempts, task.halted_at) == ("halted", 10, 10, at)
            assert "10 attempts" in present(task.error)
            assert ("boom" if attempt is fail else "p9") in present(task.error)
            store.pass_time(HOUR)
            assert store.messages() == []
            assert store.stored("w").pending
            assert store.apply(acquire("w", 10)).status == 409


def test_rule_12_expired_lease_is_offered_again_at_once(store: World) -> None:
    """Rule 12: the next worker need not wait; the error says whose lease ended."""
    store.apply(create("w", TARGETED))
    store.messages()
    crash(store, "w")
    assert store.messages() == [execute("w", 1)]
    task = store.task("w")
    assert (task.pid, task.ttl, task.expires_at, task.retry_at) == (None, None, None, T0 + 40 * SECOND)
    assert "p1" in present(task.error)


PROGRESS: dict[str, Callable[[World, int], object]] = {
    "a recorded step": lambda store, n: store.apply(recorded(f"w.{n}", began=store.clock.now())),
    "a created child": lambda store, n: store.apply(create(f"w.{n}")),
    "a settled child": lambda store, n: store.apply(settle(f"w.c{n}")),
    "a child of a running coroutine": lambda store, n: store.apply(recorded(f"w.0.{n}")),
}


def test_rule_12_progress_resets_the_count_of_attempts(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 12: a new durable record since the attempt began, at any depth of the execution, resets the count."""
    for ends in ["lease expiry", "release"]:
        for name in PROGRESS:
            with subtests.test(name=name, ends=ends):
                store = new_store()
                store.apply(create("w", TARGETED))
                store.apply(create("w.0"))
                store.apply(create("w.c4"))
                store.clock.advance(SECOND)
                for _ in range(4):
                    crash(store, "w")
                assert store.task("w").attempts == 4
                if ends == "lease expiry":
                    crash(store, "w", between=partial(PROGRESS[name], store, 4))
                else:
                    store.apply(acquire("w", 4))
                    store.clock.advance(SECOND)
                    PROGRESS[name](store, 4)
                    store.apply(release("w", 5, error="boom"))
                assert (store.task("w").state, store.task("w").attempts) == ("pending", 0)


def test_rule_12_record_of_another_execution_is_not_progress(store: World) -> None:
    """Rule 12: records of a called workflow, or of a similar id, do not reset the count of the caller."""
    store.apply(create("w", TARGETED))
    store.apply(create("w.1", TARGETED))
    store.clock.advance(SECOND)
    for id in ("w.1.1", "w2.1", "x"):
        crash(store, "w", between=lambda id=id: store.apply(recorded(id)))
    assert store.task("w").attempts == 3


def test_rule_12_handover_is_not_an_attempt(store: World) -> None:
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


def test_rule_12_unacquired_task_is_offered_without_end(store: World) -> None:
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


# -- rule 13: recording a finished step -------------------------------------------------------------------------------


def test_rule_13_new_step_is_stored_settled(store: World) -> None:
    """Rule 13: one write; created_at is when the step began, settled_at when it was recorded."""
    store.clock.advance(5 * SECOND)
    promise = store.apply(recorded("w.1", "rejected", "why", began=T0 + SECOND)).promise
    stored = store.stored("w.1")
    assert promise == stored.promise()
    assert (stored.state, stored.value, stored.param) == ("rejected", value("why"), value("param"))
    assert (stored.created_at, stored.settled_at, stored.timeout_at) == (T0 + SECOND, T0 + 5 * SECOND, T0 + DAY)
    assert (stored.tags, stored.task) == ({SCOPE: "local"}, None)


def test_rule_13_local_step_costs_one_write(store: World) -> None:
    """Rule 13: the record of a step inside a tree is written once and never looked at by the sweep."""
    request = replace(recorded("w.1"), tags={SCOPE: "local", "resonate:origin": "w"})
    store.apply(request)
    stored = store.stored("w.1")
    assert (stored.rev, stored.wake_at) == (1, None)
    assert (store.retained, store.armed, store.messages()) == ([], [], [])


def test_rule_13_settled_record_is_adopted(store: World) -> None:
    """Rule 13: the first writer wins, and a later one gets its outcome and writes nothing."""
    first = store.apply(recorded("w.1", data="first")).promise
    before = store.stored("w.1")
    store.clock.advance(SECOND)
    assert store.apply(recorded("w.1", "rejected", "second")).promise == first
    assert store.stored("w.1") == before


def test_rule_13_pending_record_is_settled(store: World) -> None:
    """Rule 13: a promise that was created first keeps its param, tags and times, and its listeners are notified."""
    store.apply(create("w.1", param="original"))
    store.apply(listen("w.1"))
    store.clock.advance(SECOND)
    promise = present(store.apply(recorded("w.1", data="out", began=T0 + 1)).promise)
    assert (promise.state, promise.value, promise.param) == ("resolved", value("out"), value("original"))
    assert (promise.created_at, promise.settled_at, promise.tags) == (T0, T0 + SECOND, {})
    assert [(address, message["kind"]) for address, message in store.messages()] == [(LISTENER, "unblock")]


def test_rule_13_late_step_is_stored_timed_out(store: World) -> None:
    """Rule 13: a new record of a late step has the timeout, not the value, as its outcome."""
    store.clock.advance(2 * MINUTE)
    promise = store.apply(recorded("w.1", at=DEADLINE, began=T0)).promise
    assert timed_out(promise) == ("rejected_timedout", DEADLINE, EMPTY)
    assert promise == store.stored("w.1").promise()


def test_rule_13_existing_record_past_its_deadline_is_adopted(store: World) -> None:
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
    assert present(store.apply(fence("w", create("w.1"), version=2)).promise).value == value("by the old worker")


def test_rule_13_empty_value_is_stored_empty(store: World) -> None:
    """Rule 13: a step without a result is stored without one."""
    promise = present(store.apply(replace(recorded("w.1"), value=Value(), param=Value())).promise)
    assert (promise.value, promise.param) == (EMPTY, EMPTY)

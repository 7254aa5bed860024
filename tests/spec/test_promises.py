"""What the promise requests store and send (docs/protocol.md 1.3 to 1.5). The corpus has their answers."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from resonate_store.delivery.outlets import Outlets, deliver
from resonate_store.machine.effects import Change
from resonate_store.model.records import EMPTY, PromiseView, Record, SettledState, TaskRecord
from resonate_store.model.requests import PromiseDelivered, PromiseWake, TaskHalt
from resonate_store.model.tags import ORIGIN
from tests.support.build import (
    DAY,
    HOUR,
    LISTENER,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    WORKERS,
    acquire,
    callback,
    create,
    execute,
    get,
    held,
    listen,
    recorded,
    registered,
    settle,
    suspended,
    value,
)
from tests.support.present import present
from tests.support.substrates import T0, NewStore, World

# -- promise.get ------------------------------------------------------------------------------------------------------


def test_promise_get_writes_nothing(store: World) -> None:
    created = store.apply(create("p", TARGETED)).promise
    before = store.stored("p")
    assert store.apply(get("p")).promise == created == before.promise()
    assert store.stored("p") == before


# -- promise.create ---------------------------------------------------------------------------------------------------


def test_promise_create_stores_a_pending_promise(store: World) -> None:
    tags = {"color": "blue", "self": "", "ключ": "значение"}
    response = store.apply(create("p", tags, param="input"))
    assert response.status == 200
    assert response.promise == PromiseView(
        id="p", state="pending", param=value("input"), value=EMPTY, tags=tags, timeout_at=T0 + DAY, created_at=T0
    )
    stored = store.stored("p")
    assert (stored.task, stored.rev, stored.written_at, stored.settled_at) == (None, 1, T0, None)
    assert store.messages() == []


def test_promise_create_of_an_existing_id_writes_nothing(store: World) -> None:
    first = store.apply(create("p", {"n": "1"}, param="one")).promise
    before = store.stored("p")
    store.clock.advance(SECOND)
    response = store.apply(create("p", {**TARGETED, "n": "2"}, param="two", at=T0 + HOUR))
    assert (response.status, response.promise) == (200, first)
    assert (store.stored("p"), store.messages()) == (before, [])


def test_promise_create_with_a_target_offers_a_task(store: World) -> None:
    store.apply(create("w", TARGETED))
    task = store.task("w")
    assert (task.state, task.version, task.retry_at, task.offers) == ("pending", 0, T0 + 30 * SECOND, 1)
    assert (task.pid, task.ttl, task.expires_at, task.resumes) == (None, None, None, ())
    assert store.messages() == [execute("w", 0)]


def test_offer_goes_to_any_kind_of_target(new_store: NewStore, subtests: pytest.Subtests) -> None:
    for target in ["https://example.com/run?x=1", "lambda://worker:live", "poll://uni@g/p"]:
        with subtests.test(target=target):
            store = new_store()
            store.apply(create("w", {"resonate:target": target}))
            assert store.messages() == [execute("w", 0, target)]


def test_promise_create_past_its_deadline_stores_it_settled(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """docs/rules.md P3: createdAt = settledAt = timeoutAt, a fulfilled task at version 0, and no message."""
    for tags, state, task in [
        ({}, "rejected_timedout", None),
        (TIMED, "resolved", None),
        (TARGETED, "rejected_timedout", TaskRecord("fulfilled", 0)),
    ]:
        for late in [0, HOUR]:
            with subtests.test(tags=tags, late=late):
                store = new_store()
                promise = present(store.apply(create("p", tags, at=T0 - late, param="input")).promise)
                assert (promise.state, promise.created_at, promise.settled_at) == (state, T0 - late, T0 - late)
                assert (promise.value, promise.param) == (EMPTY, value("input"))
                assert (store.stored("p").promise(), store.stored("p").task) == (promise, task)
                assert (store.messages(), store.armed) == ([], [])


def test_timer_is_armed_once_when_created(store: World) -> None:
    store.apply(create("soon", TIMED, at=T0 + SECOND))
    store.apply(create("late", TIMED, at=T0 + DAY))
    store.apply(create("soon", TIMED, at=T0 + SECOND))
    assert store.armed == [("soon", T0 + SECOND), ("late", T0 + DAY)]


def test_promise_can_have_any_legal_id(new_store: NewStore, subtests: pytest.Subtests) -> None:
    for id in ["a#b", "a/b c", "🙂", "é" * 500, "x" * 1000, "..", ".", "a..b", "0", "p#x", "schedule"]:
        with subtests.test(id=id):
            store = new_store()
            assert store.apply(create(id)).ok
            assert present(store.apply(settle(id, data=id)).promise).value == value(id)
            assert store.stored(id).id == id
            assert store.apply(get(f"{id[:-1]}?")).status == 404


# -- children ---------------------------------------------------------------------------------------------------------


def test_children_are_one_level_below(store: World) -> None:
    """docs/rules.md D3: ids that begin with `{id}.` and go one level deeper, whatever else looks like it."""
    for id in ("a", "a.1", "a.2", "a.10", "a.1.1", "a.1.2", "a1.1", "ab.1", "b.1", "a#.1", "a.é", "a.1.1.1"):
        store.apply(create(id))
    assert store.children("a").keys() == {"a.1", "a.2", "a.10", "a.é"}
    assert store.children("a.1").keys() == {"a.1.1", "a.1.2"}
    assert store.children("a.2").keys() == set()
    assert store.children("nowhere").keys() == set()


def test_children_show_the_stored_promises(store: World) -> None:
    for request in (*map(create, ("a.", "a..", "a..1", "..", ".1")), recorded("a.1"), create("a.2", TARGETED)):
        store.apply(request)
    assert store.children("a") == {id: store.stored(id).promise() for id in ("a.", "a.1", "a.2")}
    assert store.children("a.").keys() == {"a..", "a..1"}, "ids may have empty segments"


# -- promise.settle ---------------------------------------------------------------------------------------------------


def test_promise_settle_stores_the_first_state_and_value(new_store: NewStore, subtests: pytest.Subtests) -> None:
    states: list[SettledState] = ["resolved", "rejected", "rejected_canceled"]
    for state in states:
        with subtests.test(state=state):
            store = new_store()
            store.apply(create("p", param="input"))
            store.clock.advance(SECOND)
            response = store.apply(settle("p", state, "first"))
            promise = present(response.promise)
            assert (response.status, promise.state, promise.value) == (200, state, value("first"))
            assert (promise.param, promise.created_at, promise.settled_at) == (value("input"), T0, T0 + SECOND)
            before = store.stored("p")
            store.clock.advance(SECOND)
            for again in ("resolved", "rejected", "rejected_canceled"):
                assert store.apply(settle("p", again, "second")).promise == promise
            assert store.stored("p") == before


def test_promise_settle_messages_all_awaiters_and_listeners(store: World) -> None:
    suspended(store, "w1", "p")
    suspended(store, "w2", "p")
    store.apply(listen("p"))
    store.apply(listen("p", "https://example.com/hook"))

    store.apply(settle("p", "rejected", "no"))

    promise = msgspec.to_builtins(store.stored("p").promise())
    unblock = {"kind": "unblock", "head": {}, "data": {"promise": promise}}
    assert sorted(store.messages(), key=repr) == sorted(
        [execute("w1", 1), execute("w2", 1), (LISTENER, unblock), ("https://example.com/hook", unblock)], key=repr
    )
    stored = store.stored("p")
    assert (stored.delivered, stored.callbacks, stored.listeners, stored.wake_at) == (True, {}, {}, None)


def test_settled_root_is_retained_once(store: World) -> None:
    """docs/rules.md E1: a root is a record without an origin, or whose origin is itself, whatever dots it has."""
    for id, origin in (("r", None), ("s.1", None), ("t.1", "t.1"), ("u.1", "u")):
        store.apply(create(id, {} if origin is None else {ORIGIN: origin}))
    store.clock.advance(SECOND)
    for id in ("r", "s.1", "t.1", "u.1"):
        store.apply(settle(id))
        store.apply(settle(id))
    assert store.retained == [(id, T0, T0 + SECOND) for id in ("r", "s.1", "t.1")]
    store.pass_time(DAY)
    assert len(store.retained) == 3


# -- promise.register_callback ----------------------------------------------------------------------------------------


def test_register_callback_with_two_missing_promises_names_the_awaited(store: World) -> None:
    response = store.apply(callback("nowhere", "nobody"))
    assert (response.status, response.error) == (404, "Awaited promise not found")


def test_register_callback_stores_the_awaiter(store: World) -> None:
    held(store, "w")
    store.apply(create("p", param="input"))
    before = store.stored("p")
    response = store.apply(callback("p", "w"))
    assert (response.status, response.promise) == (200, before.promise())
    after = store.stored("p")
    assert (after.callbacks, after.rev, after.wake_at) == (registered("w"), before.rev + 1, T0 + DAY)
    assert store.messages() == []


def test_register_callback_of_many_awaiters_keeps_each(store: World) -> None:
    store.apply(create("p", OUTSIDE))
    awaiters = [f"w.{n}" for n in range(12)] + ["a b", "#waiter0", "é", "state"]
    for id in awaiters:
        held(store, id)
        store.apply(callback("p", id))
    assert store.stored("p").callbacks == registered(*awaiters)


# -- promise.register_listener ----------------------------------------------------------------------------------------


def test_register_listener_stores_each_address_once(store: World) -> None:
    store.apply(create("p", OUTSIDE))
    store.clock.advance(SECOND)
    first = store.apply(listen("p"))
    before = store.stored("p")
    store.clock.advance(SECOND)
    assert store.apply(listen("p")) == first
    assert (first.status, first.promise) == (200, before.promise())
    assert (store.stored("p"), before.listeners) == (before, {LISTENER: T0 + SECOND})
    store.apply(settle("p"))
    assert [address for address, _ in store.messages()] == [LISTENER]


# -- awaited deadlines ------------------------------------------------------------------------------------------------


def test_awaited_deadline_within_15_minutes_is_armed_once(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """docs/rules.md C5: within 15 minutes like a timer; the sweep finds a later one."""
    for away, armed in [(15 * MINUTE, True), (15 * MINUTE + 1, False)]:
        for how in ["listener", "callback"]:
            with subtests.test(how=how, away=away, armed=armed):
                store = new_store()
                held(store, "w")
                held(store, "v")
                store.apply(create("p", OUTSIDE, at=T0 + away))
                assert store.armed == []
                store.apply(listen("p") if how == "listener" else callback("p", "w"))
                store.apply(callback("p", "v"))
                assert store.armed == ([("p", T0 + away)] if armed else [])
                store.pass_time(away)
                assert store.stored("p").state == "rejected_timedout"


# -- lost, late and repeated deliveries -------------------------------------------------------------------------------


def test_sweep_repeats_an_undelivered_settlement(store: World) -> None:
    """docs/rules.md W11: a workflow completes even if every stream record is dropped."""
    suspended(store, "w", "p")
    store.apply(listen("p"))
    with store.holding() as changes:
        store.apply(settle("p"))
        changes.clear()
    assert (store.task("w").state, store.stored("p").wake_at) == ("suspended", T0 + MINUTE)
    store.pass_time(MINUTE - 1)
    assert store.messages() == []
    store.pass_time(1)
    assert sorted(address for address, _ in store.messages()) == sorted([LISTENER, WORKERS])
    assert (store.task("w").state, store.stored("p").delivered) == ("pending", True)
    assert [id for id, _, _ in store.retained] == ["p"]
    assert store.due() == []


def test_wake_up_of_an_undelivered_settlement_does_not_mark_it(store: World) -> None:
    suspended(store, "w", "p")
    with store.holding() as changes:
        store.apply(settle("p"))
        changes.clear()
        store.clock.advance(MINUTE)
        store.apply(PromiseWake("p"))
        (change,) = changes
        changes.clear()
    deliver(change, cast("Outlets", Unreachable()))
    assert isinstance(change.after, Record)
    assert change.after.owes
    assert (store.stored("p").delivered, store.stored("p").wake_at) == (False, T0 + 2 * MINUTE)


class Unreachable:
    """Outlets that fail when they are used."""

    def __getattr__(self, name: str) -> Any:
        pytest.fail(f"{name} was called")


def test_delivered_mark_repeated_writes_nothing(store: World) -> None:
    suspended(store, "w", "p")
    store.apply(settle("p"))
    before = store.stored("p")
    assert store.apply(PromiseDelivered("p")).status == 200
    assert store.apply(PromiseDelivered("w")).status == 200
    assert store.apply(PromiseDelivered("nowhere")).status == 200
    assert (store.stored("p"), store.stored("w").delivered) == (before, False)


def test_deliveries_in_reverse_order_lose_no_resume(store: World) -> None:
    suspended(store, "w", "a", "b")
    with store.holding() as changes:
        store.apply(settle("a"))
        store.apply(settle("b"))
        changes.reverse()
    assert store.messages() == [execute("w", 1)]
    store.apply(acquire("w", 1))
    assert [store.stored(id).state for id in ("a", "b")] == ["resolved"] * 2


def test_effects_of_one_image_repeat_the_offer(store: World) -> None:
    """effects(None, record) is what a lost event left behind."""
    store.apply(create("w", TARGETED))
    store.messages()
    store.backlog.append(Change(None, store.stored("w")))
    store.deliver()
    assert store.messages() == [execute("w", 0)]
    store.apply(acquire("w"))
    store.apply(TaskHalt("w"))
    store.backlog.append(Change(None, store.stored("w")))
    store.deliver()
    assert store.messages() == []

"""What the stores in this process do alike: effects, wake-ups and messages."""

from __future__ import annotations

import threading
from typing import Any

from msgspec.structs import replace

from resonate_store.local.embedded import EmbeddedStore
from resonate_store.local.memory import MemoryStore
from resonate_store.machine import NeedRecords, decide
from resonate_store.machine.draft import Need
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import ContinueWithArguments, PromiseRecord
from resonate_store.model.schedule_requests import ScheduleGet
from resonate_store.model.tags import ORIGIN, SCOPE
from tests.support.build import (
    DAY,
    HOUR,
    LISTENER,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    acquire,
    create,
    create_task,
    execute,
    fence,
    fulfill,
    listen,
    recorded,
    release,
    schedule,
    settle,
    suspend,
)
from tests.support.present import present
from tests.support.sqlite import Sent
from tests.support.substrates import T0

# -- effects in process -----------------------------------------------------------------------------------------------


def test_workflow_completes_with_the_effects_of_its_requests(
    store: EmbeddedStore, clock: ManualClock, sent: Sent
) -> None:
    """Create, acquire, suspend on a timer and a promise, resume, fulfil: every effect is carried out by apply."""
    store.apply(create("w", TARGETED))
    store.apply(listen("w"))
    store.apply(acquire("w", 0))
    store.apply(fence("w", create("w.1", TIMED, at=T0 + HOUR)))
    store.apply(fence("w", create("w.2")))
    assert store.apply(suspend("w", "w.1", "w.2")).status == 200
    store.apply(settle("w.2"))
    assert sent == [execute("w", 0), execute("w", 1)]
    store.apply(acquire("w", 1))
    assert store.apply(suspend("w", "w.1", version=2)).status == 200
    clock.advance(HOUR)
    assert store.tick() == 1
    assert sent.pop() == execute("w", 2)
    store.apply(acquire("w", 2))
    store.apply(fulfill("w", 3, data="out"))
    address, message = sent.pop()
    assert (address, message["kind"], message["data"]["promise"]["state"]) == (LISTENER, "unblock", "resolved")
    assert [record.state for record in store.records()] == ["resolved"] * 3
    assert all(record.delivered for record in store.records() if record.root)
    assert store.next_wake_at() is None


def test_each_write_of_a_record_increases_its_rev(store: EmbeddedStore) -> None:
    store.apply(create("p"))
    store.apply(settle("p"))
    record = present(store.record("p"))
    assert (record.rev, record.delivered) == (3, True), "created, settled, and marked as delivered"


def test_timeout_notifies_a_listener_once(store: EmbeddedStore, clock: ManualClock, sent: Sent) -> None:
    store.apply(create("p", OUTSIDE, at=T0 + MINUTE))
    store.apply(listen("p"))
    clock.advance(MINUTE)
    store.tick()
    store.tick()
    assert [address for address, _ in sent] == [LISTENER]


def test_transact_carries_out_no_effects(store: EmbeddedStore, clock: ManualClock, sent: Sent) -> None:
    response, (change,) = store.transact(create("w", TARGETED))
    assert (response.status, change.before, change.after) == (200, None, store.record("w"))
    store.transact(recorded("r"))
    assert (sent, present(store.record("r")).wake_at) == ([], T0 + MINUTE)
    store.apply(create("other", TARGETED))
    store.apply(listen("other"))
    assert sent == [execute("other", 0)]
    store.transact(settle("other"))
    clock.advance(MINUTE)
    store.tick()
    assert present(store.record("other")).delivered
    assert [address for address, _ in sent].count(LISTENER) == 1


def test_records_are_listed_by_id(store: EmbeddedStore) -> None:
    for id in ("b", "a.2", "a", "a.1"):
        store.apply(create(id))
    assert [record.id for record in store.records()] == ["a", "a.1", "a.2", "b"]
    assert store.record("nowhere") is None


def test_children_are_those_below_the_separator(store: EmbeddedStore) -> None:
    for id in ("a", "a.1", "a:1"):
        store.apply(create(id))
    assert [[promise.id for promise in store.children("a", separator)] for separator in ".:"] == [["a.1"], ["a:1"]]


def test_cleared_store_has_no_children_and_sends_no_earlier_message(store: EmbeddedStore, sent: Sent) -> None:
    def send(address: str, message: dict[str, Any]) -> None:
        sent.append((address, message))
        store.clear()

    store.subscribe(send=send)
    for request in (create("a"), create("a.1"), listen("a"), listen("a", "http://localhost/listener"), settle("a")):
        store.apply(request)
    assert len(sent) == 1
    assert store.children("a") == []


# -- time -------------------------------------------------------------------------------------------------------------


def test_tick_wakes_what_is_due_in_order(store: EmbeddedStore, clock: ManualClock, sent: Sent) -> None:
    """The earliest first, and at one instant by kind and id."""
    for id, away in (("c", 3), ("b", 1), ("z", 2), ("a", 2), ("later", 60)):
        store.apply(create(id, OUTSIDE, at=T0 + away * SECOND))
        store.apply(listen(id))
    clock.advance(3 * SECOND)
    assert store.due(clock.now()) == [("promise", id) for id in ("b", "a", "z", "c")]
    store.apply(schedule("s"))
    assert store.due(T0 + MINUTE)[3:] == [("promise", "c"), ("schedule", "s"), ("promise", "later")]
    assert store.tick() == 4
    assert [message["data"]["promise"]["id"] for _, message in sent] == ["b", "a", "z", "c"]
    assert (store.tick(), store.next_wake_at()) == (0, T0 + 20 * SECOND)


def test_tick_wakes_what_becomes_due_by_it(store: EmbeddedStore, clock: ManualClock, sent: Sent) -> None:
    """A timer that resumes, an offer that is overdue, occurrences to catch up: one tick, in the order of time."""
    store.apply(create_task("w"))
    store.apply(create("t", TIMED, at=T0 + 90 * SECOND))
    store.apply(suspend("w", "t"))
    store.apply(schedule("s", timeout=DAY))
    sent.clear()
    clock.advance(3 * HOUR)
    store.tick()
    first = T0 + 20 * SECOND
    occurrences = [f"s.{first + n * MINUTE}" for n in range(180)]
    assert sorted(sent, key=repr) == sorted([execute("w", 1), *(execute(id, 0) for id in occurrences)], key=repr)
    order = [message["data"]["task"]["id"] for _, message in sent]
    assert [id for id in order if id != "w"] == occurrences
    assert store.next_wake_at() == clock.now() + 20 * SECOND
    assert present(store.apply(ScheduleGet("s")).schedule).next_run_at == clock.now() + 20 * SECOND


def test_entry_due_at_one_instant_twice_is_listed_once(store: EmbeddedStore, clock: ManualClock) -> None:
    for request in (create_task("w"), release("w", handover=True), acquire("w", 1)):
        store.apply(request)
    clock.advance(MINUTE)
    assert store.tick() == 1
    assert store.due(T0 + HOUR) == [("promise", "w")]


def test_next_wake_at_is_that_of_the_stored_entries(store: EmbeddedStore, clock: ManualClock) -> None:
    assert store.next_wake_at() is None
    store.apply(create("far", OUTSIDE, at=T0 + HOUR))
    assert store.next_wake_at() == T0 + HOUR
    store.apply(create("near", OUTSIDE, at=T0 + MINUTE))
    assert store.next_wake_at() == T0 + MINUTE
    store.apply(settle("near"))
    assert store.next_wake_at() == T0 + HOUR
    store.apply(settle("far"))
    assert store.next_wake_at() is None
    assert (clock.now(), store.tick()) == (T0, 0)


def test_on_wake_gets_each_earlier_wake_up(store: EmbeddedStore, sent: Sent) -> None:
    told: list[int] = []
    store.subscribe(on_wake=told.append)
    store.subscribe(send=lambda *message: sent.append(message))
    store.apply(create("a", OUTSIDE, at=T0 + HOUR))
    store.apply(create("b", OUTSIDE, at=T0 + 2 * HOUR))
    store.apply(create("c", OUTSIDE, at=T0 + MINUTE))
    store.apply(create("plain", at=T0 + SECOND))
    assert told == [T0 + HOUR, T0 + MINUTE]
    store.apply(listen("plain"))
    assert told == [T0 + HOUR, T0 + MINUTE, T0 + SECOND]
    store.apply(create("w", TARGETED))
    assert sent == [execute("w", 0)], "both subscriptions hold"


# -- messages, which are sent outside the lock ------------------------------------------------------------------------


def test_receiver_in_another_thread_can_call_the_store(store: EmbeddedStore, clock: ManualClock) -> None:
    """`send` is called outside the lock: a worker thread that acquires within it is not blocked."""
    versions: list[int] = []

    def send(address: str, message: dict[str, Any]) -> None:
        task = message["data"]["task"]
        worker = threading.Thread(
            target=lambda: versions.append(present(store.apply(acquire(task["id"], task["version"])).task).version),
            daemon=True,
        )
        worker.start()
        worker.join(timeout=10)
        assert not worker.is_alive(), f"{address}: the store is locked while it sends"

    store.subscribe(send=send)
    store.apply(create("w", TARGETED))
    store.apply(release("w", handover=True))
    store.apply(release("w", 2, error="boom"))
    clock.advance(MINUTE)
    store.tick()
    assert versions == [1, 2, 3]


def test_receiver_can_call_the_store_at_once(store: EmbeddedStore, sent: Sent) -> None:
    def send(address: str, message: dict[str, Any]) -> None:
        sent.append((address, message))
        if message["kind"] == "execute" and message["data"]["task"]["id"] == "a":
            store.apply(create("b", TARGETED))
            store.apply(settle("a"))

    store.subscribe(send=send)
    store.apply(create("a", TARGETED))
    assert sent == [execute("a", 0), execute("b", 0)]
    assert present(store.record("a")).state == "resolved"


# -- generations ------------------------------------------------------------------------------------------------------


def arguments(id: str, data: str = "done") -> PromiseRecord:
    return replace(recorded(id, data=data), tags={SCOPE: "local", ORIGIN: "w"})


def test_continuation_with_arguments_is_one_write(store: EmbeddedStore) -> None:
    store.apply(create("w", TARGETED))
    store.apply(acquire("w", 0))
    store.apply(arguments("w.1"))
    second = arguments("w.2+0", data="the second")

    response = store.apply(ContinueWithArguments("w", 1, 2, second))

    assert (present(response.task).generation, present(response.promise).value) == (2, second.value)
    assert [record.id for record in store.records()] == ["w", "w.2+0"]
    assert present(store.record("w")).generation == 2


def test_continuation_changes_nothing_if_its_arguments_are_stored(store: EmbeddedStore) -> None:
    store.apply(create("w", TARGETED))
    store.apply(acquire("w", 0))
    store.apply(arguments("w.2+0", data="the first"))
    before = store.records()

    response = store.apply(ContinueWithArguments("w", 1, 2, arguments("w.2+0", data="another")))

    assert response.task is None
    assert present(response.promise).value == arguments("w.2+0", data="the first").value
    assert store.records() == before


def test_refused_continuation_stores_no_arguments(store: EmbeddedStore, clock: ManualClock) -> None:
    store.apply(create("w", TARGETED, at=T0 + HOUR))
    store.apply(acquire("w", 0))

    assert store.apply(ContinueWithArguments("w", 2, 2, arguments("w.2+0"))).status == 409
    assert store.apply(ContinueWithArguments("w", 1, 3, arguments("w.3+0"))).status == 409
    assert store.apply(ContinueWithArguments("v", 1, 2, arguments("v.2+0"))).status == 404
    clock.advance(HOUR)
    assert store.apply(ContinueWithArguments("w", 1, 2, arguments("w.2+0"))).status == 409
    assert [record.id for record in store.records()] == ["w"]


def test_continuation_in_memory_writes_what_the_machine_decides(memory: MemoryStore, clock: ManualClock) -> None:
    def read(need: Need) -> Any:
        assert isinstance(need, NeedRecords)
        return tuple(map(memory.record, need.ids))

    memory.apply(create("w", TARGETED))
    memory.apply(acquire("w", 0))
    request = ContinueWithArguments("w", 1, 2, arguments("w.2+0"))
    clock.advance(SECOND)
    decided = decide(request, clock.now(), read)

    assert memory.apply(request) == decided.response
    assert memory.records() == [change.after for change in reversed(decided.changes)]

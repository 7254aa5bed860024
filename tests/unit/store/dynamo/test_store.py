"""What is due, clocks that differ, and closed stores."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from resonate_store.dynamo.items import expiry_of
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreClosed
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseWake, Request, TaskHalt, TaskResume
from resonate_store.model.schedule_requests import ScheduleFire, ScheduleGet
from resonate_store.model.tags import TIMER
from tests.support.build import (
    DAY,
    MINUTE,
    SECOND,
    TIMED,
    create,
    create_task,
    fence,
    get,
    heartbeat,
    schedule,
    settle,
    suspend,
)
from tests.support.dynamo import GET, KINDS, PUT, Table, Wire, after, done, refusing
from tests.support.present import present
from tests.support.substrates import T0, Skewed

pytestmark = pytest.mark.parametrize("dynamo", KINDS, indirect=True, scope="package")


def test_due_entries_of_all_shards_are_in_order(store: DynamoStore) -> None:
    ids = [f"t{n}" for n in range(20)]
    for n, id in enumerate(reversed(ids)):
        done(store, create(id, TIMED, at=T0 + SECOND * (n // 2)))
    done(store, schedule("s"))
    assert store.due(T0 - 1) == []
    assert len(store.due(T0 + SECOND * 3)) == 6  # two are born settled, and owe nothing sooner
    keys = store.due(T0 + DAY)
    assert len(keys) == 21
    assert keys[:2] == [("promise", "t16"), ("promise", "t17")]


def test_due_entries_of_a_shard_are_read_in_pages(store: DynamoStore) -> None:
    done(store, *(create(f"a.{n}", TIMED, at=T0 + SECOND * (n + 1)) for n in range(5)))
    found: list[str] = []
    pages = 0
    for shard in range(store.shards):
        start = None
        while True:
            entries, start = store.due_in_shard(shard, T0 + SECOND * 4, 2, start)
            found += [id for (_, id), _ in entries]
            assert [at for _, at in entries] == sorted(at for _, at in entries)
            assert all(T0 + SECOND <= at <= T0 + SECOND * 4 for _, at in entries)
            pages += bool(entries)
            if start is None:
                break
    assert (found, pages) == (["a.0", "a.1", "a.2", "a.3"], 2)


def test_halted_task_is_counted_apart_and_times_out(store: DynamoStore) -> None:
    done(store, create_task("a", at=T0 + MINUTE), TaskHalt("a"))
    shards = range(store.shards)
    assert [key for shard in shards for key, _ in store.halted_in_shard(shard, 10)] == [("promise", "a")]
    assert [store.due_in_shard(shard, T0 + DAY, 10) for shard in shards] == [([], None)] * store.shards
    assert store.due(T0 + DAY) == [("promise", "a")]


def test_due_schedule_creates_its_occurrences(store: DynamoStore, clock: ManualClock) -> None:
    done(store, schedule("s"))
    clock.advance(2 * MINUTE)
    assert store.due(clock.now()) == [("schedule", "s")]
    done(store, ScheduleFire("s"))
    assert len(store.children("s")) == 2
    assert ("schedule", "s") not in store.due(clock.now())


def test_retained_root_has_a_marker_that_expires(table: Table, store: DynamoStore) -> None:
    store.retain("a.b", T0, T0 + 5, seconds=60)
    (item,) = table.items()
    assert expiry_of(item) == ("a.b", T0)
    assert item["expire_at"] == {"N": str((T0 + 60_000) // 1000 + 1)}


@pytest.mark.parametrize("offset", [-2 * SECOND, 2 * SECOND])
def test_promise_settled_by_one_clock_is_settled_for_another(table: Table, clock: ManualClock, offset: int) -> None:
    ahead, behind = (table.store(Skewed(clock, n)) for n in (max(0, offset), min(0, offset)))
    done(behind, create("a", {TIMER: "true"}, at=T0 + SECOND), create("b", at=T0 + SECOND))
    clock.advance(SECOND if offset < 0 else 0)
    for id, state in (("a", "resolved"), ("b", "rejected_timedout")):
        seen = present(ahead.apply(get(id)).promise)
        assert (seen.state, seen.settled_at) == (state, T0 + SECOND)
        assert behind.apply(get(id)).promise == seen
        assert behind.apply(settle(id)).promise == seen
        assert present(behind.record(id)).promise() == seen


def test_heartbeat_of_a_slow_clock_extends_from_the_last_write(table: Table, clock: ManualClock) -> None:
    ahead, behind = table.store(Skewed(clock, 2 * SECOND)), table.store(clock)
    done(ahead, create_task("a", at=T0 + 10 * SECOND, ttl=SECOND))
    clock.advance(SECOND)
    done(behind, heartbeat(("a", 1)))
    record = present(behind.record("a"))
    assert record.task is not None
    assert record.written_at == T0 + 2 * SECOND
    assert record.task.expires_at == T0 + 3 * SECOND


def test_children_leave_out_due_promises(table: Table, clock: ManualClock) -> None:
    ahead, behind = table.store(Skewed(clock, 2 * SECOND)), table.store(clock)
    done(behind, create("a.1", TIMED, at=T0 + SECOND))
    assert [promise.state for promise in behind.children("a")] == ["pending"]
    assert ahead.children("a") == []
    done(ahead, PromiseWake("a.1"))
    assert [promise.state for promise in behind.children("a")] == ["resolved"]


def test_closed_store_sends_nothing(store: DynamoStore, wire: Wire) -> None:
    invocation = store.open()
    invocation.close()
    calls: list[Callable[[], object]] = [
        lambda: invocation.apply(create("a")),
        lambda: invocation.transact(create("a")),
        lambda: invocation.children("a"),
        lambda: invocation.record("a"),
        lambda: invocation.due(T0),
        lambda: invocation.retain("a", T0, T0, 1),
        invocation.open,
    ]
    for call in calls:
        with pytest.raises(StoreClosed, match="the invocation it belonged to has ended"):
            call()
    assert wire.taken() == []
    done(store, create("a"))


def test_closed_store_does_not_repeat_a_write(store: DynamoStore, wire: Wire) -> None:
    wire.faults.append(after(store.close, then=refusing("ThrottlingException")))
    with pytest.raises(StoreClosed):
        store.apply(create("a"))
    assert wire.taken() == [PUT]


def test_opened_store_knows_no_images(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a"))
    wire.taken()
    done(store.open(), settle("a"))
    assert wire.taken() == [GET, PUT]


GROUPS = {"workers": "lambda://worker"}


def test_target_of_an_unknown_group_is_refused(
    table: Table, clock: ManualClock, wire: Wire, subtests: pytest.Subtests
) -> None:
    requests: list[Request] = [
        create("a", {"resonate:target": "poll://any@nobody"}),
        create_task("a", {"resonate:target": "poll://uni@nobody/1"}),
        fence("b", create("a", {"resonate:target": "poll://any@nobody"})),
        schedule("a", tags={"resonate:target": "poll://any@nobody"}),
    ]
    for request in requests:
        with subtests.test(request=request):
            response = table.store(clock, groups=GROUPS).apply(request)
            assert response.status == 400
            assert "group 'nobody'" in present(response.error)
            assert "RESONATE_GROUPS maps workers" in present(response.error)
            assert wire.taken() == []


def test_target_of_a_known_group_or_function_is_accepted(
    table: Table, clock: ManualClock, subtests: pytest.Subtests
) -> None:
    for target in ("poll://any@workers", "lambda://f", "https://example.com/x"):
        with subtests.test(target):
            assert table.store(clock, groups=GROUPS).apply(create(target, {"resonate:target": target})).ok


def test_invalid_request_is_400_and_not_sent(store: DynamoStore, wire: Wire) -> None:
    assert store.apply(create("")).status == 400
    assert wire.taken() == []


def test_id_of_any_text_is_stored(new_table: Callable[[], Table], subtests: pytest.Subtests) -> None:
    for id in ["a#b", "a/b c", "\U0001f600.\u00e9", "#", "a.", ".", "a..b", "x" * 1000, "schedule", "expiry#a"]:
        with subtests.test(id=id):
            table = new_table()
            store = table.store(ManualClock(T0))
            child = f"{id[:990]}.1"
            done(store, create_task(id), create(child, TIMED), suspend(id, child), settle(child))
            done(store, TaskResume(id, 1, child), schedule(id, promise_id="{{.timestamp}}"))
            assert present(store.apply(get(id)).promise).id == id
            assert present(store.apply(ScheduleGet(id)).schedule).id == id
            assert ("promise", id) in store.due(T0 + DAY)
            assert ("schedule", id) in store.due(T0 + DAY)
            if len(id) < 990:
                assert [promise.id for promise in store.children(id)] == [child]

"""What the end of a root's retention deletes, and what it must not."""

import re

import pytest

from resonate_store.dynamo.deletion import NotDeletable
from resonate_store.dynamo.items import Expiry, expiry_of
from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseCreate, PromiseRecord, PromiseRegisterListener, PromiseSettle
from resonate_store.model.tags import ORIGIN, PARENT, SCOPE, TARGET
from tests.support.dynamo import Table, Wire, after, lost, make_client, refusing
from tests.support.substrates import T0

DAY = 86_400_000


def create(store: DynamoStore, *ids: str, origin: str | None = None) -> None:
    for id in ids:
        tags = {ORIGIN: origin or id}
        assert store.apply(PromiseCreate(id, T0 + 9 * DAY, tags=tags)).ok


def settle(store: DynamoStore, id: str) -> Expiry:
    assert store.apply(PromiseSettle(id, "resolved")).ok
    record = store.record(id)
    assert record is not None
    return Expiry(id, record.created_at)


def ids(table: Table) -> set[str]:
    return {item["id"]["S"] for item in table.items() if "id" in item}


def test_deletion_of_a_tree_deletes_all_its_levels(store: DynamoStore, table: Table) -> None:
    create(store, "a", "ab", "b")
    create(store, "a.1", "a.1.1", "a.1.1~1", "a.2", "a.0~1", origin="a")
    create(store, "b.1", origin="b")
    step = PromiseRecord("a.3", T0 + DAY, T0, "resolved", tags={SCOPE: "local", ORIGIN: "a"})
    assert store.apply(step).ok

    assert store.delete_tree(settle(store, "a"), most=1000)

    assert ids(table) == {"ab", "b", "b.1"}


def test_deletion_of_a_tree_of_an_official_client(store: DynamoStore, table: Table) -> None:
    """Its first level is set off by a colon, in the same partition."""
    create(store, "a", "b")
    create(store, "a:1", "a:1.1", "a:2", "a:d0123456789abcdef", origin="a")

    assert store.delete_tree(settle(store, "a"), most=1000)

    assert ids(table) == {"b"}


def test_deletion_is_postponed_by_a_running_task(store: DynamoStore, table: Table, clock: ManualClock) -> None:
    """The official SDKs give a detached call its caller's origin."""
    create(store, "a")
    create(store, "a:1", origin="a")
    detached = "a:d0123456789abcdef"
    tags = {ORIGIN: "a", TARGET: "lambda://worker"}
    assert store.apply(PromiseCreate(detached, T0 + 9 * DAY, tags=tags)).ok
    expiry = settle(store, "a")

    assert store.delete_tree(expiry, most=1000)

    assert ids(table) == {"a", "a:1", detached}
    [marker] = [item for item in table.items() if "id" not in item]
    assert marker["expire_at"]["N"] == str((T0 + DAY) // 1000)

    clock.advance(9 * DAY)
    assert store.delete_tree(expiry, most=1000)
    assert ids(table) == set()


def test_deletion_keeps_a_root_below_the_root(store: DynamoStore, table: Table) -> None:
    create(store, "a", "a.2")
    create(store, "a.1", "a.1.1", origin="a")
    create(store, "a.2.1", origin="a.2")

    assert store.delete_tree(settle(store, "a"), most=1000)
    assert ids(table) == {"a.2", "a.2.1"}

    assert store.delete_tree(settle(store, "a.2"), most=1000)
    assert ids(table) == set()


def test_deletion_keeps_promises_of_another_tree(store: DynamoStore, table: Table) -> None:
    create(store, "a", "b")
    create(store, "b.1", origin="a")
    for id, parent in (("report", "a"), ("report.1", "report"), ("report.1.1", "report.1")):
        assert store.apply(PromiseCreate(id, T0 + 9 * DAY, tags={ORIGIN: "a", PARENT: parent})).ok

    assert store.delete_tree(settle(store, "report"), most=1000)
    assert ids(table) == {"a", "b", "b.1"}
    assert store.delete_tree(settle(store, "b"), most=1000)
    assert ids(table) == {"a", "b.1"}
    assert store.delete_tree(settle(store, "b.1"), most=1000)
    assert ids(table) == {"a"}


def test_deletion_of_a_pending_root_deletes_nothing(store: DynamoStore, table: Table) -> None:
    create(store, "a")
    create(store, "a.1", origin="a")

    assert store.delete_tree(Expiry("a", T0), most=1000)

    assert ids(table) == {"a", "a.1"}


def test_deletion_of_an_earlier_life_deletes_nothing(store: DynamoStore, table: Table, clock: ManualClock) -> None:
    create(store, "a")
    earlier = settle(store, "a")
    assert store.delete_tree(earlier, most=1000)
    clock.advance(DAY)
    create(store, "a")
    create(store, "a.1", origin="a")
    settle(store, "a")

    assert store.delete_tree(earlier, most=1000)

    assert ids(table) == {"a", "a.1"}


def test_deletion_in_parts_begins_with_the_deepest_level(store: DynamoStore, table: Table) -> None:
    create(store, "a")
    create(store, *(f"a.{number}" for number in range(1, 8)), origin="a")
    create(store, *(f"a.1.{number}" for number in range(1, 8)), origin="a")
    expiry = settle(store, "a")

    assert not store.delete_tree(expiry, most=7)
    assert ids(table) == {"a", *(f"a.{number}" for number in range(1, 8))}
    assert not store.delete_tree(expiry, most=6)
    assert len(ids(table)) == 2
    assert not store.delete_tree(expiry, most=1)
    assert ids(table) == {"a"}
    assert store.delete_tree(expiry, most=1)
    assert ids(table) == set()


def test_deletion_that_is_late_deletes_nothing_of_the_next_life(
    store: DynamoStore, table: Table, clock: ManualClock, wire: Wire
) -> None:
    """It has read the tree of one life when another deletes that, and the id begins anew, with the same steps."""
    create(store, "a")
    create(store, "a.1", "a.2", origin="a")
    expiry = settle(store, "a")

    def another_life() -> None:
        other = table.store(clock, client=make_client())
        assert other.delete_tree(expiry, most=1000)
        create(other, "a")
        create(other, "a.1", "a.2", origin="a")

    wire.faults.extend([None] * 5 + [after(another_life)])
    assert wire.taken()
    store.delete_tree(expiry, most=1000)

    assert wire.sent[:6] == ["Query"] * 4 + ["GetItem", "DeleteItem"], "it was about to delete"
    assert ids(table) == {"a", "a.1", "a.2"}


def test_deletion_keeps_a_record_written_meanwhile_and_its_root(
    store: DynamoStore, table: Table, clock: ManualClock, wire: Wire
) -> None:
    create(store, "a")
    create(store, "a.1", "a.2", origin="a")
    expiry = settle(store, "a")
    other = table.store(clock, client=make_client())
    wire.faults.extend([None] * 5 + [after(lambda: settle(other, "a.1"))])

    assert not store.delete_tree(expiry, most=1000)
    assert ids(table) == {"a", "a.1"}

    assert store.delete_tree(expiry, most=1000)
    assert ids(table) == set()


def test_deletion_keeps_a_record_written_meanwhile_without_image(
    store: DynamoStore, table: Table, clock: ManualClock, wire: Wire
) -> None:
    create(store, "a")
    create(store, "a.1", origin="a")
    expiry = settle(store, "a")
    other = table.store(clock, client=make_client())
    refused = refusing("ConditionalCheckFailedException")
    wire.faults.extend([None] * 5 + [after(lambda: settle(other, "a.1"), refused)])

    assert not store.delete_tree(expiry, most=1000)
    assert ids(table) == {"a", "a.1"}


def test_deletion_stops_when_its_time_is_over(
    store: DynamoStore, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate_store.dynamo.deletion.BATCH", 2)
    create(store, "a")
    create(store, *(f"a.{number}" for number in range(1, 5)), origin="a")

    assert not store.delete_tree(settle(store, "a"), most=1000, until=T0)
    assert ids(table) == {"a", "a.3", "a.4"}


def test_deletion_of_a_whole_tree_above_the_limit_deletes_nothing(store: DynamoStore, table: Table) -> None:
    create(store, "a")
    create(store, "a.1", "a.2", origin="a")
    expiry = settle(store, "a")

    assert not store.delete_tree(expiry, most=2, whole=True)
    assert ids(table) == {"a", "a.1", "a.2"}
    assert store.delete_tree(expiry, most=3, whole=True)
    assert ids(table) == set()


def test_deletion_of_a_missing_root_stores_no_marker(store: DynamoStore, table: Table) -> None:
    store.reconsider(Expiry("a", T0))
    assert table.items() == []


def test_deletion_with_lost_responses_deletes_everything(table: Table, clock: ManualClock) -> None:
    client = make_client(tries=2)
    store = table.store(clock, client=client)
    create(store, "a")
    create(store, "a.1", origin="a")
    expiry = settle(store, "a")
    with Wire().tapping(client) as wire:
        wire.faults.extend([None] * 5 + [lost, None, None, lost])
        assert store.delete_tree(expiry, most=1000)
    assert wire.sent.count("DeleteItem") == 4
    assert ids(table) == set()


# Deletion of one execution by an operator


def test_execution_is_deleted_before_its_time(store: DynamoStore, table: Table) -> None:
    create(store, "a", "b")
    create(store, "a.1", "a.1.1", origin="a")
    expiry = settle(store, "a")
    store.retain("a", expiry.created_at, T0, seconds=86_400)

    assert store.delete_execution("a") == 3

    assert ids(table) == {"b"}
    assert [item for item in table.items() if "id" not in item] == [], "nor a marker"


def test_execution_deletion_interrupted_leaves_a_due_marker(store: DynamoStore, table: Table, wire: Wire) -> None:
    create(store, "a")
    create(store, "a.1", origin="a")
    expiry = settle(store, "a")
    wire.taken()

    def interrupt(event_name: str, _request: object) -> None:
        if event_name.endswith("DeleteItem"):
            raise KeyboardInterrupt

    wire.faults.extend([interrupt] * 20)
    with pytest.raises(KeyboardInterrupt):
        store.delete_execution("a")

    wire.faults.clear()
    [marker] = [item for item in table.items() if expiry_of(item) is not None]
    assert expiry_of(marker) == expiry
    assert int(marker["expire_at"]["N"]) <= T0 // 1000
    assert store.delete_execution("a") == 2
    assert table.items() == []


def test_execution_that_is_needed_is_not_deleted(store: DynamoStore, table: Table, subtests: pytest.Subtests) -> None:
    create(store, "pending", "done", "busy", "awaited", "awaiting")
    create(store, "done.1", origin="done")
    assert store.apply(PromiseCreate("busy.1", T0 + 9 * DAY, tags={ORIGIN: "busy", TARGET: "lambda://worker"})).ok
    assert store.apply(PromiseRegisterListener("awaited", "http://localhost:1/listener")).ok
    for root in ("done", "busy", "awaited"):
        settle(store, root)
    before = table.items()
    for id, reason in {
        "nothing": "there is no promise 'nothing'",
        "pending": "the execution 'pending' is pending: cancel it first",
        "done.1": "'done.1' is part of the execution 'done'",
        "busy": "the task 'busy.1' in the execution 'busy' is running",
        "awaited": "the end of 'awaited' is still being told",
    }.items():
        with subtests.test(id):
            with pytest.raises(NotDeletable, match=f"^{re.escape(reason)}"):
                store.delete_execution(id)
            assert table.items() == before


def test_execution_past_its_deadline_can_be_deleted(store: DynamoStore, table: Table, clock: ManualClock) -> None:
    create(store, "a")
    clock.advance(10 * DAY)

    assert store.delete_execution("a") == 1
    assert table.items() == []


def test_deletion_costs_one_request_for_each_record(store: DynamoStore, wire: Wire) -> None:
    """A write unit for each KB of a record; in transactions it would be two."""
    create(store, "a")
    create(store, *(f"a.{number}" for number in range(1, 101)), origin="a")
    expiry = settle(store, "a")
    wire.taken()
    store.delete_tree(expiry, most=1000)
    assert wire.taken() == ["Query"] * 4 + ["GetItem"] + ["DeleteItem"] * 101


def test_marker_expires_after_the_retention(store: DynamoStore, table: Table) -> None:
    create(store, "a")
    expiry = settle(store, "a")
    store.retain("a", expiry.created_at, T0 + 1, seconds=60)

    (marker,) = (item for item in table.items() if expiry_of(item) is not None)

    assert expiry_of(marker) == expiry
    assert int(marker["expire_at"]["N"]) == T0 // 1000 + 61, "rounded up: never early"

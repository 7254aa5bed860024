"""What the end of a root's retention deletes, and what it must not."""

import re

import pytest

from resonate_store.dynamo.deletion import NotDeletable
from resonate_store.dynamo.items import Expiry, expiry_of
from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Record
from resonate_store.model.requests import PromiseCreate, PromiseRecord, PromiseRegisterListener, PromiseSettle
from resonate_store.model.tags import ORIGIN, PARENT, SCOPE, TARGET
from tests.support.dynamo import Table, Wire, after, lost, make_client, refusing
from tests.support.substrates import T0

DAY = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0)


@pytest.fixture
def store(table: Table, clock: ManualClock) -> DynamoStore:
    return table.store(clock)


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


def test_the_tree_goes_with_all_its_levels_and_nothing_else(store: DynamoStore, table: Table) -> None:
    create(store, "a", "ab", "b")
    create(store, "a.1", "a.1.1", "a.1.1~1", "a.2", "a.0~1", origin="a")
    create(store, "b.1", origin="b")
    step = PromiseRecord("a.3", T0 + DAY, T0, "resolved", tags={SCOPE: "local", ORIGIN: "a"})
    assert store.apply(step).ok

    assert store.delete_tree(settle(store, "a"), most=1000)

    assert ids(table) == {"ab", "b", "b.1"}


def test_the_tree_of_an_official_client_goes_as_well(store: DynamoStore, table: Table) -> None:
    """Its first level is set off by a colon, in the same partition."""
    create(store, "a", "b")
    create(store, "a:1", "a:1.1", "a:2", "a:d0123456789abcdef", origin="a")

    assert store.delete_tree(settle(store, "a"), most=1000)

    assert ids(table) == {"b"}


def test_a_task_that_runs_in_the_tree_keeps_it_for_another_day(
    store: DynamoStore, table: Table, clock: ManualClock
) -> None:
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


def test_a_root_below_the_root_stays_with_its_own_tree(store: DynamoStore, table: Table) -> None:
    create(store, "a", "a.2")
    create(store, "a.1", "a.1.1", origin="a")
    create(store, "a.2.1", origin="a.2")

    assert store.delete_tree(settle(store, "a"), most=1000)
    assert ids(table) == {"a.2", "a.2.1"}

    assert store.delete_tree(settle(store, "a.2"), most=1000)
    assert ids(table) == set()


@pytest.mark.parametrize(
    ("id", "origin", "parent", "is_root"),
    [
        ("a", "a", "a", True),
        ("a.1", "a", "a", False),
        ("a.1.2", "a", None, False),
        ("a:1", "a", None, False),
        ("a:b", "a", None, True),  # a colon before anything but a number is a part of the name
        ("ab", "a", None, True),
        ("report", "a", "a.1", True),  # what an official client creates for a call with an id
        ("report.1", "a", "report", False),
        ("report:1.2", "a", "report:1", False),
        ("report.1", "a", None, True),
    ],
)
def test_record_that_its_origin_does_not_lead_to_is_a_root(
    id: str, origin: str, parent: str | None, is_root: bool
) -> None:
    tags = {ORIGIN: origin} | ({PARENT: parent} if parent else {})
    assert Record(id, "pending", 2, 1, tags=tags).root is is_root


def test_promise_with_the_origin_of_another_goes_with_its_own_tree(store: DynamoStore, table: Table) -> None:
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


def test_a_pending_root_keeps_everything(store: DynamoStore, table: Table) -> None:
    create(store, "a")
    create(store, "a.1", origin="a")

    assert store.delete_tree(Expiry("a", T0), most=1000)

    assert ids(table) == {"a", "a.1"}


def test_another_life_of_the_id_keeps_everything(store: DynamoStore, table: Table, clock: ManualClock) -> None:
    create(store, "a")
    earlier = settle(store, "a")
    assert store.delete_tree(earlier, most=1000)
    clock.advance(DAY)
    create(store, "a")
    create(store, "a.1", origin="a")
    settle(store, "a")

    assert store.delete_tree(earlier, most=1000)

    assert ids(table) == {"a", "a.1"}


def test_a_large_tree_goes_in_parts_the_deepest_first_and_the_root_last(store: DynamoStore, table: Table) -> None:
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


def test_who_comes_late_deletes_nothing_of_the_next_life(
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


def test_what_is_written_meanwhile_is_looked_at_again_and_keeps_its_root(
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


def test_record_written_meanwhile_stays_when_no_image_comes(
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


def test_deletion_stops_after_one_batch_once_its_time_is_over(
    store: DynamoStore, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate_store.dynamo.deletion.BATCH", 2)
    create(store, "a")
    create(store, *(f"a.{number}" for number in range(1, 5)), origin="a")

    assert not store.delete_tree(settle(store, "a"), most=1000, until=T0)
    assert ids(table) == {"a", "a.3", "a.4"}


def test_tree_larger_than_allowed_keeps_every_record(store: DynamoStore, table: Table) -> None:
    create(store, "a")
    create(store, "a.1", "a.2", origin="a")
    expiry = settle(store, "a")

    assert not store.delete_tree(expiry, most=2, whole=True)
    assert ids(table) == {"a", "a.1", "a.2"}
    assert store.delete_tree(expiry, most=3, whole=True)
    assert ids(table) == set()


def test_deleted_execution_gets_no_new_marker(store: DynamoStore, table: Table) -> None:
    store.reconsider(Expiry("a", T0))
    assert table.items() == []


def test_an_answer_that_is_lost_is_no_news(table: Table, clock: ManualClock) -> None:
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


# Deleting by hand


def test_an_execution_is_deleted_before_its_time(store: DynamoStore, table: Table) -> None:
    create(store, "a", "b")
    create(store, "a.1", "a.1.1", origin="a")
    expiry = settle(store, "a")
    store.retain("a", expiry.created_at, T0, seconds=86_400)

    assert store.delete_execution("a") == 3

    assert ids(table) == {"b"}
    assert [item for item in table.items() if "id" not in item] == [], "nor a marker"


def test_deleting_that_is_interrupted_is_finished_by_a_marker_that_is_due(
    store: DynamoStore, table: Table, wire: Wire
) -> None:
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


@pytest.mark.parametrize(
    ("id", "reason"),
    [
        ("nothing", "there is no promise 'nothing'"),
        ("pending", "the execution 'pending' is pending: cancel it first"),
        ("done.1", "'done.1' is part of the execution 'done'"),
        ("busy", "the task 'busy.1' in the execution 'busy' is running"),
        ("awaited", "the end of 'awaited' is still being told"),
    ],
)
def test_what_is_still_needed_is_not_deleted(store: DynamoStore, table: Table, id: str, reason: str) -> None:
    create(store, "pending", "done", "busy", "awaited", "awaiting")
    create(store, "done.1", origin="done")
    assert store.apply(PromiseCreate("busy.1", T0 + 9 * DAY, tags={ORIGIN: "busy", TARGET: "lambda://worker"})).ok
    assert store.apply(PromiseRegisterListener("awaited", "http://localhost:1/listener")).ok
    for root in ("done", "busy", "awaited"):
        settle(store, root)
    before = table.items()

    with pytest.raises(NotDeletable, match=f"^{re.escape(reason)}"):
        store.delete_execution(id)

    assert table.items() == before


def test_what_has_run_out_of_time_may_be_deleted(store: DynamoStore, table: Table, clock: ManualClock) -> None:
    create(store, "a")
    clock.advance(10 * DAY)

    assert store.delete_execution("a") == 1
    assert table.items() == []


def test_what_it_costs(store: DynamoStore, wire: Wire) -> None:
    """A write unit for each KB of a record; in transactions it would be two."""
    create(store, "a")
    create(store, *(f"a.{number}" for number in range(1, 101)), origin="a")
    expiry = settle(store, "a")
    wire.taken()
    store.delete_tree(expiry, most=1000)
    assert wire.taken() == ["Query"] * 4 + ["GetItem"] + ["DeleteItem"] * 101


def test_the_marker_expires_when_retention_is_over(store: DynamoStore, table: Table) -> None:
    create(store, "a")
    expiry = settle(store, "a")
    store.retain("a", expiry.created_at, T0 + 1, seconds=60)

    (marker,) = (item for item in table.items() if expiry_of(item) is not None)

    assert expiry_of(marker) == expiry
    assert int(marker["expire_at"]["N"]) == T0 // 1000 + 61, "rounded up: never early"

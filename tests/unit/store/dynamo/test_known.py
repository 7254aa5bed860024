"""Images that a store remembers, and what it assumes from them."""

from __future__ import annotations

import pytest

from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import TaskResume
from resonate_store.model.tags import ORIGIN
from tests.support.build import (
    LISTENER,
    MINUTE,
    OUTSIDE,
    SECOND,
    acquire,
    create,
    create_task,
    fence,
    fulfill,
    get,
    listen,
    release,
    settle,
    suspend,
)
from tests.support.dynamo import BATCH, GET, PUT, TRANSACT, UPDATE, Table, Wire, after, done, make_client
from tests.support.present import present
from tests.support.substrates import T0


def test_error_of_a_known_image_is_confirmed_by_dynamodb(table: Table, store: DynamoStore, wire: Wire) -> None:
    worker = store.open()
    done(worker, create_task("a"))
    done(table.store(store.clock), release("a", handover=True), acquire("a", 1))
    wire.taken()
    assert worker.apply(fulfill("a")).error == "Version mismatch"
    assert wire.taken() == [PUT]
    assert worker.apply(fulfill("a")).error == "Version mismatch"
    assert wire.taken() == [GET]


def test_task_acquired_since_is_not_refused_unread(table: Table, store: DynamoStore) -> None:
    worker = store.open()
    done(worker, create_task("a"), release("a", handover=True))
    done(table.store(store.clock), acquire("a", 1))
    assert worker.apply(fulfill("a", 2)).ok


def test_stale_image_of_an_awaited_promise_keeps_its_listeners(table: Table, store: DynamoStore, wire: Wire) -> None:
    worker = store.open()
    done(worker, create_task("a"), create("a.1"))
    done(table.store(store.clock), listen("a.1"))
    wire.taken()
    done(worker, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT]
    record = present(store.record("a.1"))
    assert (record.callbacks, list(record.listeners), record.rev) == ({"a": 1}, [LISTENER], 3)


def test_wait_registered_again_takes_the_version_of_the_task(store: DynamoStore) -> None:
    done(store, create_task("a"), create("a.1"), create("a.2"), suspend("a", "a.1", "a.2"), settle("a.1"))
    done(store, TaskResume("a", 1, "a.1"), acquire("a", 1), suspend("a", "a.2", version=2))
    assert present(store.record("a.2")).callbacks == {"a": 2}


def test_stale_image_of_a_settled_promise_makes_a_suspension_300(table: Table, store: DynamoStore, wire: Wire) -> None:
    worker = store.open()
    done(worker, create_task("a"), create("a.1"), create("a.2"))
    done(table.store(store.clock), settle("a.1"))
    wire.taken()
    response = worker.apply(suspend("a", "a.1", "a.2"))
    assert (response.status, [promise.id for promise in response.preload]) == (300, ["a.1"])
    # The transaction has the image of a.1 only. The answer also needs a.2, so it is read.
    assert wire.taken() == [TRANSACT, BATCH]


def test_suspend_after_a_conflict_reads_again_for_its_answer(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    rival = table.store(clock, client=make_client())
    done(rival, create("b"), create("c"))
    done(store, create_task("a"))
    wire.taken()
    wire.faults.extend([None, after(lambda: done(rival, settle("b")))])
    assert store.apply(suspend("a", "b", "c")).status == 300
    assert wire.taken() == [BATCH, TRANSACT, BATCH]


def test_fence_of_a_task_held_by_another_writes_nothing(table: Table, store: DynamoStore) -> None:
    worker = store.open()
    done(worker, create_task("a"))
    done(table.store(store.clock), release("a", handover=True), acquire("a", 1))
    assert worker.apply(fence("a", create("a.1"))).status == 409
    assert store.record("a.1") is None


def test_stale_image_of_a_deleted_promise_overwrites_nothing(table: Table, store: DynamoStore) -> None:
    worker = store.open()
    done(worker, create_task("a"))
    key = {name: table.item("a")[name] for name in ("pk", "sk")}
    table.client.delete_item(TableName=table.name, Key=key)
    store.clock.sleep(1)
    done(table.store(store.clock), create("a", OUTSIDE))
    assert worker.apply(fulfill("a")).status == 404
    assert present(store.apply(get("a")).promise).state == "pending"


@pytest.mark.parametrize("offset", [-SECOND, SECOND])
def test_wait_on_a_promise_created_again_takes_its_new_deadline(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock, offset: int
) -> None:
    done(store, create("a", at=T0 + MINUTE))
    rival = table.store(clock, client=make_client())

    def create_again() -> None:
        key = {name: table.item("a")[name] for name in ("pk", "sk")}
        make_client().delete_item(TableName=table.name, Key=key)
        done(rival, create("a", at=T0 + MINUTE + offset))

    wire.taken()
    wire.faults.extend([None, after(create_again)])
    done(store, listen("a"))
    assert wire.taken() == [GET, UPDATE, UPDATE]
    assert present(store.record("a")).wake_at == T0 + MINUTE + offset


def test_known_images_are_limited(store: DynamoStore, monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setattr("resonate_store.dynamo.known.MAX_REMEMBERED", 1)
    done(store, create("a"), create("b"))
    wire.taken()
    done(store, settle("b"), settle("a"))
    assert wire.taken() == [PUT, GET, PUT]


def test_known_image_used_last_is_kept_longest(store: DynamoStore, monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setattr("resonate_store.dynamo.known.MAX_REMEMBERED", 2)
    done(store, create("a"), create("b"), listen("a"), create("c"))
    wire.taken()
    done(store, settle("a"))
    assert wire.taken() == [PUT]


def test_settled_promise_is_read_before_it_is_settled_again(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a.1", {ORIGIN: "a"}), settle("a.1"))
    wire.taken()
    done(store, settle("a.1"))
    assert wire.taken() == [GET]

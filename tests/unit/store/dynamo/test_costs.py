"""The requests to DynamoDB that each request of the protocol costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseDelivered, TaskGet, TaskRecordStep, TaskResume, TaskVerify
from tests.support.build import (
    OUTSIDE,
    TARGETED,
    TIMED,
    acquire,
    create,
    create_task,
    fence,
    fulfill,
    heartbeat,
    listen,
    recorded,
    release,
    settle,
    suspend,
)
from tests.support.dynamo import BATCH, GET, PUT, QUERY, TRANSACT, UPDATE, Table, Wire, done, parameters_of
from tests.support.present import present
from tests.support.substrates import T0


def test_record_of_a_new_step_is_one_write(store: DynamoStore, wire: Wire) -> None:
    done(store, recorded("a.1"))
    assert wire.taken() == [PUT]


def test_create_is_one_write(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a.1"), create("a.2", TIMED), create_task("a"))
    assert wire.taken() == [PUT, PUT, PUT]


def test_create_of_an_existing_promise_is_one_request(table: Table, store: DynamoStore, wire: Wire) -> None:
    done(store, create("a", OUTSIDE))
    wire.taken()
    found = present(table.store(store.clock).apply(create("a")).promise)
    assert found.tags == OUTSIDE
    assert wire.taken() == [PUT]
    assert store.apply(create("a")).promise == found
    assert wire.taken() == [GET]


def test_verify_is_one_projected_read(store: DynamoStore, wire: Wire, dynamo: Any, subtests: pytest.Subtests) -> None:
    done(store, create_task("a"))
    wire.taken()
    for consistent in (False, True):
        with subtests.test(consistent=consistent), parameters_of(dynamo, GET) as read:
            assert store.apply(TaskVerify("a", 1, consistent)).status == 200
            assert store.apply(TaskVerify("a", 2, consistent)).status == 409
            assert store.apply(TaskVerify("b", 1, consistent)).status == 404
            assert wire.taken() == [GET] * 3
            assert {arguments["ConsistentRead"] for arguments in read} == {consistent}
            assert not {"param", "value"} & set(read[0]["ExpressionAttributeNames"].values())


def test_step_over_http_is_one_projected_read_and_one_write(store: DynamoStore, wire: Wire, dynamo: Any) -> None:
    done(store, create_task("a"))
    wire.taken()
    with parameters_of(dynamo, GET) as read:
        done(store, TaskRecordStep("a", 1, recorded("a.1")))
        assert wire.taken() == [GET, PUT]
        assert store.apply(TaskRecordStep("a", 2, recorded("a.2"))).status == 409
        assert wire.taken() == [GET]
        assert {arguments["ConsistentRead"] for arguments in read} == {True}
        assert not {"param", "value"} & set(read[0]["ExpressionAttributeNames"].values())


def test_acquire_is_one_read_and_one_write(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a", TARGETED))
    wire.taken()
    done(store, acquire("a"))
    assert wire.taken() == [GET, PUT]


def test_suspend_on_an_own_timer_is_one_transaction(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a", TARGETED), acquire("a"), create("a.1", TIMED))
    wire.taken()
    done(store, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT]


def test_suspend_on_unknown_promises_reads_only_these(table: Table, store: DynamoStore, wire: Wire) -> None:
    done(table.store(store.clock), create("b"), create("c"))
    done(store, create_task("a"))
    wire.taken()
    done(store, suspend("a", "b", "c"))
    assert wire.taken() == [BATCH, TRANSACT]


def test_suspend_on_preloaded_promises_reads_nothing(table: Table, store: DynamoStore, wire: Wire) -> None:
    done(table.store(store.clock), create("a.1", OUTSIDE))
    done(store, create_task("a"))
    store.children("a")
    wire.taken()
    done(store, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT]


def test_suspend_answered_300_writes_nothing(store: DynamoStore, wire: Wire) -> None:
    done(store, create_task("a"), create("b"), settle("b"))
    wire.taken()
    assert store.apply(suspend("a", "b")).status == 300
    assert wire.taken() == [BATCH]


def test_request_of_the_holder_does_not_read_the_task(
    new_table: Callable[[], Table], wire: Wire, subtests: pytest.Subtests
) -> None:
    for end, sent in [
        (fulfill("a"), [PUT]),
        (release("a", handover=True), [PUT]),
        (release("a"), [QUERY, QUERY, PUT]),
        (heartbeat(("a", 1)), [PUT]),
    ]:
        with subtests.test(end=end):
            table = new_table()
            store = table.store(ManualClock(T0))
            done(store, create("a", TARGETED), acquire("a"))
            wire.taken()
            done(store, end)
            assert wire.taken() == sent


def test_fence_is_one_transaction(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a", TARGETED), acquire("a"))
    wire.taken()
    done(store, fence("a", create("a.1")), fence("a", settle("a.1")))
    assert wire.taken() == [TRANSACT, TRANSACT]


def test_resume_is_one_read_and_one_write(store: DynamoStore, wire: Wire) -> None:
    done(store, create_task("a"), create("a.1", OUTSIDE), suspend("a", "a.1"))
    wire.taken()
    done(store, TaskResume("a", 1, "a.1"))
    assert wire.taken() == [GET, PUT]


def test_late_resume_is_one_read(store: DynamoStore, wire: Wire) -> None:
    done(store, create_task("a"), fulfill("a"))
    wire.taken()
    done(store, TaskResume("a", 1, "a.1"))
    assert wire.taken() == [GET]


def test_delivered_mark_of_a_known_image_is_one_write(table: Table, store: DynamoStore, wire: Wire) -> None:
    done(table.store(store.clock), create("a"), settle("a"))
    record = present(store.record("a"))
    dispatch = store.open()
    dispatch.remember(record)
    wire.taken()
    done(dispatch, PromiseDelivered("a"))
    assert wire.taken() == [PUT]


def test_register_listener_is_one_read_and_one_update(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a"))
    wire.taken()
    done(store, listen("a"))
    assert wire.taken() == [GET, UPDATE]


def test_children_are_read_by_one_query(store: DynamoStore, wire: Wire) -> None:
    ids = ("a.1", "a.2", "a.1.1", "a.1.1.1", "a.10.1", "ab.1", "a2", "b.1")
    done(store, *(recorded(id) for id in ids), create("a.3", at=T0 + 1))
    store.clock.sleep(1)
    wire.taken()
    assert [promise.id for promise in store.children("a")] == ["a.1", "a.2"]
    assert [promise.id for promise in store.children("a.1")] == ["a.1.1"]
    assert wire.taken() == [QUERY, QUERY]


def test_suspend_on_100_promises_is_two_transactions_and_a_write(store: DynamoStore, wire: Wire) -> None:
    awaited = [f"a.{n}" for n in range(100)]
    done(store, create_task("a"), *(create(id) for id in awaited))
    wire.taken()
    done(store, suspend("a", *awaited))
    assert wire.taken() == [TRANSACT, TRANSACT, PUT]
    task = present(store.apply(TaskGet("a")).task)
    assert task.state == "suspended"
    assert all(present(store.record(id)).callbacks == {"a": 1} for id in awaited)


def test_suspend_reads_awaited_promises_in_one_batch(table: Table, store: DynamoStore, wire: Wire) -> None:
    awaited = [f"a.{n}" for n in range(99)]
    done(table.store(store.clock), *(create(id) for id in awaited), create_task("a"))
    wire.taken()
    done(store, suspend("a", *awaited))
    assert wire.taken() == [BATCH, TRANSACT]

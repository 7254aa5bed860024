"""Requests to DynamoDB that are repeated after errors."""

from __future__ import annotations

import pytest

from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.clock import ManualClock
from tests.support.build import create, create_task, fence, suspend
from tests.support.dynamo import BATCH, PUT, TRANSACT, Table, Wire, answering, cancelling, done, refusing
from tests.support.substrates import T0


def test_write_is_repeated_after_a_transient_error(
    store: DynamoStore, wire: Wire, clock: ManualClock, subtests: pytest.Subtests
) -> None:
    for name, fault in {
        "throttled": refusing("ProvisionedThroughputExceededException"),
        "throttled account": refusing("ThrottlingException"),
        "request limit": refusing("RequestLimitExceeded"),
        "conflict": refusing("TransactionConflictException"),
        "server error": refusing("InternalServerError", 500),
        "unknown server error": refusing("Whatever", 503),
    }.items():
        with subtests.test(name):
            before = clock.now()
            wire.faults.extend([fault, fault])
            done(store, create(name))
            assert wire.taken() == [PUT] * 3
            assert clock.now() > before


def test_transaction_is_repeated_after_a_transient_error(
    store: DynamoStore, wire: Wire, subtests: pytest.Subtests
) -> None:
    done(store, create_task("a"))
    wire.taken()
    for name, fault in {
        "conflict": cancelling("None", "TransactionConflict"),
        "throttled": cancelling("ThrottlingError", "None"),
        "in progress": refusing("TransactionInProgressException"),
    }.items():
        with subtests.test(name):
            wire.faults.extend([fault, fault])
            done(store, fence("a", create(f"a.{name}")))
            assert wire.taken() == [TRANSACT] * 3


def test_busy_dynamodb_is_503_after_all_tries(table: Table, clock: ManualClock, wire: Wire) -> None:
    store = table.store(clock, max_attempts=3)
    wire.faults.extend([refusing("ThrottlingException", message="slow down")] * 6)
    response = store.apply(create("a"))
    assert (response.status, response.error) == (503, "DynamoDB is busy: ThrottlingException: slow down")
    assert wire.taken() == [PUT] * 3
    with pytest.raises(StoreError, match="slow down"):
        store.children("a")


def test_pauses_between_tries_double_and_are_spread(table: Table, wire: Wire) -> None:
    clock, pauses = ManualClock(T0), list[int]()
    clock.sleep = pauses.append  # type: ignore[method-assign]
    store = DynamoStore(table.name, client=table.client, clock=clock, jitter=lambda: 0.5, max_attempts=9)
    wire.faults.extend([refusing("ThrottlingException")] * 8)
    done(store, create("a"))
    assert pauses == [12, 25, 50, 100, 200, 400, 500, 500]


def test_batch_answered_in_part_is_asked_for_the_rest(store: DynamoStore, wire: Wire, table: Table) -> None:
    done(table.store(store.clock), create("b"), create("c"), create_task("a"))
    left = {table.name: {"Keys": [{name: table.item("c")[name] for name in ("pk", "sk")}]}}
    body = {"Responses": {table.name: [table.item("a"), table.item("b")]}, "UnprocessedKeys": left}
    wire.taken()
    wire.faults.append(answering(body))
    done(store, suspend("a", "b", "c"))
    assert wire.taken() == [BATCH, BATCH, TRANSACT]


def test_batch_without_an_answer_is_503(clock: ManualClock, wire: Wire, table: Table) -> None:
    store = table.store(clock, max_attempts=3)
    done(table.store(clock), create("b"), create_task("a"))
    keys = [{name: table.item(id)[name] for name in ("pk", "sk")} for id in ("a", "b")]
    body = {"Responses": {}, "UnprocessedKeys": {table.name: {"Keys": keys}}}
    wire.faults.extend([answering(body)] * 3)
    assert store.apply(suspend("a", "b")).status == 503

"""Errors of DynamoDB: what is tried again, and what is named."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

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


def test_missing_table_is_named(dynamo: Any, clock: ManualClock) -> None:
    store = DynamoStore("no-such-table", client=dynamo, clock=clock)
    for call in (lambda: store.apply(create("a")), lambda: store.children("a")):
        with pytest.raises(StoreError, match="no table 'no-such-table': set RESONATE_TABLE"):
            call()


def test_refusal_by_iam_names_the_table(store: DynamoStore, wire: Wire, table: Table) -> None:
    wire.faults.append(refusing("AccessDeniedException", message="not authorized"))
    with pytest.raises(StoreError, match=f"refuses table '{table.name}' to us: AccessDeniedException: not authorized"):
        store.apply(create("a"))


def _alone(script: str, **environment: str) -> str:
    """What a process of its own prints: one that has no mock, and no credentials but these."""
    completed = subprocess.run(
        [sys.executable, "-c", script],
        env={"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


TRYING = """
from resonate_store.model.clock import ManualClock
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.requests import PromiseGet
try:
    print(DynamoStore("t", clock=ManualClock()).apply(PromiseGet("a")).error)
except StoreError as error:
    print(error)
"""


def test_missing_region_is_named() -> None:
    assert "set AWS_DEFAULT_REGION" in _alone(TRYING)


def test_missing_credentials_are_named() -> None:
    assert "there are no AWS credentials" in _alone(TRYING, AWS_DEFAULT_REGION="us-east-1")


def test_endpoint_without_a_listener_is_named() -> None:
    said = _alone(
        TRYING,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="y",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
    )
    assert "DynamoDB cannot be reached: " in said
    assert "127.0.0.1:9" in said


def test_import_of_the_store_does_not_load_boto3() -> None:
    assert _alone("import sys, resonate_store.dynamo; print('boto3' in sys.modules)").strip() == "False"

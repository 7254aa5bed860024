"""Errors of DynamoDB and of its settings, and what they name."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.clock import ManualClock
from tests.support.build import create
from tests.support.dynamo import Table, Wire, refusing


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

"""Transactions of moto without a copy of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models.table import Table

from resonate_infra.testing.moto import transactions

REGION = "us-east-1"


@pytest.fixture(params=[("pk", "sk"), ("pk",)], ids=["with a range key", "without"])
def keys(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture
def client(keys: tuple[str, ...]) -> Iterator[Any]:
    with mock_aws(), transactions.cheap():
        client = boto3.client("dynamodb", region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")
        client.create_table(
            TableName="t",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        for name in ("changed", "deleted", "kept"):
            client.put_item(TableName="t", Item=item(name, {"M": {"a": {"N": "1"}}}))
        yield client
        # Another test can keep moto running, so the table is deleted here.
        client.delete_table(TableName="t")


def item(name: str, value: Any) -> dict[str, Any]:
    return {"pk": {"S": name}, "sk": {"S": name}, "value": value}


def actions(keys: tuple[str, ...], condition: str) -> list[dict[str, Any]]:
    def key(name: str) -> dict[str, Any]:
        return {"TableName": "t", "Key": {key: {"S": name} for key in keys}}

    changed = {"M": {"a": {"N": "2"}}}
    return [
        {"Put": {"TableName": "t", "Item": item("new", changed)}},
        {
            "Update": {
                **key("changed"),
                "UpdateExpression": "SET #v.a = :two",
                "ExpressionAttributeNames": {"#v": "value"},
                "ExpressionAttributeValues": {":two": {"N": "2"}},
            }
        },
        {"Delete": key("deleted")},
        {"ConditionCheck": {**key("kept"), "ConditionExpression": condition}},
    ]


def stored() -> tuple[dict[str, str], int]:
    """Return the numbers in the items, and how many records the stream has."""
    table = get_backend("dynamodb")[DEFAULT_ACCOUNT_ID][REGION].tables["t"]
    items = [item.to_json()["Attributes"] for item in table.all_items()]
    assert table.stream_shard is not None
    return {item["pk"]["S"]: item["value"]["M"]["a"]["N"] for item in items}, len(table.stream_shard.items)


BEFORE = {"changed": "1", "deleted": "1", "kept": "1"}, 3


def test_transaction_writes_all_its_items(client: Any, keys: tuple[str, ...]) -> None:
    client.transact_write_items(TransactItems=actions(keys, "attribute_exists(pk)"))

    assert stored() == ({"changed": "2", "kept": "1", "new": "2"}, 6)


def test_canceled_transaction_writes_no_item(client: Any, keys: tuple[str, ...]) -> None:
    for _ in range(2):
        with pytest.raises(ClientError, match="TransactionCanceledException") as canceled:
            client.transact_write_items(TransactItems=actions(keys, "attribute_not_exists(pk)"))

        response: Any = canceled.value.response
        reasons = [reason["Code"] for reason in response["CancellationReasons"]]
        assert reasons == ["None", "None", "None", "ConditionalCheckFailed"]
        assert stored() == BEFORE


def test_malformed_transaction_writes_no_item(client: Any, keys: tuple[str, ...]) -> None:
    good = actions(keys, "attribute_exists(pk)")
    with pytest.raises(ClientError, match="multiple operations on one item"):
        client.transact_write_items(TransactItems=[*good, good[0]])
    assert stored() == BEFORE

    for bad in ({"TableName": "t", "Item": {"value": {"S": "x"}}}, {"TableName": "u", "Item": item("x", {"S": "x"})}):
        with pytest.raises(ClientError):
            client.transact_write_items(TransactItems=[*good, {"Put": bad}])
        assert stored() == BEFORE


def test_transaction_does_not_copy_the_table(client: Any, keys: tuple[str, ...]) -> None:
    with patch.object(Table, "__reduce_ex__", side_effect=AssertionError("it is copied")):
        client.transact_write_items(TransactItems=actions(keys, "attribute_exists(pk)"))

"""Responses of moto with shortcuts and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import boto3
import moto.core.responses
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.base_backend import BaseBackend
from moto.dynamodb.models.dynamo_type import LimitedSizeDict

from resonate_infra.testing.moto import shortcuts

CREDENTIALS: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
KEY = {"pk": {"S": "a"}}
TABLE = "with-shortcuts"


@pytest.fixture(params=[shortcuts.taken, nullcontext], ids=["with", "without"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    with mock_aws(), request.param():
        client = boto3.client("dynamodb", **CREDENTIALS)
        client.create_table(
            TableName=TABLE,
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client
        client.delete_table(TableName=TABLE)


def text(kilobytes: int) -> dict[str, str]:
    return {"S": "x" * (kilobytes * 1000)}


def is_put(client: Any, **attributes: Any) -> bool:
    return is_small_enough(lambda: client.put_item(TableName=TABLE, Item={**KEY, **attributes}))


def is_set(client: Any, name: str, value: Any) -> bool:
    return is_small_enough(
        lambda: client.update_item(
            TableName=TABLE,
            Key=KEY,
            UpdateExpression="SET #n = :v",
            ExpressionAttributeNames={"#n": name},
            ExpressionAttributeValues={":v": value},
        )
    )


def is_small_enough(write: Callable[[], Any]) -> bool:
    try:
        write()
    except ClientError as error:
        if "has exceeded the maximum allowed size" not in str(error):
            raise
        return False
    return True


def test_item_beyond_the_maximum_size_is_refused(client: Any) -> None:
    many = {f"n{number}": text(10) for number in range(39)}

    assert is_put(client, **many)
    assert not is_put(client, **many, one=text(10), more=text(10))
    assert not is_put(client, one=text(411))
    assert not is_put(client, deep={"M": {"a": {"L": [text(200), text(211)]}}})


def test_replaced_attribute_does_not_count_for_the_item_size(client: Any) -> None:
    assert is_put(client, a=text(200))
    assert [is_set(client, "a", text(200)) for _ in range(5)] == [True] * 5
    assert is_set(client, "b", text(150))
    assert not is_set(client, "c", text(100))
    assert is_set(client, "c", text(20))


def test_services_of_moto_answer(client: Any) -> None:
    s3, sqs = boto3.client("s3", **CREDENTIALS), boto3.client("sqs", **CREDENTIALS)
    s3.create_bucket(Bucket="with-shortcuts")
    s3.put_object(Bucket="with-shortcuts", Key="k", Body=b"content")

    assert s3.get_object(Bucket="with-shortcuts", Key="k")["Body"].read() == b"content"
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    assert queue.endswith("/q")
    sqs.delete_queue(QueueUrl=queue)
    s3.delete_object(Bucket="with-shortcuts", Key="k")
    s3.delete_bucket(Bucket="with-shortcuts")
    kms = boto3.client("kms", **CREDENTIALS)
    for usage, spec in (("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"), ("SIGN_VERIFY", "RSA_2048")):
        key = kms.create_key(KeyUsage=usage, KeySpec=spec)["KeyMetadata"]["KeyId"]
    signed: dict[str, Any] = {"KeyId": key, "Message": b"m", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
    signature = kms.sign(**signed)["Signature"]
    assert kms.verify(**signed, Signature=signature)["SignatureValid"]
    assert client.describe_table(TableName=TABLE)["Table"]["TableStatus"] == "ACTIVE"
    assert not client.scan(TableName=TABLE)["Items"]


def test_shortcuts_are_removed_from_moto_at_the_end() -> None:
    def places() -> list[Any]:
        names = vars(moto.core.responses)["method_names_from_class"]
        return [LimitedSizeDict.__setitem__, BaseBackend.__dict__["urls"], names]

    before = places()
    with shortcuts.taken():
        assert places() != before
    assert places() == before

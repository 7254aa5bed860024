"""Responses of moto's DynamoDB with HTTP and without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import boto3
import pytest
from moto import mock_aws
from moto.core.models import botocore_stubber

from resonate_infra.testing.moto import direct, shortcuts, transport
from resonate_store.aws.exchange import AwsRequest, AwsResponse

REGION = "us-east-1"
VALUES: dict[str, Any] = {
    "text": {"S": 'ä \u2028 "quoted"\''},
    "number": {"N": "-1.50"},
    "map": {"M": {"deep": {"L": [{"S": "a"}, {"M": {"n": {"N": "2"}}}, {"NULL": True}]}, "no": {"BOOL": False}}},
    "set": {"SS": ["b", "a"]},
    "numbers": {"NS": ["1", "2"]},
    "empty": {"S": ""},
    "list": {"L": []},
}
BINARY: dict[str, Any] = {"bytes": {"B": "AAEC"}, "all": {"BS": ["AA==", "AQ=="]}, "deep": {"M": {"x": {"B": "AQ=="}}}}


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    with mock_aws(), shortcuts.taken():
        client = boto3.client("dynamodb", region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")
        for table in ("direct", "over-http"):
            client.create_table(
                TableName=table,
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                BillingMode="PAY_PER_REQUEST",
            )
        yield
        for table in ("direct", "over-http"):
            client.delete_table(TableName=table)


def item(sk: str, **attributes: Any) -> dict[str, Any]:
    return {"pk": {"S": "p"}, "sk": {"S": sk}, **attributes}


def request(operation: str, parameters: Any) -> AwsRequest:
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"}
    body = json.dumps(parameters, separators=(",", ":")).encode()
    return AwsRequest("dynamodb", operation, 1, f"https://dynamodb.{REGION}.amazonaws.com/", headers, body)


def over_http(sent: AwsRequest) -> AwsResponse:
    return transport.read(botocore_stubber(transport.event_of(sent), transport.prepared(sent)))


def both(operation: str, parameters: dict[str, Any]) -> tuple[int, Any]:
    """Return the status and the content of the response, which are the same in both ways."""
    text = json.dumps({"TableName": "TABLE", **parameters})
    if operation in ("TransactWriteItems", "BatchGetItem"):
        text = json.dumps(parameters)
    answer = direct.answer(request(operation, json.loads(text.replace("TABLE", "direct"))))
    assert answer is not None
    usual = over_http(request(operation, json.loads(text.replace("TABLE", "over-http"))))
    content = json.loads(answer.body.decode().replace('"direct"', '"over-http"'))
    assert (answer.status, content) == (usual.status, json.loads(usual.body))
    assert answer.headers["x-amz-crc32"] == str(crc32(answer.body))
    assert answer.headers["content-type"] == usual.headers["content-type"]
    return answer.status, content


QUERY = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}, "ConsistentRead": True}
UPDATE = {
    "UpdateExpression": "SET #n = :n REMOVE #t",
    "ExpressionAttributeNames": {"#n": "number", "#t": "text"},
    "ExpressionAttributeValues": {":n": {"N": "2"}},
}


def test_reads_have_the_responses_of_moto() -> None:
    for sk in ("1", "2", "3"):
        assert both("PutItem", {"Item": item(sk, **VALUES)}) == (200, {})
    found = both("GetItem", {"Key": item("1"), "ReturnConsumedCapacity": "TOTAL"})[1]
    assert found["Item"] == item("1", **VALUES)
    assert both("GetItem", {"Key": item("9")}) == (200, {})
    page = both("Query", {**QUERY, "Limit": 2})[1]
    assert page["LastEvaluatedKey"] == item("2")
    assert both("Query", {**QUERY, "ExclusiveStartKey": item("2"), "Select": "COUNT"})[1]["Count"] == 1
    assert both("Scan", {"Limit": 1, "ProjectionExpression": "sk"})[1]["Count"] == 1
    keys = {"Keys": [item("1"), item("9")], "ConsistentRead": True}
    batch = both("BatchGetItem", {"RequestItems": {"TABLE": keys}})[1]
    assert batch["Responses"] == {"over-http": [item("1", **VALUES)]}


def test_writes_have_the_responses_of_moto() -> None:
    both("PutItem", {"Item": item("1", **VALUES)})
    assert both("PutItem", {"Item": item("1"), "ReturnValues": "ALL_OLD"})[1]["Attributes"] == item("1", **VALUES)
    both("PutItem", {"Item": item("1", **VALUES)})
    others = {name: value for name, value in VALUES.items() if name != "text"}
    updated = both("UpdateItem", {"Key": item("1"), **UPDATE, "ReturnValues": "ALL_NEW"})[1]["Attributes"]
    assert updated == item("1", **{**others, "number": {"N": "2"}})
    assert both("DeleteItem", {"Key": item("1"), "ReturnValues": "ALL_OLD"})[1]["Attributes"] == updated
    put = {"Put": {"TableName": "TABLE", "Item": item("2")}}
    assert both("TransactWriteItems", {"TransactItems": [put], "ClientRequestToken": "t"})[0] == 200


def test_errors_are_those_of_moto() -> None:
    both("PutItem", {"Item": item("1", **VALUES)})
    absent = {"ConditionExpression": "attribute_not_exists(pk)"}
    refused = both("PutItem", {"Item": item("1"), **absent, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"})
    assert (refused[0], refused[1]["Item"]) == (400, item("1", **VALUES))
    assert both("UpdateItem", {"Key": item("1"), **UPDATE, "ConditionExpression": "#n > :n"})[0] == 400
    check = {"ConditionCheck": {"TableName": "TABLE", "Key": item("1"), **absent}}
    put = {"Put": {"TableName": "TABLE", "Item": item("2")}}
    canceled = both("TransactWriteItems", {"TransactItems": [put, check]})[1]
    assert [reason["Code"] for reason in canceled["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    assert both("GetItem", {"Key": item("2")}) == (200, {})
    assert both("PutItem", {"Item": {"pk": {"S": "p"}}})[0] == 400
    assert both("GetItem", {"TableName": "nowhere", "Key": item("1")})[0] == 400
    assert both("Query", {**QUERY, "KeyConditionExpression": "pk ="})[0] == 400


def test_binary_attributes_and_other_operations_are_left_to_moto() -> None:
    put = request("PutItem", {"TableName": "direct", "Item": item("1", **BINARY)})
    assert direct.answer(put) is None
    assert transport.send(put).status == 200
    answer = direct.answer(request("GetItem", {"TableName": "direct", "Key": item("1")}))
    assert answer is not None
    assert json.loads(answer.body)["Item"] == item("1", **BINARY)
    assert direct.answer(request("DescribeTable", {"TableName": "direct"})) is None
    assert direct.answer(put._replace(service="sqs")) is None

"""Choice of a client. Both kinds behave the same: the same tests run with each of them, with moto as AWS."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from botocore.exceptions import ConnectionClosedError
from moto.core.models import botocore_stubber

from resonate.testing.faults import Killed
from resonate_infra.testing.moto.cloud import Cloud, CountedCall, Moment
from resonate_store.aws import clients as module
from resonate_store.aws import exchange
from resonate_store.aws.calls import ServiceCalls
from resonate_store.aws.clients import client_of
from resonate_store.aws.connections import CallLimits
from resonate_store.aws.dynamodb import DynamoClient
from resonate_store.aws.errors import AwsRefusal, AwsUnreachable, aws_error
from resonate_store.aws.exchange import AwsRequest, AwsResponse
from resonate_store.aws.services import FunctionsClient, SqsClient
from resonate_store.model.clock import ManualClock
from tests.support.tables import table_definition

LIMITS = CallLimits(connect_timeout_s=1, read_timeout_s=1, attempts=2)
TABLE = "clients-under-test"
KEY = {"pk": {"S": "p#a"}, "sk": {"S": "0#a"}}
ITEM = {
    **KEY,
    "text": {"S": "\u00fc\U0001f600"},
    "number": {"N": "12345678901234567890"},
    "flag": {"BOOL": False},
    "map": {"M": {"self": {"L": [{"S": ""}, {"M": {}}]}}},
}
CONDITION = {
    "ConditionExpression": "attribute_not_exists(#pk)",
    "ExpressionAttributeNames": {"#pk": "pk"},
    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
}

Make = Callable[[str], Any]


@pytest.fixture(params=["own", "boto3"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Literal["own", "boto3"]:
    monkeypatch.setenv("RESONATE_CLIENT", "auto" if request.param == "own" else "boto3")
    return request.param


@pytest.fixture
def cloud(kind: str) -> Iterator[Cloud]:  # noqa: ARG001 - the variable is set before the environment is replaced
    cloud = Cloud(ManualClock())
    cloud.open()
    try:
        cloud.client("dynamodb").create_table(**table_definition(TABLE))
        url = cloud.client("sqs").create_queue(QueueName=TABLE)["QueueUrl"]
        cloud.calls.clear()
        cloud.changes.clear()
        yield cloud
        cloud.fault = None
        # moto keeps the account if other tests use it too.
        cloud.client("dynamodb").delete_table(TableName=TABLE)
        cloud.client("sqs").delete_queue(QueueUrl=url)
    finally:
        cloud.close()


def url_of(cloud: Cloud) -> str:
    return cloud.client("sqs").get_queue_url(QueueName=TABLE)["QueueUrl"]


@pytest.fixture
def make(cloud: Cloud, kind: str) -> Make:  # noqa: ARG001 - open while clients are made
    own = {"dynamodb": DynamoClient, "sqs": SqsClient, "lambda": FunctionsClient}

    def make(service: str) -> Any:
        client = client_of(service, LIMITS)
        assert isinstance(client, own[service]) == (kind == "own")
        return client

    return make


@pytest.fixture
def table(make: Make) -> Any:
    return make("dynamodb")


def refusal(call: Callable[[], object]) -> AwsRefusal:
    """Return the error of a call that is refused."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - a client's own error, whichever it is
        call()
    error = aws_error(raised.value)
    assert isinstance(error, AwsRefusal)
    return error


def content(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without the metadata that only boto3 adds."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def test_item_comes_back_as_it_was_put(table: Any) -> None:
    assert content(table.put_item(TableName=TABLE, Item=ITEM)) == {}
    assert content(table.get_item(TableName=TABLE, Key=KEY, ConsistentRead=True)) == {"Item": ITEM}
    assert content(table.delete_item(TableName=TABLE, Key=KEY)) == {}
    assert content(table.get_item(TableName=TABLE, Key=KEY)) == {}


def test_queries_scans_and_batches_have_pages(table: Any) -> None:
    items = [{"pk": {"S": "p#a"}, "sk": {"S": f"1#a.{n}"}} for n in range(3)]
    for item in items:
        table.put_item(TableName=TABLE, Item=item)
    query = {
        "TableName": TABLE,
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "p#a"}},
    }

    first = content(table.query(**query, Limit=2))
    assert (first["Items"], first["LastEvaluatedKey"]) == (items[:2], items[1])
    rest = content(table.query(**query, ExclusiveStartKey=first["LastEvaluatedKey"]))
    assert (rest["Items"], rest.get("LastEvaluatedKey")) == (items[2:], None)
    assert content(table.scan(TableName=TABLE))["Items"] == items
    batch = content(table.batch_get_item(RequestItems={TABLE: {"Keys": items[:2]}}))
    assert (batch["Responses"], batch["UnprocessedKeys"]) == ({TABLE: items[:2]}, {})


def test_failed_condition_has_the_old_image(table: Any) -> None:
    table.put_item(TableName=TABLE, Item=ITEM)
    error = refusal(lambda: table.put_item(TableName=TABLE, Item=ITEM, **CONDITION))

    assert (error.code, error.status) == ("ConditionalCheckFailedException", 400)
    assert error.answer["Item"] == ITEM


def test_cancelled_transaction_has_its_reasons(table: Any) -> None:
    table.put_item(TableName=TABLE, Item=ITEM)
    other = {"pk": {"S": "p#b"}, "sk": {"S": "0#b"}}
    puts = [{"Put": {"TableName": TABLE, "Item": item, **CONDITION}} for item in (other, ITEM)]
    error = refusal(lambda: table.transact_write_items(TransactItems=puts, ClientRequestToken="t"))

    assert error.code == "TransactionCanceledException"
    assert [reason["Code"] for reason in error.answer["CancellationReasons"]] == ["None", "ConditionalCheckFailed"]
    assert error.answer["CancellationReasons"][1]["Item"] == ITEM


def test_update_changes_what_it_names(table: Any) -> None:
    table.put_item(TableName=TABLE, Item=ITEM)
    table.update_item(
        TableName=TABLE,
        Key=KEY,
        UpdateExpression="SET #m.#k = :v REMOVE #f",
        ExpressionAttributeNames={"#m": "map", "#k": "a.b c", "#f": "flag"},
        ExpressionAttributeValues={":v": {"N": "1"}},
    )
    changed = table.get_item(TableName=TABLE, Key=KEY)["Item"]

    assert changed["map"]["M"] == {**ITEM["map"]["M"], "a.b c": {"N": "1"}}
    assert "flag" not in changed


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"TableName": "nowhere", "Key": KEY}, "ResourceNotFoundException"),
        ({"TableName": TABLE, "Key": {"pk": {"S": "a"}}}, "ValidationException"),
    ],
)
def test_refusal_has_code_reason_and_status(table: Any, arguments: dict[str, Any], code: str) -> None:
    error = refusal(lambda: table.get_item(**arguments))

    assert (error.code, error.status) == (code, 400)
    assert error.reason


def test_messages_are_sent_and_delayed(make: Make, cloud: Cloud) -> None:
    queues = cloud.client("sqs")
    url = url_of(cloud)
    client = make("sqs")
    text = json.dumps({"id": "\u00fc\U0001f600"})
    client.send_message(QueueUrl=url, MessageBody=text)
    client.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=60)

    assert [each["Body"] for each in queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]] == [text]


def test_missing_queue_is_refused(make: Make) -> None:
    url = "https://sqs.us-east-1.amazonaws.com/1/nowhere"
    error = refusal(lambda: make("sqs").send_message(QueueUrl=url, MessageBody="text"))

    assert error.code == "AWS.SimpleQueueService.NonExistentQueue"


@pytest.mark.parametrize("name", ["worker", "arn:aws:lambda:us-east-1:123456789012:function:worker:live"])
def test_function_is_invoked(make: Make, cloud: Cloud, name: str) -> None:
    cloud.functions = {name: "WorkerFunction"}
    answer = make("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=b'{"kind":"execute"}')

    assert answer["StatusCode"] == 202
    assert cloud.invocations == [("WorkerFunction", {"kind": "execute"}, "")]


def test_missing_function_is_refused(make: Make) -> None:
    client = make("lambda")
    error = refusal(lambda: client.invoke(FunctionName="nowhere", InvocationType="Event", Payload=b"{}"))

    assert (error.code, error.status) == ("ResourceNotFoundException", 404)


def own_calls(service: str, requests: list[AwsRequest], body: bytes) -> ServiceCalls:
    """Return calls that get the same response to each request, and note the requests."""

    def respond(request: AwsRequest) -> AwsResponse:
        requests.append(request)
        return AwsResponse(200, {}, body)

    return ServiceCalls(service, "us-east-1", "https://host", CallLimits(1, 1, 1), transport=respond, environment=BARE)


@pytest.mark.parametrize("body", [b'{"MD5OfMessageBody":"1"}', b'{"MD5OfMessageBody":1}', b"{}"])
def test_message_that_sqs_has_received_otherwise_is_an_error(body: bytes) -> None:
    with pytest.raises(AwsUnreachable, match="SQS has not accepted the text that was sent"):
        SqsClient(own_calls("sqs", [], body)).send_message(QueueUrl="https://host/1/q", MessageBody="text")


def test_lone_surrogates_are_left_to_the_service() -> None:
    """An error of Python here would stop a function of the deployment for all other messages."""
    requests: list[AwsRequest] = []
    with pytest.raises(AwsUnreachable, match="SQS has not accepted"):
        SqsClient(own_calls("sqs", requests, b"{}")).send_message(QueueUrl="q", MessageBody="\ud800")
    FunctionsClient(own_calls("lambda", requests, b"")).invoke(
        FunctionName="arn:\ud800:a/b", InvocationType="Event", Payload=b"{}"
    )

    assert b"\\ud800" in requests[0].body
    assert requests[1].url == "https://host/2015-03-31/functions/arn%3A%ED%A0%80%3Aa%2Fb/invocations"


def test_own_client_does_not_wait_for_a_function() -> None:
    with pytest.raises(ValueError, match="InvocationType must be 'Event', got 'RequestResponse'"):
        FunctionsClient(None).invoke(FunctionName="f", InvocationType="RequestResponse", Payload=b"")  # pyright: ignore[reportArgumentType]


# The hooks of the offline stack


@pytest.fixture
def moments(cloud: Cloud) -> list[tuple[Moment, str]]:
    noted: list[tuple[Moment, str]] = []
    cloud.fault = lambda moment, call: noted.append((moment, call.operation))
    return noted


def test_call_is_counted_once_and_passes_every_moment(
    table: Any, cloud: Cloud, moments: list[tuple[Moment, str]]
) -> None:
    table.get_item(TableName=TABLE, Key=KEY)
    refusal(lambda: table.get_item(TableName="nowhere", Key=KEY))
    table.put_item(TableName=TABLE, Item=ITEM)

    expected = ["GetItem", "GetItem", "PutItem"]
    assert cloud.calls == [CountedCall("dynamodb", operation, "") for operation in expected]
    assert cloud.changes == {"dynamodb": 1}
    assert moments == [(moment, operation) for operation in expected for moment in ("before", "lost", "after")]


@pytest.mark.parametrize("service", ["dynamodb", "sqs", "lambda"])
def test_lost_response_is_asked_for_again_in_the_same_call(make: Make, cloud: Cloud, service: str) -> None:
    cloud.functions = {"worker": "WorkerFunction"}
    url = url_of(cloud)
    cloud.calls.clear()
    calls: dict[str, Callable[[Any], Any]] = {
        "dynamodb": lambda client: client.put_item(TableName=TABLE, Item=ITEM),
        "sqs": lambda client: client.send_message(QueueUrl=url, MessageBody="text"),
        "lambda": lambda client: client.invoke(FunctionName="worker", InvocationType="Event", Payload=b"{}"),
    }
    client, left = make(service), 1

    def lose(moment: Moment, _: CountedCall) -> None:
        nonlocal left
        if moment == "lost" and left:
            left -= 1
            raise ConnectionClosedError(endpoint_url="u")

    cloud.fault = lose
    calls[service](client)
    cloud.fault = None

    assert left == 0
    assert len(cloud.calls) == 1
    taken = cloud.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    assert len(taken) == (2 if service == "sqs" else 0), "sent twice, as one call"
    assert len(cloud.invocations) == (2 if service == "lambda" else 0)


@pytest.mark.parametrize("moment", ["before", "lost", "after"])
def test_killed_process_ends_at_that_moment(table: Any, cloud: Cloud, moment: Moment) -> None:
    def kill(at: Moment, _: CountedCall) -> None:
        if at == moment:
            raise Killed

    cloud.fault = kill
    with pytest.raises(Killed):
        table.put_item(TableName=TABLE, Item=ITEM)
    cloud.fault = None

    assert ("Item" in table.get_item(TableName=TABLE, Key=KEY)) == (moment != "before")
    assert len(cloud.calls) == 2


def test_connection_that_keeps_failing_is_an_error(table: Any, cloud: Cloud) -> None:
    sent = 0

    def lose(moment: Moment, _: CountedCall) -> None:
        nonlocal sent
        if moment == "lost":
            sent += 1
            raise ConnectionClosedError(endpoint_url="u")

    cloud.fault = lose
    with pytest.raises((AwsUnreachable, ConnectionClosedError)) as raised:
        table.get_item(TableName=TABLE, Key=KEY)

    assert isinstance(aws_error(raised.value), AwsUnreachable)
    assert sent == LIMITS.attempts


# The choice


BARE = {
    "PATH": os.environ["PATH"],
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in BARE.items():
        monkeypatch.setenv(name, value)
    module.log_choice.cache_clear()
    # Fixtures of other tests may have moto in use.
    monkeypatch.setattr(exchange, "_installed", None)
    monkeypatch.setattr(botocore_stubber, "enabled", False)
    return monkeypatch


@pytest.mark.usefixtures("bare")
def test_own_client_is_chosen_in_a_bare_environment(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    assert isinstance(client_of("dynamodb", LIMITS), DynamoClient)
    assert isinstance(client_of("lambda", LIMITS), FunctionsClient)
    assert isinstance(client_of("sqs", LIMITS), SqsClient)
    assert caplog.messages == []


def test_boto3_is_chosen_with_a_reason_in_the_log_once(
    bare: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bare.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    bare.setenv("AWS_DEFAULT_REGION", "us-east-1")
    caplog.set_level(logging.INFO, "resonate.aws")
    client = client_of("dynamodb", LIMITS)
    client_of("dynamodb", LIMITS)

    assert client.meta.endpoint_url == "https://dynamodb-fips.us-east-1.amazonaws.com"
    assert caplog.messages == ["dynamodb is called through boto3: AWS_USE_FIPS_ENDPOINT asks for FIPS endpoints"]


def test_boto3_has_the_same_limits(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("RESONATE_CLIENT", "boto3")
    bare.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config = client_of("sqs", CallLimits(3, 10, 4, connections=7)).meta.config

    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (3, 10, 7)
    assert config.retries == {"mode": "standard", "total_max_attempts": 4}


def test_moto_in_use_is_asked_through_boto3(bare: pytest.MonkeyPatch) -> None:
    """moto takes the place of AWS only in botocore. A client of our own would call AWS itself."""
    bare.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bare.setattr(botocore_stubber, "enabled", True)
    assert not isinstance(client_of("dynamodb", LIMITS), DynamoClient)
    bare.setattr(botocore_stubber, "enabled", False)
    assert isinstance(client_of("dynamodb", LIMITS), DynamoClient)


def test_worker_in_a_bare_environment_loads_no_boto3() -> None:
    program = (
        "import os, sys; os.environ['AWS_LAMBDA_RUNTIME_API'] = '127.0.0.1:9001'; import functions.worker.app;"
        "print(*sorted({'boto3', 'botocore', 'pynamodb', 'urllib3', 'requests'} & sys.modules.keys()))"
    )
    environment = {**BARE, "RESONATE_TABLE": "promises"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("\n", "")

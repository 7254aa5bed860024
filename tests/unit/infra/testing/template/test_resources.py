import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from resonate_infra.testing.filters import InvalidPatternError
from resonate_infra.testing.stack import OfflineStack
from resonate_infra.testing.template.deployment import Deployment
from resonate_infra.testing.template.resources import (
    NOT_CREATED,
    UnknownPropertyError,
    UnknownResourceTypeError,
    create,
)
from resonate_infra.testing.template.template import TemplateError, TemplateStack, load

ROOT = Path(__file__).parents[5]
TEMPLATE = ROOT / "template.yaml"
REGION = "us-east-1"

Client = Callable[..., Any]


@pytest.fixture(scope="module")
def deployment(client: Client) -> Deployment:
    return create(load(TEMPLATE, stack=TemplateStack("shop")), client)


# --- Storage


def test_stack_name_too_long_for_its_functions_is_refused() -> None:
    with OfflineStack(name="n" * 55) as stack:
        assert len(stack.deployment.functions["DispatchFunction"].name) == 64
    with pytest.raises(TemplateError, match="choose a shorter name for the stack"), OfflineStack(name="n" * 56):
        pass


def test_table_has_its_keys_and_indexes_and_stream(deployment: Deployment, client: Client) -> None:
    table = client("dynamodb").describe_table(TableName=deployment.table_name)["Table"]
    assert keys(table) == [("pk", "HASH", "S"), ("sk", "RANGE", "S")]
    indexes = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
    types = {"AttributeDefinitions": table["AttributeDefinitions"]}
    assert {name: keys(index | types) for name, index in indexes.items()} == {
        "wake": [("wake_shard", "HASH", "S"), ("wake_at", "RANGE", "N")],
        "executions": [("execution_state", "HASH", "S"), ("created_at", "RANGE", "N")],
    }
    assert {index["Projection"]["ProjectionType"] for index in indexes.values()} == {"KEYS_ONLY"}
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["SSEDescription"]["Status"] == "ENABLED"
    streams = client("dynamodbstreams", config=Config(account_id_endpoint_mode="disabled"))
    stream = streams.describe_stream(StreamArn=deployment.stream_arn)["StreamDescription"]
    assert (stream["StreamViewType"], stream["TableName"]) == ("NEW_AND_OLD_IMAGES", deployment.table_name)


def keys(described: dict[str, Any]) -> list[tuple[str, str, str]]:
    types = {each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]}
    return [(key["AttributeName"], key["KeyType"], types[key["AttributeName"]]) for key in described["KeySchema"]]


def test_table_expires_markers_and_has_backups(deployment: Deployment, client: Client) -> None:
    dynamodb = client("dynamodb")
    expiry = dynamodb.describe_time_to_live(TableName=deployment.table_name)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expire_at"}
    backups = dynamodb.describe_continuous_backups(TableName=deployment.table_name)
    recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"


# --- Queues and schedules


def test_queues_have_the_attributes_of_the_template(deployment: Deployment, client: Client) -> None:
    for kind in ("Timer", "Push"):
        queue = deployment.queues[f"{kind}Queue"]
        attributes = client("sqs").get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]
        assert attributes["QueueArn"] == queue.arn
        assert attributes["VisibilityTimeout"] == "360"
        assert attributes["SqsManagedSseEnabled"] == "true"
        assert json.loads(attributes["RedrivePolicy"]) == {
            "deadLetterTargetArn": deployment.queues[f"{kind}DeadLetterQueue"].arn,
            "maxReceiveCount": 5,
        }


def test_sweep_is_scheduled_every_minute_without_retries(deployment: Deployment, client: Client) -> None:
    [sweep] = deployment.schedules
    assert sweep.expression == "rate(1 minute)"
    assert json.loads(sweep.input) == {"kind": "sweep"}
    assert sweep.target_arn == deployment.functions["TickFunction"].arn
    created = client("scheduler").get_schedule(Name=sweep.name, GroupName=deployment.schedule_group)
    assert created["Target"]["Arn"] == sweep.target_arn
    assert created["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0


# --- Functions and what feeds them


def test_functions_have_the_created_resources_in_their_environment(deployment: Deployment) -> None:
    worker = deployment.functions["WorkerFunction"]
    groups = json.loads(worker.environment["RESONATE_GROUPS"])
    assert groups == {"default": "lambda://shop-worker", "worker": "lambda://shop-worker"}
    assert worker.environment["RESONATE_TABLE"] == deployment.table_name
    assert worker.name == "shop-worker"
    assert worker.code_directory == ROOT / "functions" / "worker"
    assert (worker.handler, worker.timeout_seconds, worker.memory_mb) == ("app.handler", 300, 512)
    for name in ("DispatchFunction", "TickFunction"):
        environment = dict(deployment.functions[name].environment)
        assert environment.items() > {key: text for key, text in worker.environment.items() if text}.items()
        assert environment["RESONATE_TIMER_QUEUE_URL"] == deployment.queues["TimerQueue"].url
        assert environment["RESONATE_PUSH_QUEUE_URL"] == deployment.queues["PushQueue"].url
        assert environment["RESONATE_SCHEDULE_GROUP"] == deployment.schedule_group
        assert environment["RESONATE_TICK_ARN"] == deployment.functions["TickFunction"].arn
        assert environment["RESONATE_SCHEDULE_ROLE_ARN"].startswith("arn:aws:iam::123456789012:role/shop-")
        assert environment["RESONATE_RETENTION_SECONDS"] == str(30 * 86_400)


def test_event_sources_connect_stream_and_queues_to_functions(deployment: Deployment) -> None:
    assert {
        (source.function, source.kind): (source.arn, source.batch_size, len(source.filters))
        for source in deployment.event_sources
    } == {
        # An account may have five filters by default.
        ("DispatchFunction", "stream"): (deployment.stream_arn, 100, 5),
        ("DispatchFunction", "queue"): (deployment.queues["PushQueue"].arn, 10, 0),
        ("TickFunction", "queue"): (deployment.queues["TimerQueue"].arn, 10, 0),
    }
    assert all(source.report_batch_item_failures for source in deployment.event_sources)


def test_outputs_name_created_resources(deployment: Deployment) -> None:
    assert deployment.outputs["TableName"] == deployment.table_name
    assert deployment.outputs["TickFunctionArn"] == deployment.functions["TickFunction"].arn
    assert deployment.outputs["PushQueueUrl"] == deployment.queues["PushQueue"].url


# --- Refused templates


def deploy_changed(tmp_path: Path, client: Client, old: str, new: str) -> Deployment:
    text = TEMPLATE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "template.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return create(load(path, stack=TemplateStack(stack_of(tmp_path))), client)


def stack_of(tmp_path: Path) -> str:
    """Return the name of a stack for this test. The state of moto lasts for the whole module."""
    return tmp_path.name.replace("_", "-")


def test_unknown_resource_type_is_named_before_creation(tmp_path: Path, client: Client) -> None:
    with pytest.raises(UnknownResourceTypeError, match=r"Bus \(AWS::Events::EventBus\)"):
        deploy_changed(tmp_path, client, "\nResources:\n", "\nResources:\n  Bus: {Type: AWS::Events::EventBus}\n")
    tables = client("dynamodb").list_tables()["TableNames"]
    assert not [name for name in tables if name.startswith(stack_of(tmp_path))]


UNSUPPORTED = {
    "TableClass": ("BillingMode: PAY_PER_REQUEST", "BillingMode: PAY_PER_REQUEST\n      TableClass: STANDARD"),
    "FifoQueue": ("VisibilityTimeout: 360", "VisibilityTimeout: 360\n      FifoQueue: true"),
    "Tags": ("Name: !Ref AWS::StackName", "Name: !Ref AWS::StackName\n      Tags: []"),
    "State": ("ScheduleExpression: rate", "State: DISABLED\n      ScheduleExpression: rate"),
}


@pytest.mark.parametrize("named", UNSUPPORTED)
def test_unsupported_property_is_named(tmp_path: Path, client: Client, named: str) -> None:
    with pytest.raises(UnknownPropertyError, match=named):
        deploy_changed(tmp_path, client, *UNSUPPORTED[named])


def test_unsupported_event_filter_is_refused(tmp_path: Path, client: Client) -> None:
    with pytest.raises(InvalidPatternError, match="begins-with"):
        deploy_changed(tmp_path, client, '[{"prefix":', '[{"begins-with":')


def test_resource_types_without_counterpart_have_a_reason() -> None:
    assert all(stub.reason for stub in NOT_CREATED.values())

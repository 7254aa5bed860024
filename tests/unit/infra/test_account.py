"""All resources of the template, created in moto and read again."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from resonate_infra.testing.template.deployment import Deployment
from resonate_infra.testing.template.resources import NOT_CREATED, create, delete
from resonate_infra.testing.template.template import Template, TemplateStack, load
from resonate_store.dynamo.large_values import TAG
from tests.support.account import CREATORS

TEMPLATE = Path(__file__).parents[3] / "template.yaml"
EVERYTHING: dict[str, str | int] = {
    "AlarmEmail": "ops@example.com",
    "Tracing": "on",
    "WorkerConcurrency": 50,
    "WorkerMemory": 1024,
    "LogRetentionDays": 7,
    "PinVersions": "on",
    "Revision": "r1",
}
"""Parameters with which the template creates all its resources."""

Client = Callable[..., Any]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with mock_aws():
        yield boto3.Session("testing", "testing", region_name="us-east-1").client


@pytest.fixture(scope="module")
def template() -> Template:
    return load(TEMPLATE, stack=TemplateStack("market"), parameters=EVERYTHING)


@pytest.fixture(scope="module")
def deployment(template: Template, client: Client) -> Iterator[Deployment]:
    assert CREATORS.keys() >= NOT_CREATED.keys()
    deployment = create(template, client, CREATORS)
    yield deployment
    delete(deployment, client)


def test_functions_have_their_role_layer_and_variables(deployment: Deployment, client: Client) -> None:
    [layer] = client("lambda").list_layers()["Layers"]
    for function in deployment.functions.values():
        created = client("lambda").get_function(FunctionName=function.name)["Configuration"]
        assert created["FunctionArn"] == function.arn
        assert created["Environment"]["Variables"] == dict(function.environment)
        assert [each["Arn"] for each in created["Layers"]] == [layer["LatestMatchingVersion"]["LayerVersionArn"]]
        assert created["TracingConfig"]["Mode"] == "Active"
        role = created["Role"].rpartition("/")[2]
        assert client("iam").get_role(RoleName=role)["Role"]["Arn"] == created["Role"]
        policies = client("iam").list_role_policies(RoleName=role)["PolicyNames"]
        assert sorted(policies) == sorted([function.name.removeprefix("market-"), "tracing"])
    worker = client("lambda").get_function(FunctionName="market-worker")
    assert worker["Configuration"]["MemorySize"] == 1024
    assert worker["Concurrency"]["ReservedConcurrentExecutions"] == 50


def test_policies_name_existing_resources(deployment: Deployment, client: Client) -> None:
    document = client("iam").get_role_policy(RoleName="market-DispatchRole", PolicyName="dispatch")["PolicyDocument"]
    statements = {statement["Sid"]: statement["Resource"] for statement in document["Statement"]}
    table = client("dynamodb").describe_table(TableName=deployment.table_name)["Table"]

    assert statements["ReadWriteAndDeletePromises"] == table["TableArn"]
    assert statements["ReadChanges"] == table["LatestStreamArn"]
    worker = deployment.functions["WorkerFunction"].arn
    assert statements["OfferTasks"] == [worker, f"{worker}:*"]
    assert statements["ReceivePushes"] == deployment.queues["PushQueue"].arn
    [group] = client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/market-dispatch")["logGroups"]
    assert statements["WriteLogs"] == group["arn"]
    assert group["retentionInDays"] == 7


@pytest.mark.usefixtures("deployment")
def test_alarms_notify_the_subscribed_address(template: Template, client: Client) -> None:
    alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
    [subscription] = client("sns").list_subscriptions()["Subscriptions"]

    assert subscription["Endpoint"] == "ops@example.com"
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {subscription["TopicArn"]}
    assert len(alarms) == sum(resource.type == "AWS::CloudWatch::Alarm" for resource in template.resources)


def test_ssm_parameters_name_the_resources_for_other_stacks(deployment: Deployment, client: Client) -> None:
    pages = client("ssm").get_paginator("get_parameters_by_path").paginate(Path="/resonate/market")
    values = {each["Name"].rpartition("/")[2]: each["Value"] for each in pages.search("Parameters[]")}

    roles = ("worker", "api", "dispatch", "tick")
    settings = {
        "payload-threshold": "32768",
        "payload-limit": "5242880",
        "metrics": "on",
        "delivery": "writer",
        "retention-seconds": "2592000",
    }
    assert values.keys() == {"table", "bucket", "layer", "timer-queue", *(f"{role}-role" for role in roles), *settings}
    assert {name: values[name] for name in settings} == settings
    assert values["table"] == deployment.table_name
    assert values["bucket"] == deployment.bucket
    assert values["layer"] == deployment.outputs["LayerArn"]
    assert values["timer-queue"] in {queue.name for queue in deployment.queues.values()}
    for role in roles:
        assert values[f"{role}-role"].endswith(f":role/market-{role.title()}Role")


def test_bucket_is_encrypted_and_private_and_expires_unclaimed_values(deployment: Deployment, client: Client) -> None:
    s3 = client("s3")
    bucket = deployment.bucket
    [encryption] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    [statement] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    name, value = TAG

    assert encryption["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    expiring = {id: rule["Filter"] for id, rule in rules.items() if "Expiration" in rule}
    assert expiring == {"remove-unclaimed": {"Tag": {"Key": name, "Value": value}}}, "only unclaimed values expire"
    assert rules["remove-unclaimed"]["Expiration"]["Days"] == 7


def test_outputs_have_the_urls_of_worker_and_dashboard(deployment: Deployment, client: Client) -> None:
    url = client("lambda").get_function_url_config(FunctionName="market-worker")
    assert (url["AuthType"], url["FunctionUrl"]) == ("AWS_IAM", deployment.outputs["WorkerFunctionUrl"])
    body = client("cloudwatch").get_dashboard(DashboardName="market-us-east-1")["DashboardBody"]
    assert len(json.loads(body)["widgets"]) == 12
    assert deployment.outputs["DashboardUrl"].endswith("#dashboards:name=market-us-east-1")

"""Permissions, parameters and functions of `template.yaml`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from resonate_infra.deployed.wiring import BATCH
from resonate_infra.testing.filters import FilterCriteria
from resonate_infra.testing.template.template import ParameterError, Resolver, load
from tests.support.shipped_template import (
    ROOT,
    STACK,
    document,
    of_type,
    properties,
    shipped,
    spelled_out,
    statements,
    variable,
)

FUNCTION = "arn:aws:lambda:eu-central-1:111122223333:function:shop-"
SCHEDULES = "arn:aws:scheduler:eu-central-1:111122223333:schedule/ScheduleGroup/*"
PROMISES = {
    f"dynamodb:{action}": ["PromiseTable.Arn"]
    for action in ("GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "ConditionCheckItem")
}
VALUES = "arn:aws:s3:::PayloadBucket/PromiseTable/*"
WORKER = [f"{FUNCTION}worker", f"{FUNCTION}worker:*"]
"""ARNs of the worker, and of its aliases and versions."""


def on_values(*actions: str) -> dict[str, list[str]]:
    """Return the permissions on large values. With `ListBucket` a missing value is a distinct error."""
    return {**{f"s3:{action}": [VALUES] for action in actions}, "s3:ListBucket": ["PayloadBucket.Arn"]}


WRITING_VALUES = on_values("GetObject", "PutObject", "PutObjectTagging", "DeleteObjectTagging")
WAKING = {
    "lambda:InvokeFunction": WORKER,
    "iam:PassRole": ["SchedulerRole.Arn"],
    **{f"scheduler:{verb}Schedule": [SCHEDULES] for verb in ("Create", "Get", "Update", "Delete")},
}


DELIVERING = {"lambda:InvokeFunction": [f"{FUNCTION}worker"], "sqs:SendMessage": ["TimerQueue.Arn"]}
"""Permissions of a writer that delivers: workers of this stack, and timers of the next fifteen minutes."""


def logs(function: str) -> dict[str, list[str]]:
    return {f"logs:{action}": [f"{function}LogGroup.Arn"] for action in ("CreateLogStream", "PutLogEvents")}


def consuming(queue: str) -> dict[str, list[str]]:
    return {f"sqs:{action}": [f"{queue}.Arn"] for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")}


ALLOWED = {
    "WorkerRole": {**DELIVERING, **logs("Worker"), **PROMISES, **WRITING_VALUES},
    "DispatchRole": {
        **logs("Dispatch"),
        **PROMISES,
        **on_values("GetObject", "PutObjectTagging", "DeleteObjectTagging", "DeleteObject"),
        **WAKING,
        **consuming("PushQueue"),
        "lambda:InvokeFunctionUrl": [f"{FUNCTION}worker"],
        "dynamodb:DeleteItem": ["PromiseTable.Arn"],
        "sqs:SendMessage": ["EffectFailureQueue.Arn", "PushQueue.Arn", "TimerQueue.Arn"],
        **{
            f"dynamodb:{action}": ["PromiseTable.StreamArn"]
            for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
        },
    },
    "TickRole": {
        **logs("Tick"),
        **PROMISES,
        **WRITING_VALUES,
        **WAKING,
        **consuming("TimerQueue"),
        "lambda:InvokeFunction": [f"{FUNCTION}tick", *WORKER],
        "dynamodb:Query": ["PromiseTable.Arn", "PromiseTable.Arn/index/wake"],
        "sqs:SendMessage": ["PushQueue.Arn", "TimerQueue.Arn"],
    },
    "SchedulerRole": {"lambda:InvokeFunction": [f"{FUNCTION}tick"]},
    "ApiRole": {
        **logs("Api"),
        **PROMISES,
        **WRITING_VALUES,
        "dynamodb:Query": ["PromiseTable.Arn", "PromiseTable.Arn/index/executions", "PromiseTable.Arn/index/wake"],
        "dynamodb:DeleteItem": ["PromiseTable.Arn"],
        "dynamodb:Scan": ["PromiseTable.Arn"],
        **DELIVERING,
    },
}


def test_role_allows_exactly_what_its_function_needs(subtests: pytest.Subtests) -> None:
    assert of_type("IAM::Role").keys() == ALLOWED.keys()
    for role in ALLOWED:
        with subtests.test(role):
            allowed: dict[str, list[str]] = {}
            for action, resources in statements(properties(), role):
                allowed[action] = sorted(allowed.get(action, []) + resources)
            assert allowed == ALLOWED[role]
            assert "ManagedPolicyArns" not in properties()[role]


def test_scheduler_role_can_only_be_passed_to_the_scheduler() -> None:
    for role in ("DispatchRole", "TickRole"):
        [policy] = properties()[role]["Policies"]
        [statement] = [each for each in policy["PolicyDocument"]["Statement"] if each["Action"] == "iam:PassRole"]
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
    [trust] = properties()["SchedulerRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {
        "aws:SourceAccount": "111122223333",
        "aws:SourceArn": "ScheduleGroup.Arn",
    }


def test_api_requires_aws_credentials_unless_it_has_a_key() -> None:
    def security(**parameters: str) -> dict[str, Any]:
        (api,) = of_type("ApiGateway::RestApi")
        paths = properties(**parameters)[api]["Body"]["paths"]
        return {
            f"{method.upper()} {path}": operation.get("security")
            for path, methods in paths.items()
            for method, operation in methods.items()
        }

    signed = [{"AWS_IAM": []}]
    assert security() == {"POST /": signed, "OPTIONS /": None, "GET /health": signed, "GET /ready": signed}
    keyed = security(AuthPublicKey="-----BEGIN PUBLIC KEY-----\nMII=\n")
    assert keyed == {"POST /": [], "OPTIONS /": None, "GET /health": [], "GET /ready": []}


PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA6s0AAGvdiQn2DyLzqnGbHMQTTDkJmFLMCkGBOU3dD5o=
-----END PUBLIC KEY-----
"""
GROUPS = """
{
  "worker": "lambda://shop-worker",
  "other": "https://worker.example.com/"
}
"""


def test_parameter_of_several_lines_reaches_its_function(subtests: pytest.Subtests) -> None:
    for parameter, name, text in (
        ("AuthPublicKey", "RESONATE_AUTH_PUBLIC_KEY", PEM),
        ("AuthPublicKey", "RESONATE_AUTH_PUBLIC_KEY", PEM.replace("\n", "\r\n")),
        ("AuthPublicKey", "RESONATE_AUTH_PUBLIC_KEY", PEM.replace("\n", "\\n")),
        ("Groups", "RESONATE_GROUPS", GROUPS),
        ("Groups", "RESONATE_GROUPS", GROUPS.replace("\n", "\r\n")),
    ):
        with subtests.test(parameter, text=text):
            assert set(variable(name, **{parameter: text}).values()) == {text}


def test_auth_public_key_must_be_a_public_key() -> None:
    for key in ("none", "secret", "-----BEGIN PRIVATE KEY-----"):
        with pytest.raises(ParameterError, match="AuthPublicKey"):
            shipped(AuthPublicKey=key)


def test_stream_of_the_table_is_filtered_by_effects() -> None:
    changes = properties()["DispatchFunctionChanges"]
    patterns = [json.loads(entry["Pattern"]) for entry in changes["FilterCriteria"]["Filters"]]
    assert patterns == [
        {"dynamodb": {"NewImage": {"effects": {"N": [{"exists": True}]}}}},
        {
            "eventName": ["REMOVE"],
            "userIdentity": {"principalId": ["dynamodb.amazonaws.com"]},
            "dynamodb": {"Keys": {"sk": {"S": [{"prefix": "expiry#"}]}}},
        },
        {"eventName": ["REMOVE"], "dynamodb": {"Keys": {"sk": {"S": ["schedule"]}}}},
        {
            "eventName": ["REMOVE"],
            "dynamodb": {"OldImage": {"state": {"S": ["pending"]}, "tags": {"M": {"resonate:timer": {"S": ["true"]}}}}},
        },
        {
            "dynamodb": {
                "NewImage": {"task": {"M": {"state": {"S": ["halted"]}}}},
                "OldImage": {"task": {"M": {"state": {"S": [{"anything-but": ["halted"]}]}}}},
            }
        },
    ]
    FilterCriteria.parse(patterns)


def test_failing_stream_record_is_bisected_and_kept() -> None:
    changes = properties()["DispatchFunctionChanges"]
    assert changes["BisectBatchOnFunctionError"] is True
    assert changes["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert changes["MaximumRetryAttempts"] == 10
    assert changes["DestinationConfig"] == {"OnFailure": {"Destination": "EffectFailureQueue.Arn"}}


def test_failed_sweep_is_not_retried_and_expires_within_a_minute() -> None:
    configuration = properties()["TickFunctionEventInvokeConfig"]
    assert (configuration["MaximumRetryAttempts"], configuration["MaximumEventAgeInSeconds"]) == (0, 60)


def test_queues_are_encrypted_and_limit_concurrency() -> None:
    assert all(properties()[queue]["SqsManagedSseEnabled"] for queue in of_type("SQS::Queue"))
    assert properties()["TickFunctionTimers"]["ScalingConfig"] == {"MaximumConcurrency": "100"}
    assert properties()["DispatchFunctionPushes"]["ScalingConfig"] == {"MaximumConcurrency": "10"}
    assert properties()["DispatchFunctionPushes"]["BatchSize"] == BATCH


def test_message_stays_hidden_while_its_batch_is_processed() -> None:
    for kind, function in (("Timer", "TickFunction"), ("Push", "DispatchFunction")):
        queue = properties()[f"{kind}Queue"]
        assert queue["VisibilityTimeout"] >= 6 * properties()[function]["Timeout"]
        assert queue["RedrivePolicy"]["deadLetterTargetArn"] == f"{kind}DeadLetterQueue.Arn"


EXISTING: dict[str, str | int] = {
    "ExistingTableName": "restored",
    "ExistingTableStream": "2026-11-29T20:00:00.000",
    "ExistingBucketName": "values",
    "FormerTableName": "damaged",
}


def test_existing_table_and_bucket_replace_new_ones() -> None:
    resolver = Resolver(shipped(**EXISTING))
    kept = of_type("DynamoDB::Table", **EXISTING) | of_type("S3::Bucket", **EXISTING)
    assert {name: resolver.condition(r.condition or "") for name, r in kept.items()} == {
        "PromiseTable": False,
        "PayloadBucket": False,
    }
    restored = properties(**EXISTING)
    texts = json.dumps({name: each for name, each in restored.items() if name not in kept})
    assert "PromiseTable" not in texts
    assert "PayloadBucket" not in texts.replace('"PayloadBucketPolicy"', "")
    table = "arn:aws:dynamodb:eu-central-1:111122223333:table/restored"
    assert restored["DispatchFunctionChanges"]["EventSourceArn"] == f"{table}/stream/2026-11-29T20:00:00.000"
    for role in ("WorkerRole", "DispatchRole", "TickRole", "ApiRole"):
        allowed = dict(statements(restored, role))
        assert allowed["dynamodb:PutItem"] == [table]
        assert allowed["s3:GetObject"] == ["arn:aws:s3:::values/*"], "the values of each former table"
    assert variable("RESONATE_TABLE", **EXISTING)["WorkerFunction"] == "restored"
    assert variable("RESONATE_BUCKET", **EXISTING)["WorkerFunction"] == "values"


def test_worker_of_project_may_use_values_of_former_tables(tmp_path: Path) -> None:
    text = (ROOT / "infra/resonate_infra/project/worker/template.yaml").read_text(encoding="utf-8")
    copy = tmp_path / "template.yaml"
    copy.write_text(text.replace("AWS::SSM::Parameter::Value<String>", "String"))
    for former, prefix in (("", "books/"), ("damaged", "")):
        parameters = {"TableName": "books", "BucketName": "values", "FormerTableName": former}
        allowed = dict(statements(spelled_out(load(copy, stack=STACK, parameters=parameters)), "WorkerRole"))
        assert allowed["s3:GetObject"] == [f"arn:aws:s3:::values/{prefix}*"]


def test_table_is_protected_from_deletion_by_default() -> None:
    assert properties()["PromiseTable"]["DeletionProtectionEnabled"] is True
    assert properties(DeletionProtection="off")["PromiseTable"]["DeletionProtectionEnabled"] is False
    for name in ("PromiseTable", "PayloadBucket"):
        assert document()["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert document()["Resources"][name]["UpdateReplacePolicy"] == "Retain"


def test_functions_are_not_traced_or_logged_in_full_by_default() -> None:
    for name in ("WorkerFunction", "DispatchFunction", "TickFunction"):
        function = properties()[name]
        assert function["TracingConfig"] == {"Mode": "PassThrough"}
        assert "ReservedConcurrentExecutions" not in function
        assert function["LoggingConfig"]["ApplicationLogLevel"] == "INFO"
        assert function["Environment"]["Variables"]["POWERTOOLS_LOGGER_LOG_EVENT"] == "false"


def test_functions_log_to_groups_that_expire() -> None:
    assert of_type("Lambda::Function")
    for function in of_type("Lambda::Function"):
        group = properties()[properties()[function]["LoggingConfig"]["LogGroup"]]
        assert group["LogGroupName"] == f"/aws/lambda/{properties()[function]['FunctionName']}"
        assert group["RetentionInDays"] == "30"


def test_push_token_is_a_secret_of_dispatcher_and_worker() -> None:
    functions = ("WorkerFunction", "DispatchFunction")
    assert variable("RESONATE_PUSH_TOKEN") == dict.fromkeys(functions, "")
    assert variable("RESONATE_PUSH_TOKEN", PushToken="s3cret") == dict.fromkeys(functions, "s3cret")
    with pytest.raises(ParameterError, match="PushToken"):
        shipped(PushToken="two words")
    assert document()["Parameters"]["PushToken"]["NoEcho"] is True


def test_deployed_dispatcher_pushes_to_the_internet_only() -> None:
    assert variable("RESONATE_PUSH_PRIVATE") == {"DispatchFunction": "off"}
    assert variable("RESONATE_PUSH_PRIVATE", EndpointUrl="http://127.0.0.1:5000") == {"DispatchFunction": "on"}


PINNED: dict[str, str | int] = {"PinVersions": "on", "Revision": "a1b2c3"}
RETAINED = ("WorkerVersion", "WorkerVersionInvocations")
"""Resources of a version, which are kept for its executions when the next version replaces it."""


def test_versions_are_published_only_with_pin_versions_on() -> None:
    kinds = ("Lambda::Version", "Lambda::Alias")
    conditions = {each.condition for kind in kinds for each in of_type(kind).values()}
    assert conditions == {"PinsVersions"}
    assert not Resolver(shipped()).condition("PinsVersions")
    assert variable("RESONATE_PIN_ALIAS") == {"WorkerFunction": ""}
    assert set(variable("RESONATE_GROUPS").values()) == {
        '{"default":"lambda://shop-worker","worker":"lambda://shop-worker"}'
    }


def test_new_revision_publishes_a_version_and_keeps_the_former() -> None:
    pinned = properties(**PINNED)
    assert pinned["WorkerVersion"] == {"FunctionName": "WorkerFunction", "Description": "a1b2c3"}
    assert "a1b2c3" in pinned["WorkerFunction"]["Description"], "Lambda publishes only a function that has changed"
    alias = {"FunctionName": "WorkerFunction", "Name": "live", "FunctionVersion": "WorkerVersion.Version"}
    assert pinned["WorkerAlias"] == alias
    for name in RETAINED:
        assert {document()["Resources"][name][key] for key in ("DeletionPolicy", "UpdateReplacePolicy")} == {"Retain"}
    assert variable("RESONATE_PIN_ALIAS", **PINNED) == {"WorkerFunction": "live"}
    assert set(variable("RESONATE_GROUPS", **PINNED).values()) == {
        '{"default":"lambda://shop-worker:live","worker":"lambda://shop-worker:live"}'
    }
    [rule] = document()["Rules"]["PinnedVersions"]["Assertions"]
    assert rule["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "Revision"}, ""]}]}


def test_versions_and_alias_are_invoked_as_the_function_is() -> None:
    pinned = properties(**PINNED)
    invocations = {
        each["Qualifier"]: (each["FunctionName"], each["MaximumRetryAttempts"], each["MaximumEventAgeInSeconds"])
        for name, each in pinned.items()
        if name in of_type("Lambda::EventInvokeConfig") and each["FunctionName"] == "WorkerFunction"
    }
    of_worker = ("WorkerFunction", 0, 900)
    assert invocations == dict.fromkeys(("$LATEST", "live", "WorkerVersion.Version"), of_worker)
    for role in ("WorkerRole", "ApiRole", "DispatchRole", "TickRole"):
        invoked = [each for action, each in statements(pinned, role) if action == "lambda:InvokeFunction"]
        assert WORKER in invoked


def test_functions_may_invoke_each_other_in_long_chains() -> None:
    """Lambda drops the 17th invocation of a function in one chain of requests, unless the function allows it."""
    project = yaml_parse((ROOT / "infra" / "resonate_infra" / "project" / "worker" / "template.yaml").read_text())[
        "Resources"
    ]
    theirs = [each["Properties"] for each in project.values() if each["Type"] == "AWS::Serverless::Function"]
    ours = [properties()[function] for function in of_type("Lambda::Function")]
    assert {each["RecursiveLoop"] for each in (*ours, *theirs)} == {"Allow"}
    assert len(ours) == 4

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse  # pyright: ignore[reportUnknownVariableType]

from resonate_infra.deployed.wiring import BATCH
from resonate_infra.testing.filters import FilterCriteria
from resonate_infra.testing.template.template import (
    Fragment,
    ParameterError,
    Resolver,
    Stack,
    Template,
    TemplateError,
    UnresolvedReferenceError,
    UnsupportedIntrinsicError,
    default_template,
    load,
)

ROOT = Path(__file__).parents[5]
STACK = Stack("shop", region="eu-central-1", account_id="111122223333")
QUEUE = "{Type: AWS::SQS::Queue}"


def read(tmp_path: Path, text: str, **parameters: str | int) -> Template:
    path = tmp_path / "template.yaml"
    path.write_text(f"Transform: AWS::Serverless-2016-10-31\n{text}", encoding="utf-8")
    return load(path, stack=STACK, parameters=parameters)


def resolved(tmp_path: Path, value: str, head: str = "") -> Any:
    """What `value`, a property of a resource that was created second, comes to."""
    template = read(
        tmp_path,
        f"""
Mappings: {{Seconds: {{"1": {{Day: "86400"}}}}}}
{head}
Resources:
  Jobs: {QUEUE}
  Probe:
    Type: AWS::SQS::Queue
    Properties: {{Value: {value}}}
""",
    )
    resolver = Resolver(template)
    resolver.register("Jobs", "https://sqs/jobs", {"Arn": "arn:jobs"})
    [probe] = [resource for resource in template.resources if resource.logical_id == "Probe"]
    return resolver.resolve(probe.properties).get("Value", "nothing")


# --- Intrinsic functions


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!Ref Jobs", "https://sqs/jobs"),
        ("!GetAtt Jobs.Arn", "arn:jobs"),
        ("!Ref AWS::StackName", "shop"),
        ("!Sub '${AWS::Partition}:${AWS::Region}:${AWS::AccountId}:x'", "aws:eu-central-1:111122223333:x"),
        ("!Sub '${Jobs} ${Jobs.Arn} {plain}'", "https://sqs/jobs arn:jobs {plain}"),
        ("!Sub ['${x} ${Jobs.Arn} ${AWS::Region}', {x: !Ref Jobs}]", "https://sqs/jobs arn:jobs eu-central-1"),
        ("!FindInMap [Seconds, !Sub '1', Day]", "86400"),
        (
            "[!Ref Jobs, {deep: [!GetAtt Jobs.Arn]}, 5, true]",
            ["https://sqs/jobs", {"deep": ["arn:jobs"]}, 5, True],
        ),
        ("!Ref AWS::NoValue", "nothing"),
        ("[a, !Ref AWS::NoValue]", ["a"]),
    ],
)
def test_references_are_resolved_against_what_was_created(tmp_path: Path, value: str, expected: Any) -> None:
    assert resolved(tmp_path, value) == expected


@pytest.mark.parametrize(("stage", "expected"), [("live", "big"), ("trial", "small")])
def test_conditions_choose_between_values(tmp_path: Path, stage: str, expected: str) -> None:
    head = f"""
Parameters: {{Stage: {{Type: String, Default: {stage}}}}}
Conditions: {{Trial: !Not [!Equals [!Ref Stage, live]]}}
"""
    assert resolved(tmp_path, "!If [Trial, small, big]", head) == expected


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("!Join [',', [a, b]]", "Fn::Join"),
        ("!Select [0, [a]]", "Fn::Select"),
        ("!Sub ['${x}', y]", "Fn::Sub"),
        ("!Sub '${!literal}'", "literal"),
        ("{Condition: Trial}", "Condition"),
    ],
)
def test_an_intrinsic_that_is_not_supported_is_named(tmp_path: Path, value: str, named: str) -> None:
    with pytest.raises(UnsupportedIntrinsicError, match=named):
        resolved(tmp_path, value)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("!Ref Elsewhere", "Elsewhere"),
        ("!GetAtt Jobs.Color", "Jobs has no attribute Color"),
        ("!Sub '${Elsewhere.Arn}'", "Elsewhere"),
        ("!FindInMap [Seconds, '2', Day]", "Seconds has no 2"),
        ("!If [Unknown, a, b]", "Unknown"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named(tmp_path: Path, value: str, named: str) -> None:
    with pytest.raises(UnresolvedReferenceError, match=named):
        resolved(tmp_path, value)


# --- Parameters

PARAMETERS = """
Parameters:
  Days: {Type: Number, Default: 7, MinValue: 1, MaxValue: 90}
  Level: {Type: String, Default: INFO, AllowedValues: [INFO, DEBUG]}
  Topic: {Type: String, Default: "", AllowedPattern: "^(arn:.+)?$"}
Resources: {Jobs: {Type: AWS::SQS::Queue}}
"""


def test_parameters_override_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, PARAMETERS).parameters == {"Days": "7", "Level": "INFO", "Topic": ""}
    given = read(tmp_path, PARAMETERS, Days=30, Topic="arn:sns").parameters
    assert given == {"Days": "30", "Level": "INFO", "Topic": "arn:sns"}


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"Dayz": 7}, "Dayz"),
        ({"Days": 0}, "from 1 to 90"),
        ({"Days": "soon"}, "not a number"),
        ({"Level": "LOUD"}, "INFO, DEBUG"),
        ({"Topic": "sns"}, "AllowedPattern"),
    ],
)
def test_parameters_that_cloudformation_would_refuse_are_refused(
    tmp_path: Path, parameters: dict[str, str | int], named: str
) -> None:
    with pytest.raises(ParameterError, match=named):
        read(tmp_path, PARAMETERS, **parameters)


@pytest.mark.parametrize(
    ("pattern", "matching", "refused"),
    [
        ("^(arn:.+)?$", "arn:x", "arn:x\ny"),
        ("^(arn:.+)?$", "", "arn:x\r"),
        (r"^[\s\S]*$", "a\nb\u2028c", None),
        (r"^\.[.]$", "..", ".\n"),
        ("a", "a", "ab"),
        (r"\s", "\t", "\u00a0"),
    ],
)
def test_allowed_pattern_matches_as_in_java(tmp_path: Path, pattern: str, matching: str, refused: str | None) -> None:
    text = PARAMETERS.replace('"^(arn:.+)?$"', f"'{pattern}'").replace('Default: ""', "Default: 'a'")
    assert read(tmp_path, text, Topic=matching).parameters["Topic"] == matching
    if refused is not None:
        with pytest.raises(ParameterError, match="AllowedPattern"):
            read(tmp_path, text, Topic=refused)


def test_a_parameter_without_default_needs_a_value(tmp_path: Path) -> None:
    text = PARAMETERS.replace("Default: 7, ", "")
    with pytest.raises(ParameterError, match="Days"):
        read(tmp_path, text)
    assert read(tmp_path, text, Days=1).parameters["Days"] == "1"


def test_a_parameter_type_that_is_not_supported_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="CommaDelimitedList"):
        read(tmp_path, PARAMETERS.replace("Type: Number", "Type: CommaDelimitedList"))


# --- Resources


def test_resources_come_after_what_they_refer_to(tmp_path: Path) -> None:
    template = read(
        tmp_path,
        f"""
Resources:
  Last: {{Type: AWS::SQS::Queue, Properties: {{Value: !Sub "${{Middle.Arn}}"}}}}
  Middle: {{Type: AWS::SQS::Queue, Properties: {{Deep: [{{Value: !GetAtt First.Arn}}]}}}}
  First: {QUEUE}
""",
    )
    assert [resource.logical_id for resource in template.resources] == ["First", "Middle", "Last"]


def test_a_circular_dependency_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"One -> Two -> One|Two -> One -> Two"):
        read(
            tmp_path,
            """
Resources:
  One: {Type: AWS::SQS::Queue, Properties: {Value: !Ref Two}}
  Two: {Type: AWS::SQS::Queue, Properties: {Value: !GetAtt One.Arn}}
""",
        )


def test_an_attribute_of_a_resource_that_would_be_ignored_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"Jobs.*DependsOn"):
        read(tmp_path, "Resources: {Jobs: {Type: AWS::SQS::Queue, DependsOn: Others}}")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("!And [!Condition IsUp, !Condition IsDown]", False),
        ("!Or [!Condition IsUp, !Condition IsDown]", True),
        ("!And [!Condition IsUp, !Not [!Condition IsDown]]", True),
        ("!Or [!Condition IsDown, !Equals [a, b]]", False),
    ],
)
def test_conditions_are_made_of_conditions(tmp_path: Path, condition: str, expected: bool) -> None:
    template = read(
        tmp_path,
        f"""
Conditions:
  IsUp: !Equals [a, a]
  IsDown: !Not [!Condition IsUp]
  Asked: {condition}
Resources: {{Jobs: {{Type: AWS::SQS::Queue, Condition: Asked}}}}
""",
    )
    [jobs] = template.resources
    assert jobs.condition == "Asked"
    assert Resolver(template).condition("Asked") is expected


# --- The template that is shipped


@pytest.fixture(scope="module")
def shipped() -> Template:
    return load(ROOT / "template.yaml", stack=STACK)


@pytest.fixture(scope="module")
def properties(shipped: Template) -> dict[str, Fragment]:
    return spelled_out(shipped)


def spelled_out(template: Template) -> dict[str, Fragment]:
    """Every resource's properties, with references spelled out: `X` for a Ref, `X.Arn` for an attribute."""
    resolver = Resolver(template)
    for resource in template.resources:
        attributes = {
            name: f"{resource.logical_id}.{name}" for name in ("Arn", "StreamArn", "QueueName", "FunctionUrl")
        }
        resolver.register(resource.logical_id, resource.logical_id, attributes)
    return {resource.logical_id: resolver.resolve(resource.properties) for resource in template.resources}


def told(variable: str, **parameters: str | int) -> dict[str, str]:
    """The values of an environment variable of the functions that have it."""
    template = load(ROOT / "template.yaml", stack=STACK, parameters=parameters)
    environments = {
        name: each["Environment"]["Variables"] for name, each in spelled_out(template).items() if "Environment" in each
    }
    return {name: variables[variable] for name, variables in environments.items() if variable in variables}


def statements(properties: dict[str, Fragment], role: str) -> Iterator[tuple[str, list[str]]]:
    """Every action that a role allows, with the resources it allows it on."""
    for policy in properties[role]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            actions, resources = statement["Action"], statement["Resource"]
            for action in [actions] if isinstance(actions, str) else actions:
                yield action, [resources] if isinstance(resources, str) else resources


FUNCTION = "arn:aws:lambda:eu-central-1:111122223333:function:shop-"
SCHEDULES = "arn:aws:scheduler:eu-central-1:111122223333:schedule/ScheduleGroup/*"
PROMISES = {
    f"dynamodb:{action}": ["PromiseTable.Arn"]
    for action in ("GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "ConditionCheckItem")
}
VALUES = "arn:aws:s3:::PayloadBucket/PromiseTable/*"
WORKER = [f"{FUNCTION}worker", f"{FUNCTION}worker:*"]
"""The worker, and what its aliases and versions are called."""


def on_values(*actions: str) -> dict[str, list[str]]:
    """What is allowed on large values; who may list their bucket is told of a missing one that it is missing."""
    return {**{f"s3:{action}": [VALUES] for action in actions}, "s3:ListBucket": ["PayloadBucket.Arn"]}


WRITING_VALUES = on_values("GetObject", "PutObject", "PutObjectTagging", "DeleteObjectTagging")
WAKING = {
    "lambda:InvokeFunction": WORKER,
    "iam:PassRole": ["SchedulerRole.Arn"],
    **{f"scheduler:{verb}Schedule": [SCHEDULES] for verb in ("Create", "Get", "Update", "Delete")},
}


def logs(function: str) -> dict[str, list[str]]:
    return {f"logs:{action}": [f"{function}LogGroup.Arn"] for action in ("CreateLogStream", "PutLogEvents")}


def consuming(queue: str) -> dict[str, list[str]]:
    return {f"sqs:{action}": [f"{queue}.Arn"] for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")}


ALLOWED = {
    "WorkerRole": {**logs("Worker"), **PROMISES, **WRITING_VALUES},
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
        "dynamodb:Query": ["PromiseTable.Arn", "PromiseTable.Arn/index/executions"],
        "dynamodb:DeleteItem": ["PromiseTable.Arn"],
        "dynamodb:Scan": ["PromiseTable.Arn"],
    },
}


@pytest.mark.parametrize("role", ALLOWED)
def test_a_role_allows_what_its_function_does_and_nothing_else(properties: dict[str, Fragment], role: str) -> None:
    allowed: dict[str, list[str]] = {}
    for action, resources in statements(properties, role):
        allowed[action] = sorted(allowed.get(action, []) + resources)
    assert allowed == ALLOWED[role]
    assert "ManagedPolicyArns" not in properties[role]


def test_the_roles_checked_above_are_all_roles(shipped: Template) -> None:
    roles = {resource.logical_id for resource in shipped.resources if resource.type == "AWS::IAM::Role"}
    assert roles == set(ALLOWED)


def test_the_only_wildcards_of_a_policy_are_schedules_values_and_aliases_of_the_worker(
    properties: dict[str, Fragment],
) -> None:
    resources = {
        resource for role in ALLOWED for _, resources in statements(properties, role) for resource in resources
    }
    assert {resource for resource in resources if "*" in resource} == {SCHEDULES, VALUES, WORKER[1]}


def test_the_scheduler_role_is_lent_to_the_scheduler_only(properties: dict[str, Fragment]) -> None:
    for role in ("DispatchRole", "TickRole"):
        [policy] = properties[role]["Policies"]
        [statement] = [
            statement for statement in policy["PolicyDocument"]["Statement"] if statement["Action"] == "iam:PassRole"
        ]
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
    [trust] = properties["SchedulerRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {
        "aws:SourceAccount": "111122223333",
        "aws:SourceArn": "ScheduleGroup.Arn",
    }


def test_the_api_asks_for_aws_credentials_unless_it_has_a_key(shipped: Template) -> None:
    def security(template: Template) -> dict[str, Any]:
        resolver = Resolver(template)
        [api] = [resource for resource in template.resources if resource.type == "AWS::ApiGateway::RestApi"]
        resolver.register("ApiFunction", "ApiFunction", {"Arn": "ApiFunction.Arn"})
        paths = resolver.resolve(api.properties)["Body"]["paths"]
        return {
            f"{method.upper()} {path}": operation.get("security")
            for path, methods in paths.items()
            for method, operation in methods.items()
        }

    signed = [{"AWS_IAM": []}]
    keyed = load(
        ROOT / "template.yaml", stack=STACK, parameters={"AuthPublicKey": "-----BEGIN PUBLIC KEY-----\nMII=\n"}
    )
    assert security(shipped) == {"POST /": signed, "OPTIONS /": None, "GET /health": signed, "GET /ready": signed}
    assert security(keyed) == {"POST /": [], "OPTIONS /": None, "GET /health": [], "GET /ready": []}


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


@pytest.mark.parametrize(
    ("parameter", "text", "variable"),
    [
        ("AuthPublicKey", PEM, "RESONATE_AUTH_PUBLIC_KEY"),
        ("AuthPublicKey", PEM.replace("\n", "\r\n"), "RESONATE_AUTH_PUBLIC_KEY"),
        ("AuthPublicKey", PEM.replace("\n", "\\n"), "RESONATE_AUTH_PUBLIC_KEY"),
        ("Groups", GROUPS, "RESONATE_GROUPS"),
        ("Groups", GROUPS.replace("\n", "\r\n"), "RESONATE_GROUPS"),
    ],
)
def test_parameter_of_several_lines_reaches_its_function(parameter: str, text: str, variable: str) -> None:
    assert set(told(variable, **{parameter: text}).values()) == {text}


@pytest.mark.parametrize("key", ["none", "secret", "-----BEGIN PRIVATE KEY-----"])
def test_only_a_public_key_can_be_given(key: str) -> None:
    with pytest.raises(ParameterError, match="AuthPublicKey"):
        load(ROOT / "template.yaml", stack=STACK, parameters={"AuthPublicKey": key})


def test_the_stream_is_filtered_as_the_store_stamps_it(properties: dict[str, Fragment]) -> None:
    changes = properties["DispatchFunctionChanges"]
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


def test_a_record_that_keeps_failing_neither_blocks_its_shard_nor_disappears(
    properties: dict[str, Fragment],
) -> None:
    changes = properties["DispatchFunctionChanges"]
    assert changes["BisectBatchOnFunctionError"] is True
    assert changes["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert changes["MaximumRetryAttempts"] == 10
    assert changes["DestinationConfig"] == {"OnFailure": {"Destination": "EffectFailureQueue.Arn"}}


@pytest.mark.parametrize(
    ("queue", "function", "dead_letters"),
    [
        ("TimerQueue", "TickFunction", "TimerDeadLetterQueue"),
        ("PushQueue", "DispatchFunction", "PushDeadLetterQueue"),
    ],
)
def test_a_message_stays_hidden_while_its_batch_is_worked_on(
    properties: dict[str, Fragment], queue: str, function: str, dead_letters: str
) -> None:
    assert properties[queue]["VisibilityTimeout"] >= 6 * properties[function]["Timeout"]
    assert properties[queue]["RedrivePolicy"]["deadLetterTargetArn"] == f"{dead_letters}.Arn"


def test_every_queue_is_encrypted_and_every_failure_queue_is_watched(
    shipped: Template, properties: dict[str, Fragment]
) -> None:
    queues = [resource.logical_id for resource in shipped.resources if resource.type == "AWS::SQS::Queue"]
    assert all(properties[queue]["SqsManagedSseEnabled"] for queue in queues)
    watched = {
        dimension["Value"]
        for resource in shipped.resources
        if resource.type == "AWS::CloudWatch::Alarm"
        for dimension in properties[resource.logical_id].get("Dimensions", [])
    }
    assert watched == {
        "shop",
        "WorkerFunction",
        "TimerDeadLetterQueue.QueueName",
        "PushDeadLetterQueue.QueueName",
        "EffectFailureQueue.QueueName",
        "PushQueue.QueueName",
        "ScheduleGroup",
        "DispatchFunction",
        "TickFunction",
        "ApiFunction",
    }


def test_failed_sweep_is_not_retried_and_a_throttled_one_does_not_wait(properties: dict[str, Fragment]) -> None:
    configuration = properties["TickFunctionEventInvokeConfig"]
    assert (configuration["MaximumRetryAttempts"], configuration["MaximumEventAgeInSeconds"]) == (0, 60)


def test_timers_do_not_take_the_concurrency_of_everything_else(properties: dict[str, Fragment]) -> None:
    assert properties["TickFunctionTimers"]["ScalingConfig"] == {"MaximumConcurrency": "100"}
    assert properties["DispatchFunctionPushes"]["ScalingConfig"] == {"MaximumConcurrency": "10"}


def test_pushes_of_a_batch_have_a_connection_each(properties: dict[str, Fragment]) -> None:
    assert properties["DispatchFunctionPushes"]["BatchSize"] == BATCH


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ("on", ("Resonate", "SweepLag", "SampleCount", [{"Name": "service", "Value": "shop"}])),
        ("off", ("AWS/Lambda", "Invocations", "Sum", [{"Name": "FunctionName", "Value": "TickFunction"}])),
    ],
)
def test_missing_sweep_alarm_counts_what_sweeps_report(metrics: str, expected: tuple[Any, ...]) -> None:
    template = load(ROOT / "template.yaml", stack=STACK, parameters={"Metrics": metrics})
    alarm = spelled_out(template)["SweepMissingAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"], alarm["Dimensions"]) == expected
    assert (alarm["TreatMissingData"], alarm["Period"]) == ("breaching", 300)


@pytest.mark.parametrize(
    ("name", "namespace", "metric", "dimensions"),
    [
        ("SweepEntryAlarm", "Resonate", "SweepFailures", {"service": "shop"}),
        ("PushDelayAlarm", "AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": "PushQueue.QueueName"}),
        ("SchedulerDropAlarm", "AWS/Scheduler", "InvocationDroppedCount", {"ScheduleGroup": "ScheduleGroup"}),
    ],
)
def test_alarm_watches_its_metric(
    properties: dict[str, Fragment], name: str, namespace: str, metric: str, dimensions: dict[str, str]
) -> None:
    alarm = properties[name]
    assert (alarm["Namespace"], alarm["MetricName"]) == (namespace, metric)
    assert {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]} == dimensions


def test_halted_task_alarm_lasts_as_long_as_a_task_is_halted(properties: dict[str, Fragment]) -> None:
    alarm = properties["HaltedTaskAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("Resonate", "HaltedNow", "Maximum")
    assert alarm["TreatMissingData"] == "ignore"


def test_table_throttle_alarm_looks_at_the_table_and_its_indexes(properties: dict[str, Fragment]) -> None:
    watched = [metric["MetricStat"]["Metric"] for metric in properties["TableThrottleAlarm"]["Metrics"][1:]]
    assert {
        (metric["MetricName"], *(dimension["Value"] for dimension in metric["Dimensions"])) for metric in watched
    } == {
        ("ReadThrottleEvents", "PromiseTable"),
        ("WriteThrottleEvents", "PromiseTable"),
        ("ReadThrottleEvents", "PromiseTable", "wake"),
        ("WriteThrottleEvents", "PromiseTable", "wake"),
        ("ReadThrottleEvents", "PromiseTable", "executions"),
        ("WriteThrottleEvents", "PromiseTable", "executions"),
    }


@pytest.mark.parametrize("name", ["ThrottleAlarm", "TableThrottleAlarm"])
def test_sum_of_metrics_fills_the_gaps_of_each(properties: dict[str, Fragment], name: str) -> None:
    total, *parts = properties[name]["Metrics"]
    assert total["Expression"] == " + ".join(f"FILL({part['Id']}, 0)" for part in parts)


EXISTING: dict[str, str | int] = {
    "ExistingTableName": "restored",
    "ExistingTableStream": "2026-11-29T20:00:00.000",
    "ExistingBucketName": "values",
    "FormerTableName": "damaged",
}


def test_existing_table_and_bucket_take_the_place_of_new_ones() -> None:
    template = load(ROOT / "template.yaml", stack=STACK, parameters=EXISTING)
    resolver = Resolver(template)
    kept = {r.logical_id: r for r in template.resources if r.type in ("AWS::DynamoDB::Table", "AWS::S3::Bucket")}
    assert {name: resolver.condition(r.condition or "") for name, r in kept.items()} == {
        "PromiseTable": False,
        "PayloadBucket": False,
    }
    properties = spelled_out(template)
    texts = json.dumps({name: each for name, each in properties.items() if name not in kept})
    assert "PromiseTable" not in texts
    assert "PayloadBucket" not in texts.replace('"PayloadBucketPolicy"', "")
    table = "arn:aws:dynamodb:eu-central-1:111122223333:table/restored"
    assert properties["DispatchFunctionChanges"]["EventSourceArn"] == f"{table}/stream/2026-11-29T20:00:00.000"
    for role in ("WorkerRole", "DispatchRole", "TickRole", "ApiRole"):
        allowed = dict(statements(properties, role))
        assert allowed["dynamodb:PutItem"] == [table]
        assert allowed["s3:GetObject"] == ["arn:aws:s3:::values/*"], "those of every table before"
    assert told("RESONATE_TABLE", **EXISTING)["WorkerFunction"] == "restored"
    assert told("RESONATE_BUCKET", **EXISTING)["WorkerFunction"] == "values"


@pytest.mark.parametrize(("former", "prefix"), [("", "books/"), ("damaged", "")])
def test_worker_of_project_may_use_values_of_all_former_tables(former: str, prefix: str, tmp_path: Path) -> None:
    text = (ROOT / "infra/resonate_infra/project/template.yaml").read_text(encoding="utf-8")
    copy = tmp_path / "template.yaml"
    copy.write_text(text.replace("AWS::SSM::Parameter::Value<String>", "String"))
    parameters: dict[str, str | int] = {"TableName": "books", "BucketName": "values", "FormerTableName": former}
    project = load(copy, stack=STACK, parameters=parameters)
    allowed = dict(statements(spelled_out(project), "WorkerRole"))
    assert allowed["s3:GetObject"] == [f"arn:aws:s3:::values/{prefix}*"]


@pytest.mark.parametrize(("parameters", "protected"), [({}, True), ({"DeletionProtection": "off"}, False)])
def test_table_is_protected_from_deletion_unless_told(parameters: dict[str, str | int], protected: bool) -> None:
    template = load(ROOT / "template.yaml", stack=STACK, parameters=parameters)
    assert spelled_out(template)["PromiseTable"]["DeletionProtectionEnabled"] is protected
    document: Fragment = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    for name in ("PromiseTable", "PayloadBucket"):
        assert document["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert document["Resources"][name]["UpdateReplacePolicy"] == "Retain"


def alarms(template: Template) -> dict[str, Fragment]:
    return {r.logical_id: r.properties for r in template.resources if r.type == "AWS::CloudWatch::Alarm"}


def test_operators_page_says_what_to_do_about_every_alarm(shipped: Template) -> None:
    page = (ROOT / "docs/operate.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and "Alarm`" in line]
    documented = [name for row in rows for name in re.findall(r"`(\w+Alarm)`", row.split("|")[1])]
    assert sorted(documented) == sorted(alarms(shipped))


@pytest.mark.parametrize("kind", ["Timer", "Push"])
def test_restore_says_when_a_stopped_deployment_fills_its_dead_letters(
    properties: dict[str, Fragment], kind: str
) -> None:
    queue = properties[f"{kind}Queue"]
    minutes = queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"] // 60
    restore = (ROOT / "docs/operate.md").read_text(encoding="utf-8").partition("\n## Restore\n")[2]
    stop = " ".join(restore.partition("\n2. ")[0].split())
    assert f"After {minutes} minutes timers and pushes go to the dead letters" in stop
    assert f"`{kind}FailureAlarm`" in stop


def test_costs_page_counts_the_alarms(shipped: Template) -> None:
    metrics = sum(max(1, len(alarm.get("Metrics", [])) - 1) for alarm in alarms(shipped).values())
    page = (ROOT / "docs/costs.md").read_text(encoding="utf-8")
    assert f"{len(alarms(shipped))} alarms over {metrics} metrics" in page


def test_every_function_logs_to_a_group_that_expires(shipped: Template, properties: dict[str, Fragment]) -> None:
    functions = [r.logical_id for r in shipped.resources if r.type == "AWS::Lambda::Function"]
    assert functions
    for function in functions:
        group = properties[properties[function]["LoggingConfig"]["LogGroup"]]
        assert group["LogGroupName"] == f"/aws/lambda/{properties[function]['FunctionName']}"
        assert group["RetentionInDays"] == "30"


def test_alarms_notify_the_topic_that_is_given() -> None:
    topic = "arn:aws:sns:eu-central-1:111122223333:pager"
    template = load(ROOT / "template.yaml", stack=STACK, parameters={"AlarmTopicArn": topic})
    resolver = Resolver(template)
    alarms = [r.properties["AlarmActions"] for r in template.resources if r.type == "AWS::CloudWatch::Alarm"]
    assert [resolver.resolve(actions) for actions in alarms] == [[topic]] * len(alarms)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, []),
        ({"AlarmEmail": "ops@example.com"}, ["AlarmTopic"]),
        ({"AlarmEmail": "ops@example.com", "AlarmTopicArn": "arn:aws:sns:eu-central-1:111122223333:pager"}, ["pager"]),
    ],
)
def test_alarms_notify_an_address_by_a_topic_of_the_stack(
    parameters: dict[str, str | int], expected: list[str]
) -> None:
    template = load(ROOT / "template.yaml", stack=STACK, parameters=parameters)
    resolver = Resolver(template, references={"AlarmTopic": "AlarmTopic"})
    topics = [r for r in template.resources if r.type.startswith("AWS::SNS::")]

    for alarm in (r for r in template.resources if r.type == "AWS::CloudWatch::Alarm"):
        actions = resolver.resolve(alarm.properties["AlarmActions"])
        assert [action.rpartition(":")[2] for action in actions] == expected
    assert {resolver.condition(r.condition or "") for r in topics} == {expected == ["AlarmTopic"]}


def test_a_dashboard_shows_only_what_exists(shipped: Template, properties: dict[str, Fragment]) -> None:
    body = json.loads(properties["Dashboard"]["DashboardBody"])
    shown = [row for widget in body["widgets"] for row in widget["properties"]["metrics"]]
    functions = {
        properties[r.logical_id]["FunctionName"] for r in shipped.resources if r.type == "AWS::Lambda::Function"
    }

    assert {row[3] for row in shown if row[0] == "AWS/Lambda"} <= functions
    assert {row[3] for row in shown if row[0] == "Resonate"} == {"shop"}
    assert len({(widget["x"], widget["y"]) for widget in body["widgets"]}) == len(body["widgets"])


def test_nothing_is_traced_reserved_or_logged_whole_unless_asked(properties: dict[str, Fragment]) -> None:
    for name in ("WorkerFunction", "DispatchFunction", "TickFunction"):
        function = properties[name]
        assert function["TracingConfig"] == {"Mode": "PassThrough"}
        assert "ReservedConcurrentExecutions" not in function
        assert function["LoggingConfig"]["ApplicationLogLevel"] == "INFO"
        assert function["Environment"]["Variables"]["POWERTOOLS_LOGGER_LOG_EVENT"] == "false"


def test_the_push_token_is_a_secret_of_dispatcher_and_worker() -> None:
    assert told("RESONATE_PUSH_TOKEN") == {"WorkerFunction": "", "DispatchFunction": ""}
    assert told("RESONATE_PUSH_TOKEN", PushToken="s3cret") == {"WorkerFunction": "s3cret", "DispatchFunction": "s3cret"}
    with pytest.raises(ParameterError, match="PushToken"):
        told("RESONATE_PUSH_TOKEN", PushToken="two words")
    document: Fragment = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    assert document["Parameters"]["PushToken"]["NoEcho"] is True


def test_a_deployed_dispatcher_pushes_to_the_internet_only() -> None:
    assert told("RESONATE_PUSH_PRIVATE") == {"DispatchFunction": "off"}
    assert told("RESONATE_PUSH_PRIVATE", EndpointUrl="http://127.0.0.1:5000") == {"DispatchFunction": "on"}


def test_the_code_of_a_function_is_its_folder(shipped: Template) -> None:
    assert shipped.code_directories["WorkerFunction"] == ROOT / "functions" / "worker"
    assert shipped.code_directories["DependenciesLayer"] == ROOT / "layer"


def test_the_region_of_the_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert load(ROOT / "template.yaml", stack=STACK).resources


def test_nothing_is_said_while_a_template_is_read(caplog: pytest.LogCaptureFixture) -> None:
    assert load(ROOT / "template.yaml", stack=STACK).resources
    assert caplog.records == []


def test_the_template_of_a_deployment_is_taken_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_template() == ROOT / "template.yaml"
    here = tmp_path / "template.yaml"
    here.write_text((ROOT / "infra/resonate_infra/project/template.yaml").read_text(encoding="utf-8"))
    assert default_template() == ROOT / "template.yaml", "that of a project which uses a deployment's table"
    here.write_text((ROOT / "template.yaml").read_text(encoding="utf-8"))
    assert default_template().resolve() == here

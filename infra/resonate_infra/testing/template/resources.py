"""Creation of a template's resources in moto, through the APIs of the services.

moto can read CloudFormation templates, but it does not support EventBridge Scheduler in them, and drops the TTL of a
table. So this module creates each resource by an API call, and translates the properties of CloudFormation. It skips
nothing silently. A resource type or property without a handler raises an error. Types that have no effect offline are
listed with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from resonate_infra.testing.filters import FilterCriteria
from resonate_infra.testing.template.buckets import create_bucket, delete_bucket
from resonate_infra.testing.template.deployment import (
    Deployment,
    EventSource,
    Queue,
    Route,
    TemplateFunction,
    TemplateSchedule,
)
from resonate_infra.testing.template.template import Fragment, Resolver, Template, TemplateError, TemplateStack

T = TypeVar("T")


class UnknownResourceTypeError(TemplateError):
    """The template has a resource of a type that this module neither creates nor lists in `NOT_CREATED`."""


class UnknownPropertyError(TemplateError):
    """A resource has a property that this module does not support."""


class ClientFactory(Protocol):
    """Function that returns the client of a service, such as `boto3.Session.client`."""

    def __call__(self, service_name: Any, /) -> Any: ...


class Created(NamedTuple):
    """Values that `Ref` and `Fn::GetAtt` return for a resource."""

    reference: str
    attributes: Mapping[str, str]


Creator = Callable[[Any, str, Fragment], Created]
"""Function that creates a resource from a client factory, a default name, and the properties."""


@dataclass(frozen=True, slots=True)
class Stub:
    """Resource type that is not created.

    Attributes:
        reason: why.
        arn: returns the ARN from the stack and the name.
        reference: whether `Ref` returns the name or the ARN.
    """

    reason: str
    arn: Callable[[TemplateStack, str], str] | None = None
    reference: Literal["name", "arn"] = "name"


NOT_CREATED: Mapping[str, Stub] = {
    "AWS::IAM::Role": Stub(
        "policies are not enforced offline; tests read them in the template",
        arn=lambda stack, name: f"arn:{stack.partition}:iam::{stack.account_id}:role/{name}",
    ),
    "AWS::Logs::LogGroup": Stub(
        "functions log to the process that runs them",
        arn=lambda stack, name: stack.arn("logs", f"log-group:{name}:*"),
    ),
    "AWS::Lambda::LayerVersion": Stub(
        "functions import their packages from the environment that runs them",
        arn=lambda stack, name: stack.arn("lambda", f"layer:{name}:1"),
        reference="arn",
    ),
    "AWS::Lambda::EventInvokeConfig": Stub("the pumps invoke a function once for each event"),
    "AWS::Lambda::Permission": Stub("the offline gateway needs no permission to invoke a function"),
    "AWS::ApiGateway::Deployment": Stub("the routes are read from the API in the template"),
    "AWS::ApiGateway::Stage": Stub("one stage is enough"),
    "AWS::CloudWatch::Alarm": Stub("there are no metrics to watch"),
    "AWS::CloudWatch::Dashboard": Stub("there are no metrics to show"),
    "AWS::IAM::Policy": Stub("policies are not enforced offline; tests read them in the template"),
    "AWS::Lambda::Url": Stub("a test passes a post to the handler of the worker"),
    "AWS::S3::BucketPolicy": Stub("policies are not enforced offline; tests read them in the template"),
    "AWS::SNS::Topic": Stub(
        "there are no alarms to send", arn=lambda stack, name: stack.arn("sns", name), reference="arn"
    ),
    "AWS::SNS::Subscription": Stub("there are no alarms to send"),
    "AWS::SSM::Parameter": Stub("no other stack reads them"),
}

MAX_FUNCTION_NAME_CHARS = 64
"""Maximum number of characters in the name of a Lambda function."""
NAME_PROPERTIES = ("RoleName", "LogGroupName", "LayerName", "DashboardName")

# Properties with the same name and form in the API and in CloudFormation.
TABLE_AS_IS = (
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "DeletionProtectionEnabled",
    "GlobalSecondaryIndexes",
)
TABLE_TRANSLATED = (
    "TableName",
    "StreamSpecification",
    "SSESpecification",
    "TimeToLiveSpecification",
    "PointInTimeRecoverySpecification",
)
QUEUE_ATTRIBUTES = ("VisibilityTimeout", "MessageRetentionPeriod", "SqsManagedSseEnabled", "RedrivePolicy")
# Properties of an API without effect offline, except `Body`. They concern connections.
API_DESCRIBED = ("Body", "Name", "Description", "EndpointConfiguration", "Parameters", "Tags")
SCHEDULE_AS_IS = (
    "Name",
    "GroupName",
    "Description",
    "ScheduleExpression",
    "FlexibleTimeWindow",
    "Target",
)


def create(template: Template, client: ClientFactory, others: Mapping[str, Creator] | None = None) -> Deployment:
    """Create all resources of a template.

    `client` returns a client of moto. `others` has creators for types of resources that are otherwise not created.

    Raises:
        TemplateError: the template is invalid, or a part of it is not supported.
    """
    return _Creation(template, client, others or {}).run()


def delete(deployment: Deployment, client: ClientFactory) -> None:
    """Delete the resources that `create` has created, because moto may stay open in this process."""
    if deployment.creates_table:
        client("dynamodb").update_table(TableName=deployment.table_name, DeletionProtectionEnabled=False)
        client("dynamodb").delete_table(TableName=deployment.table_name)
    for queue in deployment.queues.values():
        client("sqs").delete_queue(QueueUrl=queue.url)
    client("scheduler").delete_schedule_group(Name=deployment.schedule_group)
    if deployment.creates_bucket:
        delete_bucket(client, deployment.bucket)


class _Creation:
    """Creation of the resources of one template, with the resources created so far."""

    def __init__(self, template: Template, client: ClientFactory, others: Mapping[str, Creator]) -> None:
        self.others = others
        self.template = template
        self.stack = template.stack
        self.client = client
        self.resolver = Resolver(template)
        self.tables: list[tuple[str, str]] = []
        self.groups: list[str] = []
        self.buckets: list[str] = []
        self.queues: dict[str, Queue] = {}
        self.functions: dict[str, TemplateFunction] = {}
        self.versioned: list[str] = []
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.event_sources: list[EventSource] = []
        self.schedules: list[TemplateSchedule] = []
        self.routes: list[Route] = []
        self.creators: Mapping[str, Callable[[str, Fragment], None]] = {
            "AWS::DynamoDB::Table": self.create_table,
            "AWS::S3::Bucket": self.create_bucket,
            "AWS::SQS::Queue": self.create_queue,
            "AWS::Scheduler::ScheduleGroup": self.create_schedule_group,
            "AWS::Scheduler::Schedule": self.create_schedule,
            "AWS::Lambda::Function": self.describe_function,
            "AWS::Lambda::Version": self.describe_version,
            "AWS::Lambda::Alias": self.describe_alias,
            "AWS::Lambda::EventSourceMapping": self.describe_event_source,
            "AWS::ApiGateway::RestApi": self.describe_api,
        }

    def run(self) -> Deployment:
        unknown = [
            f"{resource.logical_id} ({resource.type})"
            for resource in self.template.resources
            if resource.type not in self.creators and resource.type not in NOT_CREATED
        ]
        if unknown:
            raise UnknownResourceTypeError(f"no offline counterpart known for {', '.join(unknown)}")
        for resource in self.template.resources:
            if resource.condition is not None and not self.resolver.condition(resource.condition):
                continue
            properties = self.resolver.resolve(resource.properties)
            if resource.type in self.creators:
                self.creators[resource.type](resource.logical_id, properties)
            elif resource.type not in self.others:
                self.register_stub(resource.logical_id, properties, NOT_CREATED[resource.type])
            if resource.type in self.others:
                name = self.generated_name(resource.logical_id)
                created = self.others[resource.type](self.client, name, properties)
                self.resolver.register(resource.logical_id, created.reference, created.attributes)
        outputs = {
            name: self.resolver.resolve(output["Value"])
            for name, output in self.template.outputs.items()
            if "Condition" not in output or self.resolver.condition(output["Condition"])
        }
        # An existing table is known from the outputs, and its stream from the event sources.
        streams = [source.arn for source in self.event_sources if source.kind == "stream"]
        adopted = [(outputs["TableName"], arn) for arn in streams] if not self.tables else []
        (table_name, stream_arn) = _only([*self.tables, *adopted], "table with a stream")
        return Deployment(
            stack_name=self.stack.name,
            region=self.stack.region,
            account_id=self.stack.account_id,
            table_name=table_name,
            stream_arn=stream_arn,
            schedule_group=_only(self.groups, "schedule group"),
            bucket=_only(self.buckets or [outputs["BucketName"]], "bucket"),
            queues=self.queues,
            functions=self.functions,
            event_sources=tuple(self.event_sources),
            schedules=tuple(self.schedules),
            routes=tuple(self.routes),
            outputs=outputs,
            creates_table=bool(self.tables),
            creates_bucket=bool(self.buckets),
            versioned=tuple(self.versioned),
            aliases=self.aliases,
        )

    def generated_name(self, logical_id: str) -> str:
        """Return a name like those that CloudFormation generates, but without the random suffix."""
        return f"{self.stack.name}-{logical_id}"

    def register_stub(self, logical_id: str, properties: Fragment, stub: Stub) -> None:
        given = [properties[key] for key in NAME_PROPERTIES if key in properties]
        name = given[0] if given else self.generated_name(logical_id)
        attributes = {"Arn": stub.arn(self.stack, name)} if stub.arn else {}
        if "TargetFunctionArn" in properties:
            attributes["FunctionUrl"] = f"https://{logical_id.lower()}.lambda-url.{self.stack.region}.on.aws/"
        reference = attributes["Arn"] if stub.reference == "arn" else name
        self.resolver.register(logical_id, reference, attributes)

    def create_table(self, logical_id: str, properties: Fragment) -> None:
        _refuse_unknown(logical_id, properties, TABLE_AS_IS + TABLE_TRANSLATED)
        name = properties.get("TableName", self.generated_name(logical_id))
        dynamodb = self.client("dynamodb")
        request = {key: properties[key] for key in TABLE_AS_IS if key in properties}
        if "StreamSpecification" in properties:
            request["StreamSpecification"] = {"StreamEnabled": True, **properties["StreamSpecification"]}
        if "SSESpecification" in properties:
            request["SSESpecification"] = {"Enabled": properties["SSESpecification"]["SSEEnabled"]}
        table = dynamodb.create_table(TableName=name, **request)["TableDescription"]
        # The call that creates a table does not accept these two properties.
        if "TimeToLiveSpecification" in properties:
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=properties["TimeToLiveSpecification"])
        if "PointInTimeRecoverySpecification" in properties:
            dynamodb.update_continuous_backups(
                TableName=name,
                PointInTimeRecoverySpecification=properties["PointInTimeRecoverySpecification"],
            )
        attributes = {"Arn": table["TableArn"]}
        if "LatestStreamArn" in table:
            attributes["StreamArn"] = table["LatestStreamArn"]
            self.tables.append((name, table["LatestStreamArn"]))
        self.resolver.register(logical_id, name, attributes)

    def create_bucket(self, logical_id: str, properties: Fragment) -> None:
        name = create_bucket(self.client, self.generated_name(logical_id), properties)
        self.buckets.append(name)
        self.resolver.register(logical_id, name, {"Arn": f"arn:{self.stack.partition}:s3:::{name}"})

    def create_queue(self, logical_id: str, properties: Fragment) -> None:
        _refuse_unknown(logical_id, properties, ("QueueName", *QUEUE_ATTRIBUTES))
        name = properties.get("QueueName", self.generated_name(logical_id))
        sqs = self.client("sqs")
        attributes = {key: _attribute(properties[key]) for key in QUEUE_ATTRIBUTES if key in properties}
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.queues[logical_id] = Queue(url=url, arn=arn, name=name)
        self.resolver.register(logical_id, url, {"Arn": arn, "QueueName": name})

    def create_schedule_group(self, logical_id: str, properties: Fragment) -> None:
        _refuse_unknown(logical_id, properties, ("Name",))
        name = properties.get("Name", self.generated_name(logical_id))
        arn = self.client("scheduler").create_schedule_group(Name=name)["ScheduleGroupArn"]
        self.groups.append(name)
        self.resolver.register(logical_id, name, {"Arn": arn})

    def create_schedule(self, logical_id: str, properties: Fragment) -> None:
        _refuse_unknown(logical_id, properties, SCHEDULE_AS_IS)
        request: Fragment = {"Name": self.generated_name(logical_id), **properties}
        arn = self.client("scheduler").create_schedule(**request)["ScheduleArn"]
        target: Fragment = request["Target"]
        self.schedules.append(
            TemplateSchedule(
                logical_id=logical_id,
                name=request["Name"],
                group=request.get("GroupName", "default"),
                expression=request["ScheduleExpression"],
                target_arn=target["Arn"],
                input=target["Input"],
            )
        )
        self.resolver.register(logical_id, request["Name"], {"Arn": arn})

    def describe_function(self, logical_id: str, properties: Fragment) -> None:
        name = properties.get("FunctionName", self.generated_name(logical_id))
        if len(name) > MAX_FUNCTION_NAME_CHARS:
            raise TemplateError(
                f"{logical_id} would be called {name!r}, and Lambda takes {MAX_FUNCTION_NAME_CHARS} characters: choose"
                f" a shorter name for the stack than {self.stack.name!r}"
            )
        arn = self.stack.arn("lambda", f"function:{name}")
        variables = properties.get("Environment", {}).get("Variables", {})
        self.functions[logical_id] = TemplateFunction(
            logical_id=logical_id,
            name=name,
            arn=arn,
            handler=properties["Handler"],
            code_directory=self.template.code_directories[logical_id],
            environment={key: str(value) for key, value in variables.items()},
            timeout_seconds=int(properties["Timeout"]),
            memory_mb=int(properties["MemorySize"]),
            allows_recursion=properties.get("RecursiveLoop") == "Allow",
        )
        self.resolver.register(logical_id, name, {"Arn": arn})

    def describe_version(self, logical_id: str, properties: Fragment) -> None:
        _refuse_unknown(logical_id, properties, ("FunctionName", "Description"))
        function = self.named(logical_id, properties["FunctionName"])
        self.versioned.append(function.logical_id)
        self.resolver.register(logical_id, f"{function.arn}:1", {"Version": "1"})

    def describe_alias(self, logical_id: str, properties: Fragment) -> None:
        _refuse_unknown(logical_id, properties, ("FunctionName", "Name", "FunctionVersion"))
        function = self.named(logical_id, properties["FunctionName"])
        self.aliases[function.logical_id] = (*self.aliases.get(function.logical_id, ()), properties["Name"])
        self.resolver.register(logical_id, f"{function.arn}:{properties['Name']}")

    def named(self, logical_id: str, name: str) -> TemplateFunction:
        return _only([known for known in self.functions.values() if known.name == name], f"function of {logical_id}")

    def describe_event_source(self, logical_id: str, properties: Fragment) -> None:
        arn: str = properties["EventSourceArn"]
        criteria = properties.get("FilterCriteria", {}).get("Filters", [])
        filters = tuple(json.loads(entry["Pattern"]) for entry in criteria)
        # Refuse an invalid pattern when the stack is created, as AWS does, not at the first event.
        FilterCriteria.parse(filters)
        responses = properties.get("FunctionResponseTypes", [])
        self.event_sources.append(
            EventSource(
                function=self.named(logical_id, properties["FunctionName"]).logical_id,
                kind=_kind(logical_id, arn),
                arn=arn,
                batch_size=int(properties["BatchSize"]),
                filters=filters,
                report_batch_item_failures="ReportBatchItemFailures" in responses,
            )
        )
        self.resolver.register(logical_id, self.generated_name(logical_id))

    def describe_api(self, logical_id: str, properties: Fragment) -> None:
        _refuse_unknown(logical_id, properties, API_DESCRIBED)
        body = properties["Body"]
        schemes = body.get("components", {}).get("securitySchemes", {})
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                integration = operation["x-amazon-apigateway-integration"]
                if integration["type"] != "aws_proxy":
                    raise UnknownPropertyError(f"{logical_id}: {method} {path} is no proxy of a function")
                fed = [known for known in self.functions.values() if f"/functions/{known.arn}/" in integration["uri"]]
                named = [name for alternative in operation.get("security", []) for name in alternative]
                for name in named:
                    if schemes[name].get("x-amazon-apigateway-authtype") != "awsSigv4":
                        raise UnknownPropertyError(f"{logical_id}: no offline counterpart known for {name}")
                function = _only(fed, f"function of {method} {path}").logical_id
                self.routes.append(Route(method.upper(), path, function, bool(named)))
        self.resolver.register(logical_id, logical_id.lower(), {"RootResourceId": "root"})


def _refuse_unknown(logical_id: str, properties: Fragment, known: tuple[str, ...]) -> None:
    unknown = sorted(set(properties) - set(known))
    if unknown:
        raise UnknownPropertyError(f"{logical_id}: no offline counterpart known for {', '.join(unknown)}")


def _attribute(value: Any) -> str:
    """Return a property as a queue attribute, which is always a text."""
    match value:
        case str():
            return value
        case bool() | dict():
            return json.dumps(value)
        case _:
            return str(value)


def _kind(logical_id: str, arn: str) -> Literal["stream", "queue"]:
    match arn.split(":")[2]:
        case "dynamodb":
            return "stream"
        case "sqs":
            return "queue"
        case service:
            raise UnknownResourceTypeError(f"{logical_id}: no offline counterpart known for events of {service}")


def _only(found: list[T], what: str) -> T:
    if len(found) != 1:
        raise TemplateError(f"expected one {what}, found {len(found)}")
    return found[0]

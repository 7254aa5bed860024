"""What the offline stack does without, created all the same: roles, functions, log groups, alarms and the like.

Nothing offline runs through them, so the stack leaves them out. Tests of the template have them created, by the calls
that a person would use: the services' own models then check names, types and what is required of every property, and
what refers to them gets what moto returned, not what we believe it to be.

    create(template, client, CREATORS)
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from resonate_infra.testing.template.resources import Created, Creator
from resonate_infra.testing.template.template import Fragment


def role(client: Any, name: str, properties: Fragment) -> Created:
    iam = client("iam")
    name = properties.get("RoleName", name)
    policies = properties.get("Policies", [])
    trust = json.dumps(properties["AssumeRolePolicyDocument"])
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    for policy in policies:
        document = json.dumps(policy["PolicyDocument"])
        iam.put_role_policy(RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=document)
    return Created(name, {"Arn": arn})


def policy(client: Any, name: str, properties: Fragment) -> Created:
    document = json.dumps(properties["PolicyDocument"])
    for role in properties["Roles"]:
        client("iam").put_role_policy(RoleName=role, PolicyName=properties["PolicyName"], PolicyDocument=document)
    return Created(name, {})


def log_group(client: Any, name: str, properties: Fragment) -> Created:
    logs = client("logs")
    name = properties["LogGroupName"]
    logs.create_log_group(logGroupName=name)
    logs.put_retention_policy(logGroupName=name, retentionInDays=int(properties["RetentionInDays"]))
    [group] = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return Created(name, {"Arn": group["arn"]})


def layer(client: Any, _name: str, properties: Fragment) -> Created:
    request = {**properties, "Content": {"ZipFile": _archive("python/resonate/__init__.py")}}
    version = client("lambda").publish_layer_version(**request)
    return Created(version["LayerVersionArn"], {})


def function(client: Any, _name: str, properties: Fragment) -> Created:
    request = {**properties, "Code": {"ZipFile": _archive("app.py")}}
    concurrency = request.pop("ReservedConcurrentExecutions", None)
    request.pop("RecursiveLoop", None)  # a call of its own, which moto does not know
    request["Tags"] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
    for key in ("Timeout", "MemorySize"):
        request[key] = int(request[key])
    created = client("lambda").create_function(**request)
    if concurrency is not None:
        client("lambda").put_function_concurrency(
            FunctionName=created["FunctionName"], ReservedConcurrentExecutions=int(concurrency)
        )
    return Created(created["FunctionName"], {"Arn": created["FunctionArn"]})


def version(client: Any, _name: str, properties: Fragment) -> Created:
    published = client("lambda").publish_version(**properties)
    return Created(published["FunctionArn"], {"Version": published["Version"]})


def alias(client: Any, _name: str, properties: Fragment) -> Created:
    return Created(client("lambda").create_alias(**properties)["AliasArn"], {})


def event_source(client: Any, _name: str, properties: Fragment) -> Created:
    request = dict(properties)
    if "ScalingConfig" in request:
        request["ScalingConfig"] = {key: int(value) for key, value in request["ScalingConfig"].items()}
    return Created(client("lambda").create_event_source_mapping(**request)["UUID"], {})


def named(service: str, operation: str, argument: str | None = None) -> Creator:
    """Return a creator by one call that has the properties, and the name of the resource in an argument."""

    def creator(client: Any, name: str, properties: Fragment) -> Created:
        getattr(client(service), operation)(**({argument: name} if argument else {}), **properties)
        return Created(properties.get("DashboardName", name), {})

    return creator


def function_url(client: Any, _name: str, properties: Fragment) -> Created:
    request = {key: value for key, value in properties.items() if key != "TargetFunctionArn"}
    url = client("lambda").create_function_url_config(FunctionName=properties["TargetFunctionArn"], **request)
    return Created(url["FunctionArn"], {"FunctionUrl": url["FunctionUrl"]})


def rest_api(client: Any, _name: str, properties: Fragment) -> Created:
    gateway = client("apigateway")
    api = gateway.import_rest_api(body=json.dumps(properties["Body"]).encode())["id"]
    [root] = (each["id"] for each in gateway.get_resources(restApiId=api)["items"] if each["path"] == "/")
    return Created(api, {"RootResourceId": root})


def deployment(client: Any, _name: str, properties: Fragment) -> Created:
    created = client("apigateway").create_deployment(
        restApiId=properties["RestApiId"], description=properties["Description"]
    )
    return Created(created["id"], {})


def stage(client: Any, _name: str, properties: Fragment) -> Created:
    client("apigateway").create_stage(
        restApiId=properties["RestApiId"],
        deploymentId=properties["DeploymentId"],
        stageName=properties["StageName"],
        tracingEnabled=properties["TracingEnabled"],
    )
    return Created(properties["StageName"], {})


def bucket_policy(client: Any, name: str, properties: Fragment) -> Created:
    policy = json.dumps(properties["PolicyDocument"])
    client("s3").put_bucket_policy(Bucket=properties["Bucket"], Policy=policy)
    return Created(name, {})


def topic(client: Any, name: str, properties: Fragment) -> Created:
    return Created(client("sns").create_topic(Name=name, Attributes=dict(properties))["TopicArn"], {})


def subscription(client: Any, _name: str, properties: Fragment) -> Created:
    return Created(client("sns").subscribe(**properties)["SubscriptionArn"], {})


def parameter(client: Any, _name: str, properties: Fragment) -> Created:
    client("ssm").put_parameter(**properties)
    return Created(properties["Name"], {"Value": properties["Value"]})


def _archive(path: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo(path), "")
    return content.getvalue()


CREATORS: Mapping[str, Creator] = {
    "AWS::ApiGateway::Deployment": deployment,
    "AWS::ApiGateway::RestApi": rest_api,
    "AWS::ApiGateway::Stage": stage,
    "AWS::CloudWatch::Alarm": named("cloudwatch", "put_metric_alarm", "AlarmName"),
    "AWS::CloudWatch::Dashboard": named("cloudwatch", "put_dashboard"),
    "AWS::IAM::Policy": policy,
    "AWS::IAM::Role": role,
    "AWS::Lambda::Alias": alias,
    "AWS::Lambda::EventInvokeConfig": named("lambda", "put_function_event_invoke_config"),
    "AWS::Lambda::EventSourceMapping": event_source,
    "AWS::Lambda::Function": function,
    "AWS::Lambda::LayerVersion": layer,
    "AWS::Lambda::Permission": named("lambda", "add_permission", "StatementId"),
    "AWS::Lambda::Url": function_url,
    "AWS::Lambda::Version": version,
    "AWS::Logs::LogGroup": log_group,
    "AWS::S3::BucketPolicy": bucket_policy,
    "AWS::SNS::Subscription": subscription,
    "AWS::SNS::Topic": topic,
    "AWS::SSM::Parameter": parameter,
}
"""With what the offline stack creates itself, every type of resource that `template.yaml` has."""

"""Checks of the deployment that owns the table: its functions, their settings, and what the credentials may do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from resonate_infra.cli.doctor.findings import DENIED, Remark, Subject, code_of, error, ok, warning
from resonate_infra.distributions import OURS
from resonate_store.model.addresses import function_of
from resonate_store.settings import SettingsError, groups_of

PARAMETERS = "/resonate/"
"""The prefix of what deployments write to the parameter store: `/resonate/{stack}/{name}`."""
FUNCTIONS = ("worker", "dispatch", "tick", "api")
DEPLOY = "sam build && sam deploy"
_PROBE = {"pk": {"S": "doctor"}, "sk": {"S": "doctor"}}
_NEVER = "attribute_exists(pk) AND attribute_not_exists(pk)"
"""A condition that no item meets, so that a write is authorised and does nothing."""
_VERSION = re.compile(rf"{OURS} (\S+)")


def stack(subject: Subject) -> Iterator[Remark]:
    """Find the deployment that has written the name of the table to the parameter store."""
    pages = subject.client("ssm").get_paginator("get_parameters_by_path")
    path = PARAMETERS if subject.stack is None else f"{PARAMETERS}{subject.stack}/"
    stacks: dict[str, dict[str, str]] = {}
    for page in pages.paginate(Path=path, Recursive=True):
        for parameter in page["Parameters"]:
            name, _, last = str(parameter["Name"]).removeprefix(PARAMETERS).partition("/")
            stacks.setdefault(name, {})[last] = parameter["Value"]
    table = subject.session.table
    owners = [name for name, values in stacks.items() if values.get("table") == table]
    if len(owners) == 1:
        subject.stack = owners[0]
        subject.parameters = stacks[owners[0]]
        yield ok(owners[0])
    elif owners:
        yield warning(f"several stacks use the table: {', '.join(sorted(owners))}", "give --stack", stops=True)
    elif subject.stack is not None and subject.stack in stacks:
        other = stacks[subject.stack].get("table")
        yield error(f"the stack {subject.stack} has the table {other}, not {table}", f"give --table {other}")
    elif subject.stack is not None:
        yield error(f"the stack {subject.stack} has no parameters under {path}", "correct --stack, or AWS_REGION")
    else:
        yield warning(f"no stack names {table} under {PARAMETERS}", "deploy, or correct AWS_REGION", stops=True)


def functions(subject: Subject) -> Iterator[Remark]:
    """Check that the functions of the deployment exist, are active, and use the table."""
    healthy: list[str] = []
    names = [f"{subject.stack}-{role}" for role in FUNCTIONS]
    for name in names:
        remarks = list(_function(subject, name, "deploy the stack again"))
        yield from remarks
        healthy += [] if remarks else [name]
    worker = _variables(subject.functions.get(names[0], {}))
    try:
        groups = _workers_of(worker)
    except SettingsError as malformed:
        yield error(f"{names[0]}: {malformed}", "correct the parameter Groups, and deploy again")
        return
    for group, function in groups.items():
        if function not in names:
            remarks = list(_function(subject, function, f"deploy it, or correct the group {group} in Groups"))
            yield from remarks
            healthy += [] if remarks else [function]
    if healthy:
        yield ok(", ".join(healthy))


def _function(subject: Subject, name: str, way: str) -> Iterator[Remark]:
    try:
        found = subject.client("lambda").get_function_configuration(FunctionName=name)
    except Exception as raised:
        if code_of(raised) != "ResourceNotFoundException":
            raise
        yield error(f"{name} does not exist", way)
        return
    subject.functions[name] = found
    if found.get("State", "Active") not in ("Active", "Inactive"):  # an idle function can be Inactive
        yield error(f"{name} is {found['State']}: {found.get('StateReason', 'no reason is given')}", way)
    if found.get("LastUpdateStatus") == "Failed":
        yield error(f"the last update of {name} failed: {found.get('LastUpdateStatusReason', '')}".rstrip(": "), way)
    table = _variables(found).get("RESONATE_TABLE")
    if table != subject.session.table:
        yield error(f"{name} uses the table {table}", "deploy it again with this table")


def _variables(function: Mapping[str, Any]) -> dict[str, str]:
    return function.get("Environment", {}).get("Variables", {})


def _workers_of(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the functions that groups lead to, by group."""
    addresses = groups_of(variables) or {}
    return {group: function_of(address) for group, address in addresses.items() if address.startswith("lambda://")}


def recursion(subject: Subject) -> Iterator[Remark]:
    """Check that Lambda does not drop invocations of long chains."""
    denied = False
    for name in subject.functions:
        found = subject.client("lambda").get_function_recursion_config(FunctionName=name)["RecursiveLoop"]
        if found != "Allow":
            denied = True
            way = f"aws lambda put-function-recursion-config --function-name {name} --recursive-loop Allow"
            yield error(f"Lambda drops the 17th invocation of {name} in a chain", f"RecursiveLoop: Allow, or {way}")
    if not denied:
        yield ok("allowed")


def layer(subject: Subject) -> Iterator[Remark]:
    """Compare the layers of the functions with the newest one, and its release with the installed one."""
    from importlib.metadata import version

    newest = subject.parameters.get("layer", "")
    layer_name, _, number = newest.rpartition(":")
    if not number.isdecimal():
        name = f"{PARAMETERS}{subject.stack}/layer"
        yield error(f"the deployment has no parameter {name} with the ARN of a layer", "deploy the stack again")
        return
    stale = [name for name, each in subject.functions.items() if newest not in _layers(each)]
    for name in stale:
        yield warning(f"{name} does not have the newest layer, {newest}", "deploy the stack of this function again")
    answer = subject.client("lambda").get_layer_version(LayerName=layer_name, VersionNumber=int(number))
    found = _VERSION.search(answer.get("Description", ""))
    deployed, installed = found[1] if found else "an earlier release", version(OURS)
    if deployed != installed:
        yield warning(f"the layer has {deployed}, and {installed} is installed here", f"{DEPLOY}, or install the other")
    elif not stale:
        yield ok(f"{OURS} {deployed}")


def _layers(function: Mapping[str, Any]) -> list[str]:
    return [each["Arn"] for each in function.get("Layers", [])]


def dispatcher(subject: Subject) -> Iterator[Remark]:
    """Check that the dispatcher reads the present stream of the table."""
    arn = subject.table.get("LatestStreamArn")
    name = f"{subject.stack}-dispatch"
    sources = subject.client("lambda").list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    reading = [each for each in sources if each["EventSourceArn"] == arn]
    if not reading:
        yield error(f"{name} does not read the stream {arn}", "deploy with the ExistingTableStream of this stream")
    elif reading[0].get("State", "Enabled") not in ("Enabled", "Enabling", "Creating", "Updating"):
        way = f"aws lambda update-event-source-mapping --uuid {reading[0]['UUID']} --enabled"
        yield error(f"the event source of {name} is {reading[0]['State']}", way)
    else:
        yield ok(f"{name} reads the stream")


def delivery(subject: Subject) -> Iterator[Remark]:
    """Compare the delivery of the deployment, of its functions and of this program."""
    wanted = subject.parameters.get("delivery", "writer")
    wrong = False
    for name, each in subject.functions.items():
        found = _variables(each).get("RESONATE_DELIVERY") or "writer"
        if found != wanted:
            wrong = True
            yield warning(f"{name} has Delivery={found}, and the deployment {wanted}", "deploy this function again")
    here = os.environ.get("RESONATE_DELIVERY") or "writer"
    if wanted == "stream" and here != wanted:
        wrong = True
        yield warning("the deployment delivers by stream, and this program by itself", "set RESONATE_DELIVERY=stream")
    if not wrong:
        yield ok(wanted)


def permissions(subject: Subject) -> Iterator[Remark]:
    """Make calls that change nothing, with the permissions that programs need."""
    table = subject.session.table
    dynamodb = subject.client("dynamodb")
    way = f"grant it on the table {table}"
    denied = False
    probes = {
        "dynamodb:GetItem": lambda: dynamodb.get_item(TableName=table, Key=_PROBE),
        "dynamodb:Query": lambda: dynamodb.query(
            TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": _PROBE["pk"]}, Limit=1
        ),
        "dynamodb:PutItem": lambda: dynamodb.put_item(TableName=table, Item=_PROBE, ConditionExpression=_NEVER),
        "dynamodb:UpdateItem": lambda: dynamodb.update_item(
            TableName=table, Key=_PROBE, UpdateExpression="REMOVE nothing", ConditionExpression=_NEVER
        ),
    }
    for action, probe in probes.items():
        if _is_denied(probe):
            denied = True
            yield error(f"the credentials do not permit {action}", way)
    bucket = os.environ.get("RESONATE_BUCKET")
    if bucket and _is_denied(
        lambda: subject.client("s3").get_object(Bucket=bucket, Key=f"{table}/{_PROBE['pk']['S']}")
    ):
        denied = True
        yield error(
            "the credentials do not permit s3:GetObject and s3:ListBucket, so large values cannot be read",
            f"grant them on the bucket {bucket}",
        )
    worker = f"{subject.stack}-worker"
    invoking = subject.client("lambda")
    if worker in subject.functions and _is_denied(
        lambda: invoking.invoke(FunctionName=worker, InvocationType="DryRun", Payload=b"{}")
    ):
        denied = True
        yield warning(
            f"the credentials do not permit lambda:InvokeFunction on {worker}, so dispatch offers the tasks",
            "grant it, to save the way through dispatch",
        )
    if not denied:
        yield ok("the credentials may read and write promises, and invoke the worker")


def _is_denied(probe: Any) -> bool:
    try:
        probe()
    except Exception as raised:
        code = code_of(raised)
        if code in DENIED:
            return True
        if code not in ("ConditionalCheckFailedException", "NoSuchKey"):
            raise
    return False


def bucket(subject: Subject) -> Iterator[Remark]:
    """Compare the bucket of this program with that of the deployment."""
    wanted, here = subject.parameters.get("bucket"), os.environ.get("RESONATE_BUCKET") or None
    if here == wanted:
        yield ok(str(wanted))
    elif here is None:
        yield warning("RESONATE_BUCKET is not set, so large values cannot be read", f"export RESONATE_BUCKET={wanted}")
    else:
        yield error(f"RESONATE_BUCKET is {here}, and the deployment has {wanted}", f"export RESONATE_BUCKET={wanted}")

"""moto in place of AWS, under a clock that a test can move.

One `Cloud` is one account in one process. While it is open, every call passes its hooks. A boto3 client calls them by
botocore's events, a client of the store by its transport.

- Each call is recorded with the function that made it.
- A test can make a call fail before or after it takes effect.
- An invocation of a Lambda function is kept for the stack to carry out, because moto would need a container for it.

Some operations bypass moto or botocore, because they are slow there:

- The stream of the table is read from moto's memory. GetRecords takes milliseconds for each record.
- moto uses a few `shortcuts`, and requests of the store reach its DynamoDB without HTTP (`direct`).
- The stack reads from moto's memory what is due next.
- Attribute values are returned as they are stored. moto would search each possible type under three names.
- All sessions share the data that botocore loads from disk.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple
from unittest.mock import patch
from urllib.parse import unquote

import boto3
import botocore.config
from botocore.exceptions import HTTPClientError
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.utilities import dynamo_json_dump
from moto.s3.models import s3_backends
from moto.scheduler.models import scheduler_backends
from moto.sqs.models import sqs_backends

from resonate_infra.testing.lineage import TRACE_HEADER, TRACE_VARIABLE, with_trace
from resonate_infra.testing.moto import shortcuts, transport
from resonate_infra.testing.moto.sessions import ReusingSession
from resonate_store.aws import exchange
from resonate_store.aws.exchange import AwsRequest, AwsResponse
from resonate_store.model.clock import Clock, installed

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "offline",
    "AWS_SECRET_ACCESS_KEY": "offline",
    "AWS_SESSION_TOKEN": "offline",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    # The functions write to the output of the program that runs them, so metrics are off.
    "POWERTOOLS_METRICS_DISABLED": "true",
}
_REMOVED = (
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_ENDPOINT_URL_SQS",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
)

Moment = Literal["before", "after", "lost"]
"""When a call can fail.

- "before": before it reaches the service.
- "after": after its response.
- "lost": its response is lost, so that the client sends it again.
"""


class CountedCall(NamedTuple):
    """Call of an AWS service."""

    service: str
    operation: str
    caller: str
    """The logical id of the function that made the call. Empty for the test itself."""


class Invocation(NamedTuple):
    """Asynchronous invocation that waits to be carried out."""

    function: str
    event: Any
    trace: str
    """The trace header of the request."""


class Cloud:
    """moto account with hooks.

    Args:
        clock: the time of the queues. While the account is open, it is also the default clock of new objects.

    Attributes:
        functions: the functions that can be invoked. It maps each name and ARN to a logical id.
        calls: every call, in order.
        changes: counts the calls of each service that may have changed something. A poll can omit its request if the
            count is the same.
        invocations: asynchronous invocations that are not carried out yet.
        caller: the logical id of the function that is running. Empty for the test itself.
        fault: called at each `Moment` of every call. If it raises, the call raises this error. `Killed` ends the
            process. An error of botocore is handled as if it came from the network.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.functions: Mapping[str, str] = {}
        self.calls: list[CountedCall] = []
        self.changes: Counter[str] = Counter()
        self.invocations: list[Invocation] = []
        self.caller = ""
        self.fault: Callable[[Moment, CountedCall], None] | None = None
        self._open = ExitStack()
        self._session: Any = None
        self._keeping = True
        self._clients: dict[str, Any] = {}

    def open(self) -> None:
        """Replace AWS in this process, with an empty account."""
        self._replace(reset=True)
        session = boto3.DEFAULT_SESSION = self._session = ReusingSession(ENVIRONMENT["AWS_REGION"])
        events: Any = session.events  # Its type does not allow a handler to answer a call.
        events.register_first("before-call", self._before_call)
        events.register_last("after-call", self._after_call)
        events.register_last("before-send", self._before_send)

    def suspend(self) -> None:
        """Restore AWS, the environment and the clock of this process. Keep the content of the account."""
        self._open.close()

    def resume(self) -> None:
        """Replace AWS again after `suspend`, with the same account."""
        self._replace(reset=False)
        boto3.DEFAULT_SESSION = self._session

    def close(self) -> None:
        """Restore AWS, the environment and the clock of this process. Delete the account."""
        self._keeping = False
        self._open.close()

    def has_table(self, stream_arn: str) -> bool:
        """Return whether the table with this stream exists. moto deletes it if other code starts moto with a reset."""
        _, _, _, region, account, resource = stream_arn.split(":", 5)
        return resource.split("/")[1] in dynamodb_backends[account][region].tables

    def next_message_at(self, queue_arn: str) -> int | None:
        """Return the earliest instant (ms) at which a message of a queue can be received. None if it is empty."""
        _, _, _, region, account, name = queue_arn.split(":")
        messages = sqs_backends[account][region].queues[name]._messages  # pyright: ignore[reportPrivateUsage]
        # In moto a received message becomes visible after `visible_at`, not at it.
        instants = (max(message.delayed_until, message.visible_at + 1) for message in messages)
        return min(map(math.ceil, instants), default=None)

    def has_objects(self, bucket: str) -> bool:
        """Return whether a bucket has objects."""
        return bool(s3_backends[ACCOUNT_ID]["aws"].buckets[bucket].keys)

    def schedules(self, group: str) -> list[tuple[str, str, str]]:
        """Return name, expression and time zone of each schedule of a group."""
        backend: Any = scheduler_backends[ACCOUNT_ID][ENVIRONMENT["AWS_REGION"]]
        return [
            (schedule.name, schedule.schedule_expression, schedule.schedule_expression_timezone)
            for schedule in backend.schedule_groups[group].schedules.values()
        ]

    def earliest_wake(self, stream_arn: str) -> int | None:
        """Return the earliest `wake_at` (ms) in the table with this stream. None if no item has one."""
        items = self._table(stream_arn).all_items()
        return min((int(item.attrs["wake_at"].value) for item in items if "wake_at" in item.attrs), default=None)

    def _replace(self, *, reset: bool) -> None:
        enter = self._open.enter_context
        clean = {name: value for name, value in os.environ.items() if name not in _REMOVED}
        # SQS, and so moto, permits only one purge of a queue in a minute.
        clean["MOTO_SQS_ENFORCE_STRICT_QUEUE_PURGE_BEHAVIOUR"] = "false"
        enter(patch.dict(os.environ, {**clean, **ENVIRONMENT}, clear=True))
        moto: Any = mock_aws()
        moto.start(reset=reset)
        self._keeping = True
        self._open.callback(lambda: moto.stop(remove_data=not self._keeping))
        enter(patch.object(BaseJSONSerializer, "_serialize_type_structure", _serialize_structure))
        enter(shortcuts.taken())
        enter(installed(self.clock))
        enter(exchange.installed(self._send))
        enter(patch("moto.sqs.models.unix_time_millis", lambda: float(self.clock.now())))
        enter(patch("moto.sqs.models.unix_time", lambda: self.clock.now() / 1000))
        # botocore waits before it retries a call. A wait does not help here.
        enter(patch("botocore.endpoint.time", SimpleNamespace(sleep=_no_sleep)))
        enter(patch.object(boto3, "DEFAULT_SESSION", None))

    def client(self, service: str) -> Any:
        """Return a boto3 client of the account."""
        if service not in self._clients:
            # The newest endpoints of streams contain the account, and moto does not support them.
            config = botocore.config.Config(account_id_endpoint_mode="disabled")
            library: Any = boto3  # The type of `client` has an overload for each service.
            self._clients[service] = library.client(service, config=config)
        return self._clients[service]

    def take_changes(self, stream_arn: str) -> list[dict[str, Any]]:
        """Return the stream records since the last call of this method, in the form that Lambda sends."""
        shard = self._table(stream_arn).stream_shard
        assert shard is not None
        records: list[dict[str, Any]] = json.loads(dynamo_json_dump([item.to_json() for item in shard.items]))
        # moto computes the number of the next record from the length of the list.
        shard.starting_sequence_number += len(shard.items)
        shard.items.clear()
        for record in records:
            record["eventSourceARN"] = stream_arn
            record["dynamodb"]["ApproximateCreationDateTime"] = self.clock.now() // 1000
        return records

    def empty_table(self, stream_arn: str) -> None:
        """Delete every item and every stream record."""
        self._table(stream_arn).items.clear()
        self.take_changes(stream_arn)

    def empty_queue(self, queue_arn: str) -> None:
        """Delete every message of a queue."""
        _, _, _, region, account, name = queue_arn.split(":")
        sqs_backends[account][region].purge_queue(name)

    def _table(self, stream_arn: str) -> Any:
        _, _, _, region, account, resource = stream_arn.split(":", 5)
        return dynamodb_backends[account][region].tables[resource.split("/")[1]]

    def _before_call(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, Any] | None:
        call = self._call(model)
        self._begin(call)
        if call[:2] == ("lambda", "Invoke"):
            return self._keep_invocation(params)
        trace = os.environ.get(TRACE_VARIABLE)
        if trace and call[:2] == ("sqs", "SendMessage"):
            params["body"] = with_trace(params["body"], trace)
        return None

    def _begin(self, call: CountedCall) -> None:
        self.calls.append(call)
        if not call.operation.startswith(("Get", "List", "Describe", "Query", "Scan", "BatchGet", "Receive")):
            self.changes[call.service] += 1
        if self.fault is not None:
            self.fault("before", call)

    def _send(self, request: AwsRequest) -> AwsResponse:
        """Carry out a request of a client of the store. This is the transport of these clients."""
        call = CountedCall(request.service, request.operation, self.caller)
        if request.attempt == 1:
            self._begin(call)
        trace = request.headers.get(TRACE_HEADER)
        if call[:2] == ("lambda", "Invoke"):
            response = self._kept_invocation(request)
        elif trace and call[:2] == ("sqs", "SendMessage"):
            response = transport.send(request._replace(body=with_trace(request.body, trace)))
        else:
            response = transport.send(request)
        if self.fault is not None:
            self.fault("lost", call)
            self.fault("after", call)
        return response

    def _kept_invocation(self, request: AwsRequest) -> AwsResponse:
        name = unquote(request.url.split("/")[5])
        if name not in self.functions:
            body = json.dumps({"Type": "User", "Message": f"Function not found: {name}"}).encode()
            return AwsResponse(404, {"x-amzn-errortype": "ResourceNotFoundException"}, body)
        trace = request.headers.get(TRACE_HEADER, "")
        self.invocations.append(Invocation(self.functions[name], json.loads(request.body), trace))
        return AwsResponse(202, {}, b"")

    def _after_call(self, model: Any, **_: Any) -> None:
        if self.fault is not None:
            self.fault("after", self._call(model))

    def _before_send(self, **keywords: Any) -> None:
        """Lose a response if `fault` raises. It is registered last, after moto has carried out the request."""
        if self.fault is not None:
            _, service, operation = keywords["event_name"].split(".")
            self.fault("lost", CountedCall(service, operation, self.caller))

    def _call(self, model: Any) -> CountedCall:
        return CountedCall(model.service_model.service_name, model.name, self.caller)

    def _keep_invocation(self, params: dict[str, Any]) -> tuple[Any, Any]:
        name = unquote(params["url_path"].split("/")[3])
        if name not in self.functions:
            error = {"Code": "ResourceNotFoundException", "Message": f"Function not found: {name}"}
            return SimpleNamespace(status_code=404), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 404}}
        invocation = Invocation(self.functions[name], json.loads(params["body"]), os.environ.get(TRACE_VARIABLE, ""))
        self.invocations.append(invocation)
        if self.fault is not None:
            try:
                self.fault("lost", CountedCall("lambda", "Invoke", self.caller))
            except HTTPClientError:
                # botocore sends nothing here and so cannot repeat the call. Add the repetition instead.
                self.invocations.append(invocation)
        return SimpleNamespace(status_code=202), {"StatusCode": 202, "ResponseMetadata": {"HTTPStatusCode": 202}}


def _no_sleep(_seconds: float) -> None:
    pass


_serialize_any_structure = BaseJSONSerializer._serialize_type_structure  # pyright: ignore[reportPrivateUsage]


def _serialize_structure(self: Any, serialized: dict[str, Any], value: Any, shape: Any, key: str) -> None:
    if shape.name == "AttributeValue":
        serialized[key] = value
    else:
        _serialize_any_structure(self, serialized, value, shape, key)

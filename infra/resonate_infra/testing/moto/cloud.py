"""moto, and what it needs to stand in for AWS under a clock that can be moved.

One `Cloud` is one account in one process. Every call of a boto3 client that is made while it is open passes its hooks:
calls are counted with the function that made them, can be made to fail before or after they take effect, and an invoke
of a Lambda function is kept for the stack to carry out, because moto would want a container for it.

Some things go past moto or botocore, because they are slow there: the table's stream is taken out of moto directly (its
GetRecords spends milliseconds on each record), moto takes a few `shortcuts`, the stack looks up in
moto's memory what is to happen next, attribute values are answered as they are stored (moto would look for each type
that a value might have, under three names), and all sessions share what botocore loads from disk.
"""

from __future__ import annotations

import functools
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
import botocore.session
from botocore.exceptions import HTTPClientError
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.utilities import dynamo_json_dump
from moto.scheduler.models import scheduler_backends
from moto.sqs.models import sqs_backends

from resonate_infra.testing.moto import shortcuts
from resonate_store.model.clock import Clock, installed

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "offline",
    "AWS_SECRET_ACCESS_KEY": "offline",
    "AWS_SESSION_TOKEN": "offline",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    # Functions share their output with the program that runs them.
    "POWERTOOLS_METRICS_DISABLED": "true",
}
_REMOVED = ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")

Moment = Literal["before", "after", "lost"]
"""Where a call can be made to fail: before it reaches the service, once it has been answered, or with its answer lost
on the way, so that botocore sends it again."""


class CountedCall(NamedTuple):
    """One call of an AWS service."""

    service: str
    operation: str
    caller: str
    """The logical id of the function that made it; empty for the test itself."""


class Invocation(NamedTuple):
    """An asynchronous invoke that waits to be carried out."""

    function: str
    event: Any


class Cloud:
    """A moto account with hooks.

    Args:
        clock: the time that queues go by, and that is ambient for everything made while this is open.

    Attributes:
        functions: the functions that can be invoked, logical ids by every name that they are called by.
        calls: every call, in order.
        changes: how many calls of each service may have changed something; whoever polls can tell that nothing has.
        invocations: asynchronous invokes that have not been carried out.
        caller: the logical id of the function that is running.
        fault: called at each `Moment` of every call; what it raises is what happens to the call. `Killed` ends the
            process, an error of botocore's is met as if it came from the network.
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
        """Take the place of AWS in this process."""
        self._replace(reset=True)
        core = botocore.session.Session()
        core.register_component("data_loader", _loader())
        # botocore would put the text together twice for each request.
        core.set_default_client_config(botocore.config.Config(user_agent="resonate-offline"))
        session = boto3.DEFAULT_SESSION = self._session = _Session(
            botocore_session=core, region_name=ENVIRONMENT["AWS_REGION"]
        )
        events: Any = session.events  # its type does not know that a handler may answer a call itself
        events.register_first("before-call", self._before_call)
        events.register_last("after-call", self._after_call)
        events.register_last("before-send", self._before_send)

    def suspend(self) -> None:
        """Give everything back, and keep what is in the account."""
        self._open.close()

    def resume(self) -> None:
        """Go on where `suspend` was called."""
        self._replace(reset=False)
        boto3.DEFAULT_SESSION = self._session

    def close(self) -> None:
        """Give everything back, and forget the account."""
        self._keeping = False
        self._open.close()

    def has_table(self, stream_arn: str) -> bool:
        """Whether the table with this stream exists; moto forgets it when somebody else begins to use moto."""
        _, _, _, region, account, resource = stream_arn.split(":", 5)
        return resource.split("/")[1] in dynamodb_backends[account][region].tables

    def next_message_at(self, queue_arn: str) -> int | None:
        """The earliest instant (ms) at which a message of a queue can be received; None if the queue is empty."""
        _, _, _, region, account, name = queue_arn.split(":")
        messages = sqs_backends[account][region].queues[name]._messages  # pyright: ignore[reportPrivateUsage]
        # To moto, a message that was received is visible after that time, not at it.
        instants = (max(message.delayed_until, message.visible_at + 1) for message in messages)
        return min(map(math.ceil, instants), default=None)

    def schedules(self, group: str) -> list[tuple[str, str, str]]:
        """The name, the expression and the time zone of each schedule of a group."""
        backend: Any = scheduler_backends[ACCOUNT_ID][ENVIRONMENT["AWS_REGION"]]
        return [
            (schedule.name, schedule.schedule_expression, schedule.schedule_expression_timezone)
            for schedule in backend.schedule_groups[group].schedules.values()
        ]

    def earliest_wake(self, stream_arn: str) -> int | None:
        """The earliest `wake_at` of the table with this stream (ms)."""
        items = self._table(stream_arn).all_items()
        return min((int(item.attrs["wake_at"].value) for item in items if "wake_at" in item.attrs), default=None)

    def _replace(self, *, reset: bool) -> None:
        enter = self._open.enter_context
        clean = {name: value for name, value in os.environ.items() if name not in _REMOVED}
        # SQS, and so moto, lets a queue be purged once a minute.
        clean["MOTO_SQS_ENFORCE_STRICT_QUEUE_PURGE_BEHAVIOUR"] = "false"
        enter(patch.dict(os.environ, {**clean, **ENVIRONMENT}, clear=True))
        moto: Any = mock_aws()
        moto.start(reset=reset)
        self._keeping = True
        self._open.callback(lambda: moto.stop(remove_data=not self._keeping))
        enter(patch.object(BaseJSONSerializer, "_serialize_type_structure", _serialize_structure))
        enter(shortcuts.taken())
        enter(installed(self.clock))
        enter(patch("moto.sqs.models.unix_time_millis", lambda: float(self.clock.now())))
        enter(patch("moto.sqs.models.unix_time", lambda: self.clock.now() / 1000))
        # botocore waits between two tries of a call; nothing here gets better by waiting.
        enter(patch("botocore.endpoint.time", SimpleNamespace(sleep=_no_sleep)))
        enter(patch.object(boto3, "DEFAULT_SESSION", None))

    def client(self, service: str) -> Any:
        """A boto3 client of the account."""
        if service not in self._clients:
            # Streams are addressed by account in the newest endpoints, which moto does not know.
            config = botocore.config.Config(account_id_endpoint_mode="disabled")
            library: Any = boto3  # its type has an overload for each service
            self._clients[service] = library.client(service, config=config)
        return self._clients[service]

    def take_changes(self, stream_arn: str) -> list[dict[str, Any]]:
        """What has been written since this was last called, as Lambda sends the records of the stream."""
        shard = self._table(stream_arn).stream_shard
        assert shard is not None
        records: list[dict[str, Any]] = json.loads(dynamo_json_dump([item.to_json() for item in shard.items]))
        # The next record's number follows from how many there are.
        shard.starting_sequence_number += len(shard.items)
        shard.items.clear()
        for record in records:
            record["eventSourceARN"] = stream_arn
            record["dynamodb"]["ApproximateCreationDateTime"] = self.clock.now() // 1000
        return records

    def empty_table(self, stream_arn: str) -> None:
        """Forget every item and every record of the stream, as if the table were new."""
        self._table(stream_arn).items.clear()
        self.take_changes(stream_arn)

    def _table(self, stream_arn: str) -> Any:
        _, _, _, region, account, resource = stream_arn.split(":", 5)
        return dynamodb_backends[account][region].tables[resource.split("/")[1]]

    def _before_call(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, Any] | None:
        call = self._call(model)
        self.calls.append(call)
        if not call.operation.startswith(("Get", "List", "Describe", "Query", "Scan", "BatchGet", "Receive")):
            self.changes[call.service] += 1
        if self.fault is not None:
            self.fault("before", call)
        return self._keep_invocation(params) if call[:2] == ("lambda", "Invoke") else None

    def _after_call(self, model: Any, **_: Any) -> None:
        if self.fault is not None:
            self.fault("after", self._call(model))

    def _before_send(self, **keywords: Any) -> None:
        """Registered last, so that moto has carried the request out when this loses the answer."""
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
        invocation = Invocation(self.functions[name], json.loads(params["body"]))
        self.invocations.append(invocation)
        if self.fault is not None:
            try:
                self.fault("lost", CountedCall("lambda", "Invoke", self.caller))
            except HTTPClientError:
                # Nothing is sent, so botocore cannot send it again.
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


@functools.cache
def _loader() -> Any:
    """Reads the descriptions of services; every session would parse those megabytes of JSON for itself."""
    return botocore.session.Session().get_component("data_loader")


class _Session(boto3.Session):
    """A session that has one client of each kind: what a lost process had is as good for the next, and costs 10 ms."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._made: dict[tuple[Any, str], Any] = {}

    def client(self, service_name: Any, **arguments: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        config: botocore.config.Config | None = arguments.pop("config", None)
        settings = None if config is None else sorted(vars(config).items())
        key = service_name, repr((sorted(arguments.items()), settings))
        if key not in self._made:
            library: Any = super()
            self._made[key] = library.client(service_name, config=config, **arguments)
        return self._made[key]

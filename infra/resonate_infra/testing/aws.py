"""moto, and what it needs to stand in for AWS under a clock that can be moved.

One `Cloud` is one account in one process. Every call of a boto3 client that is made while it is open passes its hooks:
calls are counted with the function that made them, can be made to fail before or after they take effect, and an invoke
of a Lambda function is kept for the stack to carry out, because moto would want a container for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple
from unittest.mock import patch
from urllib.parse import unquote

import boto3
import botocore.config
from moto import mock_aws

from resonate_store.clock import Clock, installed

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "offline",
    "AWS_SECRET_ACCESS_KEY": "offline",
    "AWS_SESSION_TOKEN": "offline",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
}
_REMOVED = ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")

Moment = Literal["before", "after", "lost"]
"""Where a call can be made to fail: before it reaches the service, once it has been answered, or with its answer lost
on the way, so that botocore sends it again."""


class Call(NamedTuple):
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
        functions: the names of the functions that can be invoked.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.functions: Mapping[str, str] = {}
        self.calls: list[Call] = []
        self.invocations: list[Invocation] = []
        self.delayed_until: list[int] = []
        self.caller = ""
        self.fault: Callable[[Moment, Call], None] | None = None
        self._open = ExitStack()

    def open(self) -> None:
        enter = self._open.enter_context
        clean = {name: value for name, value in os.environ.items() if name not in _REMOVED}
        enter(patch.dict(os.environ, {**clean, **ENVIRONMENT}, clear=True))
        enter(mock_aws())
        enter(installed(self.clock))
        enter(patch("moto.sqs.models.unix_time_millis", lambda: float(self.clock.now())))
        enter(patch("moto.sqs.models.unix_time", lambda: self.clock.now() / 1000))
        # botocore waits between two tries of a call; nothing here gets better by waiting.
        enter(patch("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None)))
        enter(patch.object(boto3, "DEFAULT_SESSION", None))
        boto3.setup_default_session(region_name=ENVIRONMENT["AWS_REGION"])
        session = boto3.DEFAULT_SESSION
        assert session is not None
        session.events.register_first("before-call", self._before_call)
        session.events.register_last("after-call", self._after_call)
        session.events.register_last("before-send", self._before_send)
        session.events.register("before-parameter-build.sqs.SendMessage", self._note_delay)

    def close(self) -> None:
        self._open.close()

    def client(self, service: Any) -> Any:
        """A boto3 client of the account."""
        # Streams are addressed by account in the newest endpoints, which moto does not know.
        config = botocore.config.Config(account_id_endpoint_mode="disabled")
        return boto3.client(service, config=config)  # pyright: ignore[reportUnknownMemberType]

    def _before_call(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, Any] | None:
        call = self._call(model)
        self.calls.append(call)
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
            self.fault("lost", Call(service, operation, self.caller))

    def _call(self, model: Any) -> Call:
        return Call(model.service_model.service_name, model.name, self.caller)

    def _note_delay(self, params: dict[str, Any], **_: Any) -> None:
        self.delayed_until.append(self.clock.now() + params.get("DelaySeconds", 0) * 1000)

    def _keep_invocation(self, params: dict[str, Any]) -> tuple[Any, Any]:
        name = unquote(params["url_path"].split("/")[3])
        if name not in self.functions:
            error = {"Code": "ResourceNotFoundException", "Message": f"Function not found: {name}"}
            return SimpleNamespace(status_code=404), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 404}}
        self.invocations.append(Invocation(self.functions[name], json.loads(params["body"])))
        return SimpleNamespace(status_code=202), {"StatusCode": 202, "ResponseMetadata": {"HTTPStatusCode": 202}}

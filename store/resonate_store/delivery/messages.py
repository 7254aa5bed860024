"""Messages to workers that are Lambda functions: asynchronous invocations."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from resonate_store.aws.errors import AwsRefusal, aws_error
from resonate_store.aws.services import InvokingClient
from resonate_store.delivery.sinks import Denied, VersionDeleted
from resonate_store.interface import Applies
from resonate_store.model.addresses import function_of, pinned_of, route
from resonate_store.model.records import PromiseView

DENIED = frozenset({"AccessDeniedException", "AccessDenied", "ResourceNotFoundException"})
"""Codes of Lambda's errors after which this process does not try an address again."""

logger = logging.getLogger("resonate.transports")


class LambdaMessages:
    """Message sink that invokes workers. Messages over HTTP, and those to listeners, need another sink.

    Args:
        client: a client for Lambda.
        groups: the push address of each worker group. None if this process does not know them.
        own: names of functions of the deployment that are not workers.
    """

    def __init__(self, client: InvokingClient, groups: Mapping[str, str] | None, own: Collection[str] = ()) -> None:
        self._lambda = client
        self._knows_groups = groups is not None
        self._groups = groups or {}
        self._own = own

    def reaches(self, address: str) -> bool:
        destination = route(address, self._groups)
        # Without a push address there is nothing to send: the workers poll.
        return self._knows_groups if destination is None else destination.startswith("lambda://")

    def notifies(self, address: str) -> bool:
        return self._knows_groups and route(address, self._groups) is None

    def invokes(self, address: str) -> bool:
        """Return whether messages to the address are invocations."""
        return (route(address, self._groups) or "").startswith("lambda://")

    def leads_home(self, address: str) -> bool:
        destination = route(address, self._groups) or ""
        return destination.startswith("lambda://") and function_of(destination) in self._own

    def send(self, address: str, message: dict[str, Any]) -> None:
        destination = route(address, self._groups)
        if destination is None:
            logger.info("%s has no push address; its workers have to poll", address)
        elif destination.startswith("lambda://"):
            invoke(self._lambda, destination, message)
        else:
            raise Denied(f"messages to {address} are not sent here")

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:  # noqa: ARG002
        if route(address, self._groups) is not None:
            raise Denied(f"messages to the listener {address} are not sent here")
        logger.info("%s has no push address; it has to poll for %s", address, promise.id)


def invoke(client: InvokingClient, address: str, message: dict[str, Any]) -> None:
    """Invoke a function asynchronously. A failure that may pass is only logged: the task is offered again.

    Args:
        client: a client for Lambda.
        address: `lambda://name[:qualifier]`.
        message: the event of the invocation.

    Raises:
        Denied: this process may not invoke the function, or the function does not exist.
        VersionDeleted: the address names a version that does not exist.
    """
    name = address.removeprefix("lambda://")
    try:
        client.invoke(FunctionName=name, InvocationType="Event", Payload=msgspec.json.encode(message))
    except Exception as error:
        refusal = aws_error(error)
        if refusal is None:
            raise
        if isinstance(refusal, AwsRefusal) and refusal.code in DENIED:
            if refusal.code == "ResourceNotFoundException" and pinned_of(address) is not None:
                raise VersionDeleted(f"invoking {name} failed: {error}") from error
            raise Denied(f"invoking {name} failed: {error}") from error
        logger.warning("invoking %s failed, the task will be offered again: %s", name, error)

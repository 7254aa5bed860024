"""Clients of Lambda and SQS with what the sinks send, under the names that boto3 gives it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from resonate_store.aws.calls import DamagedResponse, ServiceCalls, decoded, encoded
from resonate_store.aws.exchange import AwsResponse

Sent = Callable[[Mapping[str, Any]], Iterable[tuple[Mapping[str, Any], str]]]
"""Returns the parts of an answer of SQS that have a digest, each with the text that was sent."""


class InvokingClient(Protocol):
    """What the sinks use of a client of Lambda."""

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Any: ...


class QueueClient(Protocol):
    """What the sinks use of a client of SQS."""

    def send_message(self, *args: Any, **kwargs: Any) -> Any: ...


class FunctionsClient:
    """Invokes functions asynchronously.

    Args:
        calls: calls the service.
    """

    def __init__(self, calls: ServiceCalls) -> None:
        self._calls = calls

    def invoke(self, *, FunctionName: str, Payload: bytes, InvocationType: str) -> dict[str, Any]:
        """Have Lambda invoke a function; it does not wait for the function.

        Args:
            FunctionName: its name or ARN, with or without a qualifier.
            Payload: the event, as JSON.
            InvocationType: `Event`.

        Raises:
            ValueError: another type, which would wait for longer than this client does.
        """
        if InvocationType != "Event":
            raise ValueError(f"InvocationType must be 'Event', got {InvocationType!r}: this client does not wait")
        path = f"/2015-03-31/functions/{quote(FunctionName, safe='-._~')}/invocations"
        headers = {"content-type": "application/json", "x-amz-invocation-type": InvocationType}
        return self._calls.call("Invoke", headers, Payload, lambda response: {"StatusCode": response.status}, path=path)


class SqsClient:
    """Sends messages to queues, and compares the digests that SQS answers with.

    Args:
        calls: calls the service.
    """

    def __init__(self, calls: ServiceCalls) -> None:
        self._calls = calls

    def send_message(self, **arguments: Any) -> dict[str, Any]:
        """Send one message: `QueueUrl`, `MessageBody`, `DelaySeconds` and the rest as boto3 takes them."""
        return self._call("SendMessage", arguments, lambda answer: [(answer, arguments["MessageBody"])])

    def send_message_batch(self, **arguments: Any) -> dict[str, Any]:
        """Send up to ten messages. The answer names under `Failed` those that SQS did not take."""
        bodies = {entry["Id"]: entry["MessageBody"] for entry in arguments["Entries"]}
        return self._call(
            "SendMessageBatch",
            arguments,
            lambda answer: [(each, bodies[each["Id"]]) for each in answer.get("Successful", ())],
        )

    def _call(self, operation: str, arguments: dict[str, Any], sent: Sent) -> dict[str, Any]:
        def read(response: AwsResponse) -> dict[str, Any]:
            answer = decoded(response)
            try:
                whole = all(each["MD5OfMessageBody"] == _digest(body) for each, body in sent(answer))
            except (LookupError, TypeError):
                raise DamagedResponse("a response is not what SQS answers") from None
            if not whole:
                raise DamagedResponse("SQS has taken another text than was sent")
            return answer

        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AmazonSQS.{operation}"}
        return self._calls.call(operation, headers, encoded(arguments), read)


def _digest(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()

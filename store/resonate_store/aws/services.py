"""Clients of Lambda and SQS. They have the methods that the sinks call, with the names and arguments of boto3."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol
from urllib.parse import quote

from resonate_store.aws.calls import DamagedResponse, ServiceCalls, decoded, encoded
from resonate_store.aws.exchange import AwsResponse


class InvokingClient(Protocol):
    """The method of a Lambda client that the sinks call."""

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Any: ...


class QueueClient(Protocol):
    """The method of an SQS client that the sinks call."""

    def send_message(self, *args: Any, **kwargs: Any) -> Any: ...


class FunctionsClient:
    """Client of Lambda that invokes functions asynchronously.

    Args:
        calls: calls Lambda.
    """

    def __init__(self, calls: ServiceCalls) -> None:
        self._calls = calls

    def invoke(self, *, FunctionName: str, Payload: bytes, InvocationType: str) -> dict[str, Any]:
        """Invoke a function, and do not wait for its result.

        Args:
            FunctionName: its name or ARN, with or without a qualifier.
            Payload: the event, as JSON.
            InvocationType: `Event`.

        Raises:
            ValueError: another type. Lambda would answer only when the function has ended.
        """
        if InvocationType != "Event":
            raise ValueError(f"InvocationType must be 'Event', got {InvocationType!r}: this client does not wait")
        path = f"/2015-03-31/functions/{quote(FunctionName, safe='-._~', errors='surrogatepass')}/invocations"
        headers = {"content-type": "application/json", "x-amz-invocation-type": InvocationType}
        return self._calls.call("Invoke", headers, Payload, lambda response: {"StatusCode": response.status}, path=path)


class SqsClient:
    """Client of SQS that sends messages.

    Args:
        calls: calls SQS.
    """

    def __init__(self, calls: ServiceCalls) -> None:
        self._calls = calls

    def send_message(self, **arguments: Any) -> dict[str, Any]:
        """Send one message, and compare the digest of it that SQS returns.

        Args:
            arguments: those of boto3, such as `QueueUrl`, `MessageBody` and `DelaySeconds`.
        """
        # SQS refuses a text with a lone surrogate, with its own error.
        text = arguments["MessageBody"].encode(errors="surrogatepass")
        digest = hashlib.md5(text, usedforsecurity=False).hexdigest()

        def read(response: AwsResponse) -> dict[str, Any]:
            answer = decoded(response)
            if answer.get("MD5OfMessageBody") != digest:
                raise DamagedResponse("SQS has not accepted the text that was sent")
            return answer

        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessage"}
        return self._calls.call("SendMessage", headers, encoded(arguments), read)

"""Errors of AWS clients, the same ones whichever client is used. At the bottom of the imports of this room.

A client made by boto3 raises botocore's errors. `aws_error` is the one place that knows them. It does not import
botocore: without botocore in the process, an error cannot be one of its errors.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast


class AwsError(Exception):
    """A call was not made: the client cannot send it."""


class NoAwsRegion(AwsError):
    """The environment names no region."""


class NoAwsCredentials(AwsError):
    """The environment has no credentials."""


class AwsUnreachable(AwsError):
    """A request got no complete answer. The service may have carried it out."""


class AwsRefusal(AwsError):
    """A service answered with an error.

    Attributes:
        code: what the service calls the error, such as `ThrottlingException`.
        reason: the service's explanation.
        status: the HTTP status; 0 if it is not known.
        answer: the body of the response, with `Item` or `CancellationReasons` where DynamoDB sends them.
    """

    def __init__(self, operation: str, code: str, reason: str, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{operation} was refused: {code}: {reason}")
        self.code = code
        self.reason = reason
        self.status = status
        self.answer = answer


def aws_error(error: Exception) -> AwsError | None:
    """Return an error of an AWS client as one of this module; None if it is another error."""
    if isinstance(error, AwsError):
        return error
    botocore: Any = sys.modules.get("botocore.exceptions")
    if botocore is None:
        return None
    if isinstance(error, botocore.ClientError):
        return _refusal(error)
    if isinstance(error, botocore.NoRegionError):
        return NoAwsRegion(str(error))
    if isinstance(error, botocore.NoCredentialsError):
        return NoAwsCredentials(str(error))
    if isinstance(error, (botocore.HTTPClientError, botocore.ConnectionError)):
        return AwsUnreachable(str(error))
    return AwsError(str(error)) if isinstance(error, botocore.BotoCoreError) else None


def _refusal(error: Any) -> AwsRefusal:
    answer = cast("dict[str, Any]", error.response)
    told = answer.get("Error", {})
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = told.get("Message", "") or answer.get("message", "")
    return AwsRefusal(getattr(error, "operation_name", "the call"), told.get("Code", ""), reason, status, answer)

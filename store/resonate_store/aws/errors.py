"""Errors of AWS clients. At the bottom of the imports of this folder.

The clients of this folder raise these errors. A client of boto3 raises botocore's errors, and `aws_error` translates
them. Only this module knows them. It does not import botocore: if nothing else has imported it, no error is botocore's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast


class AwsError(Exception):
    """Raised if a client cannot send a call."""


class NoAwsRegion(AwsError):
    """Raised if the environment sets no region."""


class NoAwsCredentials(AwsError):
    """Raised if the environment has no credentials."""


class AwsUnreachable(AwsError):
    """Raised if a request gets no complete response. The service may have carried it out."""


class AwsRefusal(AwsError):
    """Raised if a service answers with an error.

    Attributes:
        code: the service's name of the error, such as `ThrottlingException`.
        reason: the service's explanation.
        status: the HTTP status; 0 if it is not known.
        answer: the body of the response, with `Item` or `CancellationReasons` if DynamoDB has sent them.
    """

    def __init__(self, operation: str, code: str, reason: str, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(f"{operation} was refused: {code}: {reason}")
        self.code = code
        self.reason = reason
        self.status = status
        self.answer = answer


def aws_error(error: Exception) -> AwsError | None:
    """Return an error of an AWS client as an error of this module. Return None for any other error."""
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

"""The store gets the same errors from both clients."""

from __future__ import annotations

import subprocess
import sys

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ReadTimeoutError,
)

from resonate_store.aws.errors import (
    AwsError,
    AwsRefusal,
    AwsUnreachable,
    NoAwsCredentials,
    NoAwsRegion,
    aws_error,
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoRegionError(), NoAwsRegion),
        (NoCredentialsError(), NoAwsCredentials),
        (EndpointConnectionError(endpoint_url="u"), AwsUnreachable),
        (ConnectTimeoutError(endpoint_url="u"), AwsUnreachable),
        (ReadTimeoutError(endpoint_url="u"), AwsUnreachable),
        (ParamValidationError(report="r"), AwsError),
    ],
)
def test_error_of_botocore_is_translated(error: Exception, kind: type[AwsError]) -> None:
    translated = aws_error(error)

    assert type(translated) is kind
    assert str(translated) == str(error)


def test_refusal_keeps_what_the_service_says() -> None:
    response = {
        "Error": {"Code": "TransactionCanceledException", "Message": "why"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
        "CancellationReasons": [{"Code": "None"}],
    }
    refusal = aws_error(ClientError(response, "TransactWriteItems"))  # pyright: ignore[reportArgumentType]

    assert isinstance(refusal, AwsRefusal)
    assert (refusal.code, refusal.reason, refusal.status) == ("TransactionCanceledException", "why", 400)
    assert refusal.answer["CancellationReasons"] == [{"Code": "None"}]
    assert str(refusal) == "TransactWriteItems was refused: TransactionCanceledException: why"


def test_own_errors_stay_and_foreign_ones_are_none() -> None:
    own = AwsUnreachable("gone")

    assert aws_error(own) is own
    assert aws_error(OSError("gone")) is None


def test_translation_does_not_load_botocore() -> None:
    program = (
        "import sys; from resonate_store.aws.errors import aws_error;"
        "print(aws_error(OSError()), 'botocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "None False\n"

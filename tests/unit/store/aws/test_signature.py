"""Signatures are the same as those of botocore."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from resonate_store.aws.credentials import AwsCredentials
from resonate_store.aws.signature import AwsSigner
from resonate_store.model.clock import ManualClock

AT = 1_796_000_000_000
FUNCTION = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Aworker%3Alive/invocations"
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


def of_botocore(
    service: str, region: str, path: str, headers: dict[str, str], body: bytes, credentials: AwsCredentials
) -> str:
    url = f"https://{headers['host']}{path}"
    request = AWSRequest("POST", url, headers=headers, data=body)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(AT / 1000, UTC))
        SigV4Auth(Credentials(*credentials), service, region).add_auth(request)
    return request.headers["Authorization"]


@pytest.mark.parametrize("token", [None, "token/with+signs=="])
@pytest.mark.parametrize(
    ("service", "region", "path", "headers"),
    [
        ("dynamodb", "eu-west-1", "/", {"x-amz-target": "DynamoDB_20120810.PutItem"}),
        ("lambda", "us-gov-west-1", FUNCTION, {"x-amz-invocation-type": "Event"}),
        ("sqs", "cn-north-1", "/prefix/", {"content-type": " application/x-amz-json-1.0 "}),
    ],
)
def test_signature_is_that_of_botocore(
    service: str, region: str, path: str, headers: dict[str, str], token: str | None
) -> None:
    credentials = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    needed = {"host": f"{service}.{region}.amazonaws.com", **headers}
    body = '{"text":"ü"}'.encode()
    signed = AwsSigner(service, region, ManualClock(AT)).sign(path, needed, body, credentials)

    assert signed["authorization"] == of_botocore(service, region, path, needed, body, credentials)
    assert signed.get("x-amz-security-token") == token
    assert signed["x-amz-date"] == "20261130T005320Z"


@settings(max_examples=50)
@given(VISIBLE, VISIBLE, st.none() | VISIBLE, st.binary(max_size=50))
def test_any_credentials_and_body_are_signed_as_by_botocore(
    key: str, secret: str, token: str | None, body: bytes
) -> None:
    credentials = AwsCredentials(key, secret, token)
    headers = {"host": "dynamodb.us-east-1.amazonaws.com"}
    signed = AwsSigner("dynamodb", "us-east-1", ManualClock(AT)).sign("/", headers, body, credentials)

    assert signed["authorization"] == of_botocore("dynamodb", "us-east-1", "/", headers, body, credentials)


def test_key_follows_the_day_and_the_secret() -> None:
    clock = ManualClock(AT)
    signer = AwsSigner("dynamodb", "us-east-1", clock)

    def signature(secret: str) -> str:
        return signer.sign("/", {"host": "h"}, b"", AwsCredentials("k", secret, None))["authorization"]

    first, other = signature("a"), signature("b")
    clock.advance(86_400_000)
    assert len({first, other, signature("a")}) == 3
    fresh = AwsSigner("dynamodb", "us-east-1", clock).sign("/", {"host": "h"}, b"", AwsCredentials("k", "a", None))
    assert signature("a") == fresh["authorization"]

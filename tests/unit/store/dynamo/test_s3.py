from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from resonate_store.dynamo.client import Unavailable
from resonate_store.dynamo.s3 import Bucket, NoSuchObject
from resonate_store.interface import StoreError
from tests.support.dynamo import REGION


class Failing:
    """A client whose every call raises this error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, _name: str) -> Callable[..., Any]:
        def fail(**_: Any) -> Any:
            raise self.error

        return fail


def test_error_of_s3_is_transient_or_not(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Exception, type[Exception]]] = [
        (ClientError({"Error": {"Code": "SlowDown"}}, "PutObject"), Unavailable),
        (ClientError({"ResponseMetadata": {"HTTPStatusCode": 503}}, "PutObject"), Unavailable),  # pyright: ignore[reportArgumentType]
        (EndpointConnectionError(endpoint_url="https://s3"), Unavailable),
        (ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject"), NoSuchObject),
        (ClientError({"Error": {"Code": "NoSuchBucket"}}, "PutObject"), StoreError),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject"), StoreError),
        (NoCredentialsError(), StoreError),
    ]
    for error, meaning in cases:
        with subtests.test(error=error):
            client: Any = Failing(error)
            with pytest.raises(meaning) as raised:
                Bucket("b", client, 1).call("put_object", Key="k")
            assert type(raised.value) is meaning


def test_missing_bucket_is_named(dynamo: Any) -> None:  # noqa: ARG001
    client: Any = boto3.client("s3", region_name=REGION)
    with pytest.raises(StoreError, match="there is no bucket 'nowhere-at-all': set RESONATE_BUCKET"):
        Bucket("nowhere-at-all", client, 1).call("get_object", Key="k")

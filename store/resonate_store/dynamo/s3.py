"""Calls to S3: the client, and the meaning of its errors.

Few programs have large values, and creating a client takes a large part of a cold start. The first call creates it.
"""

from __future__ import annotations

import threading
from typing import Any, Final, Protocol

from resonate_store.aws.clients import client_of
from resonate_store.aws.connections import CallLimits
from resonate_store.aws.errors import AwsRefusal, AwsUnreachable, aws_error
from resonate_store.dynamo.client import Unavailable
from resonate_store.interface import StoreError

_PASSING: Final = frozenset({"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"})
_MISSING: Final = frozenset({"404", "NoSuchKey"})


class BucketClient(Protocol):
    """The methods of botocore's S3 client that the store uses."""

    def put_object(self, **arguments: Any) -> dict[str, Any]: ...
    def get_object(self, **arguments: Any) -> dict[str, Any]: ...
    def put_object_tagging(self, **arguments: Any) -> dict[str, Any]: ...
    def delete_object_tagging(self, **arguments: Any) -> dict[str, Any]: ...
    def delete_objects(self, **arguments: Any) -> dict[str, Any]: ...


class NoSuchObject(StoreError):
    """Raised when the bucket has no object under a key."""


class Bucket:
    """One bucket of S3.

    Args:
        name: the name of the bucket.
        client: a botocore client for S3. None creates one from the environment when it is first used.
        width: how many requests run at the same time.
    """

    def __init__(self, name: str, client: BucketClient | None, width: int) -> None:
        self.name = name
        self._client = client
        self._width = width
        self._lock = threading.Lock()

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of the client for this bucket.

        Args:
            operation: the name of the client's method.
            arguments: the arguments, without the bucket.

        Raises:
            NoSuchObject: the bucket has no object under the key.
            Unavailable: S3 does not answer now.
            StoreError: S3 refuses the request, or it cannot be sent.
        """
        try:
            return getattr(self._shared_client(), operation)(Bucket=self.name, **arguments)
        except Exception as error:
            meaning = self._meaning_of(error, arguments.get("Key", ""))
            if meaning is None:
                raise
            raise meaning from error

    def _shared_client(self) -> BucketClient:
        if self._client is None:
            with self._lock:
                limits = CallLimits(2, 10, attempts=3, connections=max(10, self._width))
                self._client = self._client or client_of("s3", limits)
        return self._client

    def _meaning_of(self, error: Exception, key: str) -> Exception | None:
        meaning = aws_error(error)
        if meaning is None:
            return None
        if isinstance(meaning, AwsUnreachable):
            return Unavailable(f"S3 cannot be reached: {error} (AWS_ENDPOINT_URL leads elsewhere when set)")
        if not isinstance(meaning, AwsRefusal):
            return StoreError(f"the S3 client cannot send this: {error}")
        code, message = meaning.code, meaning.reason
        if code in _PASSING or meaning.status >= 500:
            return Unavailable(f"S3 is busy: {code}: {message}")
        if code in _MISSING:
            return NoSuchObject(f"bucket {self.name!r} has no object {key!r}")
        if code == "NoSuchBucket":
            return StoreError(
                f"there is no bucket {self.name!r}: set RESONATE_BUCKET to the bucket of the table's deployment"
            )
        return StoreError(f"S3 refuses bucket {self.name!r} to us: {code}: {message}")

"""Calls to DynamoDB: the client, and the meaning of its errors.

An error has one of four meanings:

- `Unavailable`: the same call may succeed later, for example after throttling or a lost connection. It is repeated
  unchanged, so that a write whose response was lost is recognised.
- `ConditionFailed`: the record has changed.
- `TransactionRefused`: DynamoDB refuses the content of this request.
- `StoreError`: no call succeeds until the setup is changed. The message says what to change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar, cast

from resonate_store.aws.clients import client_of
from resonate_store.aws.connections import CallLimits
from resonate_store.aws.errors import (
    AwsError,
    AwsRefusal,
    AwsUnreachable,
    NoAwsCredentials,
    NoAwsRegion,
    aws_error,
)
from resonate_store.dynamo.items import AnyItem
from resonate_store.interface import StoreError

_PASSING: Final = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_CONDITION_FAILED: Final = frozenset({"ConditionalCheckFailed", "ConditionalCheckFailedException"})
_REFUSED: Final = frozenset({"SerializationException", "ValidationError", "ValidationException"})


# A call takes milliseconds. One that takes seconds is lost, and a lease does not wait for it. Even if all tries of all
# attempts time out, a function with a limit of one minute has time to report it.
LIMITS: Final = CallLimits(connect_timeout_s=2, read_timeout_s=3, attempts=2, connections=50)


class TableClient(Protocol):
    """The methods of boto3's DynamoDB client that the store uses."""

    def get_item(self, **arguments: Any) -> dict[str, Any]: ...
    def batch_get_item(self, **arguments: Any) -> dict[str, Any]: ...
    def query(self, **arguments: Any) -> dict[str, Any]: ...
    def scan(self, **arguments: Any) -> dict[str, Any]: ...
    def put_item(self, **arguments: Any) -> dict[str, Any]: ...
    def update_item(self, **arguments: Any) -> dict[str, Any]: ...
    def delete_item(self, **arguments: Any) -> dict[str, Any]: ...
    def transact_write_items(self, **arguments: Any) -> dict[str, Any]: ...


T = TypeVar("T")
Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Calls DynamoDB. It takes the name of a client's method and the arguments."""


class Unavailable(StoreError):
    """Raised when DynamoDB cannot answer now. The same call may succeed later."""


class ConditionFailed(Exception):
    """Raised when a condition of a write failed.

    `images` maps the position of each failed element to its present item, or to None if the item is missing.
    """

    def __init__(self, images: Mapping[int, AnyItem | None]) -> None:
        super().__init__(images)
        self.images = images


class TransactionRefused(StoreError):
    """Raised when DynamoDB refuses the content of a request."""


def pages(call: Call, operation: str, arguments: Mapping[str, Any]) -> Iterator[AnyItem]:
    """Yield all items of a query or a scan. It reads further pages as needed."""
    position: dict[str, Any] = {}
    while True:
        answer = call(operation, {**arguments, **position})
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        position = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


class TableConnection:
    """The client of one table. It is created when it is first used, so that importing the store is fast.

    Args:
        table: the name of the table in errors.
        client: a client to use instead.
    """

    def __init__(self, table: str, client: TableClient | None) -> None:
        self._table = table
        self._client = client
        self._lock = threading.Lock()

    def open(self) -> None:
        """Create the client if there is none yet.

        Raises:
            StoreError: no AWS region is set.
        """
        self._translated(self._shared_client)

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call the client once.

        Raises:
            Unavailable, ConditionFailed, TransactionRefused, StoreError: the meaning of the client's error.
        """
        return self._translated(lambda: getattr(self._shared_client(), operation)(**arguments))

    def _translated(self, ask: Callable[[], T]) -> T:
        """Return what `ask` returns, and raise the meaning of its error."""
        try:
            return ask()
        except Exception as error:
            meaning = meaning_of(error, self._table)
            if meaning is None:
                raise
            raise meaning from error

    def _shared_client(self) -> TableClient:
        if self._client is None:
            with self._lock:
                self._client = self._client or client_of("dynamodb", LIMITS)
        return self._client


def meaning_of(error: Exception, table: str) -> Exception | None:
    """Return the meaning of a client's error as an exception of this module, or a `StoreError`.

    None means that it is not an error of a client.
    """
    match aws_error(error):
        case AwsRefusal() as refusal:
            return _meaning_of_refusal(refusal, table)
        case NoAwsRegion():
            return StoreError("DynamoDB needs a region: set AWS_DEFAULT_REGION, e.g. us-east-1")
        case NoAwsCredentials():
            return StoreError(
                "there are no AWS credentials to reach DynamoDB with: configure them (`aws configure`,"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role); a DynamoDB elsewhere (AWS_ENDPOINT_URL)"
                " takes any"
            )
        case AwsUnreachable():
            return Unavailable(f"DynamoDB cannot be reached: {error} (AWS_ENDPOINT_URL leads elsewhere when set)")
        case AwsError():
            return StoreError(f"the DynamoDB client cannot send this: {error}")
        case None:
            return None


def _meaning_of_refusal(refusal: AwsRefusal, table: str) -> Exception:
    code, message = refusal.code, refusal.reason
    if code == "TransactionCanceledException":
        return _meaning_of_cancellation(refusal.answer.get("CancellationReasons", []), message)
    if code in _CONDITION_FAILED:
        return ConditionFailed({0: refusal.answer.get("Item")})
    if code in _PASSING or refusal.status >= 500:
        return Unavailable(f"DynamoDB is busy: {code}: {message}")
    if code in _REFUSED:
        return TransactionRefused(message)
    if code == "ResourceNotFoundException":
        return StoreError(f"there is no table {table!r}: set RESONATE_TABLE to the name of the deployment's table")
    return StoreError(f"DynamoDB refuses table {table!r} to us: {code}: {message}")


def _meaning_of_cancellation(reasons: Sequence[dict[str, Any]], message: str) -> Exception:
    failed = {
        position: cast("AnyItem | None", reason.get("Item"))
        for position, reason in enumerate(reasons)
        if reason.get("Code") in _CONDITION_FAILED
    }
    if failed:
        return ConditionFailed(failed)
    refusals = [reason.get("Message") or message for reason in reasons if reason.get("Code") in _REFUSED]
    return TransactionRefused(refusals[0]) if refusals else Unavailable(f"DynamoDB is busy: {message}")

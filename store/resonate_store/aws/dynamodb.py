"""A client of DynamoDB with the operations that the store uses, under the names that boto3 gives them."""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

from resonate_store.aws.calls import DamagedResponse, ServiceCalls, decoded, encoded
from resonate_store.aws.exchange import AwsResponse

_TARGET: Final = "DynamoDB_20120810"


class DynamoClient:
    """Takes and gives what boto3's client does. Binary attributes stay base64; the table has none.

    Args:
        calls: calls the service.
    """

    def __init__(self, calls: ServiceCalls) -> None:
        self._calls = calls

    def get_item(self, **arguments: Any) -> dict[str, Any]:
        return self._call("GetItem", arguments)

    def batch_get_item(self, **arguments: Any) -> dict[str, Any]:
        return self._call("BatchGetItem", arguments)

    def query(self, **arguments: Any) -> dict[str, Any]:
        return self._call("Query", arguments)

    def scan(self, **arguments: Any) -> dict[str, Any]:
        return self._call("Scan", arguments)

    def put_item(self, **arguments: Any) -> dict[str, Any]:
        return self._call("PutItem", arguments)

    def update_item(self, **arguments: Any) -> dict[str, Any]:
        return self._call("UpdateItem", arguments)

    def delete_item(self, **arguments: Any) -> dict[str, Any]:
        return self._call("DeleteItem", arguments)

    def transact_write_items(self, **arguments: Any) -> dict[str, Any]:
        return self._call("TransactWriteItems", arguments)

    def _call(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"{_TARGET}.{operation}"}
        return self._calls.call(operation, headers, encoded(arguments), decoded)


def verify_checksum(response: AwsResponse) -> None:
    """Compare the checksum that DynamoDB sends with every response.

    Raises:
        DamagedResponse: it does not fit. Requests ask for no compression, because the checksum is that of the text.
    """
    expected = response.headers.get("x-amz-crc32")
    if expected is not None and str(crc32(response.body)) != expected:
        raise DamagedResponse("a response does not fit its checksum")

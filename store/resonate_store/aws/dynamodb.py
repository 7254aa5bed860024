"""Client of DynamoDB. It has the operations that the store calls, with the names and arguments of boto3."""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

from resonate_store.aws.calls import DamagedResponse, ServiceCalls, decoded, encoded
from resonate_store.aws.exchange import AwsResponse

_TARGET: Final = "DynamoDB_20120810"


class DynamoClient:
    """Client of DynamoDB with the arguments and results of boto3's client.

    Binary attributes stay base64, because the table has none.

    Args:
        calls: calls DynamoDB.
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
    """Compare the checksum that DynamoDB sends with a response. Requests ask for no compression, which would change it.

    Raises:
        DamagedResponse: the body has another checksum.
    """
    expected = response.headers.get("x-amz-crc32")
    if expected is not None and str(crc32(response.body)) != expected:
        raise DamagedResponse("a response does not fit its checksum")

"""Requests to moto's DynamoDB without HTTP.

For each request, moto makes a WSGI request, searches the URLs of all services, and walks through the parameters along
the description of the service. That takes longer than the operation itself. Here the handler of the operation is called
with the parameters as they are. Its results are moto's own, and so are its errors.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from typing import Any
from zlib import crc32

import msgspec
from botocore.compat import HTTPHeaders
from moto.core.exceptions import (
    HTTPException,  # pyright: ignore[reportPrivateImportUsage] - moto catches it by this name, too
    ServiceException,
)
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores, get_service_model
from moto.dynamodb.responses import DynamoHandler

from resonate_store.aws.exchange import AwsRequest, AwsResponse

_METHODS = {
    operation: camelcase_to_underscores(operation)
    for operation in (
        "BatchGetItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "TransactWriteItems",
        "UpdateItem",
    )
}
_HEADERS = [("content-type", "application/x-amz-json-1.0")]
_BINARY = (b'"B":', b'"BS":')
"""Binary attributes have another form in moto than in a request."""


def answer(request: AwsRequest) -> AwsResponse | None:
    """Carry out a request of a client of the store, and return its response. Return None if moto itself has to do it.

    Args:
        request: the request, with the path of its region in its URL.
    """
    method = _METHODS.get(request.operation) if request.service == "dynamodb" else None
    if method is None or any(binary in request.body for binary in _BINARY):
        return None
    handler = _Handler(request)
    try:
        result = getattr(handler, method)().result
    except ServiceException as error:
        status, headers, text = handler.serialized(ActionResult(error))
        return _response(status, headers.items(), text if isinstance(text, bytes) else text.encode())
    except HTTPException as error:
        text = error.description or ""
        return _response(error.code or 500, error.get_headers(), text.encode())
    # moto's results have more members than the response.
    named = {name: result[name] for name in _members(request.operation) if result.get(name) is not None}
    body = msgspec.json.encode(named)
    return _response(200, _HEADERS, body)


@functools.cache
def _members(operation: str) -> tuple[str, ...]:
    """Return the names of the members of an operation's response."""
    return tuple(get_service_model("dynamodb").operation_model(operation).output_shape.members)


def _response(status: int, headers: Iterable[tuple[str, Any]], body: bytes) -> AwsResponse:
    named = {name.lower(): str(value) for name, value in headers}
    return AwsResponse(status, {**named, "x-amz-crc32": str(crc32(body))}, body)


class _Handler(DynamoHandler):
    """Handler of one request, with the attributes that moto takes from HTTP."""

    def __init__(self, request: AwsRequest) -> None:
        super().__init__()
        self.body: Any = json.loads(request.body)
        self.params = self.body
        self.querystring = {}
        self.headers = HTTPHeaders()
        for name, value in request.headers.items():
            self.headers[name] = value
        self.response_headers = {}
        self.current_account = DEFAULT_ACCOUNT_ID
        self.region = self.get_region_from_url(request, request.url)

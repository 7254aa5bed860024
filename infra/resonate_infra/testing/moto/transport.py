"""moto as the transport of the store's AWS client: a request becomes what botocore would send to moto."""

from __future__ import annotations

from typing import Any

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto.core.models import botocore_stubber

from resonate_infra.testing.moto import direct
from resonate_store.aws.errors import AwsUnreachable
from resonate_store.aws.exchange import AwsRequest, AwsResponse


def prepared(request: AwsRequest) -> AWSPreparedRequest:
    """Return a request as botocore prepares it."""
    headers = HTTPHeaders()
    for name, value in request.headers.items():
        headers[name] = value
    return AWSPreparedRequest("POST", request.url, headers, request.body, False)


def event_of(request: AwsRequest) -> str:
    """Return the name of botocore's event before it sends such a request."""
    return f"before-send.{request.service}.{request.operation}"


def read(response: Any) -> AwsResponse:
    """Return a response of moto as one of the client's transport."""
    headers = {name.lower(): str(value) for name, value in response.headers.items()}
    return AwsResponse(response.status_code, headers, response.content)


def send(request: AwsRequest) -> AwsResponse:
    """Have moto carry out a request, and return its response.

    Raises:
        AwsUnreachable: moto is not in use.
    """
    if botocore_stubber.enabled and (answer := direct.answer(request)) is not None:
        return answer
    response = botocore_stubber(event_of(request), prepared(request))
    if response is None:
        raise AwsUnreachable(f"moto is not in use, and does not answer {request.url}")
    return read(response)

"""Requests to a service of AWS, their responses, and the transport between them.

A transport is a function, so that the offline stack and the tests can put moto in the place of AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from resonate_store.aws.errors import AwsUnreachable


class AwsRequest(NamedTuple):
    """One signed request.

    Attributes:
        service: the service's name, such as `dynamodb`.
        operation: the operation's name in the service's API, such as `PutItem`.
        attempt: the number of this attempt of the call, from 1.
        url: the URL, with scheme, host and path.
        headers: the headers that are signed or that the service needs, by lower-case name.
        body: the body.
    """

    service: str
    operation: str
    attempt: int
    url: str
    headers: Mapping[str, str]
    body: bytes


class AwsResponse(NamedTuple):
    """One complete response. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Transport = Callable[[AwsRequest], AwsResponse]
"""Sends a request, and returns its response.

If it raises an error that `aws_error` returns as an `AwsUnreachable`, the request may be sent again. Any other error
ends the call.
"""


class KeptConnectionEnded(AwsUnreachable):
    """Raised by a transport if a connection that was kept open ends before the first byte of a response.

    The service has closed it, or Lambda had frozen this process until the service closed it. The request may be sent
    again at once.
    """


_installed: Transport | None = None


def installed_transport() -> Transport | None:
    """Return the transport of clients that are created now; None means the network."""
    return _installed


@contextmanager
def installed(transport: Transport) -> Generator[None]:
    """Use a transport in place of the network for clients that are created in the block.

    Tests and the offline stack use it.
    """
    global _installed
    before, _installed = _installed, transport
    try:
        yield
    finally:
        _installed = before

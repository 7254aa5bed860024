"""One HTTP exchange with a service of AWS, as data, and the transport that carries it out.

A transport is a callable, so that the offline stack and the tests can put moto in the place of AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import NamedTuple


class AwsRequest(NamedTuple):
    """One signed request.

    Attributes:
        service: the service's name, such as `dynamodb`.
        operation: the operation's name in the service's API, such as `PutItem`.
        attempt: the number of this sending of the call, from 1.
        url: the URL with scheme, host and path.
        headers: all headers that are signed or that the service needs, by lower-case name.
        body: the body.
    """

    service: str
    operation: str
    attempt: int
    url: str
    headers: Mapping[str, str]
    body: bytes


class AwsResponse(NamedTuple):
    """One complete response; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Transport = Callable[[AwsRequest], AwsResponse]
"""Sends a request, and returns its response.

What it raises ends the call. The exception is what `aws_error` returns as an `AwsUnreachable`: then the request may be
sent again.
"""

_installed: Transport | None = None


def installed_transport() -> Transport | None:
    """Return the transport of every client that is made now; None means the network."""
    return _installed


@contextmanager
def installed(transport: Transport) -> Generator[None]:
    """Use a transport in place of the network, for clients made in the block; for tests and the offline stack."""
    global _installed
    before, _installed = _installed, transport
    try:
        yield
    finally:
        _installed = before

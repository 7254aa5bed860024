"""Keep-alive connections to one service: the transport that is the network."""

from __future__ import annotations

import ssl
import weakref
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from resonate_store.aws.errors import AwsError, AwsUnreachable
from resonate_store.aws.exchange import AwsRequest, AwsResponse
from resonate_store.aws.http import ConnectionEnded, HttpConnection

_CONSTANT: Final = ("user-agent: resonate-serverless", "accept-encoding: identity")
"""Headers of every request. AWS does not compress, because DynamoDB's checksum is that of the text."""


class CallLimits(NamedTuple):
    """How long a call may take, and how often it is sent.

    Attributes:
        connect_timeout_s: seconds to connect, with the handshake of TLS.
        read_timeout_s: seconds from one byte of a response to the next.
        attempts: how often a request is sent at most.
        connections: idle connections that are kept.
    """

    connect_timeout_s: float
    read_timeout_s: float
    attempts: int
    connections: int = 10


class Connections:
    """Sends requests to one endpoint; threads may share it.

    Args:
        url: the endpoint; its path counts nothing here.
        limits: the timeouts, and how many connections to keep.
    """

    def __init__(self, url: str, limits: CallLimits) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._limits = limits
        self._tls = tls_context() if parts.scheme == "https" else None
        self._path_at = len(parts.scheme) + 3 + len(parts.netloc)
        self._idle: deque[HttpConnection] = deque()
        weakref.finalize(self, _close, self._idle)

    def __call__(self, request: AwsRequest) -> AwsResponse:
        """Send a request and return its response.

        Raises:
            AwsUnreachable: a complete response did not arrive.
            AwsError: the request has a header that cannot be sent.
        """
        message = _head_of(request, request.url[self._path_at :]) + request.body
        try:
            connection = self._kept()
            if connection is not None:
                try:
                    return self._exchange(connection, message)
                except ConnectionEnded:
                    # The service has closed a connection that was kept, or Lambda froze this process until it did.
                    # Sending again is safe even if the request arrived: writes carry a condition or a token, and a
                    # message that comes twice is harmless. The other connections are as old, so none of them is tried.
                    _close(self._idle)
            return self._exchange(self._connected(), message)
        except ConnectionEnded:
            raise AwsUnreachable(f"{request.url}: the connection was closed before a response") from None
        except AwsUnreachable as error:
            raise AwsUnreachable(f"{request.url}: {error}") from None
        except (OSError, UnicodeError) as error:
            raise AwsUnreachable(f"{request.url}: {error or type(error).__name__}") from error

    def _kept(self) -> HttpConnection | None:
        """Return the idle connection that was used last, if it is open."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.is_readable():
                return connection
            connection.close()

    def _connected(self) -> HttpConnection:
        limits = self._limits
        return HttpConnection(self._host, self._port, self._tls, limits.connect_timeout_s, limits.read_timeout_s)

    def _exchange(self, connection: HttpConnection, message: bytes) -> AwsResponse:
        try:
            response = connection.exchange(message)
        except BaseException:
            connection.close()
            raise
        if connection.reusable and len(self._idle) < self._limits.connections:
            self._idle.append(connection)
        else:
            connection.close()
        return response


def _close(connections: deque[HttpConnection]) -> None:
    while connections:
        connections.pop().close()


def _head_of(request: AwsRequest, path: str) -> bytes:
    """Return the request line and the headers.

    Raises:
        AwsError: a header has a line break, or a character that headers cannot have.
    """
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items()), *_CONSTANT]
    lines.append(f"content-length: {len(request.body)}")
    head = "\r\n".join(lines)
    if not head.isascii() or head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise AwsError("credentials and trace header must be printable ASCII")
    return f"{head}\r\n\r\n".encode()


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts what boto3 trusts: the certificates of certifi if it is installed, else botocore's.

    Raises:
        AwsError: neither is installed.
    """
    for package in ("certifi", "botocore"):
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_verify_locations(Path(spec.origin).with_name("cacert.pem"))
            return context
    raise AwsError("there are no public certificates: install botocore or certifi")

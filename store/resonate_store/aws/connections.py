"""Keep-alive connections to one service: the transport over the network."""

from __future__ import annotations

import os
import ssl
import weakref
from collections import deque
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from resonate_store.aws.errors import AwsError, AwsUnreachable
from resonate_store.aws.exchange import AwsRequest, AwsResponse, KeptConnectionEnded
from resonate_store.aws.http import ConnectionEnded, HttpConnection

_CONSTANT: Final = ("user-agent: resonate-serverless", "accept-encoding: identity")
"""Headers of every request. They ask for no compression, because DynamoDB computes its checksum of what it sends."""


class CallLimits(NamedTuple):
    """Timeouts and attempts of a call.

    Attributes:
        connect_timeout_s: seconds to connect, with the handshake of TLS.
        read_timeout_s: seconds from one byte of a response to the next.
        attempts: maximum number of attempts.
        connections: maximum number of idle connections that are kept.
    """

    connect_timeout_s: float
    read_timeout_s: float
    attempts: int
    connections: int = 10


class Connections:
    """Transport that sends requests to one endpoint. Threads may share it.

    A process that is forked from this one opens connections of its own. On a shared connection each process could read
    the response of the other one.

    Args:
        url: the endpoint. Its path is not used here.
        limits: the timeouts, and the number of idle connections.
    """

    def __init__(self, url: str, limits: CallLimits) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._limits = limits
        self._tls = tls_context() if parts.scheme == "https" else None
        self._path_at = len(parts.scheme) + 3 + len(parts.netloc)
        self._idle: deque[HttpConnection] = deque()
        self._process = os.getpid()
        weakref.finalize(self, _close, self._idle)

    def __call__(self, request: AwsRequest) -> AwsResponse:
        """Send a request and return its response.

        Raises:
            KeptConnectionEnded: a connection that was kept open has ended.
            AwsUnreachable: no complete response has arrived.
            AwsError: the request has a header that cannot be sent.
        """
        message = _head_of(request, request.url[self._path_at :]) + request.body
        connection = self._kept()
        try:
            if connection is None:
                return self._exchange(self._connected(), message)
            try:
                return self._exchange(connection, message)
            except (ConnectionEnded, OSError):
                # The other connections are as old. The service has closed them too, or a firewall has forgotten them.
                _close(self._idle)
                raise
        except ConnectionEnded:
            kind = AwsUnreachable if connection is None else KeptConnectionEnded
            raise kind(f"{request.url}: the connection was closed before a response") from None
        except AwsUnreachable as error:
            raise AwsUnreachable(f"{request.url}: {error}") from None
        except (OSError, UnicodeError) as error:
            raise AwsUnreachable(f"{request.url}: {error or type(error).__name__}") from error

    def _kept(self) -> HttpConnection | None:
        """Return the idle connection that was used last, or None if no idle connection is open."""
        if self._process != os.getpid():
            _close(self._idle)  # only here: they stay open in the process that this one was forked from
            self._process = os.getpid()
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
    with suppress(IndexError):  # another thread may take the last connection
        while True:
            connections.pop().close()


def _head_of(request: AwsRequest, path: str) -> bytes:
    """Return the request line and the headers.

    Raises:
        AwsError: a header has a line break or a character outside ASCII.
    """
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items()), *_CONSTANT]
    lines.append(f"content-length: {len(request.body)}")
    head = "\r\n".join(lines)
    if not head.isascii() or head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise AwsError("credentials and trace header must be printable ASCII")
    return f"{head}\r\n\r\n".encode()


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts the same certificates as boto3: those of certifi, or else of botocore.

    Raises:
        AwsError: neither package is installed.
    """
    for package in ("certifi", "botocore"):
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_verify_locations(Path(spec.origin).with_name("cacert.pem"))
            return context
    raise AwsError("there are no public certificates: install botocore or certifi")

"""One try of a request to a server without TLS, on the socket."""

from __future__ import annotations

import re
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from resonate_store.aws.errors import AwsUnreachable
from resonate_store.aws.http import ConnectionEnded, HttpConnection
from resonate_store.interface import StoreError
from resonate_store.remote.http import CONNECT_TIMEOUT_S, CONNECTIONS, READ_TIMEOUT_S, Fault, Reply, path_of

_LINE: Final = re.compile(r"[\x20-\x7e\x80-\xff\t]*")


class PlainPost:
    """HTTP client for one server, with connections that are kept open. Threads may share it.

    Args:
        url: the address of the server.

    Raises:
        StoreError: the address is not that of a server.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port or 80
        except ValueError as error:
            raise StoreError(f"{url!r} is no address of a server: {error}") from error
        if not self._host:
            raise StoreError(f"{url!r} is no address of a server: it has no host")
        self._url = url
        self._first = (f"POST {path_of(url)} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}")
        self._headers: Mapping[str, str] = {}
        self._head = b""
        self._idle: deque[HttpConnection] = deque()
        weakref.finalize(self, _close, self._idle)

    def __call__(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:
        message = b"%bContent-Length: %d\r\n\r\n%b" % (self._head_of(headers), len(body), body)
        connection = self._connected(timeout)
        try:
            connection.set_read_timeout(min(timeout, READ_TIMEOUT_S))
            status, received, content = connection.exchange(message)
        except BaseException as error:
            connection.close()
            match error:
                case TimeoutError():
                    raise Fault("Read timed out", sent=True) from error
                case ConnectionEnded():
                    raise Fault("the server closed the connection without a response", sent=True) from error
                case AwsUnreachable() | OSError():
                    raise Fault(str(error) or type(error).__name__, sent=True) from error
                case _:
                    raise
        if connection.reusable and len(self._idle) < CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()
        return Reply(status, received, content)

    def _connected(self, timeout: float) -> HttpConnection:
        """Return the idle connection that was used last and is open, or a new one."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread has taken it
                break
            if not connection.is_readable():
                return connection
            connection.close()
        try:
            return HttpConnection(self._host, self._port, None, min(timeout, CONNECT_TIMEOUT_S), READ_TIMEOUT_S)
        except TimeoutError as error:
            raise Fault("Connection timed out", sent=False) from error
        except (OSError, UnicodeError) as error:
            raise Fault(str(error) or type(error).__name__, sent=False) from error

    def _head_of(self, headers: Mapping[str, str]) -> bytes:
        """Return the head of a request without its length. The headers of all requests are usually the same."""
        if headers != self._headers or not self._head:
            lines = [*self._first, "Accept-Encoding: identity", *(f"{name}: {headers[name]}" for name in headers)]
            for line in lines:
                if not _LINE.fullmatch(line):
                    raise StoreError(f"{self._url} cannot be called: a header has a character that it cannot have")
            head = "\r\n".join([*lines, ""]).encode("latin-1")
            self._head, self._headers = head, headers
            return head
        return self._head


def _close(connections: deque[HttpConnection]) -> None:
    while connections:
        connections.pop().close()

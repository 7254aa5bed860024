"""Connections of the server: uvicorn's protocols, with the limits of this server.

`httptools` parses requests where it is installed. Elsewhere `h11` does, which takes more processor time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ModuleNotFoundError:
    HttpToolsProtocol = None

if TYPE_CHECKING:
    _Base = asyncio.Protocol
else:
    _Base = object

MAX_HEAD_BYTES: Final = 64 * 1024
"""The largest head of a request, as in h11."""

_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Joined:
    """Transport that sends in one piece what is written in one step of the event loop, such as a head and its body.

    Each piece is a system call, and wakes up the client.

    Args:
        transport: the transport of the connection.
        loop: its event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def flush(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            self._transport.write(b"".join(parts))

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Limited(_Base):
    """Connection that is refused if there are too many, and closed if a request does not arrive in time.

    uvicorn itself closes a connection only if it is idle after a response. It does not close a new connection without a
    request, or one with a part of a request. This class comes before the one of uvicorn.

    Args:
        most: maximum number of connections at the same time.
        timeout_s: maximum seconds until a request has arrived.
    """

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    connections: set[Any]
    cycle: Any

    def __init__(self, *arguments: Any, most: int, timeout_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._most = most
        self._timeout_s = timeout_s
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self._joined = _Joined(transport, self.loop)
        transport = cast("asyncio.Transport", self._joined)
        super().connection_made(transport)
        if len(self.connections) > self._most:
            transport.write(_FULL)
            transport.close()
            return
        self._deadline = self.loop.call_later(self._timeout_s, self._time_out)

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        self._joined.flush()
        super().on_response_complete()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        self._watch()

    def _watch(self) -> None:
        if not self._arriving():
            self._clear()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._timeout_s, self._time_out)

    def _arriving(self) -> bool:
        """Return whether a part of a request has arrived and another part is missing."""
        raise NotImplementedError

    def _clear(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if cycle is None or not cycle.response_started or cycle.response_complete:
            self.transport.write(_TIMED_OUT)
        self.transport.close()


class H11Connection(_Limited, H11Protocol):
    """Connection whose requests h11 parses."""

    def _arriving(self) -> bool:
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))


def connection_class() -> type[asyncio.Protocol]:
    """Return the class of connections: with httptools if it is installed, else with h11."""
    return cast("type[asyncio.Protocol]", H11Connection if HttpToolsProtocol is None else HttpToolsConnection)


if HttpToolsProtocol is not None:

    class HttpToolsConnection(_Limited, HttpToolsProtocol):
        """Connection whose requests httptools parses. It limits the head of a request, which httptools does not."""

        _begun = False
        _head_bytes: int | None = None
        """Bytes of the head that is arriving, or None if a head is not arriving."""

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._head_bytes is not None:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                    self.transport.write(_TOO_LARGE)
                    self.transport.close()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._begun, self._head_bytes = True, 0

        def on_headers_complete(self) -> None:
            self._head_bytes = None
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._begun = False
            super().on_message_complete()

        def _arriving(self) -> bool:
            return self._begun

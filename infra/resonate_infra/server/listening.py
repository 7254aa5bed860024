"""Where the server listens, and uvicorn as this server uses it."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

KEEP_ALIVE_S = 75
"""Seconds for which an idle connection stays open: clients use it again, and one that is closed just then fails."""

REQUEST_TIMEOUT_S = 60.0
"""Seconds in which a request has to arrive whole, headers and body, from its first byte or from its connection on."""
CONNECTIONS = 8_192
"""Connections at the same time, if the server is not told."""
BACKLOG = 128
"""Connections that wait to be accepted."""

LAST_PORT = 65_535

_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"

logger = logging.getLogger("resonate.server")


class CannotListen(Exception):
    """There is no listening at this address; the message says why and what to do."""


class _Protocol(H11Protocol):
    """uvicorn's connection, which is refused where there are too many, and closed when a request does not arrive.

    uvicorn itself closes a connection only when it is idle after a response, and not a new one or half a request.

    Args:
        most: connections at the same time.
        timeout_s: in which a request has to arrive.
    """

    def __init__(self, *arguments: Any, most: int, timeout_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._most = most
        self._timeout_s = timeout_s
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
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
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        if not self._arriving():
            self._clear()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._timeout_s, self._time_out)

    def _arriving(self) -> bool:
        """Whether a part of a request is here, and another is not."""
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _clear(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        cycle = cast("RequestResponseCycle | None", self.cycle)  # there is none before the first request
        if cycle is None or not cycle.response_started or cycle.response_complete:
            self.transport.write(_TIMED_OUT)
        self.transport.close()


class Uvicorn(uvicorn.Server):
    """uvicorn, told to end the streams before it waits for requests to end, and not failing when asked to stop.

    Args:
        app: an ASGI application.
        stop_timeout_s: the time that requests in progress are given at the end.
        on_listening: called when requests are answered; must not block.
        on_stopping: called in a thread before requests are waited for.
        connections: at the same time; another is answered 503.
        backlog: connections that wait to be accepted.
        request_timeout_s: seconds in which a request has to arrive; then it is answered 408.
    """

    def __init__(
        self,
        app: Any,
        stop_timeout_s: float,
        on_listening: Callable[[], None],
        on_stopping: Callable[[], None],
        *,
        connections: int = CONNECTIONS,
        backlog: int = BACKLOG,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        protocol: Any = functools.partial(_Protocol, most=connections, timeout_s=request_timeout_s)
        config = uvicorn.Config(
            app,
            http=protocol,
            backlog=backlog,
            lifespan="off",
            ws="none",
            log_config=None,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(stop_timeout_s),
        )
        super().__init__(config)
        self._on_listening = on_listening
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_OutOfFiles())
        await super().startup(sockets)
        self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._on_stopping)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # Not remembered as uvicorn does, which raises it again at the end: to stop when asked to is no failure.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


class _OutOfFiles:
    """Exception handler of the event loop: says once that connections cannot be accepted, and else does as always.

    asyncio reports it for each connection that waits, with a traceback, and tries again every second.
    """

    def __init__(self) -> None:
        self._told = False

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
            loop.default_exception_handler(context)
        elif not self._told:
            self._told = True
            logger.error("no more connections can be accepted at present: %s; raise the limit (ulimit -n)", error)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at every address of a host, on the same port.

    `localhost` has two addresses. Were another program to answer at one of them, some clients would go astray.

    Args:
        host: a name or an address.
        port: any free one if 0.

    Raises:
        CannotListen: the host is unknown or not ours, or the port is taken.
    """
    if not 0 <= port <= LAST_PORT:
        raise CannotListen(f"cannot listen on {host}:{port}: ports are 0 to {LAST_PORT}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"cannot listen on {host}:{port}: {error}; choose another host") from error
    sockets: list[socket.socket] = []
    reason: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        shared = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bound(family, (address[0], shared, *address[2:])))
        except OSError as error:
            reason = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # this machine may have no IPv6
                break
    if sockets and (reason is None or reason.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
        return sockets
    for each in sockets:
        each.close()
    why = reason.strerror if reason is not None else "it has no address"
    raise CannotListen(f"cannot listen on {host}:{port}: {why}; choose another host or port")


def _bound(family: int, address: Any) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where it is told that this is TCP; with it, an answer takes 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A server that was started again need not wait for the connections of the one before to be forgotten.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound

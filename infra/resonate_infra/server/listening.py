"""Sockets of the server, and uvicorn with the server's limits."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from resonate_infra.server.connections import connection_class

KEEP_ALIVE_S = 75
"""Seconds for which an idle connection stays open. A client fails if it uses a connection while it is closed."""

REQUEST_TIMEOUT_S = 60.0
"""Maximum seconds until a request has arrived completely, from its first byte or from the start of its connection."""
CONNECTIONS = 8_192
"""Default maximum number of connections at the same time."""
BACKLOG = 128
"""Default maximum number of connections that wait to be accepted."""

LAST_PORT = 65_535

logger = logging.getLogger("resonate.server")


class CannotListen(Exception):
    """The server cannot listen at an address. The message says why and what to do."""


class Uvicorn(uvicorn.Server):
    """uvicorn that ends the streams before it waits for requests, and that does not fail when a signal stops it.

    Args:
        app: an ASGI application.
        stop_timeout_s: how long requests in progress may take when the server stops, in seconds.
        on_listening: called when requests are answered. It must not block.
        on_stopping: called in a thread before the server waits for requests in progress.
        connections: maximum number of connections at the same time. A further connection is answered 503.
        backlog: maximum number of connections that wait to be accepted.
        request_timeout_s: maximum seconds until a request has arrived. A later request is answered 408.
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
        protocol: Any = functools.partial(connection_class(), most=connections, timeout_s=request_timeout_s)
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
        # uvicorn would raise the signal again at the end. A stop that was requested is not a failure.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


class _OutOfFiles:
    """Exception handler of the event loop for a process that has no free file descriptor to accept a connection.

    It logs this error once. asyncio itself would log it every second, with a traceback for each waiting connection.
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
    """Return sockets that listen at every address of a host, on the same port.

    `localhost` has two addresses. If another program listened at one of them, some clients would connect to it.

    Args:
        host: a name or an address.
        port: the port. 0 selects a free port.

    Raises:
        CannotListen: the host is unknown or not on this machine, or the port is in use.
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
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # The machine may lack IPv6.
                break
    if sockets and (reason is None or reason.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
        return sockets
    for each in sockets:
        each.close()
    why = reason.strerror if reason is not None else "it has no address"
    raise CannotListen(f"cannot listen on {host}:{port}: {why}; choose another host or port")


def _bound(family: int, address: Any) -> socket.socket:
    # asyncio turns off Nagle's algorithm only if the protocol is named TCP. With that algorithm a response takes 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A restarted server need not wait until the system has forgotten the connections of the previous server.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound

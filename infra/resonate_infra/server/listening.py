"""Where the server listens, and uvicorn as this server uses it."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

KEEP_ALIVE = 75
"""Seconds for which an idle connection stays open: clients use it again, and one that is closed just then fails."""

LAST_PORT = 65_535


class CannotListen(Exception):
    """There is no listening at this address; the message says why and what to do."""


class Uvicorn(uvicorn.Server):
    """uvicorn, told to end the streams before it waits for requests to end, and not failing when asked to stop.

    Args:
        app: an ASGI application.
        patience: seconds that requests in progress are given at the end.
        on_listening: called when requests are answered; must not block.
        on_stopping: called in a thread before requests are waited for.
    """

    def __init__(
        self, app: Any, patience: float, on_listening: Callable[[], None], on_stopping: Callable[[], None]
    ) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=round(patience),
        )
        super().__init__(config)
        self._on_listening = on_listening
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
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

"""HTTP server on this machine that answers requests as a script says: slowly, cut, damaged, or not at all.

It speaks HTTP on the socket itself, because a library for servers cannot send such responses.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from zlib import crc32

from resonate_store.model.clock import SystemClock
from tests.support.steps import PATIENCE


class Arrived(NamedTuple):
    """A request that has arrived, with the number of its connection (from 1). Header names are lower-case."""

    connection: int
    head: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[socket.socket], bool | None]
"""Answers on the connection of a request. It returns True if the server closes the connection after it."""


def response(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """Return a whole response of DynamoDB; `headers` has underscores in place of hyphens, and replaces its own."""
    own = {"content_length": str(len(body)), "x_amz_crc32": str(crc32(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in own.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def chunked(chunks: bytes) -> bytes:
    """Return a response without a length. `chunks` follows the head unchanged."""
    return response(chunks, content_length="", x_amz_crc32="", transfer_encoding="chunked")


def refusal(code: str, status: str = "400 Bad Request", **headers: str) -> bytes:
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "refused"}).encode()
    return response(body, status, **headers)


def sends(content: bytes, *, ends: bool = False) -> Answer:
    """Send these bytes; with `ends`, close the connection after them."""

    def answer(connection: socket.socket) -> bool:
        connection.sendall(content)
        return ends

    return answer


def resets(content: bytes = b"") -> Answer:
    """Send these bytes, and reset the connection, as a machine does that has forgotten it."""

    def answer(connection: socket.socket) -> bool:
        connection.sendall(content)
        if content:
            SystemClock().sleep(50)  # or the reset overtakes the bytes
        _reset_at_its_end(connection)
        return True

    return answer


def _reset_at_its_end(connection: socket.socket) -> None:
    """Make the end of a connection a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def drips(content: bytes, milliseconds: int) -> Answer:
    """Send a byte, and the next one after some milliseconds."""

    def answer(connection: socket.socket) -> None:
        for byte in content:
            connection.sendall(bytes([byte]))
            SystemClock().sleep(milliseconds)

    return answer


def is_silent(connection: socket.socket) -> bool:
    """Answer nothing until the client closes the connection."""
    while connection.recv(65_536):
        pass
    return True


class HostileServer:
    """Server that gives each request the next answer of `script`, and a good one after the last.

    Attributes:
        script: the answers to the next requests.
        arrived: all requests, in their order.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: deque[Answer] = deque()
        self.arrived: list[Arrived] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: dict[socket.socket, threading.Thread] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://localhost:{self._listener.getsockname()[1]}"

    def drop(self, *, reset: bool = False) -> None:
        """Close all connections, as a service does while the client is frozen. Return when their threads have ended.

        Only its own thread closes a connection. Otherwise the thread could read from the next connection that gets the
        same file descriptor, and a reset would wait for the end of the read.
        """
        for connection, thread in list(self._open.items()):
            with suppress(OSError):  # the client was faster
                if reset:
                    _reset_at_its_end(connection)
                # The shutdown of a TLS socket would continue to read without decryption.
                socket.socket.shutdown(connection, socket.SHUT_RD if reset else socket.SHUT_RDWR)
            thread.join(PATIENCE)

    def close(self) -> None:
        with suppress(OSError):  # its thread waits in `accept`, which a close does not end on Linux
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        for number in range(1, 1_000):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._tls is not None:
                try:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                except OSError:  # the client does not trust us
                    continue
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        self._open[connection] = threading.current_thread()
        try:
            while True:
                arrived = _received(connection, number)
                if arrived is None:
                    break
                self.arrived.append(arrived)
                answer = self.script.popleft() if self.script else sends(response())
                if answer(connection):
                    break
        except OSError:
            pass
        self._open.pop(connection, None)
        connection.close()


def _received(connection: socket.socket, number: int) -> Arrived | None:
    content = b""
    while b"\r\n\r\n" not in content:
        more = connection.recv(65_536)
        if not more:
            return None
        content += more
    head, _, body = content.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        more = connection.recv(65_536)
        if not more:
            return None
        body += more
    return Arrived(number, first, headers, body)


@contextmanager
def hostile_server(tls: ssl.SSLContext | None = None) -> Generator[HostileServer]:
    server = HostileServer(tls)
    try:
        yield server
    finally:
        server.close()

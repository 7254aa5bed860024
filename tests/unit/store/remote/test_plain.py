"""Requests on a socket: what is sent, and responses that end a connection or do not come."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from resonate_store.interface import StoreError
from resonate_store.remote.http import Fault
from resonate_store.remote.plain import PlainPost
from tests.support.ports import free_port
from tests.support.serving import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nX-Kind: One\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
LAST = OK.replace(b"X-Kind: One", b"Connection: close")


class Listener:
    """A server that answers its connections from a list: one response for each request, None cuts the connection."""

    def __init__(self, listener: socket.socket, connections: list[list[bytes | None]]) -> None:
        self.received: list[list[bytes]] = []
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/below"
        self._listener = listener
        self._connections = connections

    def serve(self) -> None:
        for responses in self._connections:
            connection, _ = self._listener.accept()
            self.received.append([])
            with connection:
                for response in responses:
                    self.received[-1].append(connection.recv(65_536))
                    if response is not None:
                        connection.sendall(response)


@contextmanager
def answering(*connections: list[bytes | None]) -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Listener(listener, list(connections))
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_plain_request_is_one_piece_on_a_kept_connection() -> None:
    with answering([OK, CHUNKED, OK]) as server:
        post = PlainPost(server.url)
        replies = [post(b"[%d]" % n, {"X-A": "a" * (n + 1)}, 5.0) for n in range(3)]

    assert [(reply.status, reply.body) for reply in replies] == [(200, b"{}")] * 3
    assert replies[0].headers["x-kind"] == "One"
    ((first, second, third),) = server.received
    host = server.url.removeprefix("http://").removesuffix("/below").encode()
    head = b"POST /below/ HTTP/1.1\r\nHost: %b\r\nAccept-Encoding: identity\r\nX-A: a\r\nContent-Length: 3\r\n\r\n"
    assert first == head % host + b"[0]"
    assert (b"X-A: aa\r\n" in second, b"X-A: aaa\r\n" in third) == (True, True)


def test_plain_connection_that_has_ended_is_not_used_again() -> None:
    with answering([LAST], [OK]) as server:
        post = PlainPost(server.url)
        assert [post(b"", {}, 5.0).status for _ in range(2)] == [200, 200]


def test_plain_request_without_a_response_is_a_fault(subtests: pytest.Subtests) -> None:
    for response, reason in (
        (None, "closed the connection without a response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "is cut"),
        (b"SMTP\r\n\r\n", "is not HTTP"),
    ):
        with subtests.test(response=response), answering([response]) as server:
            with pytest.raises(Fault, match=reason) as caught:
                PlainPost(server.url)(b"", {}, 5.0)
            assert caught.value.sent


def test_plain_request_that_is_refused_was_not_sent() -> None:
    with pytest.raises(Fault, match="refused") as caught:
        PlainPost(f"http://127.0.0.1:{free_port()}")(b"", {}, 5.0)
    assert not caught.value.sent


def test_plain_header_with_a_line_break_is_refused() -> None:
    for headers in ({"X-A": "a\r\nX-B: b"}, {"X\n": "a"}, {"X-A": "\u20ac"}):
        with pytest.raises(StoreError, match="a header has a character"):
            PlainPost("http://127.0.0.1:1")(b"", headers, 5.0)


def test_plain_address_without_a_host_is_refused() -> None:
    for url in ("http://", "http://:80", "http://[::1", "http://host:port"):
        with pytest.raises(StoreError, match="is no address of a server"):
            PlainPost(url)

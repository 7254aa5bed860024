"""Sockets of the server, and how it runs uvicorn."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from resonate_infra.server.application import application
from resonate_infra.server.hub import Hub
from resonate_infra.server.listening import CannotListen, Uvicorn, listen
from tests.support.server_api import PATIENCE, Api
from tests.support.uvicorn_thread import running


@contextmanager
def closing(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    yield sockets
    for each in sockets:
        each.close()


def test_addresses_of_a_host_have_the_same_port() -> None:
    with closing(listen("localhost", 0)) as sockets:
        port = sockets[0].getsockname()[1]
        assert {each.getsockname()[1] for each in sockets} == {port}
        assert "127.0.0.1" in {each.getsockname()[0] for each in sockets}
        for each in sockets:
            assert each.proto == socket.IPPROTO_TCP  # Otherwise asyncio does not turn off Nagle's algorithm.
            socket.create_connection(each.getsockname()[:2], PATIENCE).close()


def test_port_that_is_in_use_or_invalid_is_refused() -> None:
    with closing(listen("127.0.0.1", 0)) as sockets:
        port = sockets[0].getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(CannotListen, match=f"cannot listen on {host}:{port}: Address already in use; choose"):
                listen(host, port)
    for invalid in (70_000, -1):
        with pytest.raises(CannotListen, match=f"cannot listen on localhost:{invalid}"):
            listen("localhost", invalid)


def test_stream_is_kept_alive_and_ends_when_the_server_stops() -> None:
    hub, listening = Hub(), threading.Event()
    app = application(lambda body: (200, body), lambda: True, hub, keep_alive_s=0.01)
    uvicorn = Uvicorn(app, PATIENCE, listening.set, hub.close)
    with running(uvicorn, listening) as port, Api(f"http://localhost:{port}").poll("g", "1") as stream:
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        assert stream.response.headers["Cache-Control"] == "no-store"
        assert [stream.line() for _ in range(3)] == [": keep-alive"] * 3
        uvicorn.should_exit = True
        while stream.line() == ": keep-alive":
            pass


HALF_SENT = {
    b"": b"HTTP/1.1 408 Request Timeout",
    b"POST / HTT": b"HTTP/1.1 408 Request Timeout",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nX: ": b"HTTP/1.1 408 Request Timeout",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{": b"HTTP/1.1 408 Request Timeout",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET ": b"HTTP/1.1 200 OK",
}


def test_half_sent_request_is_closed(subtests: pytest.Subtests) -> None:
    listening = threading.Event()
    app = application(lambda body: (200, body), lambda: True, Hub())
    uvicorn = Uvicorn(app, PATIENCE, listening.set, lambda: None, request_timeout_s=0.05)
    with running(uvicorn, listening) as port:
        for sent, answer in HALF_SENT.items():
            with subtests.test(sent=sent), socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(sent)
                received = client.makefile("rb").read()
                assert received.startswith(answer)
                assert b"408" in received

"""Connections over both parsers of HTTP: what is too long, and how much is sent at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from resonate_infra.server import connections, listening
from resonate_infra.server.application import application
from resonate_infra.server.connections import MAX_HEAD_BYTES, H11Connection, HttpToolsConnection, connection_class
from resonate_infra.server.hub import Hub
from resonate_infra.server.listening import Uvicorn
from tests.support.server_api import PATIENCE
from tests.support.uvicorn_thread import running

CLASSES = [H11Connection, HttpToolsConnection]
REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def serving(
    kind: type, monkeypatch: pytest.MonkeyPatch, *, most: int = 100, timeout_s: float = PATIENCE
) -> Iterator[int]:
    """Run a server with connections of a class. Yield its port."""
    monkeypatch.setattr(listening, "connection_class", lambda: kind)
    up = threading.Event()
    app = application(lambda body: (200, body), lambda: True, Hub())
    uvicorn = Uvicorn(app, PATIENCE, up.set, lambda: None, connections=most, request_timeout_s=timeout_s)
    with running(uvicorn, up) as port:
        yield port


def test_connections_use_httptools_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection_class() is HttpToolsConnection
    monkeypatch.setattr(connections, "HttpToolsProtocol", None)
    assert connection_class() is H11Connection


@pytest.mark.parametrize("kind", CLASSES)
def test_response_is_sent_in_one_piece(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(kind, monkeypatch) as port, socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        for _ in range(20):
            client.sendall(REQUEST)
            assert client.recv(65_536).endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize("kind", CLASSES)
def test_pipelined_requests_are_answered_in_order(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(kind, monkeypatch) as port, socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(REQUEST + REQUEST.replace(b"{}", b"[]") + b"GET /health HTTP/1.0\r\n\r\n")
        received = client.makefile("rb").read()

    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.index(b"\r\n\r\n{}") < received.index(b"\r\n\r\n[]")


@pytest.mark.parametrize("kind", CLASSES)
def test_head_without_end_is_refused(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(kind, monkeypatch) as port, socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * MAX_HEAD_BYTES * 2)
        assert client.recv(65_536).startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("kind", CLASSES)
def test_connection_beyond_the_limit_is_refused(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving(kind, monkeypatch, most=1) as port,
        socket.create_connection(("127.0.0.1", port), PATIENCE) as first,
        socket.create_connection(("127.0.0.1", port), PATIENCE) as second,
    ):
        assert second.recv(65_536).startswith(b"HTTP/1.1 503")
        first.sendall(REQUEST)
        assert first.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", CLASSES)
def test_request_that_does_not_arrive_is_timed_out(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(kind, monkeypatch, timeout_s=0.05) as port:
        for sent in (b"", b"POST / HTT", REQUEST[:-1], REQUEST + b"POST"):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(sent)
                received = client.makefile("rb").read()
                assert b"HTTP/1.1 408" in received
                assert received.startswith(b"HTTP/1.1 200") == (len(sent) > len(REQUEST))

"""Limits of streams and connections within the limit of open files."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack

from resonate_infra.server.files import WANTED_FILES, room_in
from tests.support.dev_process import started
from tests.support.server_api import PATIENCE


def test_room_leaves_connections_for_requests_and_files() -> None:
    for limit in (64, 256, 1_024, 4_096, WANTED_FILES, 1_000_000):
        room = room_in(limit)
        assert 0 < 2 * room.streams <= room.connections
        assert room.connections + 2 * room.backlog < limit
    assert room_in(WANTED_FILES).streams == 1_000


def test_refused_stream_closes_its_connection() -> None:
    with started("--port", "0", limit="-n 64") as server, ExitStack() as open_connections:
        api = server.api()
        for n in range(room_in(64).streams):
            open_connections.enter_context(api.poll("g", f"{n}"))
        refused = open_connections.enter_context(socket.create_connection(("127.0.0.1", api.port), PATIENCE))
        refused.sendall(b"GET /poll/g/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"".join(iter(lambda: refused.recv(4096), b"")).startswith(b"HTTP/1.1 503")


def test_soft_limit_of_files_is_raised_at_start() -> None:
    with started("--port", "0", limit="-S -n 64") as server:
        api = server.api()
        streams = [socket.create_connection(("127.0.0.1", api.port), PATIENCE) for _ in range(100)]
        assert api.http("GET", "/ready")[0] == 200
        for each in streams:
            each.close()


def test_server_at_its_limit_of_streams_answers_requests() -> None:
    room = room_in(256)
    with started("--port", "0", limit="-n 256") as server:
        api = server.api()

        def answered(path: str) -> tuple[socket.socket, bytes]:
            connection = socket.create_connection(("127.0.0.1", api.port), PATIENCE)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            return connection, connection.recv(12)

        polls = [answered("/poll/g/1") for _ in range(room.streams + 1)]
        assert [answer for _, answer in polls] == [b"HTTP/1.1 200"] * room.streams + [b"HTTP/1.1 503"]
        assert api.create("p")["state"] == "pending"
        idle = [answered("/health") for _ in range(room.connections - room.streams + 1)]
        assert {answer for _, answer in idle[: room.streams]} == {b"HTTP/1.1 200"}, "one for each worker"
        assert idle[-1][1] == b"HTTP/1.1 503"
        for connection, _ in polls + idle:
            connection.close()
        assert server.end(signal.SIGTERM) == 0

    assert "Traceback" not in "\n".join(server.lines)

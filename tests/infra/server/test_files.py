"""How the server fits into the limit of open files."""

from __future__ import annotations

import signal
import socket

import pytest

from resonate_infra.server.files import WANTED, room_in
from tests.infra.server.api import PATIENCE
from tests.infra.server.test_process import started


@pytest.mark.parametrize("limit", [64, 256, 1_024, 4_096, WANTED, 1_000_000])
def test_streams_leave_room_for_requests_and_connections_for_files(limit: int) -> None:
    room = room_in(limit)

    assert 0 < room.streams < room.connections
    assert room.connections + 2 * room.backlog < limit


def test_room_for_streams_is_full_where_the_limit_can_be_raised() -> None:
    assert room_in(WANTED).streams == 1_000


def test_soft_limit_of_files_is_raised_at_start() -> None:
    with started("--port", "0", limit="-S -n 64") as server:
        api = server.api()
        streams = [socket.create_connection(("127.0.0.1", api.port), PATIENCE) for _ in range(100)]
        assert api.http("GET", "/ready")[0] == 200
        for each in streams:
            each.close()


def test_server_answers_with_as_many_streams_as_it_takes() -> None:
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
        idle = [answered("/health") for _ in range(room.connections - room.streams)]
        assert idle[-1][1] == b"HTTP/1.1 503"
        for connection, _ in polls + idle:
            connection.close()
        assert server.end(signal.SIGTERM) == 0

    assert "Traceback" not in "\n".join(server.lines)

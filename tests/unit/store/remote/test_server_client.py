"""Requests about a server itself."""

from __future__ import annotations

from resonate_infra.server.assembly import Server, ServerOptions
from resonate_store.model.servers import ServerSettings
from resonate_store.protocol.workers import WorkerView
from resonate_store.remote.server_client import ServerClient
from tests.support.serving import Serving, new_server

__all__ = ["new_server"]


def client_of(url: str) -> ServerClient:
    return ServerClient(ServerSettings(url, url))


def test_development_server_lists_workers_and_takes_debug_requests() -> None:
    server = Server(ServerOptions(port=0, debug=True, groups={"g": "https://w.example"}))
    with server.running():
        client = client_of(server.url)
        assert client.workers() == [WorkerView("g", address="https://w.example")]
        assert not client.announce("g", "nobody", [])
        assert client.takes_debug_requests()
        assert client.tick(5)
        assert "execution.delete" in client.kinds()


def test_other_server_refuses_without_harm(serving: Serving) -> None:
    client = client_of(f"http://127.0.0.1:{serving.port}")
    assert client.workers() is None
    assert not client.announce("g", "w", [])
    assert not client.takes_debug_requests()
    assert not client.tick(5)

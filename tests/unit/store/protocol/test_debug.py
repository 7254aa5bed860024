"""Debug requests of a server over a store in memory and in SQLite. The corpus has most of their answers."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from resonate_store.local.embedded import EmbeddedStore
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.debug import EmbeddedDebug, RequestClock
from resonate_store.protocol.service import Service
from tests.support.envelopes import LATER, TARGET, ask

T0 = 1_750_000_000_000


class Server:
    def __init__(self, make: Callable[..., EmbeddedStore]) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.resumed = 0
        clock = RequestClock(ManualClock(T0))
        self.store = make(clock=clock, send=lambda address, message: self.sent.append((address, message)))
        self.debug = EmbeddedDebug(self.store, clock, self.resume)
        self.service = Service(self.store, debug=self.debug)

    def resume(self) -> None:
        self.resumed += 1

    def ask(self, kind: str, data: Any, at: int | None = None) -> Any:
        answer = ask(self.service, kind, data, **{"resonate:debug_time": at})
        assert answer.status == 200, answer.data
        return answer.data


@pytest.fixture(params=[MemoryStore, partial(SqliteStore, ":memory:")], ids=["memory", "sqlite"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(request.param)
    yield server
    server.store.close()


def test_debug_time_is_the_time_of_a_request(server: Server) -> None:
    assert server.ask("promise.create", {"id": "a", "timeoutAt": LATER}, at=500)["promise"]["createdAt"] == 500
    assert server.ask("promise.create", {"id": "b", "timeoutAt": LATER})["promise"]["createdAt"] == T0
    assert server.ask("promise.get", {"id": "a"}, at=LATER)["promise"]["state"] == "rejected_timedout"


def test_debug_time_out_of_range_is_400(server: Server, subtests: pytest.Subtests) -> None:
    for time in [-1, 2**47 + 1, 2**53, 10**30]:
        with subtests.test(time=time):
            assert ask(server.service, "promise.get", {"id": "a"}, **{"resonate:debug_time": time}).status == 400
            assert ask(server.service, "debug.tick", {"time": time}).status == 400


def test_debug_start_holds_messages_until_stop(server: Server) -> None:
    server.ask("debug.start", {})
    assert server.debug.paused
    server.ask("promise.create", {"id": "a", "timeoutAt": LATER, "tags": TARGET})
    server.ask("promise.create", {"id": "b", "timeoutAt": LATER, "tags": TARGET})
    server.ask("debug.tick", {"time": T0 + 30_000})  # offered again: still one message
    server.ask("promise.register_listener", {"awaited": "b", "address": "https://example.com/"})
    server.ask("promise.settle", {"id": "b", "state": "resolved"})
    held = server.ask("debug.snap", {})["messages"]
    assert server.sent == []
    server.ask("debug.stop", {})

    assert [message["message"]["kind"] for message in held] == ["execute", "execute", "unblock"]
    assert [message["message"]["data"]["task"]["id"] for message in held[:2]] == ["a", "b"]
    assert server.sent == [(message["address"], message["message"]) for message in held]
    assert not server.debug.paused
    assert server.resumed == 1
    server.ask("promise.create", {"id": "c", "timeoutAt": LATER, "tags": TARGET})
    assert len(server.sent) == 4

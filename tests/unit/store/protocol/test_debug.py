"""The debug requests, as a test that drives a server makes them."""

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


def test_a_request_happens_at_its_time(server: Server) -> None:
    assert server.ask("promise.create", {"id": "a", "timeoutAt": LATER}, at=500)["promise"]["createdAt"] == 500
    assert server.ask("promise.create", {"id": "b", "timeoutAt": LATER})["promise"]["createdAt"] == T0
    assert server.ask("promise.get", {"id": "a"}, at=LATER)["promise"]["state"] == "rejected_timedout"


@pytest.mark.parametrize("time", [-1, 2**47 + 1, 2**53, 10**30])
def test_a_time_that_is_none_is_refused(server: Server, time: int) -> None:
    assert ask(server.service, "promise.get", {"id": "a"}, **{"resonate:debug_time": time}).status == 400
    assert ask(server.service, "debug.tick", {"time": time}).status == 400


def test_a_tick_does_what_is_due_at_its_time(server: Server) -> None:
    server.ask("debug.start", {})
    server.ask("promise.create", {"id": "t", "timeoutAt": T0 + 10, "tags": {"resonate:timer": "true"}})
    server.ask("debug.tick", {"time": T0 + 9})
    before = server.ask("debug.snap", {})["promises"][0]["state"]
    assert server.ask("debug.tick", {"time": T0 + 10}, at=T0 + 10) == []
    after = server.ask("debug.snap", {})["promises"][0]["state"]

    assert (before, after) == ("pending", "resolved")


def test_a_tick_needs_one_time(server: Server) -> None:
    assert ask(server.service, "debug.tick", {}).status == 400
    assert ask(server.service, "debug.tick", {"time": 5}, **{"resonate:debug_time": 6}).status == 400


def test_messages_are_held_back_until_the_server_goes_on(server: Server) -> None:
    server.ask("debug.start", {})
    assert server.debug.paused
    server.ask("promise.create", {"id": "a", "timeoutAt": LATER, "tags": TARGET})
    server.ask("promise.create", {"id": "b", "timeoutAt": LATER, "tags": TARGET})
    server.ask("debug.tick", {"time": T0 + 30_000})  # offered again: still one message
    held = server.ask("debug.snap", {})["messages"]
    assert server.sent == []
    server.ask("debug.stop", {})

    assert [message["message"]["data"]["task"]["id"] for message in held] == ["a", "b"]
    assert server.sent == [(message["address"], message["message"]) for message in held]
    assert not server.debug.paused
    assert server.resumed == 1
    server.ask("promise.create", {"id": "c", "timeoutAt": LATER, "tags": TARGET})
    assert len(server.sent) == 3


def test_a_snapshot_shows_everything(server: Server) -> None:
    server.ask("debug.start", {})
    for id in ("b", "a"):
        server.ask("promise.create", {"id": id, "timeoutAt": LATER, "tags": TARGET})
    server.ask("promise.create", {"id": "plain", "timeoutAt": LATER})
    server.ask("task.acquire", {"id": "a", "version": 0, "pid": "p", "ttl": 1000})
    server.ask("promise.register_callback", {"awaited": "b", "awaiter": "a"})
    server.ask("promise.register_listener", {"awaited": "b", "address": "https://example.com/"})
    snapshot = server.ask("debug.snap", {})

    assert [promise["id"] for promise in snapshot["promises"]] == ["a", "b", "plain"]
    assert snapshot["promiseTimeouts"] == [{"id": "a", "timeout": LATER}, {"id": "b", "timeout": LATER}]
    assert snapshot["callbacks"] == [{"awaiter": "a", "awaited": "b"}]
    assert snapshot["listeners"] == [{"id": "b", "address": "https://example.com/"}]
    assert [task["state"] for task in snapshot["tasks"]] == ["acquired", "pending"]
    assert snapshot["taskTimeouts"] == [
        {"id": "a", "type": 1, "timeout": T0 + 1000},
        {"id": "b", "type": 0, "timeout": T0 + 30_000},
    ]

    server.ask("promise.settle", {"id": "b", "state": "resolved"})
    messages = server.ask("debug.snap", {})["messages"]
    assert [(message["address"], message["message"]["kind"]) for message in messages] == [
        ("poll://any@default", "execute"),
        ("poll://any@default", "execute"),
        ("https://example.com/", "unblock"),
    ]


def test_a_reset_forgets_everything(server: Server) -> None:
    server.ask("debug.start", {})
    server.ask("promise.create", {"id": "a", "timeoutAt": LATER, "tags": TARGET})
    schedule = {"id": "s", "cron": "* * * * *", "promiseId": "{{.id}}", "promiseTimeout": 1, "promiseTags": TARGET}
    server.ask("schedule.create", schedule)
    assert server.ask("debug.reset", {}) == {}

    assert all(found == [] for found in server.ask("debug.snap", {}).values())
    assert server.ask("schedule.search", {}) == {"schedules": []}
    server.ask("debug.tick", {"time": LATER})
    server.ask("debug.stop", {})
    assert server.sent == []


def test_there_are_no_other_debug_requests(server: Server) -> None:
    assert ask(server.service, "debug.explode", {}).data == "Unknown operation: debug.explode"

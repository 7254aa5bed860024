"""Messages and the connections that receive them (docs/protocol.md 2.3)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from resonate_infra.server import hub as hubs
from resonate_infra.server.hub import MAX_BUFFERED, Connection, Hub, TooManyConnections


def execute(id: str) -> dict[str, Any]:
    return {"kind": "execute", "head": {}, "data": {"task": {"id": id, "version": 0}}}


def unblock(id: str) -> dict[str, Any]:
    return {"kind": "unblock", "head": {}, "data": {"promise": {"id": id}}}


class Wire:
    """Hub that chooses the last of several connections, and notes its choices and notifications."""

    def __init__(self, limit: int = 1000) -> None:
        self.offered_to: list[list[str]] = []
        self.notified: list[str] = []
        self.room: list[str] = []
        self.hub = Hub(self._choose, limit)
        self.hub.on_room = self.room.append

    def _choose(self, connections: Sequence[Connection]) -> Connection:
        self.offered_to.append([each.id for each in connections])
        return connections[-1]

    def connect(self, group: str, id: str, prefix: str = "") -> Connection:
        return self.hub.connect(group, id, lambda: self.notified.append(f"{group}/{id}"), prefix)

    def taken(self, connection: Connection) -> list[str]:
        """Return the ids of tasks and promises in the messages that wait for a connection."""
        found: list[str] = []
        while (message := self.hub.take(connection)) is not None:
            data = json.loads(message)["data"]
            found.append((data.get("task") or data["promise"])["id"])
        return found


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_hub_sends_any_to_one_connection_of_the_group(wire: Wire) -> None:
    one, two, other = wire.connect("g", "1"), wire.connect("g", "2"), wire.connect("h", "3")

    assert wire.hub.send("poll://any@g", execute("w"))
    assert wire.offered_to == [["1", "2"]]
    assert [wire.taken(each) for each in (one, two, other)] == [[], ["w"], []]
    assert wire.notified == ["g/2"]


def test_hub_sends_any_to_the_named_process_if_connected(wire: Wire) -> None:
    one, two = wire.connect("g", "1"), wire.connect("g", "2")

    assert wire.hub.send("poll://any@g/1", execute("w"))
    assert wire.hub.send("poll://any@g/gone", execute("v"))
    assert (wire.taken(one), wire.taken(two)) == (["w"], ["v"])


def test_hub_sends_uni_to_the_first_connection_with_its_id(wire: Wire) -> None:
    first, second = wire.connect("g", "1"), wire.connect("g", "1")

    assert wire.hub.send("poll://uni@g/1", unblock("p"))
    assert not wire.hub.send("poll://uni@g/2", unblock("q"))
    assert not wire.hub.send("poll://uni@h/1", unblock("r"))
    assert (wire.taken(first), wire.taken(second)) == (["p"], [])

    wire.hub.disconnect(first)
    assert wire.hub.send("poll://uni@g/1", unblock("s"))
    assert wire.taken(second) == ["s"]


def test_hub_decodes_groups_and_ids_of_addresses(wire: Wire) -> None:
    connection = wire.connect("a/b", "x y")

    assert wire.hub.send("poll://uni@a%2Fb/x%20y", unblock("p"))
    assert wire.taken(connection) == ["p"]


def test_hub_refuses_addresses_that_are_not_polled(wire: Wire) -> None:
    with pytest.raises(ValueError, match="'http://x' is no address that anybody polls for"):
        wire.hub.send("http://x", execute("w"))


def test_hub_limits_the_number_of_connections() -> None:
    wire = Wire(limit=2)
    first = wire.connect("g", "1")
    wire.connect("h", "2")

    with pytest.raises(TooManyConnections, match="2 workers poll already"):
        wire.connect("g", "3")
    wire.hub.disconnect(first)
    wire.connect("g", "3")


def test_message_to_a_full_buffer_is_lost(wire: Wire) -> None:
    connection = wire.connect("g", "1")
    sent = [wire.hub.send("poll://any@g", unblock(str(n))) for n in range(MAX_BUFFERED + 1)]

    assert sent == [True] * MAX_BUFFERED + [False]
    assert len(wire.taken(connection)) == MAX_BUFFERED
    assert wire.hub.send("poll://any@g", unblock("later"))


def test_task_goes_to_a_connection_whose_buffer_has_room(wire: Wire) -> None:
    one, two = wire.connect("g", "1"), wire.connect("g", "2")
    for n in range(MAX_BUFFERED):
        wire.hub.send("poll://any@g/2", execute(str(n)))

    assert wire.hub.send("poll://any@g", execute("w"))
    assert wire.taken(one) == ["w"]
    assert len(wire.taken(two)) == MAX_BUFFERED


def test_task_without_connection_is_held_for_the_next_one(wire: Wire) -> None:
    assert not wire.hub.send("poll://any@g", execute("w"))
    assert not wire.hub.send("poll://uni@g/2", execute("v"))
    assert not wire.hub.send("poll://any@h", execute("u"))
    assert wire.hub.claim("g") == []

    wire.connect("g", "1")
    assert wire.room == ["g"]
    assert wire.hub.claim("g") == ["w"]
    assert wire.hub.claim("g") == []
    wire.connect("g", "2")
    assert wire.hub.claim("g") == ["v"]


def test_task_that_was_delivered_later_is_not_held(wire: Wire) -> None:
    wire.hub.send("poll://any@g", execute("w"))
    wire.connect("g", "1")
    assert wire.hub.send("poll://any@g", execute("w"))

    assert wire.hub.claim("g") == []


def test_unblock_message_without_connection_is_not_held(wire: Wire) -> None:
    wire.hub.send("poll://uni@g/1", unblock("p"))
    connection = wire.connect("g", "1")

    assert (wire.room, wire.hub.claim("g"), wire.taken(connection)) == ([], [], [])


def test_tasks_beyond_a_full_buffer_are_claimed_once_it_empties(wire: Wire) -> None:
    connection = wire.connect("g", "1")
    for n in range(3 * MAX_BUFFERED):
        wire.hub.send("poll://any@g", execute(str(n)))
    assert wire.hub.claim("g") == []

    assert wire.hub.take(connection) is not None
    assert wire.room == []
    wire.taken(connection)
    assert wire.room == ["g"]
    assert wire.hub.claim("g") == [str(n) for n in range(MAX_BUFFERED, 2 * MAX_BUFFERED)]


def test_unsent_messages_of_an_ended_connection_go_to_another(wire: Wire) -> None:
    one = wire.connect("g", "1")
    for id in ("w", "v"):
        wire.hub.send("poll://any@g/1", execute(id))
    assert wire.hub.take(one) is not None
    two = wire.connect("g", "2")
    wire.hub.disconnect(one)
    wire.hub.disconnect(one)

    assert wire.taken(two) == ["v"]


def test_offers_written_to_a_stream_that_ends_are_repeated(wire: Wire) -> None:
    one = wire.connect("g", "1")
    for id in ("w", "v"):
        wire.hub.send("poll://any@g/1", execute(id))
    assert wire.taken(one) == ["w", "v"]
    wire.connect("g", "2")
    wire.hub.disconnect(one)

    assert wire.room == ["g"]
    assert wire.hub.claim("g") == ["w", "v"]


def test_unsent_task_of_the_last_connection_is_held(wire: Wire) -> None:
    one = wire.connect("g", "1")
    wire.hub.send("poll://any@g", execute("w"))
    wire.hub.disconnect(one)
    wire.connect("g", "2")

    assert wire.hub.claim("g") == ["w"]


def test_held_tasks_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "MAX_HELD", 2)
    never_sent, written = Wire(), Wire()
    one = written.connect("g", "1")
    for wire in (never_sent, written):
        for id in ("a", "b", "a", "c"):
            wire.hub.send("poll://any@g", execute(id))
    written.taken(one)
    written.hub.disconnect(one)
    for wire in (never_sent, written):
        wire.connect("g", "2")
        assert wire.hub.claim("g") == ["a", "c"]


def test_closed_hub_ends_each_stream(wire: Wire) -> None:
    before = wire.connect("g", "1")
    wire.hub.close()
    after = wire.connect("g", "2")

    assert before.closed
    assert after.closed
    assert wire.notified == ["g/1"]
    assert not wire.hub.send("poll://any@g", execute("w"))


def test_connection_with_a_prefix_receives_its_ids_only(subtests: pytest.Subtests) -> None:
    for address in ("poll://any@g", "poll://any@g/1", "poll://uni@g/1"):
        for message in (execute, unblock):
            with subtests.test(address, message=message):
                wire = Wire()
                mine, theirs = wire.connect("g", "1", "mine."), wire.connect("g", "1", "theirs.")
                assert wire.hub.send(address, message("theirs.w"))
                assert wire.hub.send(address, message("mine.w"))
                assert not wire.hub.send(address, message("other.w"))
                assert (wire.taken(mine), wire.taken(theirs)) == (["mine.w"], ["theirs.w"])


def test_task_is_held_for_a_connection_whose_prefix_permits_it(wire: Wire) -> None:
    wire.connect("g", "1", "mine.")
    assert not wire.hub.send("poll://any@g", execute("theirs.w"))
    assert wire.hub.claim("g") == []

    wire.connect("g", "2", "theirs.")
    assert wire.hub.claim("g") == ["theirs.w"]


def test_functions_are_kept_while_their_worker_polls(wire: Wire) -> None:
    one, two, other = wire.connect("g", "2"), wire.connect("f", "1", "t1."), wire.connect("g", "1")
    functions = [{"name": "f"}]

    assert wire.hub.announce("g", "2", functions, "")
    assert not wire.hub.announce("g", "2", functions, "t1.")
    assert not wire.hub.announce("g", "3", functions, "")
    assert wire.hub.streams() == [two, other, one]
    assert [each.functions for each in wire.hub.streams()] == [None, None, functions]
    assert wire.hub.streams("t1.") == [two]
    wire.hub.disconnect(one)
    assert one not in wire.hub.streams()

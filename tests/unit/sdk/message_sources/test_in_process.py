"""Messages of a store in this process, between the processes that share it."""

from __future__ import annotations

import pytest

from resonate.message_sources import Poller
from resonate.message_sources.in_process import InProcess
from resonate.message_sources.source import Messages
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from tests.support.steps import execute


class Office:
    """A store with two processes of a group and one of another."""

    def __init__(self) -> None:
        self.beyond: list[str] = []
        self.store = MemoryStore(ManualClock(), lambda address, _: self.beyond.append(address))
        self.got: dict[str, list[str]] = {}
        self.sources = {name: self.source(*name.split("/")) for name in ("g/a", "g/b", "h/c")}
        for name in self.sources:
            self.start(name)

    def source(self, group: str, id: str) -> InProcess:
        return InProcess(self.store, group, id)

    def start(self, name: str) -> None:
        got = self.got.setdefault(name, [])
        self.sources[name].start(lambda message: got.append(message["data"]["task"]["id"]), lambda: None)

    def send(self, address: str, id: str) -> None:
        self.store.send(address, execute(id))


def test_message_reaches_the_process_or_group_it_names(subtests: pytest.Subtests) -> None:
    receivers = {
        "poll://any@h": "h/c",
        "poll://any@h/unknown": "h/c",
        "poll://uni@h/c": "h/c",
        "poll://any@g/b": "g/b",
        "poll://uni@g/b": "g/b",
        "poll://any@g": "g/a",
    }
    for address, receiver in receivers.items():
        with subtests.test(address):
            office = Office()
            office.send(address, "w")
            assert {name for name, got in office.got.items() if got} == {receiver}


def test_message_for_another_address_is_passed_on(subtests: pytest.Subtests) -> None:
    for address in ("poll://uni@h/unknown", "poll://any@unknown", "https://example.com"):
        with subtests.test(address):
            office = Office()
            office.send(address, "w")
            assert office.beyond == [address]
            assert not any(office.got.values())


def test_offer_for_a_stopped_group_is_kept_and_made_once() -> None:
    office = Office()
    office.sources["h/c"].stop()
    assert not office.sources["h/c"].connected
    for _ in range(2):
        office.send("poll://any@h", "w")
    office.store.send("poll://uni@h/c", {"kind": "unblock", "data": {}})
    assert not office.got["h/c"]
    office.start("h/c")
    assert office.got["h/c"] == ["w"]


def test_offer_for_a_stopped_process_reaches_its_group() -> None:
    office = Office()
    office.sources["g/a"].stop()
    office.send("poll://any@g", "w")
    assert office.got["g/b"] == ["w"]


def test_wake_up_reaches_every_process() -> None:
    office = Office()
    heard: list[tuple[str, int]] = []
    for name, source in office.sources.items():
        source.on_wake = lambda at, name=name: heard.append((name, at))
    assert office.store.on_wake is not None
    office.store.on_wake(7)
    assert heard == [("g/a", 7), ("g/b", 7), ("h/c", 7)]


def test_in_process_and_poller_are_message_sources() -> None:
    assert isinstance(InProcess(MemoryStore()), Messages)
    assert isinstance(Poller("g", "p", url="http://localhost"), Messages)

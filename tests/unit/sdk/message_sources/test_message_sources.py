"""Messages: of a store in this process, and over a connection to a server that comes and goes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate.message_sources import Poller
from resonate.message_sources.in_process import InProcess
from resonate.message_sources.poller import events
from resonate.message_sources.source import Messages
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from tests.support.serving import PATIENCE, Handler, Serving, new_server  # noqa: F401

Message = dict[str, Any]


def execute(id: str) -> Message:
    return {"kind": "execute", "head": {}, "data": {"task": {"id": id, "version": 0}}}


class Inbox:
    """Whoever receives: what came, and how the connection changed."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.changes = 0
        self._changed = threading.Condition()

    def changed(self) -> None:
        with self._changed:
            self.changes += 1
            self._changed.notify_all()

    def wait_for_changes(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.changes >= count, PATIENCE)

    def next(self) -> Message:
        return self.messages.get(timeout=PATIENCE)

    def start(self, source: Messages) -> None:
        source.start(self.messages.put, self.changed)


@pytest.fixture
def poll(serving: Serving) -> Iterator[Callable[..., Poller]]:
    """Makes pollers that are stopped when the test is over."""
    made: list[Poller] = []

    def make(group: str = "g", id: str = "p", **arguments: Any) -> Poller:
        made.append(Poller(group, id, **{"url": serving.url, "pause": lambda _: None, **arguments}))
        return made[-1]

    yield make
    for poller in made:
        poller.stop()


Poll = Callable[..., Poller]


# -- polling ----------------------------------------------------------------------------------------------------------


def test_messages_arrive(serving: Serving, poll: Poll) -> None:
    poller, inbox = poll(token="jwt"), Inbox()
    assert not poller.connected
    inbox.start(poller)
    inbox.start(poller)
    inbox.wait_for_changes(1)
    assert poller.connected
    serving.send("poll://any@g", execute("a"))
    serving.send("poll://uni@g/p", execute("b"))

    assert [inbox.next(), inbox.next()] == [execute("a"), execute("b")]
    assert serving.headers["GET"]["Authorization"] == "Bearer jwt"
    assert serving.polled == 1


def test_names_of_any_kind_have_an_address(serving: Serving, poll: Poll) -> None:
    poller, inbox = poll("my group", "a/b"), Inbox()
    inbox.start(poller)
    serving.wait_for_stream("my group")
    serving.send(poller.unicast, execute("a"))

    assert inbox.next() == execute("a")
    assert (poller.unicast, poller.anycast) == ("poll://uni@my%20group/a%2Fb", "poll://any@my%20group/a%2Fb")


def test_a_connection_that_is_cut_in_the_middle_of_a_message_is_made_again(serving: Serving, poll: Poll) -> None:
    poller, inbox = poll(), Inbox()
    inbox.start(poller)
    serving.wait_for_stream("g")
    stream = serving.streams["g", "p"]
    stream.put(b'data: {"kind": "exec')
    stream.put(None)
    serving.wait_until(lambda: serving.polled == 2 and ("g", "p") in serving.streams, "a second connection")
    serving.send("poll://any@g", execute("a"))

    assert inbox.next() == execute("a")
    inbox.wait_for_changes(3)


def test_what_is_no_message_is_passed_over(serving: Serving, poll: Poll, caplog: pytest.LogCaptureFixture) -> None:
    poller, inbox = poll(), Inbox()
    inbox.start(poller)
    serving.wait_for_stream("g")
    serving.streams["g", "p"].put(b": keep-alive\n\nevent: x\ndata: not json\n\n")
    serving.send("poll://any@g", execute("a"))

    assert inbox.next() == execute("a")
    assert "sent an event that is not a message" in caplog.text


def test_a_receiver_that_fails_does_not_end_the_connection(serving: Serving, poll: Poll) -> None:
    poller, got = poll(), queue.SimpleQueue[Message]()

    def receive(message: Message) -> None:
        got.put(message)
        raise ValueError("no")

    poller.start(receive, lambda: None)
    serving.wait_for_stream("g")
    for id in ("a", "b"):
        serving.send("poll://any@g", execute(id))

    assert [got.get(timeout=PATIENCE), got.get(timeout=PATIENCE)] == [execute("a"), execute("b")]
    assert serving.polled == 1


def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_connection(serving: Serving, poll: Poll) -> None:
    pauses: list[float] = []
    turn = threading.Semaphore(0)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            serving.start()
        if len(pauses) == 9:
            turn.release()

    serving.stop()
    poller, inbox = poll(pause=pause), Inbox()
    inbox.start(poller)
    inbox.wait_for_changes(1)
    serving.wait_for_stream("g")
    serving.streams["g", "p"].put(None)

    assert turn.acquire(timeout=PATIENCE)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 1]


@pytest.mark.parametrize("status", [503, 401])
def test_a_server_that_is_full_or_refuses_us_is_asked_again(
    poll: Poll, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer, refusals = Handler.do_GET, iter([status, status])

    def refuse(self: Handler) -> None:
        number = next(refusals, None)
        answer(self) if number is None else self.reply(number, b"not you")

    monkeypatch.setattr(Handler, "do_GET", refuse)
    poller, inbox = poll(), Inbox()
    inbox.start(poller)
    inbox.wait_for_changes(1)

    assert poller.connected
    assert f"is not connected, trying again: the server answers {status} not you" in caplog.text
    assert "is connected again" in caplog.text


def pollers() -> list[threading.Thread]:
    """The threads that poll a server."""
    return [thread for thread in threading.enumerate() if thread.name == "resonate-poll"]


def test_a_server_without_streams_is_not_asked_again(
    poll: Poll, serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    serving.streaming = False
    poller = poll()
    Inbox().start(poller)
    serving.wait_until(lambda: not pollers(), "the poller's end")

    assert not poller.connected
    assert serving.polled == 1
    assert "cannot be polled, so no work arrives here from it: it answers 404 Not Found" in caplog.text


def test_a_poller_stops_at_once_and_starts_again(serving: Serving, poll: Poll) -> None:
    poller, inbox = poll(), Inbox()
    inbox.start(poller)
    serving.wait_for_stream("g")
    poller.stop()
    poller.stop()
    assert not poller.connected
    assert not pollers()

    inbox.start(poller)
    serving.wait_until(lambda: serving.polled == 2 and bool(serving.streams), "a second connection")
    serving.send("poll://any@g", execute("a"))
    assert inbox.next() == execute("a")


def test_a_poller_that_waits_to_connect_again_stops_at_once(serving: Serving) -> None:
    serving.stop()
    poller, inbox = Poller("g", "p", url=serving.url), Inbox()
    inbox.start(poller)
    poller.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "resonate-poll"]


def test_the_environment_says_where_to_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_HOST", "http://there")
    monkeypatch.setenv("RESONATE_PORT_MESSAGE_SOURCE", "8002")
    assert Poller("g", "p").url == "http://there:8002/poll/g/p"
    assert Poller("g", "p", port=9).url == "http://there:9/poll/g/p"


class Bytes:
    """A stream that comes in these pieces."""

    status = 200

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = [*chunks, b""]

    def read1(self, amt: int | None = None) -> bytes:  # noqa: ARG002
        return self._chunks.pop(0)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("chunks", "data"),
    [
        ((b"data: a\n\n",), [b"a"]),
        ((b"data:a\n\ndata: b\n\n",), [b"a", b"b"]),
        ((b"da", b"ta: a", b"\n", b"\n"), [b"a"]),
        ((b"data: a\r\n\r\n", b"data: b\r", b"\n\r\n"), [b"a", b"b"]),
        ((b"data: a\ndata: b\n\n",), [b"a\nb"]),
        ((b": comment\n\nevent: e\nid: 1\ndata: a\n\n",), [b"a"]),
        ((b"data: a\n",), []),
        ((b"\n\n\n",), []),
    ],
)
def test_events_are_read_whole(chunks: tuple[bytes, ...], data: list[bytes]) -> None:
    assert list(events(Bytes(*chunks))) == data


# -- a store in this process ------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("address", "receiver"),
    [
        ("poll://any@h", "h/c"),
        ("poll://any@h/nobody", "h/c"),
        ("poll://uni@h/c", "h/c"),
        ("poll://any@g/b", "g/b"),
        ("poll://uni@g/b", "g/b"),
        ("poll://any@g", "g/a"),
    ],
)
def test_a_message_goes_to_the_process_or_the_group_it_names(address: str, receiver: str) -> None:
    office = Office()
    office.send(address, "w")
    assert {name for name, got in office.got.items() if got} == {receiver}


@pytest.mark.parametrize("address", ["poll://uni@h/nobody", "poll://any@nobody", "https://example.com"])
def test_a_message_for_nobody_here_goes_where_it_went_before(address: str) -> None:
    office = Office()
    office.send(address, "w")
    assert office.beyond == [address]
    assert not any(office.got.values())


def test_work_for_a_group_that_has_stopped_is_kept_and_offered_once() -> None:
    office = Office()
    office.sources["h/c"].stop()
    assert not office.sources["h/c"].connected
    for _ in range(2):
        office.send("poll://any@h", "w")
    office.store.send("poll://uni@h/c", {"kind": "unblock", "data": {}})
    assert not office.got["h/c"]
    office.start("h/c")
    assert office.got["h/c"] == ["w"]


def test_others_of_the_group_take_over_from_one_that_has_stopped() -> None:
    office = Office()
    office.sources["g/a"].stop()
    office.send("poll://any@g", "w")
    assert office.got["g/b"] == ["w"]


def test_everybody_hears_of_a_wake_up() -> None:
    office = Office()
    heard: list[tuple[str, int]] = []
    for name, source in office.sources.items():
        source.on_wake = lambda at, name=name: heard.append((name, at))
    assert office.store.on_wake is not None
    office.store.on_wake(7)
    assert heard == [("g/a", 7), ("g/b", 7), ("h/c", 7)]


def test_both_are_message_sources() -> None:
    assert isinstance(InProcess(MemoryStore()), Messages)
    assert isinstance(Poller("g", "p", url="http://localhost"), Messages)

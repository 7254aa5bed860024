"""Messages of a server, over a connection that comes and goes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate.message_sources import Poller
from resonate.message_sources.poller import events
from resonate.message_sources.source import Messages
from tests.support.serving import Handler, Serving
from tests.support.steps import PATIENCE, execute

Message = dict[str, Any]


class Inbox:
    """A receiver: its messages, and how often the connection changed."""

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
    """Make pollers that are stopped when the test is over."""
    made: list[Poller] = []

    def make(group: str = "g", id: str = "p", **arguments: Any) -> Poller:
        made.append(Poller(group, id, **{"url": serving.url, "pause": lambda _: None, **arguments}))
        return made[-1]

    yield make
    for poller in made:
        poller.stop()


Poll = Callable[..., Poller]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def poller(poll: Poll, inbox: Inbox, serving: Serving) -> Poller:
    """A poller that is connected."""
    poller = poll()
    inbox.start(poller)
    serving.wait_for_stream("g")
    return poller


def test_poller_receives_messages_of_its_addresses(serving: Serving, poll: Poll, inbox: Inbox) -> None:
    poller = poll(token="jwt")
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


def test_poller_encodes_any_name_in_its_address(serving: Serving, poll: Poll, inbox: Inbox) -> None:
    poller = poll("my group", "a/b")
    inbox.start(poller)
    serving.wait_for_stream("my group")
    serving.send(poller.unicast, execute("a"))

    assert inbox.next() == execute("a")
    assert (poller.unicast, poller.anycast) == ("poll://uni@my%20group/a%2Fb", "poll://any@my%20group/a%2Fb")


@pytest.mark.usefixtures("poller")
def test_poller_connects_again_after_a_cut_within_a_message(serving: Serving, inbox: Inbox) -> None:
    stream = serving.streams["g", "p"]
    stream.put(b'data: {"kind": "exec')
    stream.put(None)
    serving.wait_until(lambda: serving.polled == 2 and ("g", "p") in serving.streams, "a second connection")
    serving.send("poll://any@g", execute("a"))

    assert inbox.next() == execute("a")
    inbox.wait_for_changes(3)


@pytest.mark.usefixtures("poller")
def test_poller_ignores_strange_events(serving: Serving, inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    serving.streams["g", "p"].put(b": keep-alive\n\nevent: x\ndata: not json\n\n")
    serving.send("poll://any@g", execute("a"))

    assert inbox.next() == execute("a")
    assert "sent an event that is not a message" in caplog.text


def test_poller_stays_connected_when_its_receiver_fails(serving: Serving, poll: Poll) -> None:
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


def test_poller_doubles_its_pauses_until_it_is_connected(serving: Serving, poll: Poll, inbox: Inbox) -> None:
    pauses: list[float] = []
    turn = threading.Semaphore(0)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            serving.start()
        if len(pauses) == 9:
            turn.release()

    serving.stop()
    inbox.start(poll(pause=pause))
    inbox.wait_for_changes(1)
    serving.wait_for_stream("g")
    serving.streams["g", "p"].put(None)

    assert turn.acquire(timeout=PATIENCE)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 1]


def test_poller_connects_again_after_a_refusal(
    poll: Poll, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = Handler.do_GET
    refusals: list[int] = []

    def refuse(self: Handler) -> None:
        self.reply(refusals.pop(), b"not you") if refusals else answer(self)

    monkeypatch.setattr(Handler, "do_GET", refuse)
    for status in (503, 401):
        caplog.clear()
        refusals[:] = [status, status]
        poller, inbox = poll(id=str(status)), Inbox()
        inbox.start(poller)
        inbox.wait_for_changes(1)
        assert poller.connected
        assert f"is not connected, trying again: the server answers {status} not you" in caplog.text
        assert "is connected again" in caplog.text


def pollers() -> list[threading.Thread]:
    """Return the threads that poll a server."""
    return [thread for thread in threading.enumerate() if thread.name == "resonate-poll"]


def test_poller_does_not_ask_a_server_without_streams_again(
    poll: Poll, serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    serving.streaming = False
    poller = poll()
    Inbox().start(poller)
    for thread in pollers():
        thread.join(PATIENCE)

    assert not pollers()
    assert not poller.connected
    assert serving.polled == 1
    assert "cannot be polled, so no work arrives here from it: it answers 404 Not Found" in caplog.text


def test_poller_stops_at_once_and_starts_again(serving: Serving, poller: Poller, inbox: Inbox) -> None:
    poller.stop()
    poller.stop()
    assert not poller.connected
    assert not pollers()

    inbox.start(poller)
    serving.wait_until(lambda: serving.polled == 2 and bool(serving.streams), "a second connection")
    serving.send("poll://any@g", execute("a"))
    assert inbox.next() == execute("a")


def test_poller_that_waits_to_connect_again_stops_at_once(serving: Serving, inbox: Inbox) -> None:
    serving.stop()
    poller = Poller("g", "p", url=serving.url)
    inbox.start(poller)
    poller.stop()
    assert not pollers()


def test_poller_has_its_url_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_HOST", "http://there")
    monkeypatch.setenv("RESONATE_PORT_MESSAGE_SOURCE", "8002")
    assert Poller("g", "p").url == "http://there:8002/poll/g/p"
    assert Poller("g", "p", port=9).url == "http://there:9/poll/g/p"


class Bytes:
    """A stream that arrives in these pieces."""

    status = 200

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = [*chunks, b""]

    def read1(self, amt: int | None = None) -> bytes:  # noqa: ARG002
        return self._chunks.pop(0)

    def close(self) -> None: ...


def test_events_are_read_whole(subtests: pytest.Subtests) -> None:
    cases: list[tuple[tuple[bytes, ...], list[bytes]]] = [
        ((b"data: a\n\n",), [b"a"]),
        ((b"data:a\n\ndata: b\n\n",), [b"a", b"b"]),
        ((b"da", b"ta: a", b"\n", b"\n"), [b"a"]),
        ((b"data: a\r\n\r\n", b"data: b\r", b"\n\r\n"), [b"a", b"b"]),
        ((b"data: a\ndata: b\n\n",), [b"a\nb"]),
        ((b": comment\n\nevent: e\nid: 1\ndata: a\n\n",), [b"a"]),
        ((b"data: a\n",), []),
        ((b"\n\n\n",), []),
    ]
    for chunks, data in cases:
        with subtests.test(repr(chunks)):
            assert list(events(Bytes(*chunks))) == data

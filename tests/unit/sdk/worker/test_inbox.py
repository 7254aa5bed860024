"""Messages of a worker over HTTP, which is killed or loses an answer at each request; servers without messages."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from resonate import Context, Resonate
from resonate.client.messages import send
from resonate.errors import InboxFullError, MessagesNotSupportedError
from resonate.payloads import codec
from resonate.worker.resources import Resources
from resonate_store.interface import StoreWrapper
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseCreate, Request, Response, TaskCreate
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.driver import TTL, Driver, Flow, Killed
from tests.support.remote import TARGETED, Client
from tests.support.wire import URL, Line


def chat(ctx: Context) -> Flow:
    got = [(yield ctx.receive("chat", timeout=3600))]
    yield ctx.publish("count", 1)
    yield ctx.send("other", "note", got[0])
    got.append((yield ctx.receive("chat")))
    return got


def unsupported(ctx: Context) -> Flow:
    """Name the error of each command."""
    found: list[str] = []
    for command in (lambda: ctx.receive("chat"), lambda: ctx.send("w", "chat"), lambda: ctx.publish("k", 1)):
        try:
            yield command()
        except MessagesNotSupportedError as error:
            found.append(error.mesg.partition(":")[0])
    return found


class Conversation:
    """A worker over a line to a server, and an execution that it works on."""

    def __init__(self, driver: Driver, workflow: Any = chat, *, old: bool = False) -> None:
        self.driver = driver
        self.line = Line(driver.store, old=old)
        driver.use(Resources(HttpStore(URL, clock=driver.clock, jitter=lambda: 0.0, post=self.line), driver.clock))
        later = driver.clock.now() + 365 * 86_400_000
        driver.store.apply(TaskCreate("elsewhere", later, PromiseCreate("other", later, tags=TARGETED)))
        driver.begin("w", workflow)

    def say(self, text: str) -> None:
        send(self.driver.store, "w", "chat", text, text, compared=False)

    def work(self) -> None:
        """Let workers go on until nothing is offered; a worker that was killed loses its lease."""
        for _ in range(6):
            self.driver.work()
            self.driver.clock.advance(TTL)
            self.driver.store.tick()

    def outcome(self) -> Any:
        promise = self.driver.promise("w")
        assert promise.state == "resolved"
        return codec.decode(promise.value)


def test_requests_of_a_received_message_over_http(driver: Driver) -> None:
    talk = Conversation(driver)
    talk.say("hello")
    assert driver.invoke().status == "suspended"
    kinds = [msgspec.json.decode(body)["kind"] for body in talk.line.bodies]
    assert kinds == [
        *("task.acquire", "task.receive", "task.publish", "message.send", "task.record", "task.suspend"),
    ]
    talk.line.bodies.clear()
    talk.say("bye")
    assert driver.invoke().status == "completed"
    kinds = [msgspec.json.decode(body)["kind"] for body in talk.line.bodies]
    assert kinds == ["task.acquire", "task.receive", "task.fulfill"]
    assert talk.outcome() == ["hello", "bye"]


@pytest.mark.parametrize("fault", ["before", "after", "lost"])
def test_fault_at_each_http_request_neither_loses_nor_repeats_messages(
    drivers: Callable[[], Driver], fault: str, subtests: pytest.Subtests
) -> None:
    for position in itertools.count():
        with subtests.test(position=position):
            talk = Conversation(drivers())
            post = talk.line.post

            def die(body: bytes, post: Callable[..., Reply] = post) -> None:
                if fault == "after":
                    post(body, {}, 1.0)
                raise Killed

            talk.line.faults = [*[None] * position, "lost" if fault == "lost" else die]
            for text in ("hello", "bye"):
                talk.say(text)
                try:
                    talk.driver.work()
                except Killed:
                    talk.driver.clock.advance(TTL)
                    talk.driver.store.tick()
            talk.work()
            assert talk.outcome() == ["hello", "bye"]
            inbox = talk.driver.record("other").inbox
            assert inbox is None or inbox.accepted == 1
            left = talk.line.faults
        if left:
            break
    assert position >= 9


def test_server_without_messages_is_refused_at_once(driver: Driver) -> None:
    talk = Conversation(driver, unsupported, old=True)
    assert driver.invoke().status == "completed"
    assert talk.outcome() == ["receive chat", "send chat", "publish k"]
    client = Client(old=True)
    client.hold()
    with pytest.raises(MessagesNotSupportedError, match="this store or server has no messages"):
        send(client.store, "w", "chat", "hello", "k", compared=False)


def test_full_inbox_is_answered_without_further_tries() -> None:
    client = Client()
    client.hold()
    for n in range(4):
        send(client.store, "w", "chat", "x" * 700_000, f"k{n}", compared=False)
    with pytest.raises(InboxFullError):
        client.count(lambda: send(client.store, "w", "chat", "x" * 700_000, "more", compared=False))
    assert client.kinds().count("message.send") == 5


def test_message_whose_answer_is_lost_is_accepted_once() -> None:
    client = Client()
    client.hold()
    client.line.faults = ["lost", "lost"]
    send(client.store, "w", "chat", "hello", "k", compared=True)
    record = client.memory.record("w")
    assert record is not None
    assert record.accepted == 1


def test_store_of_a_user_without_messages_is_refused() -> None:
    class Own(StoreWrapper):
        @property
        def takes_messages(self) -> bool:
            return False

        def apply(self, request: Request) -> Response:
            assert not request.kind.startswith("message"), "it does not know this request"
            return self._store.apply(request)

    resonate = Resonate(store=Own(Client().memory), clock=ManualClock())
    with pytest.raises(MessagesNotSupportedError):
        resonate.send("w", "chat", "hello")

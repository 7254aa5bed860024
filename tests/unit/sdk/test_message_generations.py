"""Messages to executions that continue as new histories, or are cancelled while they wait for one."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors.canceled import Canceled
from resonate.payloads import codec
from resonate.testing import MemoryStack, replay
from resonate_store.model.message_requests import MessageSend
from resonate_store.model.records import Inbox
from resonate_store.remote.http import Fault, Reply
from resonate_store.remote.store import HttpStore
from tests.support.driver import Driver, Killed
from tests.support.present import present
from tests.support.ways import always_three_ways
from tests.support.wire import URL, posted_to

Workflow = Generator[Any, Any, Any]

program = Resonate.local()


@program.register
def rounds(ctx: Context, got: list[str]) -> Workflow:
    """Take one message before and one after a sleep in each generation, until "bye"."""
    first = yield ctx.receive("chat")
    yield ctx.sleep(60)
    second = yield ctx.run(rest)
    got = [*got, first, second]
    return got if second == "bye" else ctx.continue_as(got)


@program.register(name="rounds_async")
async def rounds_async(ctx: Context, got: list[str]) -> Any:
    first = await ctx.receive("chat")
    await ctx.sleep(60)
    second = await ctx.run(rest)
    got = [*got, first, second]
    return got if second == "bye" else ctx.continue_as(got)


def rest(ctx: Context) -> Workflow:
    return (yield ctx.receive("chat", timeout=3600))


@program.register
def waits(ctx: Context, timeout: float | None) -> Workflow:
    """Sleep for a minute after the cancellation, and then take a message that came later."""
    try:
        yield ctx.receive("chat", timeout=timeout)
    except Canceled as canceled:
        yield ctx.sleep(60)
        return [canceled.reason, (yield ctx.receive("chat", timeout=0))]


@pytest.fixture
def stack() -> MemoryStack:
    return MemoryStack(program)


BOTH = pytest.mark.parametrize("spelling", ["", "_async"], ids=["generator", "async"])


@BOTH
def test_messages_survive_the_generations_of_their_receiver(stack: MemoryStack, spelling: str) -> None:
    texts = ["one", "two", "three", "four", "five", "bye"]
    handle = stack.start(f"rounds{spelling}", [], id="early")
    for text in texts:
        stack.send("early", "chat", text)
    assert handle.result() == texts

    handle = stack.start(f"rounds{spelling}", [], id="late")
    for text in texts[:-1]:
        stack.send("late", "chat", text)
        stack.advance(minutes=5)
    history = stack.history("late")
    assert history.generation == 3
    assert history.commands == ["receive chat", "a sleep", "run rest"]
    replay(history, rounds_async if spelling else rounds, registry=program.registry)
    stack.send("late", "chat", "bye")
    assert handle.result() == texts
    assert present(stack.store.embedded).record("late").inbox == Inbox(6, 0, 0)  # type: ignore[union-attr]


@BOTH
@pytest.mark.parametrize("kind", ["task.receive", "task.suspend", "task.continue_as", "children", "promise.record"])
def test_kill_in_a_generation_neither_loses_nor_repeats_messages(stack: MemoryStack, spelling: str, kind: str) -> None:
    for kills in range(1, 5):
        for when in ({"before": kind}, {"after": kind}):
            stack.clear()
            stack.crash(**when, times=kills)
            handle = stack.start(f"rounds{spelling}", [], id="r")
            for text in ("one", "two", "three", "bye"):
                stack.send("r", "chat", text)
                stack.advance(minutes=2)
            assert handle.result() == ["one", "two", "three", "bye"]


def texts(driver: Driver, *texts: str) -> None:
    for text in texts:
        for _ in range(2):  # a retry of the sender
            assert driver.store.apply(MessageSend("r", "chat", text, codec.encode(text, "a text"))).ok
        driver.work()


def chat(driver: Driver, spelling: Any) -> None:
    """Send messages before, between and after the continuations of their receiver."""
    driver.begin("r", spelling, [])
    texts(driver, "one", "two", "three")
    driver.pass_time(90)
    driver.work()
    texts(driver, "four")
    for pause, text in ((30, "five"), (2000, "six"), (10, "seven"), (90, "bye")):
        driver.pass_time(pause)
        driver.work()
        texts(driver, text)

    assert driver.finish("r") == ["one", "two", "three", "four", "five", "six", "seven", "bye"]
    record = driver.record("r")
    assert (record.generation, record.inbox) == (4, Inbox(8, 0, 0))


SPELLINGS = pytest.mark.parametrize("spelling", [rounds.func, rounds_async.func], ids=["generator", "async"])


@always_three_ways
@SPELLINGS
def test_chat_of_several_generations_is_in_order(driver: Driver, spelling: Any) -> None:
    driver.register(rest)
    chat(driver, spelling)


@SPELLINGS
@pytest.mark.parametrize("fault", ["none", "lost", "killed"])
def test_chat_of_several_generations_over_http_is_in_order(spelling: Any, fault: str) -> None:
    """Every seventh round trip of the worker meets the fault."""
    driver = Driver()
    server = posted_to(driver.store)
    trips = itertools.count(1)

    def post(body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:
        reply = server(body, headers, timeout)
        if fault != "none" and next(trips) % 7 == 0:
            raise Killed if fault == "killed" else Fault("connection reset by peer", sent=True)
        return reply

    def connect() -> None:
        driver.tap.store = HttpStore(URL, clock=driver.clock, jitter=lambda: 0.0, post=post)

    def work() -> list[str]:
        while driver.offers:
            with suppress(Killed):
                driver.invoke()
                continue
            connect()  # a new process
        return []

    driver.work = work  # type: ignore[method-assign]
    connect()
    chat(driver, spelling)
    driver.resources.async_functions.stop()


@pytest.mark.parametrize("spelling", ["", "_async"])
def test_records_of_an_endless_chat_are_bounded(stack: MemoryStack, spelling: str) -> None:
    stack.start(f"rounds{spelling}", [], id="r")
    counts: list[int] = []
    for number in range(40):
        for half in range(2):
            stack.send("r", "chat", f"{number}-{half}")
        stack.advance(minutes=10)
        counts.append(len(present(stack.store.embedded).children("r")))
    assert max(counts[20:]) <= max(counts[:20]) <= 15


@pytest.mark.parametrize("timeout", [None, 7200.0])
def test_cancelled_receive_raises_and_leaves_later_messages(stack: MemoryStack, timeout: float | None) -> None:
    handle = stack.start(waits, timeout, id="w")
    assert handle.cancel("stop") == "accepted"
    stack.advance(seconds=1)
    assert not handle.done()
    stack.send("w", "chat", "late")
    assert handle.result() == ["stop", "late"]

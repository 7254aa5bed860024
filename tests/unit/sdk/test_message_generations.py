"""Messages to executions that continue as new histories, or are cancelled while they wait for one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors.canceled import Canceled
from resonate.testing import MemoryStack, replay
from resonate_store.model.records import Inbox
from tests.support.present import present

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


@pytest.mark.parametrize("timeout", [None, 7200.0])
def test_cancelled_receive_raises_and_leaves_later_messages(stack: MemoryStack, timeout: float | None) -> None:
    handle = stack.start(waits, timeout, id="w")
    assert handle.cancel("stop") == "accepted"
    stack.advance(seconds=1)
    assert not handle.done()
    stack.send("w", "chat", "late")
    assert handle.result() == ["stop", "late"]

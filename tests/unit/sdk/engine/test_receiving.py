"""Waits for messages beside other promises: `ctx.receive` in `ctx.race`, `any`, `all` and `all_settled`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resonate import Context, Resonate
from resonate.errors import ProgramError
from resonate.payloads import codec
from resonate.testing import MemoryStack, replay
from resonate_store.model.message_requests import MessageSend
from tests.support.driver import Driver, Flow
from tests.support.hypothesis_settings import examples
from tests.support.ways import always_three_ways, three_ways

program = Resonate.local()


def send(driver: Driver, name: str, text: str) -> None:
    assert driver.store.apply(MessageSend("w", name, text, codec.encode(text, "a text"))).ok


def echo(_: Context, text: str) -> str:
    return text


@program.register
def approval(ctx: Context, rounds: int) -> Flow:
    """Wait for a message or an hour, some times; then take what is left."""
    found: list[Any] = []
    for _ in range(rounds):
        first = yield ctx.race(late=ctx.sleep(3_600), answer=ctx.receive("answer"), cancel_losers=True)
        found.append((first.name, (yield ctx.run(echo, first.value or ""))))
    while found[-1] != "":
        try:
            found.append((yield ctx.receive("answer", timeout=0)))
        except TimeoutError:
            found.append("")
    return found


@program.register(name="approval_async")
async def approval_async(ctx: Context, rounds: int) -> Any:
    found: list[Any] = []
    for _ in range(rounds):
        first = await ctx.race(late=ctx.sleep(3_600), answer=ctx.receive("answer"), cancel_losers=True)
        found.append((first.name, await ctx.run(echo, first.value or "")))
    while found[-1] != "":
        try:
            found.append(await ctx.receive("answer", timeout=0))
        except TimeoutError:
            found.append("")
    return found


@always_three_ways
@pytest.mark.parametrize("spelling", [approval, approval_async], ids=["generator", "async"])
def test_race_is_won_by_the_message_or_by_the_timer(driver: Driver, spelling: Any) -> None:
    driver.start("w", spelling.func, 3)
    send(driver, "answer", "yes")
    send(driver, "answer", "no")
    driver.work()

    assert driver.finish("w") == [["answer", "yes"], ["answer", "no"], ["late", ""], ""]


@three_ways
def test_lost_receive_leaves_its_message_to_the_next(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        first = yield ctx.race(ctx.receive("m"), ctx.run(echo, "step"))
        yield ctx.sleep(60)
        return [first.value, (yield ctx.any(ctx.promise(), ctx.receive("m"), cancel_losers=True))]

    driver.start("w", workflow)
    send(driver, "m", "later")

    assert driver.finish("w") == ["step", "later"]


@three_ways
def test_each_receive_of_all_takes_a_message_in_order(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        both = yield ctx.all(ctx.receive("m"), ctx.run(echo, "step"), ctx.receive("m", timeout=3600))
        settled = yield ctx.all_settled(a=ctx.receive("m"), b=ctx.receive("none", timeout=60), c=ctx.sleep(1))
        return [*both, settled["a"].get(), type(settled["b"].error).__name__]

    driver.start("w", workflow)
    for text in ("one", "two", "three"):
        send(driver, "m", text)
        driver.work()

    assert driver.finish("w") == ["one", "step", "two", "three", "TimeoutError"]


@three_ways
def test_race_between_two_names_takes_one_message(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.sleep(60)
        first = yield ctx.race(ctx.receive("a", timeout=30), ctx.receive("b", timeout=30))
        second = yield ctx.race(ctx.receive("a", timeout=30), ctx.receive("b", timeout=30))
        try:
            yield ctx.race(ctx.receive("a", timeout=30), ctx.receive("b"))
        except TimeoutError:
            return [first.value, second.value]

    driver.start("w", workflow)
    send(driver, "b", "b")
    send(driver, "a", "a")

    assert driver.finish("w") == ["a", "b"]
    assert [record.id for record in driver.records() if record.pending] == []


def test_cancelled_branch_takes_no_message(driver: Driver) -> None:
    def branch(ctx: Context) -> Flow:
        return (yield ctx.race(ctx.receive("m"), ctx.promise()))

    def workflow(ctx: Context) -> Flow:
        yield (yield ctx.race(ctx.run(branch), ctx.sleep(60), cancel_losers=True)).name and ctx.run(echo, "")
        yield ctx.sleep(60)
        return (yield ctx.receive("m"))

    driver.start("w", workflow)
    driver.pass_time(60)
    send(driver, "m", "mine")

    assert driver.finish("w") == "mine"


def test_nested_workflow_with_its_own_id_is_refused_clearly(driver: Driver) -> None:
    def nested(ctx: Context) -> Flow:
        return (yield ctx.receive("m"))

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(nested).options(id="other")
        except ProgramError as error:
            return str(error)

    assert "other has an id of its own" in driver.run("w", workflow)


def test_history_of_a_lost_receive_is_replayed() -> None:
    stack = MemoryStack(program)
    stack.start(approval, 2, id="w")
    stack.advance(hours=1, minutes=1)
    stack.send("w", "answer", "yes")
    history = stack.history("w")

    assert history.commands[:3] == ["a sleep", "ctx.race", "run echo"]
    replay(history, approval, registry=program.registry)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "pass"]),
        st.sampled_from(["task.receive", "task.suspend", "promise.record", "promise.settle", "task.acquire", "none"]),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=examples(25, in_ci=400), deadline=None)
@given(EVENTS, st.sampled_from(["approval", "approval_async"]))
def test_race_with_kills_neither_loses_nor_repeats_messages(events: list[Any], spelling: str) -> None:
    stack = MemoryStack(program)
    handle = stack.start(spelling, 4, id="w")
    sent: list[str] = []
    for number, (what, kind, before) in enumerate(events):
        if kind != "none":
            stack.crash(before=kind) if before else stack.crash(after=kind)
        if what == "pass":
            stack.advance(hours=1)
        elif not handle.done():
            sent.append(f"m{number}")
            stack.send("w", "answer", sent[-1])
            if before:
                stack.advance(minutes=5)
    got = [each[1] if isinstance(each, list) else each for each in handle.result()]

    assert [text for text in got if text] == sent

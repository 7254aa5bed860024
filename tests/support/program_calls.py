"""The functions that random programs call (`tests.support.programs`), and the witness of what they do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

from resonate import Context

Flow = Generator[Any, Any, Any]


class Witness:
    """Sees the steps of the programs run; it is outside of all workers, and survives their ends.

    Attributes:
        runs: how often each step has run, by the id of its promise.
        repeated: the ids of steps that ran although their outcome was recorded, and of attempts that ran twice although
            they may run at most once.
        is_recorded: returns whether the promise with this id has been settled.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, without a store."""
        self.runs: Counter[str] = Counter()
        self.repeated: list[str] = []
        self.is_recorded: Callable[[str], bool] = lambda _: False

    def of(self, id: str) -> str:
        """Return what distinguishes this run of a step from its other runs."""
        if self.is_recorded(id):
            self.repeated.append(id)
        self.runs[id] += 1
        return f"#{self.runs[id]}"

    def once(self, id: str, attempt: int) -> None:
        """Note an attempt that must not run again."""
        self.of(id)
        self.runs[f"{id}~{attempt}"] += 1
        if self.runs[f"{id}~{attempt}"] > 1:
            self.repeated.append(f"{id}~{attempt}")


witness = Witness()


def step(ctx: Context, fails: int) -> str:
    run = witness.of(ctx.id)
    if ctx.info.attempt <= fails:
        raise ValueError(f"{ctx.id} failed{run}")
    return f"{ctx.id} done{run}"


async def step_async(ctx: Context, fails: int) -> str:
    await asyncio.sleep(0)
    return step(ctx, fails)


def unrecorded_step(ctx: Context, fails: int) -> str:
    """A step that is not durable runs again on replay, and should then come out the same."""
    if ctx.info.attempt <= fails:
        raise ValueError(f"{ctx.id} failed")
    return f"{ctx.id} done"


def step_once(ctx: Context, fails: int) -> None:
    witness.once(ctx.id, ctx.info.attempt)
    if ctx.info.attempt <= fails:
        raise ValueError(f"{ctx.id} failed")


async def step_once_async(ctx: Context, fails: int) -> None:
    await asyncio.sleep(0)
    step_once(ctx, fails)


def act(ctx: Context, key: str) -> str:
    return f"act {key} {step(ctx, 0)}"


def undo(ctx: Context, key: str) -> str:
    return f"undo {key} {step(ctx, 0)}"


def wait_in_vain(ctx: Context) -> Flow:
    yield (yield ctx.promise(data={}))


async def awaited(flow: Flow) -> Any:
    """Run the generator spelling of a workflow in the async one: what the generator yields is awaited here."""
    try:
        command = next(flow)
        while True:
            try:
                answer = await command
            except BaseException as error:  # even that it is closed is the generator's to deal with
                command = flow.throw(error)
            else:
                command = flow.send(answer)
    except StopIteration as end:
        return end.value


# Calls that are cancelled


def acts(ctx: Context, home: str, name: str) -> Flow:
    """Act, say so to `home` by a message, wait in vain, and undo the action when cancelled."""
    saga = ctx.saga()
    yield saga.run(act, ctx.id, undo=(undo, ctx.id))
    if name:
        yield ctx.send(home, name)
    yield (yield ctx.promise(data={}))


async def acts_async(ctx: Context, home: str, name: str) -> None:
    try:
        await ctx.run(act, ctx.id)
        if name:
            await ctx.send(home, name)
        await (await ctx.promise(data={}))
    finally:
        await ctx.run(undo, ctx.id)


def acts_inside(ctx: Context, home: str) -> Flow:
    """Act in a nested workflow of each spelling."""
    begun = yield ctx.begin_run(acts_async, home, "")
    yield ctx.run(acts, home, "")
    yield begun


# Conversations


def talks(ctx: Context, home: str, name: str, words: int) -> Flow:
    """Receive some messages, and answer each."""
    heard: list[Any] = []
    for number in range(words):
        heard.append((yield ctx.receive("ask")))
        for _ in range(2):  # the second one is the same message
            yield ctx.send(home, name, f"{heard[-1]}!", idempotency_key=f"{ctx.id}-{number}")
        yield ctx.publish("heard", len(heard))
    return heard


async def talks_async(ctx: Context, home: str, name: str, words: int) -> Any:
    return await awaited(talks(ctx, home, name, words))


CALLED: list[Callable[..., Any]] = [step, step_async, wait_in_vain, acts, acts_async, talks, talks_async]
"""Those that are called by name, so a worker has to register them."""

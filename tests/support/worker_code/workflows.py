"""The workflows under test: the code of WorkerFunction, loaded anew after every kill."""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from resonate import Context, Resonate
from resonate.errors import ResonateTimedoutError, StepInterrupted
from resonate.retry_policies import Constant, Never
from resonate_store.model.clock import ambient
from tests.support import journal

Workflow = Generator[Any, Any, Any]

resonate = Resonate(group="worker")


class OutOfStock(Exception):
    """Known to nobody but this module."""


@dataclass
class Order:
    item: str
    count: int


# Steps


def add(ctx: Context, a: int, b: int) -> int:
    journal.runs[ctx.id] += 1
    return a + b


def blob(ctx: Context, size: int) -> str:
    journal.runs[ctx.id] += 1
    return "x" * size


def work(ctx: Context, seconds: float) -> int:
    """A step that takes its time."""
    journal.runs[ctx.id] += 1
    ambient().sleep(round(seconds * 1000))
    return ambient().now()


def refuse(ctx: Context, kind: str) -> None:
    journal.runs[ctx.id] += 1
    raise {"value": ValueError("out of range"), "stock": OutOfStock("no tea left")}[kind]


async def look_up(ctx: Context, item: str) -> str:
    journal.runs[ctx.id] += 1
    await asyncio.sleep(0)
    return f"{item} in stock"


# Workflows


@resonate.register
def journey(ctx: Context, steps: int = 10) -> Workflow:
    """The workflow of the bar: steps, a sleep and an rpc."""
    total = 0
    for n in range(steps):
        total = yield ctx.run(add, total, n)
    yield ctx.sleep(60)
    return (yield ctx.rpc("double", total))


@resonate.register
def steps_only(ctx: Context, steps: int) -> Workflow:
    total = 0
    for n in range(steps):
        total = yield ctx.run(add, total, n)
    return total


@resonate.register
def busy(ctx: Context, steps: int) -> Workflow:
    for _ in range(steps):
        yield ctx.run(work, 1.0)


def hang(_: Context, seconds: float) -> str:
    """A step that outlives its timeout, and returns when it is let."""
    ambient().sleep(round(seconds * 1000))
    assert journal.enough.wait(10)
    journal.returned.set()
    return "too late"


@resonate.register
def outlived(ctx: Context, seconds: float) -> Workflow:
    try:
        yield ctx.run(hang, seconds).options(timeout=seconds)
    except ResonateTimedoutError as error:
        yield ctx.sleep(60)
        return error.id


@resonate.register
def impatient(ctx: Context, seconds: float) -> Workflow:
    """Its step takes longer than an attempt may take. The first two attempts are abandoned."""
    policy = Constant(delay=60, max_retries=2)
    found = yield ctx.run(slow_at_first, seconds).options(attempt_timeout=seconds, retry_policy=policy)
    yield ctx.sleep(60)
    return found


def slow_at_first(ctx: Context, seconds: float) -> str:
    journal.runs[ctx.id] += 1
    return "in time" if ctx.info.attempt > 2 else hang(ctx, seconds)


@resonate.register
def careful(ctx: Context, asynchronous: bool) -> Workflow:
    """Its steps run at most once. The second fails once and is retried."""
    first = yield from _caught(ctx.run(look_up, "tea") if asynchronous else ctx.run(add, 1, 2))
    second = yield from _caught(ctx.run(fail_once).options(retry_policy=Constant(delay=60, max_retries=1)))
    yield ctx.sleep(60)
    third = yield from _caught(ctx.run(add, 3, 4))
    return [first, second, third]


@resonate.register
def amended(ctx: Context, patches: int) -> Workflow:
    """Each step is that of a patch."""
    total = 0
    for n in range(patches):
        if (yield ctx.patched(f"patch-{n}")):
            total = yield ctx.run(add, total, n)
    yield ctx.sleep(60)
    yield ctx.deprecate_patch("patch-0")
    return [total, (yield ctx.patched("patch-0"))]


@resonate.register
def marked(ctx: Context, steps: int) -> Workflow:
    for n in range(steps):
        yield ctx.run(add, n, n).options(at_most_once=True)


def _caught(call: Any) -> Workflow:
    try:
        return (yield call.options(at_most_once=True))
    except StepInterrupted as error:
        return f"interrupted in attempt {error.attempt}"


def fail_once(ctx: Context) -> str:
    journal.runs[f"{ctx.id}~{ctx.info.attempt}"] += 1
    if ctx.info.attempt == 1:
        raise ValueError("again")
    return "twice"


@resonate.register
def nesting(ctx: Context) -> Workflow:
    return (yield ctx.run(steps_only.func, 2))


@resonate.register
def double(ctx: Context, n: int) -> int:
    journal.runs[ctx.id] += 1
    return 2 * n


@resonate.register
def nap(ctx: Context, secs: float) -> Workflow:
    journal.runs[ctx.id] += 1
    yield ctx.sleep(secs)
    return f"slept for {secs} seconds"


@resonate.register
def heavy(ctx: Context, blobs: int, size: int) -> Workflow:
    total = 0
    for _ in range(blobs):
        total += len((yield ctx.run(blob, size)))
    yield ctx.sleep(60)
    return total


@resonate.register
def bulky(ctx: Context, text: str) -> Workflow:
    """Large values as argument, result of a step, error of another execution, and result."""
    first = yield ctx.run(blob, len(text))
    yield ctx.sleep(60)
    try:
        yield ctx.rpc("verbose", text)
    except ValueError as error:
        return first + str(error)


@resonate.register
def copying(ctx: Context, text: str) -> Workflow:
    """A large argument, a large result of a step, a large result."""
    yield ctx.run(blob, len(text))
    return text


@resonate.register
def verbose(ctx: Context, text: str) -> Workflow:
    yield ctx.run(add, 0, 1)
    raise ValueError(text)


@resonate.register
def oversized(ctx: Context, size: int) -> Workflow:
    yield ctx.run(add, 0, 1)
    return "y" * size


@resonate.register
def immoderate(ctx: Context, size: int) -> Workflow:
    """Produces a value that is too large, first as a result and then as an argument."""
    refused = []
    for command in (ctx.run(blob, size).options(retry_policy=Never()), ctx.rpc("double", "x" * size)):
        try:
            yield command
        except Exception as error:
            refused.append(f"{type(error).__name__}: {error}")
    return refused


@resonate.register
def family(ctx: Context, depth: int) -> Workflow:
    """Nested generators, each of which sleeps."""
    if depth == 0:
        return (yield ctx.run(add, 0, 1))
    yield ctx.sleep(10)
    below = yield ctx.run(family.func, depth - 1)
    return (yield ctx.run(add, below, below))


@resonate.register
def spread(ctx: Context, count: int) -> Workflow:
    promises = []
    for n in range(count):
        promises.append((yield ctx.begin_run(add, n, n)))
    sleep = yield ctx.begin_run(pause, 30)
    results = []
    for promise in promises:
        results.append((yield promise))
    return [*results, (yield sleep)]


def pause(ctx: Context, secs: float) -> Workflow:
    yield ctx.sleep(secs)
    return "rested"


@resonate.register
def unawaited(ctx: Context) -> Workflow:
    yield ctx.begin_run(pause, 30)
    yield ctx.begin_rpc("double", 4)
    return "returned"


@resonate.register
def fan_out(ctx: Context, count: int) -> Workflow:
    promises = []
    for n in range(count):
        promises.append((yield ctx.begin_rpc("double", n)))
    total = 0
    for promise in promises:
        total += yield promise
    return total


@resonate.register
def in_a_row(ctx: Context, calls: int, naps: int) -> Workflow:
    for n in range(calls):
        yield ctx.rpc("double", n)
    for _ in range(naps):
        yield ctx.sleep(20)
    return calls + naps


@resonate.register
def tour(ctx: Context) -> Workflow:
    """Use what waits for several, and wait to be cancelled."""
    saga = ctx.saga()
    first = yield ctx.race(fast=ctx.rpc("nap", 5.0), slow=ctx.rpc("nap", 5_000.0), cancel_losers=True)
    doubled = yield ctx.map("double", [1, 2, 3], max_concurrency=2, remote=True)
    yield saga.run(add, 1, 2, undo=(add, 3, 4))
    both = yield ctx.all(a=ctx.run(add, first.name == "fast", sum(doubled.values)), b=ctx.rpc("double", 5))
    try:
        yield ctx.wait((yield ctx.promise()), timeout=10)
    except TimeoutError:
        yield saga.run(add, both["a"], both["b"], undo=(add, 5, 6))
    yield ctx.sleep(86_400)


@resonate.register
def approval(ctx: Context) -> Workflow:
    promise = yield ctx.promise(data={"question": "ship it?"})
    journal.asked.append(promise.id)
    answer = yield promise
    return f"the answer is {answer}"


@resonate.register
def patient(ctx: Context, seconds: float) -> Workflow:
    """Waits for a promise that nobody settles."""
    promise = yield ctx.promise(timeout=seconds)
    try:
        yield promise
    except Exception as error:
        return f"{type(error).__name__} at {ambient().now()}"


@resonate.register
def failing(ctx: Context, kind: str) -> Workflow:
    yield ctx.run(refuse, kind).options(retry_policy=Never())


@resonate.register
def stubborn(ctx: Context, delay: float) -> Workflow:
    """A step that fails whenever it is tried, and is tried for ever."""
    yield ctx.run(refuse, "value").options(retry_policy=Constant(delay=delay))


@resonate.register
def deadline(ctx: Context, timeout: float) -> Workflow:
    """Waits for another that will not end in time."""
    try:
        yield ctx.rpc("stubborn", 60).options(timeout=timeout)
    except Exception as error:
        return f"{type(error).__name__} at {ambient().now()}"


@resonate.register
def catching_its_own(ctx: Context) -> Workflow:
    """Catch a step's error in the process that saw it and, replayed, in another."""
    try:
        yield ctx.run(refuse, "stock").options(retry_policy=Never())
    except OutOfStock as error:
        yield ctx.sleep(60)
        try:
            yield ctx.rpc("failing", "stock")
        except OutOfStock:
            return f"twice {error}"


@resonate.register
def catching(ctx: Context) -> Workflow:
    try:
        yield ctx.rpc("failing", "value")
    except ValueError as error:
        return f"caught {error}"


@resonate.register
def laborious(ctx: Context, steps: int, seconds: float) -> Workflow:
    """Steps that together take longer than an invocation may."""
    finished = []
    for _ in range(steps):
        finished.append((yield ctx.run(work, seconds)))
    return finished


@resonate.register
def ordering(ctx: Context, order: Order) -> Workflow:
    yield ctx.sleep(5)
    return f"{order.count} x {order.item}"


@resonate.register
def erratic(ctx: Context) -> Workflow:
    """Takes a step that it did not take before."""
    journal.runs[ctx.id] += 1
    yield ctx.run(add if journal.runs[ctx.id] == 1 else blob, 1, *([1] if journal.runs[ctx.id] == 1 else []))
    yield ctx.sleep(60)


@resonate.register
def chat(ctx: Context) -> Workflow:
    """Receive until "bye", with a step and a publication for each message, and a reminder after an hour."""
    got: list[str] = []
    while not got or got[-1] != "bye":
        try:
            got.append((yield ctx.receive("chat", timeout=3600)))
        except TimeoutError:
            got.append("reminded")
        yield ctx.run(add, len(got), 0)
        yield ctx.publish("count", len(got))
    return got


@resonate.register
async def chat_async(ctx: Context) -> list[str]:
    got: list[str] = []
    while not got or got[-1] != "bye":
        try:
            got.append(await ctx.receive("chat", timeout=3600))
        except TimeoutError:
            got.append("reminded")
        await ctx.run(add, len(got), 0)
        await ctx.publish("count", len(got))
    return got


@resonate.register
def talk(ctx: Context, id: str) -> Workflow:
    """Send two messages, a minute apart."""
    yield ctx.send(id, "chat", "hello")
    yield ctx.sleep(60)
    yield ctx.send(id, "chat", "bye")


handler = resonate.handler()


@resonate.register
async def inquiry(ctx: Context, item: str) -> list[str]:
    """An async workflow with async steps, at the same time and one after the other."""
    begun = [await ctx.begin_run(look_up, item) for _ in range(2)]
    await ctx.sleep(3600)
    return [await ctx.run(look_up, f"still {item}"), *[await promise for promise in begun]]


@resonate.register
def watch(ctx: Context, total: int, generations: int) -> Workflow:
    """A generation of a monitor: a step, a nested workflow, an rpc and a sleep."""
    total = yield ctx.run(add, total, 1)
    nested = yield ctx.run(steps_only.func, 2)
    total = yield ctx.rpc("double", total + nested)
    yield ctx.sleep(60)
    if ctx.info.generation < generations:
        return ctx.continue_as(total, generations)
    return total


@resonate.register
async def watch_async(ctx: Context, total: int, generations: int) -> int:
    """The same, in the other spelling."""
    total = await ctx.run(add, total, 1)
    nested = await ctx.run(steps_only.func, 2)
    total = await ctx.rpc("double", total + nested)
    await ctx.sleep(60)
    if ctx.info.generation < generations:
        return ctx.continue_as(total, generations)
    return total

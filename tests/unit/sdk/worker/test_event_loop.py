"""The event loop of async functions: they await either what is the loop's, or commands."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.errors import is_final
from resonate.retry_policies import Constant
from resonate.workflow.awaits import MixedAwaits
from tests.support.driver import Driver, Flow
from tests.support.steps import ONCE, double, runs
from tests.support.ways import three_ways


def awaiting(name: str, make: Callable[[Context], Any], *, first: bool = False) -> Callable[..., Any]:
    """Return an async function that awaits what `make` returns. A command can be `first`."""

    async def awaits(ctx: Context) -> None:
        if first:
            await ctx.run(double, 1)
        await make(ctx)

    awaits.__name__ = name
    return awaits


def gather(ctx: Context) -> Any:
    return asyncio.gather(ctx.run(double, 1), ctx.run(double, 2))


def in_a_loop(ctx: Context) -> Any:
    return asyncio.run(ctx.run(double, 1))  # type: ignore[arg-type] # pyright: ignore


command_first = awaiting("command_first", lambda _: asyncio.sleep(1), first=True)
future_later = awaiting("future_later", lambda ctx: asyncio.to_thread(double, ctx, 1), first=True)
gathered_at_once = awaiting("gathered_at_once", gather)
gathered_later = awaiting("gathered_later", gather, first=True)
in_limited_time = awaiting("in_limited_time", lambda ctx: asyncio.wait_for(ctx.run(double, 1), 5))
waited = awaiting("waited", lambda ctx: asyncio.wait([ctx.run(double, 1)]))  # type: ignore[type-var] # pyright: ignore
run_in_a_loop = awaiting("run_in_a_loop", in_a_loop)
run_in_a_thread = awaiting("run_in_a_thread", lambda ctx: asyncio.to_thread(in_a_loop, ctx))


async def loop_first(ctx: Context) -> None:
    await asyncio.sleep(0)
    await ctx.run(double, 1)


async def gathered_promises(ctx: Context) -> None:
    promises = [await ctx.begin_run(double, n) for n in range(2)]
    await asyncio.gather(*promises)


async def timed(ctx: Context) -> None:
    async with asyncio.timeout(5):
        await ctx.run(double, 1)


async def in_task_group(ctx: Context) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ctx.run(double, 1))  # pyright: ignore[reportArgumentType]


async def in_task_of_task_group(ctx: Context) -> None:
    async def waits() -> None:
        await ctx.run(double, 1)

    async with asyncio.TaskGroup() as group:
        group.create_task(waits())


async def bare(ctx: Context) -> None:
    await ctx.run(double, 1)
    asyncio.create_task(ctx.run(double, 1))  # pyright: ignore[reportArgumentType]  # noqa: RUF006


async def waited_promises(ctx: Context) -> None:
    promises = [await ctx.begin_run(double, n) for n in range(2)]
    await asyncio.wait(promises)  # type: ignore[type-var] # pyright: ignore


async def from_a_thread(ctx: Context) -> None:
    asyncio.run_coroutine_threadsafe(ctx.run(double, 1), asyncio.get_running_loop())  # pyright: ignore


def run_in_a_plain_step(ctx: Context) -> None:
    in_a_loop(ctx)


LOOP = [loop_first, command_first, future_later]
TASK = [gathered_at_once, gathered_later, gathered_promises, in_limited_time, timed]


@pytest.mark.filterwarnings("error")
@three_ways
def test_function_that_mixes_awaits_says_what_to_do_instead(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, number: int) -> Flow:
        yield ctx.run((LOOP + TASK)[number]).options(retry_policy=ONCE)

    for number, mixed in enumerate(LOOP + TASK):
        message = f"{mixed.__name__} awaits <LFC: run double> and uses asyncio .*of its own"
        if mixed in TASK:
            uses = f"{mixed.__name__} awaits .* uses asyncio .*(a task of its own|a timeout)"
            message = f"{uses}.*await ctx.begin_run.* for each"
        with subtests.test(mixed.__name__), pytest.raises(MixedAwaits, match=message):
            driver.run(f"w{number}", workflow, number)


def test_async_function_that_mixes_awaits_fails_at_once(driver: Driver, subtests: pytest.Subtests) -> None:
    in_asyncio = [waited, waited_promises, from_a_thread, run_in_a_loop, run_in_a_thread, run_in_a_plain_step]
    in_tasks = [gathered_at_once, gathered_later, in_limited_time, timed, in_task_group, in_task_of_task_group, bare]
    functions: list[Callable[..., Any]] = [loop_first, command_first, *in_asyncio, *in_tasks]

    async def workflow(ctx: Context, number: int, begin: bool) -> None:
        if begin:
            await (await ctx.begin_run(functions[number]).options(retry_policy=Constant(delay=1)))
        else:
            await ctx.run(functions[number])

    for number, begin in itertools.product(range(len(functions)), (False, True)):
        with subtests.test(functions[number].__name__, begin=begin):
            with pytest.raises((MixedAwaits, ExceptionGroup)) as raised:
                driver.run(f"w{number}{begin}", workflow, number, begin)
            assert is_final(raised.value)
            assert driver.elapsed() == 0
            assert not [id for id in driver.ids() if "~" in id]


class Wrapped(Exception):
    pass


def test_error_raised_from_mixed_awaits_is_final(driver: Driver, subtests: pytest.Subtests) -> None:
    functions = [gathered_at_once, in_task_group, waited, run_in_a_loop]

    async def wraps(ctx: Context, number: int) -> None:
        try:
            await functions[number](ctx)
        except Exception as error:
            raise Wrapped("w") from error

    def workflow(ctx: Context, number: int) -> Flow:
        yield ctx.run(wraps, number).options(retry_policy=Constant(1, 2))

    for number, mixed in enumerate(functions):
        with subtests.test(mixed.__name__):
            with pytest.raises(Wrapped) as raised:
                driver.run(f"w{number}", workflow, number)
            assert is_final(raised.value)
            assert driver.elapsed() == 0


@three_ways
def test_async_step_can_use_timeouts_of_asyncio(driver: Driver) -> None:
    async def step(_: Context) -> int:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return 1

    assert driver.run("w", runs(step)) == 1

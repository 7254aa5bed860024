"""Async functions of a process: steps on one event loop, and clients within a loop of their own."""

from __future__ import annotations

import asyncio
import contextvars
import threading

from resonate import Context, Resonate
from resonate_store.model.requests import PromiseCreate, PromiseRecord
from resonate_store.model.tags import SCOPE
from tests.support.driver import Driver, Flow
from tests.support.steps import ONCE, double, gathered
from tests.support.ways import three_ways


async def later(_: Context, n: int) -> int:
    await asyncio.sleep(0)
    return n + 1


async def at_once(_: Context, n: int) -> int:
    return n + 1


def test_async_step_costs_one_record(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        here = [(yield ctx.run(later, 1)), (yield ctx.run(at_once, 2))]
        return here + (yield from gathered((ctx.begin_run(later, 3), ctx.begin_run(at_once, 4))))

    assert driver.run("w", workflow) == [2, 3, 4, 5]
    writes = [each for each in driver.tap.requests if isinstance(each, (PromiseCreate, PromiseRecord))]
    assert [type(each) for each in writes] == [PromiseRecord] * 4
    assert driver.promise("w.1").tags[SCOPE] == "local"


@three_ways
def test_async_function_runs_as_the_root_of_an_execution(resonate: Resonate) -> None:
    resonate.register(later)
    client = resonate.options(retry_policy=ONCE)

    assert [client.run("run", later, 1), client.rpc("rpc", later, 1)] == [2, 2]


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE")


def test_async_steps_share_one_loop_and_see_the_callers_variables() -> None:
    met = 0

    async def meet(ctx: Context, parties: int) -> tuple[int, str]:
        nonlocal met
        met += 1
        event: asyncio.Event = ctx.get_dependency("event")
        if met == parties:
            event.set()
        await event.wait()
        return threading.get_ident(), VARIABLE.get()

    async def workflow(ctx: Context, parties: int) -> int:
        promises = [await ctx.begin_run(meet, parties) for _ in range(parties)]
        seen = {tuple(await promise) for promise in promises}
        return len(seen)

    threads = threading.active_count()
    resonate = Resonate.local(dependencies={"event": asyncio.Event()}, workers=2)
    resonate.register(workflow)
    VARIABLE.set("here")
    assert resonate.run("w", workflow, 50) == 1
    resonate.stop()
    assert threading.active_count() == threads


async def asynchronous_sum(ctx: Context, n: int) -> int:
    return await ctx.run(double, n) + await ctx.run(later, 1)


def test_client_can_be_used_within_a_running_loop() -> None:
    resonate = Resonate.local()
    resonate.register(asynchronous_sum)

    async def main() -> list[int]:
        blocking = resonate.run("a", asynchronous_sum, 1)
        return [blocking, await resonate.begin_run("b", asynchronous_sum, 2)]

    assert asyncio.run(main()) == [4, 6]
    resonate.stop()

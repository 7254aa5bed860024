"""Async functions that are workflows: what they record, and the errors of their misuse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.errors import ResonateTimedoutError
from resonate.retry_policies import Constant
from resonate.workflow.awaits import MixedAwaits
from resonate_store.model.requests import PromiseCreate, PromiseRecord
from resonate_store.model.tags import TARGET
from tests.support.driver import Driver, Flow
from tests.support.steps import ONCE, caught, double, runs
from tests.support.ways import always_three_ways, three_ways


def generator(ctx: Context, n: int) -> Flow:
    once = yield ctx.run(double, n)
    begun = yield ctx.begin_run(inner_generator, once)
    remote = yield ctx.begin_rpc("double", 5)
    yield ctx.sleep(30)
    failed = yield from caught(ctx.run(fails).options(retry_policy=ONCE), ValueError)
    approval = yield ctx.promise(id="approval")
    detached = yield ctx.detached("double", 7)
    drawn = yield ctx.random.randint(1, 1)
    told = yield ctx.time.time()
    return [once, (yield begun), (yield remote), str(failed), (yield approval), detached.id, drawn, told]


def inner_generator(ctx: Context, n: int) -> Flow:
    yield ctx.sleep(60)
    return (yield ctx.run(double, n))


async def asynchronous(ctx: Context, n: int) -> Any:
    once = await ctx.run(double, n)
    begun = await ctx.begin_run(inner_asynchronous, once)
    remote = await ctx.begin_rpc("double", 5)
    await ctx.sleep(30)
    try:
        await ctx.run(fails).options(retry_policy=ONCE)
    except ValueError as error:
        failed = str(error)
    approval = await ctx.promise(id="approval")
    detached = await ctx.detached("double", 7)
    drawn = await ctx.random.randint(1, 1)
    told = await ctx.time.time()
    return [once, await begun, await remote, failed, await approval, detached.id, drawn, told]


async def inner_asynchronous(ctx: Context, n: int) -> int:
    await ctx.sleep(60)
    return await ctx.run(double, n)


def fails(_: Context) -> None:
    raise ValueError("no")


def outcome_and_records(driver: Driver, workflow: Callable[..., Any]) -> tuple[Any, list[Any], list[str]]:
    driver.dependencies["resonate:time"] = type("Time", (), {"time": staticmethod(lambda: 1.5)})
    driver.register(double)
    driver.start("w", workflow, 3)
    for _ in range(4):
        driver.pass_time(30)
        driver.work()
    driver.settle("approval", "yes")
    result = driver.finish("w")
    differing = dict.fromkeys(("resonate:func", TARGET))
    records = [
        (record.id, record.state, record.value if record.state == "resolved" else None, {**record.tags, **differing})
        for record in driver.records()
    ]
    return result, records, sorted(report.status for report in driver.reports)


@pytest.mark.parametrize("workflow", [generator, asynchronous])
@always_three_ways
def test_generator_and_async_workflow_leave_the_same_records(driver: Driver, workflow: Callable[..., Any]) -> None:
    result, *history = outcome_and_records(Driver(), generator)

    assert result == [6, 12, 10, "no", "yes", "w.7", 1, 1.5]
    assert outcome_and_records(driver, workflow) == (result, *history)


def test_async_workflow_has_its_promise_before_its_children(driver: Driver) -> None:
    async def inner(ctx: Context) -> int:
        return await ctx.run(double, 1)

    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.run(inner)), (yield ctx.run(inner).options(timeout=60.0))]

    assert driver.run("w", workflow) == [2, 2]
    ids = [each.id for each in driver.tap.requests if isinstance(each, (PromiseCreate, PromiseRecord))]
    assert (ids, len(driver.reports)) == (["w.1", "w.1.1", "w.2", "w.2.1"], 1)


def test_asyncio_error_without_a_command_stays_itself(driver: Driver) -> None:
    async def in_a_loop(_: Context) -> None:
        idle = asyncio.sleep(0)
        try:
            asyncio.run(idle)
        finally:
            idle.close()

    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        driver.run("w", runs(in_a_loop, retry_policy=Constant(1, 1)))
    assert driver.elapsed() == 1


@three_ways
def test_command_outside_of_a_workflow_is_refused(driver: Driver) -> None:
    def step(ctx: Context) -> None:
        async def main() -> int:
            return await ctx.run(double, 1)

        asyncio.run(main())

    with pytest.raises(MixedAwaits, match="a coroutine awaits <LFC: run double>"):
        driver.run("w", runs(step, retry_policy=ONCE))


@three_ways
def test_async_workflow_that_begins_too_late_is_closed(driver: Driver) -> None:
    async def late(ctx: Context) -> None:
        driver.clock.sleep(10_000)
        try:
            await ctx.sleep(1)
        finally:
            await ctx.run(double, 1)

    def workflow(ctx: Context) -> Flow:
        return (yield from caught(ctx.run(runs(late)).options(timeout=5.0), ResonateTimedoutError)).id

    assert driver.run("w", workflow) == "w.1"
    assert [report.status for report in driver.reports] == ["completed"]

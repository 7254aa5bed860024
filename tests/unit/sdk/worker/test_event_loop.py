"""Async functions: steps that run on an event loop, and workflows that mean what generators mean."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import ApplicationError, ResonateHaltedError, ResonateTimedoutError, is_final
from resonate.retry_policies import Constant, Never
from resonate.workflow.awaits import MixedAwaits
from resonate_store.model.requests import PromiseCreate, PromiseRecord
from resonate_store.model.tags import SCOPE, TARGET
from tests.support.driver import Driver, Flow, Killed
from tests.support.ways import always_three_ways, three_ways

ONCE = Never()


def double(_: Context, n: int) -> int:
    return 2 * n


async def later(_: Context, n: int) -> int:
    await asyncio.sleep(0)
    return n + 1


async def at_once(_: Context, n: int) -> int:
    return n + 1


@pytest.mark.parametrize("step", [later, at_once])
def test_an_async_step_costs_one_record_like_any_other(driver: Driver, step: Callable[..., Any]) -> None:
    def workflow(ctx: Context) -> Flow:
        here = yield ctx.run(step, 1)
        promise = yield ctx.begin_run(step, 2)
        return [here, (yield promise)]

    assert driver.run("w", workflow) == [2, 3]
    writes = [each for each in driver.tap.requests if isinstance(each, (PromiseCreate, PromiseRecord))]
    assert [type(each) for each in writes] == [PromiseRecord, PromiseRecord]
    assert driver.promise("w.1").tags[SCOPE] == "local"


@three_ways
def test_an_async_step_is_not_run_again(driver: Driver) -> None:
    ran: list[int] = []

    async def step(_: Context, n: int) -> int:
        ran.append(n)
        await asyncio.sleep(0)
        return n

    def workflow(ctx: Context) -> Flow:
        first = yield ctx.run(step, 1)
        yield ctx.sleep(60)
        return first + (yield ctx.run(step, 2))

    assert driver.run("w", workflow) == 3
    assert ran == [1, 2]


def generator(ctx: Context, n: int) -> Flow:
    once = yield ctx.run(double, n)
    begun = yield ctx.begin_run(inner_generator, once)
    remote = yield ctx.begin_rpc("double", 5)
    yield ctx.sleep(30)
    try:
        yield ctx.run(fails).options(retry_policy=ONCE)
    except ValueError as error:
        caught = str(error)
    approval = yield ctx.promise(id="approval")
    detached = yield ctx.detached("double", 7)
    drawn = yield ctx.random.randint(1, 1)
    told = yield ctx.time.time()
    return [once, (yield begun), (yield remote), caught, (yield approval), detached.id, drawn, told]


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
        caught = str(error)
    approval = await ctx.promise(id="approval")
    detached = await ctx.detached("double", 7)
    drawn = await ctx.random.randint(1, 1)
    told = await ctx.time.time()
    return [once, await begun, await remote, caught, await approval, detached.id, drawn, told]


async def inner_asynchronous(ctx: Context, n: int) -> int:
    await ctx.sleep(60)
    return await ctx.run(double, n)


def fails(_: Context) -> None:
    raise ValueError("no")


def outcome_and_records(driver: Driver, workflow: Callable[..., Any]) -> tuple[Any, list[Any], list[str]]:
    driver.dependencies["resonate:time"] = type("Time", (), {"time": staticmethod(lambda: 1.5)})
    driver.register(double)
    driver.begin("w", workflow, 3)
    driver.work()
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
def test_both_spellings_mean_the_same(driver: Driver, workflow: Callable[..., Any]) -> None:
    result, *history = outcome_and_records(Driver(), generator)

    assert result == [6, 12, 10, "no", "yes", "w.7", 1, 1.5]
    assert outcome_and_records(driver, workflow) == (result, *history)


def test_an_async_workflow_has_its_promise_before_it_has_children(driver: Driver) -> None:
    async def inner(ctx: Context) -> int:
        return await ctx.run(double, 1)

    async def workflow(ctx: Context) -> int:
        return await ctx.run(inner)

    assert driver.run("w", workflow) == 2
    ids = [each.id for each in driver.tap.requests if isinstance(each, (PromiseCreate, PromiseRecord))]
    assert ids == ["w.1", "w.1.1"]


def test_a_killed_async_workflow_continues_and_repeats_no_step() -> None:
    async def inner(ctx: Context, n: int) -> int:
        total = 0
        for each in range(n):
            total += await ctx.run(count, each)
        await ctx.sleep(10)
        return total

    async def workflow(ctx: Context) -> int:
        promise = await ctx.begin_run(inner, 3)
        return await ctx.run(inner, 2) + await promise

    def count(ctx: Context, n: int) -> int:
        assert driver.store.record(ctx.id) is None, "it is recorded, and runs again"
        return n

    fatal = 0
    while True:
        driver = Driver()
        requests = 0

        def die(_: Any, limit: int = fatal) -> None:
            nonlocal requests
            requests += 1
            if requests == limit + 1:
                raise Killed

        driver.tap.after = die
        driver.begin("w", workflow)
        try:
            result = driver.finish("w")
        except Killed:
            result = driver.finish("w")
        driver.resources.async_functions.stop()
        assert result == 4, f"killed after request {fatal}"
        if requests <= fatal:
            break
        fatal += 1
    assert fatal > 8


@three_ways
def test_async_functions_are_retried_as_what_they_are(driver: Driver) -> None:
    calls: list[str] = []

    async def flaky_step(ctx: Context) -> int:
        await asyncio.sleep(0)
        calls.append("step")
        if calls.count("step") < 3:
            raise ValueError("not yet")
        return ctx.info.attempt

    async def flaky_workflow(ctx: Context) -> None:
        await ctx.run(double, 1)
        calls.append("workflow")
        raise ValueError("never")

    def workflow(ctx: Context) -> Flow:
        attempt = yield ctx.run(flaky_step)
        try:
            yield ctx.run(flaky_workflow)
        except ValueError:
            return attempt

    assert driver.run("w", workflow) == 3
    assert calls == ["step"] * 3 + ["workflow"]
    assert driver.elapsed() >= 2 + 4, "the pauses of the default policy"


@three_ways
def test_a_retried_async_workflow_goes_on_with_its_numbers_whoever_continues_it(driver: Driver) -> None:
    steps: list[str] = []

    def step(ctx: Context) -> None:
        steps.append(ctx.id)

    async def inner(ctx: Context) -> str:
        await ctx.run(step)
        if ctx.info.attempt < 3:
            raise ValueError("not yet")
        return ctx.id

    async def workflow(ctx: Context) -> str:
        return await ctx.run(inner).options(retry_policy=Constant(delay=60))

    assert driver.run("w", workflow) == "w.1"
    assert steps == ["w.1.1", "w.1.2", "w.1.3"]
    assert [report.status for report in driver.reports] == ["suspended", "suspended", "completed"]


async def loop_first(ctx: Context) -> None:
    await asyncio.sleep(0)
    await ctx.run(double, 1)


async def command_first(ctx: Context) -> None:
    await ctx.run(double, 1)
    await asyncio.sleep(1)


async def future_later(ctx: Context) -> None:
    await ctx.run(double, 1)
    await asyncio.to_thread(double, ctx, 1)


@pytest.mark.parametrize("mixed", [loop_first, command_first, future_later])
@three_ways
def test_a_function_awaits_either_commands_or_the_loop(driver: Driver, mixed: Callable[..., Any]) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(mixed).options(retry_policy=ONCE)

    with pytest.raises(MixedAwaits, match=f"{mixed.__name__} awaits <LFC: run double> and uses asyncio .*of its own"):
        driver.run("w", workflow)


async def gathered_at_once(ctx: Context) -> None:
    await asyncio.gather(ctx.run(double, 1), ctx.run(double, 2))


async def gathered_later(ctx: Context) -> None:
    await ctx.run(double, 1)
    await asyncio.gather(ctx.run(double, 1), ctx.run(double, 2))


async def gathered_promises(ctx: Context) -> None:
    promises = [await ctx.begin_run(double, n) for n in range(2)]
    await asyncio.gather(*promises)


async def in_limited_time(ctx: Context) -> None:
    await asyncio.wait_for(ctx.run(double, 1), 5)


async def timed(ctx: Context) -> None:
    async with asyncio.timeout(5):
        await ctx.run(double, 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tasked", [gathered_at_once, gathered_later, gathered_promises, in_limited_time, timed])
@three_ways
def test_a_command_in_a_task_of_asyncios_says_what_to_do_instead(driver: Driver, tasked: Callable[..., Any]) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(tasked).options(retry_policy=ONCE)

    message = (
        f"{tasked.__name__} awaits .* uses asyncio .*(a task of its own|a timeout).*await ctx.begin_run.* for each"
    )
    with pytest.raises(MixedAwaits, match=message):
        driver.run("w", workflow)


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


async def waited(ctx: Context) -> None:
    await asyncio.wait([ctx.run(double, 1)])  # type: ignore[type-var] # pyright: ignore


async def waited_promises(ctx: Context) -> None:
    promises = [await ctx.begin_run(double, n) for n in range(2)]
    await asyncio.wait(promises)  # type: ignore[type-var] # pyright: ignore


async def from_a_thread(ctx: Context) -> None:
    asyncio.run_coroutine_threadsafe(ctx.run(double, 1), asyncio.get_running_loop())  # pyright: ignore


async def run_in_a_loop(ctx: Context) -> None:
    asyncio.run(ctx.run(double, 1))  # type: ignore[arg-type] # pyright: ignore


async def run_in_a_thread(ctx: Context) -> None:
    await asyncio.to_thread(lambda: asyncio.run(ctx.run(double, 1)))  # type: ignore[arg-type] # pyright: ignore


def run_in_a_plain_step(ctx: Context) -> None:
    asyncio.run(ctx.run(double, 1))  # type: ignore[arg-type] # pyright: ignore


@pytest.mark.parametrize(
    "mixed",
    [
        waited,
        waited_promises,
        from_a_thread,
        run_in_a_loop,
        run_in_a_thread,
        run_in_a_plain_step,
        loop_first,
        command_first,
        gathered_at_once,
        gathered_later,
        in_limited_time,
        timed,
        in_task_group,
        in_task_of_task_group,
        bare,
    ],
)
@pytest.mark.parametrize("begin", [False, True])
def test_async_function_that_mixes_awaits_fails_at_once(driver: Driver, mixed: Callable[..., Any], begin: bool) -> None:
    async def workflow(ctx: Context) -> None:
        if begin:
            await (await ctx.begin_run(mixed).options(retry_policy=Constant(delay=1)))
        else:
            await ctx.run(mixed)

    with pytest.raises((MixedAwaits, ExceptionGroup)) as raised:
        driver.run("w", workflow)

    assert is_final(raised.value)
    assert driver.elapsed() == 0
    assert not [id for id in driver.ids() if "~" in id]


class Wrapped(Exception):
    pass


@pytest.mark.parametrize("mixed", [gathered_at_once, in_task_group, waited, run_in_a_loop])
def test_own_error_raised_from_mixed_awaits_is_final(driver: Driver, mixed: Callable[..., Any]) -> None:
    async def wraps(ctx: Context) -> None:
        try:
            await mixed(ctx)
        except Exception as error:
            raise Wrapped("w") from error

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(wraps).options(retry_policy=Constant(1, 2))

    with pytest.raises(Wrapped) as raised:
        driver.run("w", workflow)

    assert is_final(raised.value)
    assert driver.elapsed() == 0


def test_asyncio_error_without_a_command_stays_itself(driver: Driver) -> None:
    async def runs(_: Context) -> None:
        idle = asyncio.sleep(0)
        try:
            asyncio.run(idle)
        finally:
            idle.close()

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(runs).options(retry_policy=Constant(1, 1))

    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        driver.run("w", workflow)
    assert driver.elapsed() == 1


@three_ways
def test_a_function_may_use_timeouts_for_what_is_the_loops(driver: Driver) -> None:
    async def step(_: Context) -> int:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return 1

    async def workflow(ctx: Context) -> int:
        return await ctx.run(step)

    assert driver.run("w", workflow) == 1


@three_ways
def test_one_that_comes_too_late_to_begin_is_let_go(driver: Driver) -> None:
    async def late(ctx: Context) -> None:
        driver.clock.sleep(10_000)
        try:
            await ctx.sleep(1)
        finally:
            await ctx.run(double, 1)

    def inner(ctx: Context) -> Flow:
        yield ctx.run(late)

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(inner).options(timeout=5.0)
        except ResonateTimedoutError as error:
            return error.id

    assert driver.run("w", workflow) == "w.1"
    assert [report.status for report in driver.reports] == ["completed"]


@three_ways
def test_a_command_outside_of_a_workflow_is_refused(driver: Driver) -> None:
    def step(ctx: Context) -> None:
        async def main() -> int:
            return await ctx.run(double, 1)

        asyncio.run(main())

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(step).options(retry_policy=ONCE)

    with pytest.raises(MixedAwaits, match="a coroutine awaits <LFC: run double>"):
        driver.run("w", workflow)


@three_ways
def test_an_async_workflow_that_changed_is_halted(driver: Driver) -> None:
    async def workflow(ctx: Context) -> None:
        await ctx.run(double, 1)
        await ctx.promise()
        await ctx.sleep(60)

    driver.begin("w", workflow)
    driver.work()

    async def changed(ctx: Context) -> None:
        await ctx.sleep(1)

    driver.deploy(workflow=changed)
    with pytest.raises(ResonateHaltedError, match=r"w\.1 was run double when it first ran and is now a sleep"):
        driver.finish("w")


@three_ways
def test_being_cancelled_is_a_failure_of_the_step(driver: Driver) -> None:
    async def step(_: Context) -> None:
        raise asyncio.CancelledError

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(step).options(retry_policy=ONCE)

    with pytest.raises(ApplicationError, match="the function was cancelled"):
        driver.run("w", workflow)


def test_what_ends_a_process_passes_through(driver: Driver) -> None:
    async def step(_: Context) -> None:
        raise Killed

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(step)

    driver.begin("w", workflow)
    with pytest.raises(Killed):
        driver.work()


@pytest.mark.parametrize("how", ["run", "rpc"])
@three_ways
def test_an_async_root(resonate: Resonate, how: str) -> None:
    resonate.register(later)

    assert getattr(resonate.options(retry_policy=ONCE), how)("w", later, 1) == 2


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE")


def test_steps_share_one_loop_wait_together_and_see_the_callers_variables() -> None:
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


def test_the_client_can_be_used_within_a_running_loop() -> None:
    resonate = Resonate.local()
    resonate.register(asynchronous_sum)

    async def main() -> list[int]:
        blocking = resonate.run("a", asynchronous_sum, 1)
        return [blocking, await resonate.begin_run("b", asynchronous_sum, 2)]

    assert asyncio.run(main()) == [4, 6]
    resonate.stop()


async def asynchronous_sum(ctx: Context, n: int) -> int:
    return await ctx.run(double, n) + await ctx.run(later, 1)

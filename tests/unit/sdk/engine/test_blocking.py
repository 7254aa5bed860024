"""What a workflow waits for, when it suspends, and what it cannot wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.errors import ResonateHaltedError, ResonateTimedoutError
from resonate.payloads import codec
from resonate_store.model.requests import PromiseCreate, Request, TaskSuspend
from resonate_store.model.tags import TIMER
from tests.support.driver import DAY, Driver, Drivers, Flow
from tests.support.steps import Diary, begun, caught, double, gathered
from tests.support.ways import always_three_ways, three_ways


@always_three_ways
def test_workflow_suspends_only_on_the_promise_that_blocks_it(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promises = yield from begun(ctx.promise(id=f"p{n}") for n in range(5))
        total = 0
        for promise in reversed(promises):
            total += yield promise
        return total

    driver.start("w", workflow)
    # The first promise has a callback since its creation, which resumes nothing while the workflow waits for another.
    assert [id for id in driver.ids() if driver.record(id).callbacks] in (["p4"], ["p0", "p4"])
    for n in range(4):
        driver.settle(f"p{n}", 1)
    assert driver.work() == []
    driver.settle("p4", 1)

    assert driver.finish("w") == 5
    assert [report.status for report in driver.reports] == ["suspended", "completed"]


def waits(ctx: Context, n: int) -> Flow:
    return (yield (yield ctx.promise(id=f"p{n}")))


def test_concurrent_workflows_are_waited_for_together(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        return sum((yield from gathered(ctx.begin_run(waits, n) for n in range(200))))

    assert driver.start("w", workflow) == ["suspended"]
    assert all(driver.record(f"p{n}").callbacks == {"w": 1} for n in range(200))
    for n in range(200):
        driver.settle(f"p{n}", n)

    assert driver.finish("w") == sum(range(200))


def test_workflow_with_many_remote_children_is_invoked_few_times(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        calls = (ctx.begin_rpc("double", n).options(target="poll://any@others") for n in range(1000))
        return sum((yield from gathered(calls)))

    driver.begin("w", workflow)
    driver.invoke()
    driver.offers.clear()
    for n in range(1, 1001):
        driver.settle(f"w.{n}", 1)

    assert driver.finish("w") == 1000
    assert len(driver.reports) < 10


@three_ways
def test_sleep_suspends_when_longer_than_a_second(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, seconds: float) -> Flow:
        return (yield ctx.sleep(seconds))

    cases = [(0, 0), (0.0001, 0), (0.25, 0), (1, 0), (1.001, 1), (604800, 1)]
    for number, (seconds, suspensions) in enumerate(cases):
        with subtests.test(f"{seconds} s"):
            began, invocations = driver.elapsed(), len(driver.reports)
            assert driver.run(f"w{number}", workflow, seconds, timeout=10 * DAY) is None
            slept = round(driver.elapsed() - began, 3)
            assert slept == pytest.approx(max(0.001 if seconds else 0, seconds), abs=driver.lateness)
            assert len(driver.reports) == invocations + 1 + suspensions
            assert driver.promise(f"w{number}.1").tags[TIMER] == "true"


@three_ways
def test_sleeps_begun_in_nested_workflows_pass_together(driver: Driver) -> None:
    def nap(ctx: Context, seconds: float) -> Flow:
        yield ctx.sleep(seconds)
        return driver.elapsed()

    def workflow(ctx: Context) -> Flow:
        return (yield from gathered(ctx.begin_run(nap, seconds) for seconds in (0.5, 0.75, 30, 20)))

    assert driver.run("w", workflow) == pytest.approx([0.5, 0.75, 30, 20], abs=driver.lateness)
    assert driver.elapsed() == pytest.approx(30, abs=driver.lateness)


def awaits_for_too_long(driver: Driver, closed: list[str]) -> Callable[..., Flow]:
    """A workflow whose nested one may take five seconds and awaits a promise that may take ten days."""
    foreign = PromiseCreate("foreign", driver.after(10 * DAY), tags={})
    assert driver.store.apply(foreign).ok

    def inner(ctx: Context) -> Flow:
        try:
            yield (yield ctx.promise(id="foreign"))
        finally:
            closed.append(ctx.id)

    def workflow(ctx: Context) -> Flow:
        error = yield from caught(ctx.run(inner).options(timeout=5.0), ResonateTimedoutError)
        return [error.id, (yield ctx.run(double, 4))]

    return workflow


@three_ways
def test_nested_workflow_times_out_while_it_awaits_a_later_promise(driver: Driver) -> None:
    assert driver.run("w", awaits_for_too_long(driver, [])) == ["w.1", 8]
    assert driver.elapsed() == 5
    assert driver.promise("foreign").pending


def test_nested_workflow_that_times_out_before_suspension_is_closed(driver: Driver) -> None:
    closed: list[str] = []

    def late(request: Request | str) -> None:
        if not isinstance(request, str) and request.kind == "task.suspend":
            driver.clock.advance(5000)

    driver.begin("w", awaits_for_too_long(driver, closed))
    driver.tap.answer = late

    assert driver.invoke().status == "completed"
    assert codec.decode(driver.promise("w").value) == ["w.1", 8]
    assert closed == ["w.1"]


def test_promises_settled_during_a_suspension_are_not_missed(
    drivers: Drivers, diary: Diary, subtests: pytest.Subtests
) -> None:
    def workflow(ctx: Context, count: int) -> Flow:
        promises = yield from begun(ctx.begin_run(waits, n) for n in range(count))
        yield ctx.run(diary.step("once"))
        return (yield from begun(promises))

    for count in (1, 120):
        with subtests.test(f"{count} promises"):
            driver = drivers()

            def settle(request: Request | str, count: int = count, driver: Driver = driver) -> None:
                if isinstance(request, TaskSuspend):
                    for n in range(count):
                        driver.settle(f"p{n}", n)

            driver.tap.answer = settle
            assert driver.start("w", workflow, count) == ["completed"]
            assert driver.finish("w") == list(range(count))
            assert "children:w" not in driver.tap.requests
    assert diary == ["once"] * 2


BEGINS: dict[str, Callable[[Context], Any]] = {
    "promise": lambda ctx: ctx.promise(),
    "promise with an id": lambda ctx: ctx.promise(id=f"{ctx.id}-own"),
    "begin_rpc": lambda ctx: ctx.begin_rpc("double", 1),
    "begin_rpc with an id": lambda ctx: ctx.begin_rpc("double", 1).options(id=f"{ctx.id}-own"),
    "detached": lambda ctx: ctx.detached("double", 1),
}
"""Commands whose promises exist as soon as the workflow continues."""


@always_three_ways
def test_begun_promise_exists_when_its_workflow_continues(driver: Driver) -> None:
    found: dict[str, list[bool]] = {}

    def generator(ctx: Context, what: str) -> Flow:
        promise = yield BEGINS[what](ctx)
        found.setdefault(ctx.id, [promise.id in driver.ids()])

    async def coroutine(ctx: Context, what: str) -> None:
        there = [(await BEGINS[what](ctx)).id in driver.ids()]
        promise = await ctx.promise()
        found.setdefault(ctx.id, [*there, promise.id in driver.ids()])

    driver.register(double)
    for number, what in enumerate(BEGINS):
        driver.begin(f"g{number}", generator, what)
        driver.start(f"c{number}", coroutine, what)

    assert len(found) == 2 * len(BEGINS)
    assert all(all(there) for there in found.values()), found


def test_begun_step_runs_when_its_workflow_waits(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        step = yield ctx.begin_run(diary.step("step"))
        promise = yield ctx.promise(id="p")
        diary.append("continues")
        yield step
        driver.settle("p")
        yield promise

    driver.run("w", workflow)

    assert diary == ["continues", "step"]
    assert driver.tap.kinds()[:3] == ["task.acquire", "promise.create", "promise.record"]


@three_ways
def test_workflow_that_awaits_its_caller_or_itself_is_an_error(driver: Driver, subtests: pytest.Subtests) -> None:
    def nested(ctx: Context, above: str) -> Flow:
        yield (yield ctx.promise(id=above))

    def workflow(ctx: Context, how: str) -> Flow:
        match how:
            case "promise":
                yield (yield ctx.promise(id=ctx.id))
            case "rpc":
                yield ctx.rpc("workflow").options(id=ctx.id)
            case _:
                yield ctx.run(nested, ctx.id)

    for how, name in (("promise", "workflow"), ("rpc", "workflow"), ("nested", "nested")):
        message = f"{name} cannot wait for the promise {how}: it is settled after {name} has ended"
        with subtests.test(how), pytest.raises(ValueError, match=message):
            driver.run(how, workflow, how)


@three_ways
def test_workflow_can_catch_that_it_waits_for_itself(driver: Driver) -> None:
    def nested(ctx: Context, above: Any) -> Flow:
        refused = []
        own = ctx.promise(id=ctx.id)
        for wait in (own, ctx.run(double, 1).options(id="child"), ctx.sleep(1).options(id="w"), above):
            if isinstance((yield from caught(wait, ValueError)), ValueError):
                refused.append(type(wait).__name__)
        yield ctx.sleep(10)
        return refused

    def child(ctx: Context) -> Flow:
        itself = yield ctx.detached("workflow").options(id="w")
        return (yield ctx.run(nested, itself))

    def workflow(ctx: Context) -> Flow:
        return (yield (yield ctx.begin_run(child).options(id="child")))

    assert driver.run("w", workflow) == ["PromiseCommand", "LFC", "Sleep", "Promise"]


@always_three_ways
def test_workflows_that_wait_for_each_other_are_halted(driver: Driver) -> None:
    def waits(ctx: Context, other: str) -> Flow:
        yield ctx.sleep(10)
        yield (yield ctx.promise(id=other))

    def workflow(ctx: Context) -> Flow:
        one = yield ctx.begin_run(waits, "two").options(id="one")
        yield ctx.begin_run(waits, "one").options(id="two")
        yield one

    with pytest.raises(ResonateHaltedError, match="task w waits for itself"):
        driver.run("w", workflow)

"""`ctx.continue_as`: an execution that begins its history anew, in both spellings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from resonate import Context
from resonate.errors import (
    PayloadError,
    ProgramError,
    ResonateHaltedError,
    ResonateTimedoutError,
    SignatureError,
)
from resonate.retry_policies import Constant
from resonate.workflow.options import NEVER_S, Options
from resonate_store.model.records import Record
from tests.support.driver import Driver, Drivers, Flow
from tests.support.steps import double
from tests.support.ways import always_three_ways, three_ways

MOST = 5


@dataclass
class Seen:
    total: int
    by_day: dict[str, int]


def count(ctx: Context, n: int, most: int = MOST) -> Flow:
    doubled = yield ctx.run(double, n)
    assert doubled == 2 * n
    if n < most:
        return ctx.continue_as(n + 1, most=most)
    return n, ctx.info.generation


async def count_async(ctx: Context, n: int, most: int = MOST) -> tuple[int, int]:
    doubled = await ctx.run(double, n)
    assert doubled == 2 * n
    if n < most:
        return ctx.continue_as(n + 1, most=most)
    return n, ctx.info.generation


def count_alone(ctx: Context, n: int) -> tuple[int, int]:
    return ctx.continue_as(n + 1) if n < MOST else (n, ctx.info.generation)


@always_three_ways
@pytest.mark.parametrize("workflow", [count, count_async])
def test_execution_continues_under_the_same_promise(driver: Driver, workflow: Callable[..., Any]) -> None:
    assert driver.run("w", workflow, 1) == [MOST, MOST]
    assert driver.ids() == ["w", f"w.{MOST}+0", f"w.{MOST}+1"]
    assert driver.record("w").generation == MOST


def test_plain_function_continues(driver: Driver) -> None:
    assert driver.run("w", count_alone, 1) == [MOST, MOST]


@always_three_ways
@pytest.mark.parametrize("asynchronous", [False, True], ids=["generator", "async"])
def test_monitor_sleeps_in_every_generation(driver: Driver, *, asynchronous: bool) -> None:
    def watch(ctx: Context, seen: int) -> Flow:
        seen = yield ctx.run(double, seen)
        yield ctx.sleep(3600)
        assert (yield (yield ctx.begin_rpc(double, 1))) == 2
        return ctx.continue_as(seen)

    async def watch_async(ctx: Context, seen: int) -> None:
        seen = await ctx.run(double, seen)
        await ctx.sleep(3600)
        assert await (await ctx.begin_rpc(double, 1)) == 2
        return ctx.continue_as(seen)

    monitor: Callable[..., Any] = watch_async if asynchronous else watch
    driver.register(double)
    driver.begin("w", monitor, 1, timeout=365 * 86_400.0)
    driver.work()
    for _ in range(5):
        driver.pass_time(3600 + 10)
        driver.work()

    promise, record = driver.promise("w"), driver.record("w")
    assert promise.pending
    assert record.generation == 6
    assert driver.ids() == ["w", "w.6+0", "w.6+1", "w.6+2"]
    driver.settle("w", "enough")
    assert driver.finish("w") == "enough"


@three_ways
def test_attached_calls_end_before_the_next_generation(driver: Driver) -> None:
    log: list[Any] = []

    def note(ctx: Context, what: Any) -> None:
        log.append((ctx.id, what))

    def later(ctx: Context, n: int) -> Flow:
        yield ctx.sleep(100)
        yield ctx.run(note, n)

    def workflow(ctx: Context, n: int) -> Flow:
        yield ctx.run(note, "begun")
        yield ctx.begin_run(later, n)
        yield ctx.begin_rpc("note", n)
        yield ctx.detached("note", "detached")
        if n < 2:
            return ctx.continue_as(n + 1)

    driver.register(note)
    driver.run("w", workflow, 1)
    driver.work()
    order = [each for each in log if each[0] in ("w.1", "w.2.2", "w.3", "w.2+1", "w.2+2.2", "w.2+3")]
    assert order.index(("w.2+1", "begun")) == 3
    assert {("w.4", "detached"), ("w.2+4", "detached")} <= set(log)
    # What was detached has a tree, and a retention, of its own.
    assert {"w.4", "w.2+4", "w.2+1", "w.2+2"} <= set(driver.ids())
    assert not {"w.1", "w.2", "w.3", "w.2.2"} & set(driver.ids())


@three_ways
@pytest.mark.parametrize("pause", [0.5, 100])
def test_retries_count_anew_in_each_generation(driver: Driver, pause: float) -> None:
    attempts: list[tuple[str, int]] = []

    def flaky(ctx: Context) -> None:
        attempts.append((ctx.id, ctx.info.attempt))
        if ctx.info.attempt < 3:
            raise ConnectionError("no route")

    def workflow(ctx: Context, n: int) -> Flow:
        yield ctx.run(flaky).options(retry_policy=Constant(pause, max_retries=5))
        if n < 2:
            return ctx.continue_as(n + 1)
        return ctx.info.attempt

    assert driver.run("w", workflow, 1) == 1
    assert attempts == [("w.1", 1), ("w.1", 2), ("w.1", 3), ("w.2+1", 1), ("w.2+1", 2), ("w.2+1", 3)]


@three_ways
def test_failed_attempt_of_a_workflow_is_repeated_in_its_generation(driver: Driver) -> None:
    def workflow(ctx: Context, n: int) -> Flow:
        got = yield ctx.run(double, n)
        if ctx.info.attempt < 2:
            raise ConnectionError("no route")
        if n < 3:
            return ctx.continue_as(n + 1)
        return got, ctx.info.attempt

    driver.register(workflow)
    driver.registry.retry_policy = lambda _: Constant(100, max_retries=2)
    assert driver.run("w", workflow, 1) == [6, 2]
    assert driver.elapsed() >= 300
    assert driver.ids() == ["w", "w.3+0", "w.3+0~1", "w.3+1", "w.3+2"]


@three_ways
def test_overridden_id_is_one_promise_in_all_generations(driver: Driver) -> None:
    runs: list[str] = []

    def once(ctx: Context) -> int:
        runs.append(ctx.id)
        return len(runs)

    def workflow(ctx: Context, n: int) -> Flow:
        got = yield ctx.run(once).options(id="once")
        answer = yield (yield ctx.promise(id="answer"))
        yield ctx.sleep(100)
        if n < 3:
            return ctx.continue_as(n + 1)
        return got, answer

    driver.start("w", workflow, 1)
    driver.settle("answer", "yes")
    assert driver.finish("w") == [1, "yes"]
    assert runs == ["once"]
    assert driver.ids() == ["answer", "once", "w", "w.3+0", "w.3+1", "w.3+2", "w.3+3"]


@three_ways
def test_arguments_are_restored_to_their_annotations(driver: Driver) -> None:
    def workflow(ctx: Context, seen: Seen) -> Flow:
        assert isinstance(seen, Seen)
        yield ctx.sleep(100)
        if seen.total < 3:
            return ctx.continue_as(Seen(seen.total + 1, {"monday": seen.total}))
        return seen.by_day

    assert driver.run("w", workflow, {"total": 0, "by_day": {}}) == {"monday": 2}


def test_continuation_that_cannot_be_is_refused_in_the_workflow(drivers: Drivers, subtests: pytest.Subtests) -> None:
    def nested(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        return ctx.continue_as()

    def step(ctx: Context) -> Any:
        return ctx.continue_as()

    def calls(func: Callable[..., Any]) -> Callable[..., Any]:
        def workflow(ctx: Context) -> Flow:
            return (yield ctx.run(func))

        return workflow

    def of_another(outer: Context) -> Flow:
        def inner(ctx: Context) -> Flow:
            yield ctx.run(double, 1)
            return outer.continue_as()

        return (yield outer.run(inner))

    async def awaited(ctx: Context) -> Any:
        following: Any = ctx.continue_as()
        return await following

    def yielded(ctx: Context) -> Flow:
        return (yield ctx.continue_as())

    def many(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        return ctx.continue_as(1, 2)

    def unknown(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        return ctx.continue_as(speed=2)

    def unwritable(ctx: Context, _: Any = None) -> Flow:
        yield ctx.run(double, 1)
        return ctx.continue_as(object())

    cases: list[tuple[Callable[..., Any], type[Exception], str]] = [
        (calls(nested), ProgramError, r"w\.1 runs inside of the execution w, .* call this function by ctx\.rpc"),
        (calls(step), ProgramError, r"w\.1 runs inside of the execution w"),
        (of_another, ProgramError, r"inner returned the <continuation of w>: only the function of that execution"),
        (awaited, ProgramError, r"is not awaited or yielded: write `return ctx\.continue_as\(\.\.\.\)`"),
        (yielded, TypeError, "a workflow yields commands .* and not ContinueAs"),
        (many, SignatureError, "many cannot be called like this: .* 2 were given"),
        (unknown, SignatureError, "unknown cannot be called like this: .*'speed'"),
        (unwritable, PayloadError, "the arguments of unwritable"),
    ]
    for workflow, error, message in cases:
        with subtests.test(message):
            driver = drivers()
            with pytest.raises(error, match=message):
                driver.run("w", workflow)
            assert driver.record("w").generation is None


@three_ways
def test_changed_code_is_found_in_a_later_generation(driver: Driver) -> None:
    def workflow(ctx: Context, n: int) -> Flow:
        yield ctx.run(double, n)
        if n < 2:
            return ctx.continue_as(n + 1)
        yield ctx.sleep(100)

    def changed(ctx: Context, _: int) -> Flow:
        yield ctx.sleep(100)

    def ends(ctx: Context, _: int) -> Flow:
        return ctx.continue_as(1)
        yield

    driver.start("w", workflow, 1)
    driver.deploy(workflow=changed)
    with pytest.raises(ResonateHaltedError, match=r"w\.2\+1"):
        driver.finish("w")
    driver.deploy(workflow=workflow)
    driver.start("v", workflow, 1)
    driver.deploy(workflow=ends)
    with pytest.raises(ResonateHaltedError, match=r"v\.2\+1"):
        driver.finish("v")


@three_ways
def test_arguments_that_do_not_fit_changed_code_halt_a_history(driver: Driver) -> None:
    def workflow(ctx: Context, n: int) -> Flow:
        if n < 2:
            return ctx.continue_as(n + 1)
        yield ctx.sleep(100)

    def changed(ctx: Context, n: int, *, much: int) -> Flow:
        yield ctx.sleep(n * much)

    driver.start("w", workflow, 1)
    driver.deploy(workflow=changed)
    with pytest.raises(ResonateHaltedError, match="workflow cannot be called like this"):
        driver.finish("w")


@three_ways
def test_deadline_is_that_of_the_start(driver: Driver) -> None:
    def forever(ctx: Context, n: int) -> Flow:
        yield ctx.sleep(60)
        return ctx.continue_as(n + 1)

    driver.begin("w", forever, 1, timeout=1000.0)
    with pytest.raises(ResonateTimedoutError):
        driver.finish("w")
    assert 1000 <= driver.elapsed() <= 1000 + driver.lateness
    assert driver.record("w").generation == 17


def test_infinite_timeout_is_never() -> None:
    assert Options().merge(timeout=math.inf).timeout == NEVER_S
    assert Options().merge(timeout=5.0).merge(timeout=None).timeout == 5.0


def test_many_generations_leave_nothing_behind(driver: Driver) -> None:
    before: list[Record] = []

    def workflow(ctx: Context, n: int) -> Flow:
        yield ctx.run(double, n)
        yield (yield ctx.begin_run(count_alone, MOST))
        before[:] = driver.records()
        if n < 500:
            return ctx.continue_as(n + 1)

    driver.run("w", workflow, 1)
    assert [record.id for record in before] == ["w", "w.500+0", "w.500+1", "w.500+2"]
    assert [report.status for report in driver.reports] == ["completed"]
    of_each = ["promise.record", "promise.record", "promise.record", "task.continue_as"]
    assert driver.tap.kinds()[1:-1] == (of_each * 500)[:-2]

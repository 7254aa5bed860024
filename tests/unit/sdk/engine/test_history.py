"""What replay does not accept: workflows whose commands differ from those recorded."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.errors import NonDeterminismError, ResonateHaltedError
from resonate.retry_policies import Constant
from resonate_store.model.requests import PromiseRecord, TaskContinue
from resonate_store.model.tags import FUNC, ORIGIN, PARENT, SCOPE
from tests.support.driver import Driver, Drivers, Flow
from tests.support.steps import Diary, Flaky, begun, runs
from tests.support.ways import always_three_ways, three_ways


def f(_: Context) -> str:
    return "f"


def g(_: Context) -> str:
    return "g"


COMMANDS: dict[str, Callable[[Context], Any]] = {
    "run f": lambda ctx: ctx.run(f),
    "run g": lambda ctx: ctx.run(g),
    "rpc f": lambda ctx: ctx.rpc("f"),
    "run f with the id x": lambda ctx: ctx.run(f).options(id=f"{ctx.id}-x"),
    "run f with the id y": lambda ctx: ctx.run(f).options(id=f"{ctx.id}-y"),
    "a sleep": lambda ctx: ctx.sleep(1),
    "a promise": lambda ctx: ctx.promise(),
}
CHANGES = [
    (["run f"], ["run g"]),
    (["run f"], ["rpc f"]),
    (["rpc f"], ["run f"]),
    (["run f"], ["a sleep"]),
    (["a sleep"], ["run f"]),
    (["a sleep"], ["a promise"]),
    (["run f", "run g"], ["run g", "run f"]),
    (["run f", "rpc f"], ["rpc f", "run f"]),
    (["run f with the id x"], ["run f"]),
    (["run f"], ["run f with the id x"]),
    (["run f with the id x"], ["run f with the id y"]),
]
"""Commands of a workflow, as errors describe them, at first and after a change."""


def then(*commands: str) -> Callable[..., Any]:
    """Return a workflow that yields these commands, then sleeps, and returns the results."""

    def workflow(ctx: Context) -> Flow:
        got = yield from begun(COMMANDS[command](ctx) for command in commands)
        yield ctx.sleep(100)
        return got

    return workflow


@three_ways
def test_changed_workflow_halts_until_its_code_is_back(driver: Driver, subtests: pytest.Subtests) -> None:
    for number, (before, after) in enumerate(CHANGES):
        with subtests.test(f"{before} then {after}"):
            id = f"w{number}"
            driver.serve(id, w=then(*before), f=f, g=g)
            driver.deploy(w=then(*after), f=f, g=g)

            with pytest.raises(ResonateHaltedError) as halted:
                driver.finish(id)
            expected, found = (each[0].replace("the id ", f"the id {id}-") for each in (before, after))
            problem = str(NonDeterminismError(f"{id}.1", expected, found))
            assert re.fullmatch(re.escape(problem) + r" \(.*steps\.py:\d+\)", halted.value.reason)
            assert f"{id}.1 was {expected} when it first ran and is now {found}" in problem
            assert driver.reports[-1].status == "halted"
            assert driver.promise(id).pending
            driver.deploy(w=then(*before), f=f, g=g)
            assert driver.store.apply(TaskContinue(id)).ok
            assert driver.finish(id) == [None if each == "a sleep" else each.split()[1] for each in before]


@always_three_ways
def test_changed_nested_or_async_workflow_halts(driver: Driver) -> None:
    async def one(ctx: Context) -> None:
        await ctx.run(f)
        await ctx.sleep(100)

    async def two(ctx: Context) -> None:
        await ctx.run(g)

    two.__name__ = one.__name__

    for id, before, after in (("generator", then("run f"), then("run g")), ("async", one, two)):
        driver.serve(id, w=runs(before))
        driver.deploy(w=runs(after))
        with pytest.raises(ResonateHaltedError, match=rf"{id}\.1\.1 was run f when it first ran and is now run g"):
            driver.finish(id)


@three_ways
def test_workflow_cannot_catch_its_own_nondeterminism(driver: Driver, diary: Diary) -> None:
    def careless(ctx: Context) -> Flow:
        try:
            yield ctx.run(g)
        except Exception:
            diary.append("caught")

    driver.serve("w", w=then("run f"))
    driver.deploy(w=careless)

    with pytest.raises(ResonateHaltedError):
        driver.finish("w")
    assert diary == []


@three_ways
def test_change_after_the_recorded_commands_is_accepted(driver: Driver) -> None:
    driver.serve("w", w=then("run f"))

    def longer(ctx: Context) -> Flow:
        got = yield ctx.run(f)
        yield ctx.sleep(100)
        return [got, (yield ctx.run(g)), "more"]

    driver.deploy(w=longer)

    assert driver.finish("w") == ["f", "g", "more"]


def shorter(kind: str) -> Callable[..., Any]:
    """The new code of a workflow that ran f, slept and ran g: it ends after f."""

    def generator(ctx: Context) -> Flow:
        yield ctx.run(f)
        if kind == "raises":
            raise ValueError("early")
        return "early"

    async def asynchronous(ctx: Context) -> str:
        await ctx.run(f)
        return "early"

    def plain(_: Context) -> str:
        return "early"

    return {"async": asynchronous, "plain": plain}.get(kind, generator)


def sleeping(ctx: Context) -> Flow:
    yield ctx.run(f)
    yield ctx.sleep(100)
    return (yield ctx.run(g))


@three_ways
def test_workflow_that_ends_before_its_history_is_halted(driver: Driver, subtests: pytest.Subtests) -> None:
    kinds = [(kind, nested) for nested in (False, True) for kind in ("returns", "raises", "async", "plain")]
    for kind, nested in kinds[:-1]:
        with subtests.test(kind, nested=nested):
            id = f"{kind}-{nested}"
            new = shorter(kind)
            new.__name__ = "sleeping"
            driver.serve(id, w=runs(sleeping) if nested else sleeping, f=f)
            driver.deploy(w=runs(new) if nested else new, f=f)

            with pytest.raises(ResonateHaltedError) as halted:
                driver.finish(id)
            missing, command = (f"{id}.1.2" if nested else f"{id}.2"), "a sleep"
            if kind == "plain":
                missing, command = f"{id}.1", "run f"
            assert str(NonDeterminismError(missing, command, "nothing")) in halted.value.reason
            assert ("it raised ValueError: early" in halted.value.reason) == (kind == "raises")
            driver.deploy(w=runs(sleeping) if nested else sleeping, f=f)
            assert driver.store.apply(TaskContinue(id)).ok
            assert driver.finish(id) == "g"


@three_ways
def test_execution_that_looks_like_a_later_command_halts_nothing(driver: Driver) -> None:
    lineage: dict[str, str] = dict.fromkeys((ORIGIN, PARENT), "w.7")
    driver.register(f)
    driver.begin("w", sleeping)
    driver.create("w.7", {"func": "f"}, tags=lineage)
    driver.create("w.8", {"func": "f"})
    driver.work()

    assert driver.finish("w") == "g"


def test_records_of_a_worker_that_is_ahead_halt_nothing(driver: Driver) -> None:
    """A worker whose lease has ended can record more commands than its successor has issued."""
    driver.begin("w", sleeping)
    driver.invoke()
    ahead = {SCOPE: "local", PARENT: "w", FUNC: "g"}
    at = driver.clock.now()
    assert driver.store.apply(PromiseRecord("w.3", at + 1_000_000, at, "resolved", tags=ahead)).ok

    assert driver.finish("w") is None
    assert driver.reports[-1].status == "completed"


def test_begun_commands_never_awaited_and_retry_timers_halt_nothing(driver: Driver) -> None:
    flaky = Flaky(driver, failures=1)

    def workflow(ctx: Context) -> Flow:
        yield ctx.detached("elsewhere").options(target="poll://any@others")
        yield ctx.run(flaky.step).options(retry_policy=Constant(delay=60))
        yield ctx.begin_run(f).options(id="own")
        yield ctx.promise()
        yield ctx.sleep(100)
        yield ctx.detached("elsewhere").options(target="poll://any@others")
        driver.settle("w.4")
        return "done"

    assert driver.run("w", workflow) == "done"


def test_workflow_that_was_retried_replays_its_attempts(drivers: Drivers) -> None:
    def inner(ctx: Context) -> Flow:
        yield ctx.run(f)
        if ctx.info.attempt < 3:
            raise ValueError("not yet")
        yield ctx.sleep(100)
        return ctx.info.attempt

    policies = (Constant(delay, max_retries=2) for delay in (0.5, 60))
    assert [drivers().run("w", runs(inner, retry_policy=policy)) for policy in policies] == [3, 3]


def outlasting(ctx: Context) -> Flow:
    yield ctx.sleep(500)


@three_ways
def test_overridden_ids_like_later_commands_halt_nothing(driver: Driver, subtests: pytest.Subtests) -> None:
    numbered: dict[str, Callable[[Context, str], Any]] = {
        "run": lambda ctx, id: ctx.run(f).options(id=id),
        "nested": lambda ctx, id: ctx.run(sleeping).options(id=id),
        "begin_run": lambda ctx, id: ctx.begin_run(f).options(id=id),
        "rpc": lambda ctx, id: ctx.rpc("f").options(id=id),
        "begin_rpc": lambda ctx, id: ctx.begin_rpc("f").options(id=id),
        "detached": lambda ctx, id: ctx.detached("outlasting").options(id=id),
        "promise": lambda ctx, id: ctx.promise(id=id, timeout=150),
        "sleep": lambda ctx, id: ctx.sleep(1).options(id=id),
    }

    def workflow(ctx: Context, what: str) -> Flow:
        for number in ("5", "1001", "007"):
            yield numbered[what](ctx, f"{ctx.id}.{number}")
        yield ctx.sleep(100)
        return "done"

    async def async_workflow(ctx: Context, what: str) -> str:
        for number in ("5", "1001", "007"):
            await numbered[what](ctx, f"{ctx.id}.{number}")
        await ctx.sleep(100)
        return "done"

    driver.register(f)
    driver.register(outlasting)
    for what in numbered:
        for spelling in (workflow, async_workflow):
            with subtests.test(what, spelling=spelling.__name__):
                assert driver.run(f"{what}-{spelling.__name__}", spelling, what) == "done"


@three_ways
def test_overridden_id_like_a_retry_timer_counts_no_attempt(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, suffix: str) -> Flow:
        yield ctx.rpc("f").options(id=f"{ctx.id}.{suffix}")
        yield ctx.run(flaky.step).options(retry_policy=Constant(delay=60))

    driver.register(f)
    for number, suffix in enumerate(("²", "2~7", "2~²")):
        with subtests.test(suffix):
            flaky = Flaky(driver, failures=1)
            driver.run(f"w{number}", workflow, suffix)
            assert flaky.attempts == [1, 2]
            assert not any(report.status == "released" for report in driver.reports)

"""Waits for several promises: what decides them, what is recorded, and what goes on after them."""

from __future__ import annotations

from typing import Any

import pytest

from resonate import Context
from resonate.errors import ResonateHaltedError
from resonate.workflow.composites.combinators import Settled, Winner
from tests.support.driver import Driver, Flow
from tests.support.present import present
from tests.support.steps import ONCE, Diary, double
from tests.support.ways import always_three_ways, three_ways


def boom(_: Context, text: str = "boom") -> int:
    raise ValueError(text)


def later(ctx: Context, seconds: float, value: str) -> Flow:
    yield ctx.sleep(seconds)
    return value


def fails_later(ctx: Context, seconds: float) -> Flow:
    yield ctx.sleep(seconds)
    raise ValueError("late")


@always_three_ways
def test_combinator_all_gives_values_in_order_and_by_name(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        listed = yield ctx.all(ctx.rpc(later, 9, "a"), ctx.run(double, 1), (yield ctx.begin_sleep(3)))
        named = yield ctx.all(slow=ctx.begin_rpc(later, 2, "b"), fast=ctx.run(double, 2))
        empty = yield ctx.all([])
        return [listed, named, empty, (yield ctx.all(ctx.run(double, n) for n in range(3)))]

    driver.register(later)

    assert driver.run("w", workflow) == [["a", 2, None], {"slow": "b", "fast": 4}, [], [0, 2, 4]]


@three_ways
def test_combinator_all_in_an_async_workflow(driver: Driver) -> None:
    async def workflow(ctx: Context) -> Any:
        first = await ctx.race(a=ctx.rpc(later, 9, "a"), b=ctx.rpc(later, 1, "b"))
        return [await ctx.all(ctx.run(double, 1), ctx.run(double, 2)), first.name, first.value]

    driver.register(later)

    assert driver.run("w", workflow) == [[2, 4], "b", "b"]


@three_ways
def test_combinator_all_raises_the_first_error_and_joins_the_rest(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.all(ctx.rpc(later, 20, "slow"), ctx.rpc(fails_later, 5))
        except ValueError as error:
            yield ctx.run(diary.step("caught"))
            return str(error)

    driver.register(later)
    driver.register(fails_later)

    assert driver.run("w", workflow) == "late"
    caught, slow, ended = (present(driver.promise(id).settled_at) for id in ("w.4", "w.1", "w"))
    assert caught <= slow <= ended


@three_ways
def test_combinator_all_settled_gives_values_and_errors(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        good, bad = yield ctx.all_settled(ctx.rpc(later, 5, "good"), ctx.run(boom).options(retry_policy=ONCE))
        with pytest.raises(ValueError, match="boom"):
            bad.get()
        yield ctx.sleep(5)
        return [isinstance(good, Settled), good.ok, good.get(), bad.ok, str(bad.error)]

    driver.register(later)

    assert driver.run("w", workflow) == [True, True, "good", False, "boom"]


@three_ways
def test_combinator_any_gives_the_first_value_else_all_errors(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        value = yield ctx.any(ctx.rpc(fails_later, 1), ctx.rpc(later, 5, "found"), ctx.rpc(later, 9, "late"))
        try:
            yield ctx.any(ctx.rpc(fails_later, 1), ctx.run(boom).options(retry_policy=ONCE))
        except ExceptionGroup as group:
            return [value, [str(error) for error in group.exceptions]]

    driver.register(later)
    driver.register(fails_later)

    assert driver.run("w", workflow) == ["found", ["late", "boom"]]


@always_three_ways
def test_race_is_repeated_as_it_was_decided(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        slow = yield ctx.begin_rpc(later, 20, "slow")
        fast = yield ctx.begin_rpc(later, 5, "fast")
        winner = yield ctx.race(slow, fast)
        yield ctx.sleep(60)  # the replay after it finds both settled
        again = yield ctx.race(slow, fast)
        return [isinstance(winner, Winner), winner.name, winner.value, again.name]

    driver.register(later)

    assert driver.run("w", workflow) == [True, 1, "fast", 0]


@three_ways
def test_race_raises_the_error_of_the_first(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.race(ctx.rpc(later, 20, "slow"), ctx.rpc(fails_later, 5))
        except ValueError as error:
            yield ctx.sleep(60)
            return str(error)

    driver.register(later)
    driver.register(fails_later)

    assert driver.run("w", workflow) == "late"


@always_three_ways
def test_cancelled_losers_do_not_hold_the_return(driver: Driver, diary: Diary) -> None:
    def branch(ctx: Context) -> Flow:
        yield ctx.rpc(later, 500, "never")
        yield ctx.run(diary.step("after"))

    def workflow(ctx: Context) -> Flow:
        first = yield ctx.race(
            fast=ctx.rpc(later, 5, "fast"),
            slow=ctx.rpc(later, 700, "slow"),
            timer=ctx.sleep(600),
            branch=ctx.run(branch),
            approval=ctx.promise(),
            cancel_losers=True,
        )
        return first.name

    driver.register(later)

    assert driver.run("w", workflow) == "fast"
    assert present(driver.promise("w").settled_at) < driver.record("w").created_at + 100_000
    states = {each.id: each.state for each in driver.records() if each.id.count(".") == 1}
    cancelled = {id for id, state in states.items() if state == "rejected_canceled"}
    assert {"w.3", "w.4", "w.5"} <= cancelled
    assert "after" not in diary


@three_ways
def test_local_losers_of_two_races_at_once_are_cancelled(driver: Driver) -> None:
    def inner(ctx: Context) -> Flow:
        yield (yield ctx.promise())

    def branch(ctx: Context) -> Flow:
        yield ctx.run(inner)

    def races(ctx: Context) -> Flow:
        first = yield ctx.race(fast=ctx.run(double, 1), branch=ctx.run(branch), cancel_losers=True)
        return first.name

    def workflow(ctx: Context) -> Flow:
        begun = yield ctx.begin_run(races)
        return [(yield ctx.run(races)), (yield begun)]

    assert driver.run("w", workflow) == ["fast", "fast"]
    states = {id: driver.record(id).state for id in ("w.1.2", "w.1.2.1", "w.1.2.1.1", "w.2.2", "w.2.2.1", "w.2.2.1.1")}
    assert states == dict.fromkeys(states, "rejected_canceled")


@three_ways
def test_cancelled_remote_loser_ends(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        slow = yield ctx.begin_rpc(later, 700, "slow")
        yield ctx.sleep(5)
        yield ctx.cancel(slow)
        yield ctx.cancel(slow)
        try:
            yield slow
        except Exception as error:
            return type(error).__name__

    driver.register(later)

    assert driver.run("w", workflow) == "ResonateCanceledError"
    assert present(driver.promise("w.1").settled_at) < driver.record("w").created_at + 100_000


@always_three_ways
def test_wait_gives_up_and_leaves_the_promise_alone(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        call = yield ctx.begin_rpc(later, 30, "done")
        reminders = 0
        while True:
            try:
                value = yield ctx.wait(call, timeout=10)
            except TimeoutError:
                reminders += 1
            else:
                return [reminders, value]

    driver.register(later)

    assert driver.run("w", workflow) in ([2, "done"], [3, "done"])
    assert [each.id for each in driver.records() if each.pending] == []


def test_replay_of_another_combinator_is_halted(driver: Driver) -> None:
    def racing(ctx: Context) -> Flow:
        yield ctx.race(ctx.run(double, 1), ctx.run(double, 2))
        yield ctx.promise()
        yield ctx.sleep(50)

    def any_of(ctx: Context) -> Flow:
        yield ctx.any(ctx.run(double, 1), ctx.run(double, 2))
        yield ctx.promise()
        yield ctx.sleep(50)

    driver.serve("w", flow=racing)
    driver.deploy(flow=any_of)

    with pytest.raises(ResonateHaltedError, match=r"w\.3.*ctx\.race.*ctx\.any"):
        driver.finish("w")


def test_same_promise_twice_counts_twice(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        call = yield ctx.begin_run(double, 4)
        return (yield ctx.all(call, call))

    assert driver.run("w", workflow) == [8, 8]

"""Steps that run at most once: their marks, and what happens to an attempt that was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from resonate import Context
from resonate.errors import ProgramError, StepInterrupted
from resonate.retry_policies import Constant
from resonate.testing.faults import Killed
from resonate_store.model.requests import PromiseRecord, Request
from resonate_store.model.tags import BEGUN
from tests.support.driver import TTL, Driver, Drivers, Flow
from tests.support.steps import Flaky, caught, double, runs
from tests.support.ways import always_three_ways, three_ways

POLICIES = {"never": None, "short pauses": Constant(delay=0.5), "long pauses": Constant(delay=60)}


class Payment:
    """A step that must not run twice.

    Attributes:
        attempts: the attempts that have begun.
        dies: whether the worker dies in the midst of the next attempt.
    """

    def __init__(self, failures: int = 0) -> None:
        self.attempts: list[int] = []
        self.dies = False

        def pay(ctx: Context) -> str:
            self.attempts.append(ctx.info.attempt)
            if self.dies:
                self.dies = False
                raise Killed
            if len(self.attempts) <= failures:
                raise ValueError("declined")
            return "paid"

        async def pay_async(ctx: Context) -> str:
            return pay(ctx)

        self.pay, self.pay_async = pay, pay_async


def spelled(payment: Payment, spelling: str, policy: Any = None) -> Callable[..., Any]:
    """Return a workflow that pays at most once, and returns what it gets or which attempt was interrupted."""
    step = payment.pay_async if spelling.endswith("async step") else payment.pay

    def generator(ctx: Context) -> Flow:
        call = ctx.run(step).options(at_most_once=True, retry_policy=policy)
        paid = yield from caught(call, StepInterrupted, ValueError)
        yield ctx.run(double, 1)
        return said(paid)

    def begun(ctx: Context) -> Flow:
        promise = yield ctx.begin_run(step).options(at_most_once=True, retry_policy=policy)
        return said((yield from caught(promise, StepInterrupted, ValueError)))

    async def coroutine(ctx: Context) -> Any:
        try:
            return await ctx.run(step).options(at_most_once=True, retry_policy=policy)
        except (StepInterrupted, ValueError) as error:
            return said(error)

    def said(paid: Any) -> Any:
        return ["interrupted", paid.id, paid.attempt, paid.version] if isinstance(paid, StepInterrupted) else str(paid)

    return {"async": coroutine, "begun": begun, "begun async step": begun}.get(spelling, generator)


SPELLINGS = ("generator", "async", "begun", "async step", "begun async step")


@always_three_ways
def test_at_most_once_step_is_marked_before_it_runs(driver: Driver) -> None:
    seen: list[str] = []

    def pay(ctx: Context) -> str:
        seen.append(driver.record(f"{ctx.id}~m1").tags[BEGUN])
        return "paid"

    assert driver.run("w", runs(pay, at_most_once=True)) == "paid"
    assert seen == ["1"]
    assert driver.ids() == ["w", "w.1", "w.1~m1"]


def test_at_most_once_costs_one_write_for_each_attempt(drivers: Drivers, subtests: pytest.Subtests) -> None:
    for failures, policy, writes in ((0, None, 2), (1, Constant(delay=0.5), 4)):
        with subtests.test(failures=failures):
            driver = drivers()
            assert driver.run("w", runs(Payment(failures).pay, at_most_once=True, retry_policy=policy)) == "paid"
            assert driver.tap.kinds() == ["task.acquire", *["promise.record"] * writes, "task.fulfill"]


@three_ways
def test_interrupted_at_most_once_step_is_not_run_again(driver: Driver, subtests: pytest.Subtests) -> None:
    for number, spelling in enumerate(SPELLINGS):
        for policy in POLICIES.values():
            id = f"w{number}-{'never' if policy is None else policy.delay}"
            with subtests.test(spelling, policy=policy):
                payment = Payment()
                payment.dies = True
                driver.deploy(w=spelled(payment, spelling, policy))
                driver.create(id, {"func": "w"})
                with suppress(Killed):
                    driver.work()

                assert driver.finish(id) == ["interrupted", f"{id}.1", 1, 1]
                assert payment.attempts == [1]


def test_interruption_is_found_without_another_read(driver: Driver) -> None:
    payment = Payment()
    payment.dies = True
    driver.begin("w", spelled(payment, "async"))
    with pytest.raises(Killed):
        driver.work()
    driver.tap.requests.clear()

    driver.finish("w")

    assert driver.tap.kinds() == ["task.acquire", "children:w", "promise.record", "task.fulfill"]


def test_step_is_retried_only_by_the_policy_of_its_call(driver: Driver) -> None:
    for id, policy, attempts, outcome in (
        ("v", None, [1], "declined"),
        ("w", POLICIES["short pauses"], [1, 2, 3], "paid"),
        ("x", POLICIES["long pauses"], [1, 2, 3], "paid"),
    ):
        payment = Payment(failures=2)
        driver.deploy(w=spelled(payment, "generator", policy))
        driver.registry.retry_policy = Constant(delay=1)  # the program's default
        driver.create(id, {"func": "w"})
        assert driver.finish(id) == outcome
        assert payment.attempts == attempts


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_kill_at_each_request_runs_no_attempt_twice(
    drivers: Drivers, spelling: str, policy: Any, subtests: pytest.Subtests
) -> None:
    hits = 0
    for moment in ("before", "after"):
        for position in range(20):
            driver, payment = drivers(), Payment(failures=2)
            left = position

            def die(_: Request | str, driver: Driver = driver) -> None:
                nonlocal left
                left -= 1
                if left == -1:
                    driver.tap.requests.append("killed")
                    raise Killed

            if moment == "before":
                driver.tap.answer = die  # type: ignore[assignment]
            else:
                driver.tap.after = die
            driver.begin("w", spelled(payment, spelling, policy))
            outcome: Any = None
            try:
                outcome = driver.finish("w")
            except Killed:
                hits += 1
            with subtests.test(moment=moment, position=position, requests=driver.tap.kinds()):
                marked = {id for id in driver.ids() if "~m" in id}
                begun = list(payment.attempts)
                ended = [f"w.1~m{n}" for n in begun if driver.store.record(f"w.1~{n}") or settled(driver, "w.1")]
                outcome = outcome or driver.finish("w")

                assert len(set(payment.attempts)) == len(payment.attempts), "no attempt has run twice"
                if marked == set(ended):
                    assert outcome == ("declined" if policy is None else "paid"), "nothing was interrupted"
                else:
                    version = int(driver.record(f"w.1~m{len(marked)}").tags[BEGUN])
                    assert outcome == ["interrupted", "w.1", len(marked), version]
                    assert payment.attempts == begun
    assert hits >= 8


def settled(driver: Driver, id: str) -> bool:
    record = driver.store.record(id)
    return record is not None and not record.pending


def test_of_two_workers_one_runs_the_step(driver: Driver) -> None:
    """The first worker stalls before its mark; the second one marks, and runs the step."""
    payment = Payment()
    stalled: list[Request] = []

    def stall(request: Request | str) -> None:
        if isinstance(request, PromiseRecord) and request.id == "w.1~m1" and not stalled:
            stalled.append(request)
            driver.clock.advance(TTL)
            driver.store.tick()
            assert driver.invoke().status == "completed"

    driver.tap.answer = stall
    driver.begin("w", spelled(payment, "generator"))

    assert driver.work() == ["completed", "lost"]
    assert driver.finish("w") == "paid"
    assert (payment.attempts, driver.record("w.1~m1").tags[BEGUN]) == ([1], "2")


def test_result_of_an_interrupted_attempt_is_dropped(driver: Driver) -> None:
    """The first worker stalls in the step; the second one does not run it, and its answer counts."""
    attempts: list[int] = []

    def pay(ctx: Context) -> str:
        attempts.append(ctx.info.attempt)
        driver.clock.advance(TTL)
        driver.store.tick()
        assert driver.invoke().status == "completed"
        return "too late"

    payment = Payment()
    payment.pay = pay
    driver.begin("w", spelled(payment, "generator"))

    assert driver.work() == ["completed", "lost"]
    assert driver.finish("w") == ["interrupted", "w.1", 1, 1]
    assert attempts == [1]


def test_released_task_marks_no_step_that_does_not_begin(driver: Driver) -> None:
    """Out of time, the worker does not mark what it does not begin."""
    payment = Payment()
    driver.time = 10

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(lambda _: driver.clock.advance(11_000))
        return (yield ctx.run(payment.pay).options(at_most_once=True))

    assert driver.start("w", workflow)[0] == "released"
    driver.time = None
    assert driver.finish("w") == "paid"


@three_ways
def test_at_most_once_is_refused_where_it_cannot_hold(driver: Driver) -> None:
    def nested(ctx: Context) -> Flow:
        return (yield ctx.run(double, 1))

    async def nested_async(ctx: Context) -> int:
        return await ctx.run(double, 1)

    def workflow(ctx: Context) -> Flow:
        errors = []
        for command in (
            ctx.run(nested).options(at_most_once=True),
            ctx.run(nested_async).options(at_most_once=True),
            ctx.run(double, 1).options(at_most_once=True, durable=False),
            ctx.run(double, 1).options(at_most_once=True, id="own"),
        ):
            errors.append(str((yield from caught(command, ProgramError))))
        return errors

    errors = driver.run("w", workflow)

    assert errors[0] == "nested issues commands, so it cannot have at_most_once: give that to its steps"
    assert errors[1] == errors[0].replace("nested", "nested_async")
    assert "durable=False" in errors[2]
    assert "an id" in errors[3]


def test_version_before_ignores_marks(driver: Driver) -> None:
    """A mark is not a command, and not a retry timer: the code without the option repeats the step."""
    flaky = Flaky(driver, failures=0)
    payment = Payment()
    payment.dies = True
    driver.deploy(w=runs(payment.pay, at_most_once=True))
    driver.create("w", {"func": "w"})
    with pytest.raises(Killed):
        driver.work()

    driver.deploy(w=runs(flaky.step))

    assert driver.finish("w") == "ok"
    assert flaky.attempts == [1]

"""Whether and when a failed function is called again, by its retry policy, deadline and error."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from resonate import Context
from resonate.errors import (
    NonDeterminismError,
    PayloadError,
    PayloadTooLargeError,
    ProgramError,
    SignatureError,
    is_final,
)
from resonate.retry_policies import Constant, Exponential, Linear, Never, RetryPolicy
from tests.support.driver import Driver, Drivers, Flow
from tests.support.steps import ONCE, Flaky, caught, double, runs
from tests.support.ways import three_ways


class Answering:
    """A retry policy that gives, or raises, what it was made with."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def next(self, attempt: int) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer if attempt else 0


POLICIES: list[tuple[RetryPolicy | None, list[float]]] = [
    (Constant(delay=0.5), [0, 0.5, 1, 1.5]),
    (Constant(delay=10), [0, 10, 20, 30]),
    (Constant(delay=0), [0, 0, 0, 0]),
    (Linear(delay=0.5), [0, 0.5, 1.5, 3]),
    (Linear(delay=10), [0, 10, 30, 60]),
    (Exponential(), [0, 2, 6, 14]),
    (Exponential(delay=0.25, factor=2), [0, 0.5, 1.5, 3.5]),
    (Exponential(delay=10, max_delay=15), [0, 15, 30, 45]),
    (Answering(Decimal("0.5")), [0, 0.5, 1, 1.5]),
    (None, [0, 2, 6, 14]),
]
"""Retry policies, and the seconds at which they begin the first four attempts."""


@three_ways
def test_step_is_retried_as_its_policy_says(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, n: int, begin: bool) -> Flow:
        options: Any = {"retry_policy": POLICIES[n][0]}
        if begin:
            return (yield (yield ctx.begin_run(flaky.step).options(**options)))
        return (yield ctx.run(flaky.step).options(**options))

    for n, (policy, times) in enumerate(POLICIES):
        for begin in (False, True):
            with subtests.test(repr(policy), begin=begin):
                flaky = Flaky(driver, failures=3)
                assert driver.run(f"w{n}{begin}", workflow, n, begin) == "ok"
                assert flaky.times == pytest.approx(times, abs=driver.lateness)
                assert flaky.attempts == [1, 2, 3, 4]


@three_ways
def test_policy_gives_up_after_its_number_of_retries(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, delay: float, retries: int) -> Flow:
        yield ctx.run(flaky.step).options(retry_policy=Constant(delay=delay, max_retries=retries))

    for delay, retries in itertools.product((0.5, 10), (0, 1, 3)):
        with subtests.test(f"{retries} retries after {delay} s"):
            flaky = Flaky(driver, failures=99)
            with pytest.raises(ValueError, match="again"):
                driver.run(f"w{delay}-{retries}", workflow, delay, retries)
            assert flaky.attempts == list(range(1, retries + 2))


class Special(ValueError):
    pass


@three_ways
def test_error_without_a_retry_is_final_by_its_exact_type(driver: Driver, subtests: pytest.Subtests) -> None:
    cases: list[tuple[Exception, dict[str, Any], int]] = [
        (ValueError("x"), {"retry_policy": ONCE}, 1),
        (ValueError("x"), {"non_retryable_exceptions": (KeyError, ValueError)}, 1),
        (Special("x"), {"non_retryable_exceptions": (ValueError,), "retry_policy": Constant(0, max_retries=2)}, 3),
    ]

    def workflow(ctx: Context, number: int) -> Flow:
        yield ctx.run(flaky.step).options(**cases[number][1])

    for number, (error, _, attempts) in enumerate(cases):
        with subtests.test(number=number):
            flaky = Flaky(driver, 9, error)
            with pytest.raises(type(error)):
                driver.run(f"w{number}", workflow, number)
            assert len(flaky.attempts) == attempts


@three_ways
def test_retry_begins_no_attempt_past_the_deadline(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, delay: float) -> Flow:
        yield ctx.run(flaky.step).options(retry_policy=Constant(delay=delay), timeout=5.0)

    for delay, attempts in ((0.9, 6), (2, 3)):
        with subtests.test(delay=delay):
            flaky = Flaky(driver, failures=99)
            with pytest.raises(ValueError, match="again"):
                driver.run(f"w{attempts}", workflow, delay)
            assert len(flaky.times) == attempts
            assert max(flaky.times) <= 5


@three_ways
def test_retry_policy_can_be_chosen_by_function(driver: Driver) -> None:
    def choose(func: Callable[..., Any]) -> RetryPolicy:
        return Constant(5, max_retries=2) if func is fails else Never()

    def fails(ctx: Context) -> None:
        raise ValueError(f"attempt {ctx.info.attempt}")

    def workflow(ctx: Context) -> Flow:
        got = []
        policies: list[Any] = [choose, lambda _: Never(), lambda _: "often"]
        for policy in policies:
            got.append(str((yield from caught(ctx.run(fails).options(retry_policy=policy), ValueError, TypeError))))
        return got

    assert driver.run("w", workflow) == [
        "attempt 3",
        "attempt 1",
        "retry_policy must give a `RetryPolicy` for fails, got 'often'",
    ]


@three_ways
def test_failure_is_final_if_its_policy_fails_itself(
    driver: Driver, subtests: pytest.Subtests, caplog: pytest.LogCaptureFixture
) -> None:
    def by_code(error: Any) -> bool:
        return error.code == 500

    broken: list[tuple[RetryPolicy, str]] = [
        (Constant(0, retry_if=by_code), "Constant, raised AttributeError: 'ValueError' object has no"),
        (Answering(KeyError("no such attempt")), "Answering, raised KeyError: 'no such attempt'"),
        (Answering("x"), "next(1) must be a pause in seconds or None, got 'x'"),
        (Answering(-1), "next(1) must be a pause in seconds or None, got -1"),
        (Answering(float("nan")), "next(1) must be a pause in seconds or None, got nan"),
    ]
    attempts: list[int] = []

    def step(ctx: Context) -> None:
        attempts.append(ctx.info.attempt)
        raise ValueError("of the step")

    def generator(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        step(ctx)

    async def coroutine(ctx: Context) -> None:
        step(ctx)

    functions: list[Callable[..., Any]] = [step, generator, coroutine]

    def workflow(ctx: Context, kind: int, number: int) -> Flow:
        call = ctx.run(functions[kind]).options(retry_policy=broken[number][0])
        error = yield from caught(call, ValueError)
        yield ctx.sleep(5)
        return [str(error), *error.__notes__]

    for kind, function in enumerate(functions):
        for number, (_, said) in enumerate(broken):
            with subtests.test(said, function=function.__name__):
                attempts.clear()
                caplog.clear()
                text, note, *_ = driver.run(f"w{kind}-{number}", workflow, kind, number)
                assert text == "of the step"
                assert said in note
                assert attempts == [1]
                assert "is not tried again: its retry policy" in caplog.text


FINAL: list[Exception] = [
    SignatureError("no such argument"),
    PayloadError("no JSON form"),
    PayloadTooLargeError("6 MB"),
    NonDeterminismError("w.1", "run a", "run b"),
    ProgramError("not like this"),
]


def test_error_that_no_retry_can_help_is_final(drivers: Drivers, subtests: pytest.Subtests) -> None:
    grouped = (ExceptionGroup("all", [ValueError("a"), ExceptionGroup("some", [error])]) for error in FINAL)
    for error in (*FINAL, *grouped):
        with subtests.test(repr(error)):
            driver = drivers()
            flaky = Flaky(driver, 9, error)
            with pytest.raises(type(error)):
                driver.run("w", runs(flaky.step, retry_policy=Constant(delay=60)))
            assert flaky.attempts == [1]


def test_error_raised_from_a_program_error_is_final() -> None:
    def wrapped(cause: BaseException, times: int) -> BaseException:
        for _ in range(times):
            error = ValueError("w")
            error.__cause__ = cause
            cause = error
        return cause

    cycle = wrapped(KeyError("k"), 2)
    cycle.__cause__.__cause__ = cycle  # type: ignore[union-attr]
    signature, payload, *_, program = FINAL
    group = ExceptionGroup("g", [ValueError("a"), program])

    assert all(map(is_final, (wrapped(program, 3), wrapped(group, 1))))
    assert not any(map(is_final, (wrapped(payload, 1), wrapped(signature, 1), cycle)))

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from resonate import Context
from resonate.retry_policies import Constant, Exponential, Linear, Never, RetryPolicy, pause_after
from tests.support.driver import Driver, Flow
from tests.support.steps import Flaky, caught, runs
from tests.support.ways import three_ways


def test_retry_policy_gives_pauses_by_number_of_failures(subtests: pytest.Subtests) -> None:
    cases: list[tuple[RetryPolicy, list[float | None]]] = [
        (Constant(), [0, 1, 1, 1, 1]),
        (Constant(delay=5, max_retries=2), [0, 5, 5, None, None]),
        (Constant(max_retries=0), [0, None]),
        (Linear(), [0, 1, 2, 3, 4]),
        (Linear(delay=0.5, max_retries=3), [0, 0.5, 1, 1.5, None]),
        (Exponential(), [0, 2, 4, 8, 16, 30, 30]),
        (Exponential(delay=3, max_retries=3, factor=10, max_delay=1000), [0, 30, 300, 1000, None]),
        (Exponential(delay=1, factor=0.5), [0, 0.5, 0.25]),
        (Never(), [0, None, None]),
    ]
    for policy, pauses in cases:
        with subtests.test(str(policy)):
            assert [policy.next(attempt) for attempt in range(len(pauses))] == pauses
    assert Exponential().next(100_000) == 30
    assert Exponential(max_delay=float("inf")).next(20) == 2**20


def test_retry_policy_is_a_value(subtests: pytest.Subtests) -> None:
    for policy in (Constant(), Linear(), Exponential(), Never()):
        with subtests.test(str(policy)):
            assert isinstance(policy, RetryPolicy)
            assert policy == type(policy)()
            assert hash(policy) == hash(type(policy)())
            with pytest.raises(AttributeError):
                policy.delay = 3  # type: ignore[misc]
            with pytest.raises(AssertionError, match="greater than or equal to 0"):
                policy.next(-1)


def test_retry_policy_with_wrong_settings_is_refused(subtests: pytest.Subtests) -> None:
    finite = "must be finite and greater than or equal to zero, got"
    every: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"delay": "a"}, TypeError, "delay must be `int or float`, got str"),
        ({"delay": True}, TypeError, "delay must be `int or float`, got bool"),
        ({"delay": None}, TypeError, "delay must be `int or float`, got NoneType"),
        ({"delay": float("nan")}, ValueError, f"delay {finite} nan"),
        ({"delay": float("inf")}, ValueError, f"delay {finite} inf"),
        ({"delay": -1}, ValueError, f"delay {finite} -1"),
        ({"max_retries": -1}, ValueError, "max_retries must be at least 0, got -1: leave it out for no limit"),
        ({"max_retries": 1.5}, TypeError, "max_retries must be `int`, leave it out for no limit, got float"),
        ({"max_retries": float("inf")}, TypeError, "max_retries must be `int`, leave it out for no limit, got float"),
        ({"retry_if": ValueError()}, TypeError, "retry_if must be a function of the error, got ValueError"),
        ({"non_retryable": ValueError}, TypeError, "non_retryable must be a tuple of exception types, got <class"),
        ({"non_retryable": ("ValueError",)}, TypeError, "non_retryable must be a tuple of exception types, got 'Value"),
        ({"jitter": "half"}, ValueError, 'jitter must be "full", "equal" or None, got \'half\''),
    ]
    exponential: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"factor": "2"}, TypeError, "factor must be `int or float`, got str"),
        ({"factor": -2}, ValueError, f"factor {finite} -2"),
        ({"factor": float("inf")}, ValueError, f"factor {finite} inf"),
        ({"max_delay": "30"}, TypeError, "max_delay must be `int or float`, got str"),
        ({"max_delay": -1}, ValueError, f"max_delay {finite} -1"),
        ({"max_delay": float("nan")}, ValueError, f"max_delay {finite} nan"),
    ]
    policies: list[Callable[..., RetryPolicy]] = [Constant, Linear, Exponential]
    for policy in policies:
        for settings, error, message in every + (exponential if policy is Exponential else []):
            with subtests.test(policy=policy, settings=settings):
                with pytest.raises(error) as refused:
                    policy(**settings)
                assert str(refused.value).startswith(message)


def test_jitter_changes_only_the_pause() -> None:
    for draw, full, equal in ((0.0, 0, 5), (0.5, 5, 7.5), (0.9, 9, 9.5)):
        paused = [
            pause_after(Constant(10, 3, jitter=jitter), 1, ValueError(), lambda draw=draw: draw)
            for jitter in (None, "full", "equal")
        ]
        assert paused == [10, full, equal]
    assert pause_after(Constant(10, 3, jitter="full"), 4, ValueError(), lambda: 0.5) is None
    assert Constant(10, jitter="full").next(1) == 10


def test_retry_policy_can_depend_on_the_error(subtests: pytest.Subtests) -> None:
    for policy in (Constant, Linear, Exponential):
        with subtests.test(policy=policy):

            def pauses(policy: RetryPolicy) -> list[bool]:
                errors = (OSError(), FileNotFoundError(), ValueError())
                return [pause_after(policy, 1, error, lambda: 0.5) is not None for error in errors]

            assert pauses(policy()) == [True, True, True]
            assert pauses(policy(non_retryable=(OSError,))) == [False, False, True]
            assert pauses(policy(retry_if=lambda error: isinstance(error, OSError))) == [True, True, False]


@three_ways
def test_jittered_pause_is_recorded_and_replayed(driver: Driver) -> None:
    chance = driver.dependencies["resonate:random"] = Mock(random=Mock(return_value=0.25))
    flaky = Flaky(driver, failures=2)

    assert driver.run("w", runs(flaky.step, retry_policy=Constant(100, jitter="full"))) == "ok"
    assert flaky.times == [0, 25, 50]
    assert chance.random.call_count == 2


@three_ways
def test_non_retryable_covers_subclasses_only_in_a_policy(driver: Driver) -> None:
    calls: list[str] = []

    def missing(_: Context, name: str) -> None:
        calls.append(name)
        raise FileNotFoundError

    def workflow(ctx: Context) -> Flow:
        cases: list[tuple[str, dict[str, Any]]] = [
            ("exact", {"non_retryable_exceptions": (OSError,), "retry_policy": Constant(5, 1)}),
            ("asked", {"retry_policy": Constant(5, 1, non_retryable=(OSError,))}),
        ]
        for name, options in cases:
            yield from caught(ctx.run(missing, name).options(**options), FileNotFoundError)

    driver.run("w", workflow)
    assert calls == ["exact", "exact", "asked"]

from __future__ import annotations

from collections.abc import Callable

import pytest

from resonate import Context
from resonate.retry_policies import Constant, Exponential, Linear, Never, RetryPolicy, pause_after
from tests.sdk.driving import Driver, Flow


@pytest.mark.parametrize(
    ("policy", "pauses"),
    [
        (Constant(), [0, 1, 1, 1, 1]),
        (Constant(delay=5, max_retries=2), [0, 5, 5, None, None]),
        (Linear(), [0, 1, 2, 3, 4]),
        (Linear(delay=0.5, max_retries=3), [0, 0.5, 1, 1.5, None]),
        (Exponential(), [0, 2, 4, 8, 16, 30, 30]),
        (Exponential(delay=3, max_retries=3, factor=10, max_delay=1000), [0, 30, 300, 1000, None]),
        (Exponential(delay=1, factor=0.5), [0, 0.5, 0.25]),
        (Never(), [0, None, None]),
        (Constant(max_retries=0), [0, None]),
    ],
    ids=str,
)
def test_pauses_by_the_number_of_failures(policy: RetryPolicy, pauses: list[float | None]) -> None:
    assert [policy.next(attempt) for attempt in range(len(pauses))] == pauses


def test_an_exponential_pause_does_not_overflow() -> None:
    assert Exponential().next(100_000) == 30


@pytest.mark.parametrize("policy", [Constant(), Linear(), Exponential(), Never()], ids=str)
def test_policies_are_values(policy: RetryPolicy) -> None:
    assert isinstance(policy, RetryPolicy)
    assert policy == type(policy)()
    assert hash(policy) == hash(type(policy)())
    with pytest.raises(AttributeError):
        policy.delay = 3  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match="greater than or equal to 0"):
        policy.next(-1)


def test_jitter_spreads_the_pause_and_nothing_else() -> None:
    for draw, full, equal in ((0.0, 0, 5), (0.5, 5, 7.5), (0.9, 9, 9.5)):
        paused = [
            pause_after(Constant(10, 3, jitter=jitter), 1, ValueError(), lambda draw=draw: draw)
            for jitter in (None, "full", "equal")
        ]
        assert paused == [10, full, equal]
    assert pause_after(Constant(10, 3, jitter="full"), 4, ValueError(), lambda: 0.5) is None
    assert Constant(10, jitter="full").next(1) == 10
    with pytest.raises(ValueError, match='jitter must be "full", "equal" or None, got \'half\''):
        Exponential(jitter="half")  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", [Constant, Linear, Exponential])
def test_a_policy_may_look_at_the_error(policy: Callable[..., RetryPolicy]) -> None:
    def pauses(policy: RetryPolicy) -> list[bool]:
        errors = (OSError(), FileNotFoundError(), ValueError())
        return [pause_after(policy, 1, error, lambda: 0.5) is not None for error in errors]

    assert pauses(policy()) == [True, True, True]
    assert pauses(policy(non_retryable=(OSError,))) == [False, False, True]
    assert pauses(policy(retry_if=lambda error: isinstance(error, OSError))) == [True, True, False]


def test_a_drawn_pause_is_recorded_and_not_drawn_again() -> None:
    driver = Driver()
    drawn: list[float] = []

    class Chance:
        def random(self) -> float:
            drawn.append(0.25)
            return 0.25

    driver.dependencies["resonate:random"] = Chance()

    def flaky(ctx: Context) -> int:
        if ctx.info.attempt < 3:
            raise ValueError("not yet")
        return ctx.info.attempt

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky).options(retry_policy=Constant(100, jitter="full")))

    assert driver.run("w", workflow) == 3
    assert driver.elapsed() == 50
    assert len(drawn) == 2


def test_subclasses_are_final_only_when_asked() -> None:
    driver = Driver()
    calls: list[str] = []

    def missing(_: Context, name: str) -> None:
        calls.append(name)
        raise FileNotFoundError

    def workflow(ctx: Context) -> Flow:
        for name, options in (
            ("exact", {"non_retryable_exceptions": (OSError,), "retry_policy": Constant(5, 1)}),
            ("asked", {"retry_policy": Constant(5, 1, non_retryable=(OSError,))}),
        ):
            try:
                yield ctx.run(missing, name).options(**options)
            except FileNotFoundError:
                continue

    driver.run("w", workflow)
    assert calls == ["exact", "exact", "asked"]

from __future__ import annotations

import pytest

from resonate.retry_policies import Constant, Exponential, Linear, Never, RetryPolicy


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

"""A hundred thousand timers and schedules under a clock that is moved; `benchmarks/timers.py` makes a million."""

from benchmarks.timers import YEAR, simulate


def test_of_a_hundred_thousand_none_is_early_lost_or_twice() -> None:
    result = simulate(99_950, 50, seed=7, span=YEAR // 6)

    assert result["occurrences"] > 1000

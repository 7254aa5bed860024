"""What workflows cost that sleep; `benchmarks/timers.py` has ten thousand of them."""

from benchmarks.timers import sleepers

MOST = 2_048


def test_sleeping_costs_no_thread_and_hardly_more_than_the_records() -> None:
    assert sleepers(2_000) < MOST

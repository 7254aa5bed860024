"""What workflows cost that sleep."""

from benchmarks.timers import MOST_BYTES, sleepers


def test_sleeping_costs_no_thread_and_hardly_more_than_the_records() -> None:
    """That there are no threads, and that all of them wake up, is asserted where they sleep."""
    assert 0 < sleepers(10_000) < MOST_BYTES

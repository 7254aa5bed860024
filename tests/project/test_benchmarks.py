"""Benchmarks that nothing else runs still run; what they measure is theirs to judge."""

import sys

import pytest

from benchmarks import fan_out, steps
from benchmarks.timers import MOST_BYTES, YEAR, simulate, sleepers
from tests.support.hypothesis_settings import examples


def test_benchmark_of_fan_out_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fan_out.py", "--children", "20"])

    assert fan_out.main() == 0


def test_benchmark_of_steps_runs() -> None:
    assert steps.microseconds(steps.work, 2, 3) > 0
    assert steps.microseconds(steps.fan_out, 1, 5) > 0
    assert steps.microseconds(steps.async_work, 1, 3) > 0
    assert steps.milliseconds_of_replay(20) > 0


def test_hundred_thousand_timers_and_schedules_fire_once_on_time() -> None:
    """`benchmarks/timers.py` makes a million."""
    result = simulate(examples(10_000, in_ci=99_950), 50, seed=7, span=YEAR // 6)

    assert result["occurrences"] > 1000


def test_sleeping_workflow_costs_little_more_than_its_records() -> None:
    """`sleepers` asserts that all of them wake up, without threads."""
    assert 0 < sleepers(10_000) < MOST_BYTES

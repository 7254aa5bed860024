"""Benchmarks that nothing else runs still run; what they measure is theirs to judge."""

import sys

import pytest

from benchmarks import fan_out, steps


def test_the_fan_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fan_out.py", "--children", "20"])

    assert fan_out.main() == 0


def test_the_steps() -> None:
    assert steps.microseconds(steps.work, 2, 3) > 0
    assert steps.microseconds(steps.fan_out, 1, 5) > 0
    assert steps.microseconds(steps.async_work, 1, 3) > 0
    assert steps.milliseconds_of_replay(20) > 0

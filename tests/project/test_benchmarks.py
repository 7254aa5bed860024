"""Benchmarks that nothing else runs still run; what they measure is theirs to judge."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import client, console, executions, fan_out, linting, remote, steps
from benchmarks.timers import MOST_BYTES, YEAR, simulate, sleepers
from tests.support.hypothesis_settings import examples, in_ci

ROOT = Path(__file__).parents[2]


def test_benchmark_of_fan_out_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fan_out.py", "--children", "20"])

    assert fan_out.main() == 0


def test_lint_takes_a_few_times_as_long_as_parsing() -> None:
    figures = linting.measure(2_000)

    assert figures["workflows"] > 20
    assert 1 < figures["ratio"] < linting.MOST_RATIO


def test_benchmark_of_steps_runs() -> None:
    assert steps.microseconds(steps.work, 2, 3) > 0
    assert steps.microseconds(steps.fan_out, 1, 5) > 0
    assert steps.microseconds_begun(steps.work, 2, 3) > 0
    assert steps.microseconds(steps.async_work, 1, 3) > 0
    assert steps.sends_per_step(steps.work, 2, 3) > 0
    assert min(steps.costs_of_replay(20).values()) > 0
    assert steps.sends_per_generation(10) > 0
    assert steps.sends_per_item(20) > 0


@in_ci
def test_benchmark_of_client_runs() -> None:
    """In a process of its own: in this one moto may be in use."""
    here = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RESONATE_"))}
    program = ["benchmarks/client.py", "--steps", "2", "--runs", "1"]
    done = subprocess.run([sys.executable, *program], cwd=ROOT, env=here, capture_output=True, check=True)

    assert json.loads(done.stdout)["ratios"].keys() == client.LIMITS.keys()


@in_ci
def test_benchmark_of_steps_over_http_runs() -> None:
    """Without the peer, which is named."""
    here = {**os.environ, "PATH": os.path.dirname(sys.executable)}
    here.pop("RESONATE_GROUPS", None)
    program = ["benchmarks/remote.py", "--workflows", "2", "--steps", "2", "--rounds", "2", "--check"]
    done = subprocess.run([sys.executable, *program], cwd=ROOT, env=here, capture_output=True, check=True)
    figures = json.loads(done.stdout)

    assert figures["limits"] == {"memory": 0.5, "data": 0.75} == remote.LIMITS
    us = figures["us_per_step"]
    assert us["memory"] > 0
    assert us["data"] > 0
    assert us[remote.PEER] == "not installed"


@in_ci
def test_benchmark_of_lists_of_executions_runs() -> None:
    figures = executions.measure(3_010, 2)

    assert figures.keys() == {"GET /health", *executions.COMMON, *executions.OTHER}
    assert all(figure["p95_ms"] > 0 for figure in figures.values())


def test_benchmark_of_the_console_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--executions", "3100", "--steps", "300", "--requests", "3"]
    monkeypatch.setattr(sys, "argv", ["console.py", *options])

    assert console.main() == 0
    assert json.loads(capsys.readouterr().out)["ratios"].keys() == console.LIMITS.keys()


@in_ci
def test_timers_and_schedules_fire_once_on_time() -> None:
    """`benchmarks/timers.py` makes a million, integration a hundred thousand."""
    result = simulate(examples(10_000, in_ci=99_950), 50, seed=7, span=YEAR // 6)

    assert result["occurrences"] > 1000


@in_ci
def test_sleeping_workflow_costs_little_more_than_its_records() -> None:
    """`sleepers` asserts that all of them wake up, without threads."""
    assert 0 < sleepers(examples(400, in_ci=10_000)) < MOST_BYTES

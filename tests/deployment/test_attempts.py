"""Attempts with limits on the offline stack: attempt timeouts, and steps that run at most once."""

from __future__ import annotations

from typing import get_args

import pytest

from resonate_infra.testing.moto.cloud import Moment
from resonate_infra.testing.stack import OfflineStack
from tests.deployment.conftest import Begin
from tests.support import journal
from tests.support.faults import Fault, in_turn, positions

RESULTS = {True: ["tea in stock", "twice", 7], False: [3, "twice", 7]}


def test_attempts_beyond_their_limit_are_retried_on_lambda(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "impatient", 0.02)
    stack.run_until_complete("w1")
    assert handle.result(0) == "in time"
    assert journal.runs["w1.1"] == 3
    history = stack.history("w1")
    assert [record.id for record in history] == ["w1", "w1.1", "w1.1~1", "w1.1~2", "w1.2"]
    stack.reset_counts()

    journal.enough.set()
    assert journal.returned.wait(10)
    stack.pump()
    assert stack.history("w1") == history
    assert not stack.calls


@in_turn(*get_args(Moment))
@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
def test_fault_at_each_request_runs_no_attempt_twice(
    stack: OfflineStack, begin: Begin, asynchronous: bool, moments: tuple[Moment, ...]
) -> None:
    for position in positions():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        id = f"careful-{moment}-{position}"
        handle = begin(id, "careful", asynchronous)
        fault = stack.cloud.fault = Fault(stack, "WorkerFunction", moment, position)

        stack.run_until_complete(id)

        got = handle.result(0)
        assert set(journal.runs.values()) <= {1}, fault.hit
        interrupted = [each for each, usual in zip(got, RESULTS[asynchronous], strict=True) if each != usual]
        assert len(interrupted) <= (0 if moment == "lost" or fault.hit is None else 1), (fault.hit, got)
        assert all("interrupted" in each for each in interrupted), (fault.hit, got)
        if fault.hit is None:
            break
    assert position >= 15

"""Timeouts and timers that outlive what they were for: nothing goes on that nobody waits for."""

from __future__ import annotations

import pytest

from resonate_infra.testing.stack import OfflineStack
from tests.deployment.conftest import Begin
from tests.support import journal

MINUTE = 60_000


def quiet(stack: OfflineStack) -> None:
    """A month from now on nothing happens but the sweep, which finds nothing."""
    stack.advance(hours=1)
    stack.reset_counts()
    stack.advance(days=30)
    assert stack.invocations["WorkerFunction"] == 0
    assert stack.next_event_at() is None


def test_a_parent_that_finishes_first_leaves_nothing_that_hurts(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "unawaited")
    stack.run_until_complete("w1")
    finished = stack.store.record("w1")

    quiet(stack)

    assert handle.result(0) == "returned"
    after = stack.store.record("w1")
    assert finished is not None
    assert after is not None
    assert after.promise() == finished.promise()


@pytest.mark.parametrize("seconds", [7200.0, 3e8])
def test_a_parent_that_times_out_first_takes_its_sleep_along(stack: OfflineStack, begin: Begin, seconds: float) -> None:
    begin("w1", "nap", seconds, timeout=3600)
    promise = stack.run_until_complete("w1")

    assert promise.state == "rejected_timedout"
    parent, sleep = stack.history("w1")
    assert sleep.timeout_at == parent.timeout_at, "a sleep is capped at its execution's timeout"
    stack.advance(minutes=5)
    assert [record.state for record in stack.history("w1")] == ["rejected_timedout", "resolved"]
    assert journal.runs["w1"] == 1, "nobody wakes a workflow that is over"
    quiet(stack)


def test_a_step_left_behind_records_nothing_after_its_invocation(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "outlived", 0.02)
    assert stack.run_until_complete("w1").state == "resolved"
    history = stack.history("w1")
    assert [record.state for record in history] == ["resolved", "rejected_timedout", "resolved"]
    stack.reset_counts()

    journal.enough.set()
    assert journal.returned.wait(10)
    stack.pump()
    assert stack.history("w1") == history
    assert not stack.calls


def test_a_timed_out_execution_is_not_retried_and_wakes_who_waits(stack: OfflineStack, begin: Begin) -> None:
    began = stack.clock.now()
    handle = begin("w1", "deadline", 300.0)
    stack.run_until_complete("w1")

    kind, _, at = handle.result(0).partition(" at ")
    assert kind == "ResonateTimedoutError"
    assert began + 5 * MINUTE <= int(at) <= began + 6 * MINUTE + 5000
    tries = journal.runs["w1.1.1"]
    assert 4 <= tries <= 6

    quiet(stack)
    assert journal.runs["w1.1.1"] == tries
    child = stack.store.record("w1.1")
    assert child is not None
    assert (child.state, child.settled_at) == ("rejected_timedout", child.timeout_at)


def test_a_timer_whose_parent_was_settled_from_outside_wakes_nobody(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "nap", 86_400.0)
    stack.advance(seconds=10)
    stack.client(group="client").promises.cancel("w1")
    stack.reset_counts()

    stack.advance(days=2)

    assert stack.invocations["WorkerFunction"] == 0
    assert [record.state for record in stack.history("w1")] == ["rejected_canceled", "resolved"]
    quiet(stack)

"""Timeouts, and timers that outlive their execution."""

from __future__ import annotations

import pytest

from resonate_infra.testing.stack import OfflineStack
from tests.deployment.conftest import Begin
from tests.support import journal
from tests.support.present import present

MINUTE = 60_000


def quiet(stack: OfflineStack) -> None:
    """Let a month pass, in which only the sweep runs and finds nothing."""
    stack.advance(hours=1)
    stack.reset_counts()
    stack.advance(days=30)
    assert stack.invocations["WorkerFunction"] == 0
    assert stack.next_event_at() is None


def test_parent_that_ends_first_is_not_changed_later(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "unawaited")
    stack.run_until_complete("w1")
    finished = present(stack.store.record("w1"))

    quiet(stack)

    assert handle.result(0) == "returned"
    assert present(stack.store.record("w1")).promise() == finished.promise()


@pytest.mark.parametrize("seconds", [7200.0, 3e8])
def test_parent_that_times_out_ends_its_sleep(stack: OfflineStack, begin: Begin, seconds: float) -> None:
    began = stack.clock.now()
    begin("w1", "nap", seconds, timeout=3600)
    promise = stack.run_until_complete("w1")

    assert (promise.state, promise.settled_at) == ("rejected_timedout", began + 60 * MINUTE)
    parent, sleep = stack.history("w1")
    assert sleep.timeout_at == parent.timeout_at, "a sleep is capped at its execution's timeout"
    stack.advance(minutes=5)
    assert [record.state for record in stack.history("w1")] == ["rejected_timedout", "resolved"]
    assert journal.runs["w1"] == 1, "a settled workflow is not resumed"
    quiet(stack)


def test_step_that_outlives_its_invocation_records_nothing(stack: OfflineStack, begin: Begin) -> None:
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


def test_timed_out_execution_is_not_retried_and_resumes_its_awaiter(stack: OfflineStack, begin: Begin) -> None:
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
    child = present(stack.store.record("w1.1"))
    assert (child.state, child.settled_at) == ("rejected_timedout", child.timeout_at)


def test_timer_of_a_canceled_parent_resumes_no_task(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "nap", 86_400.0)
    stack.advance(seconds=10)
    stack.client(group="client").promises.cancel("w1")
    stack.reset_counts()

    stack.advance(days=2)

    assert stack.invocations["WorkerFunction"] == 0
    assert [record.state for record in stack.history("w1")] == ["rejected_canceled", "resolved"]
    quiet(stack)

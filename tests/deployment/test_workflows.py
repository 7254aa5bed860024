"""The programming model through the Lambda handlers: concurrency, nesting, outside settlement, errors, hand-over."""

import base64
import json
import sys
from typing import Any

import pytest

from resonate.errors import ApplicationError, ResonateCanceledError
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseSettle
from tests.deployment.conftest import Begin
from tests.support import journal


def encoded(value: Any) -> Value:
    return Value(data=base64.b64encode(json.dumps(value).encode()).decode())


def statuses(stack: OfflineStack) -> list[str]:
    """How each invocation of a worker ends, from now on."""
    found: list[str] = []
    stack.watch = lambda event: (
        found.append(event.response["status"] if event.response else "killed")
        if event.function == "WorkerFunction"
        else None
    )
    return found


# Concurrency and nesting


def test_what_begin_run_starts_runs_once_and_in_order(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "spread", 5)
    stack.run_until_complete("w1")

    assert handle.result(0) == [0, 2, 4, 6, 8, "rested"]
    assert journal.runs == {f"w1.{n}": 1 for n in range(1, 6)}
    assert list(journal.runs) == [f"w1.{n}" for n in range(1, 6)]


def test_nested_generators_sleep_and_replay_without_repeating_a_step(stack: OfflineStack, begin: Begin) -> None:
    began = stack.clock.now()
    handle = begin("w1", "family", 4)
    promise = stack.run_until_complete("w1")

    assert handle.result(0) == 16
    assert set(journal.runs.values()) == {1}
    assert len(journal.runs) == 5
    assert (promise.settled_at or 0) - began >= 40_000
    assert max(record.id.count(".") for record in stack.history("w1")) == 5


def test_children_that_are_not_awaited_are_waited_for_on_return(stack: OfflineStack, begin: Begin) -> None:
    began = stack.clock.now()
    handle = begin("w1", "unawaited")
    promise = stack.run_until_complete("w1")

    assert handle.result(0) == "returned"
    assert (promise.settled_at or 0) - began >= 30_000
    assert [record.state for record in stack.history("w1")] == ["resolved"] * 4


def test_workers_wait_on_what_blocks_them_now_and_not_on_everything(stack: OfflineStack, begin: Begin) -> None:
    ended = statuses(stack)
    begin("w1", "fan_out", 20)
    stack.run_until_complete("w1")

    # 20 children; the parent runs once, and again for each child that it finds unfinished.
    assert begin("w1", "fan_out", 20).result(0) == sum(2 * n for n in range(20))
    assert ended.count("completed") == 21
    assert ended.count("suspended") <= 5


# Promises that others settle


def test_a_promise_is_settled_from_outside(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "approval")
    stack.advance(days=3)
    (id,) = journal.asked
    assert not handle.done()
    stack.store.apply(PromiseSettle(id, "resolved", encoded("yes")))
    stack.pump()

    assert handle.result(0) == "the answer is yes"
    assert stack.invocations["WorkerFunction"] == 2


def test_a_promise_that_is_cancelled_outside_raises_in_the_workflow(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "approval")
    stack.pump()
    stack.store.apply(PromiseSettle(journal.asked[0], "rejected_canceled"))
    stack.pump()

    with pytest.raises(ResonateCanceledError):
        handle.result(0)


@pytest.mark.parametrize("seconds", [2.5, 60, 899])
def test_an_awaited_deadline_within_fifteen_minutes_is_met_on_time(
    stack: OfflineStack, begin: Begin, seconds: float
) -> None:
    began = stack.clock.now()
    handle = begin("w1", "patient", seconds)
    stack.run_until_complete("w1")

    kind, _, at = handle.result(0).partition(" at ")
    assert kind == "ResonateTimedoutError"
    assert seconds * 1000 <= int(at) - began < seconds * 1000 + 1000


@pytest.mark.parametrize("seconds", [901, 3600.5, 86_400 * 3])
def test_an_awaited_deadline_further_away_is_met_within_a_minute(
    stack: OfflineStack, begin: Begin, seconds: float
) -> None:
    began = stack.clock.now()
    handle = begin("w1", "patient", seconds)
    stack.run_until_complete("w1")

    kind, _, at = handle.result(0).partition(" at ")
    assert kind == "ResonateTimedoutError"
    assert seconds * 1000 <= int(at) - began <= seconds * 1000 + 60_000


# Errors


def test_an_error_of_a_step_reaches_the_caller(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "failing", "value")
    stack.pump()

    with pytest.raises(ValueError, match="out of range"):
        handle.result(0)
    assert stack.invocations["WorkerFunction"] == 1, "an error of the workflow's is an outcome, and no failed attempt"


def test_an_error_of_an_unknown_type_reaches_the_caller_by_name(
    stack: OfflineStack, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have imported it.
    monkeypatch.delitem(sys.modules, "tests.support.worker_code.workflows", raising=False)
    handle = begin("w1", "failing", "stock")
    stack.pump()

    with pytest.raises(ApplicationError, match="no tea left") as raised:
        handle.result(0)
    assert raised.value.type_name == "tests.support.worker_code.workflows:OutOfStock"


@pytest.mark.parametrize("cold", [False, True])
def test_error_of_a_modules_own_type_is_caught_after_a_cold_start(
    stack: OfflineStack, begin: Begin, cold: bool
) -> None:
    handle = begin("w1", "catching_its_own")
    stack.pump()
    assert [record.id for record in stack.history("w1")] == ["w1", "w1.1", "w1.2"], "the error is recorded, it sleeps"
    if cold:
        stack.processes.forget_all()
    stack.run_until_complete("w1")

    assert handle.result(0) == "twice no tea left"


def test_an_error_of_a_remote_function_can_be_caught(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "catching")
    stack.run_until_complete("w1")

    assert handle.result(0) == "caught out of range"


def test_arguments_are_restored_by_their_annotations(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "ordering", {"item": "tea", "count": 3})
    stack.run_until_complete("w1")

    assert handle.result(0) == "3 x tea"


# Handing over


def test_work_that_outlasts_an_invocation_is_handed_over(stack: OfflineStack, begin: Begin) -> None:
    """Steps of 59.5 s each: five fit into the 300 s of an invocation, and a sixth is not begun."""
    ended = statuses(stack)
    began = stack.clock.now()
    handle = begin("w1", "laborious", 12, 59.5)
    stack.run_until_complete("w1")

    finished = handle.result(0)
    assert [at - began for at in finished] == [round(59_500 * n) for n in range(1, 13)], "no time is lost in between"
    assert ended == ["released", "released", "completed"]
    assert set(journal.runs.values()) == {1}
    record = stack.store.record("w1")
    assert record is not None
    assert record.task is not None
    assert record.task.version == 3


def test_handing_over_any_number_of_times_is_no_failure(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "laborious", 15, 296.0)
    stack.run_until_complete("w1")

    assert len(handle.result(0)) == 15
    assert stack.invocations["WorkerFunction"] == 15


def test_a_step_that_is_killed_by_the_timeout_runs_again(stack: OfflineStack, begin: Begin) -> None:
    """At 280 s there is time enough to begin the fifth step, but not to finish it."""
    ended = statuses(stack)
    handle = begin("w1", "laborious", 5, 70.0)
    stack.run_until_complete("w1")

    assert len(handle.result(0)) == 5
    assert ended == ["killed", "completed"]
    assert journal.runs == {"w1.1": 1, "w1.2": 1, "w1.3": 1, "w1.4": 1, "w1.5": 2}

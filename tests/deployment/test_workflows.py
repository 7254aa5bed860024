"""Programming model through the Lambda handlers: concurrency, nesting, promises, errors, release."""

import sys

import pytest

from resonate.errors import ApplicationError, ResonateCanceledError
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.requests import PromiseSettle
from tests.deployment.conftest import Begin
from tests.support import journal
from tests.support.present import present


def statuses(stack: OfflineStack) -> list[str]:
    """Return a list that will get the result of each invocation of a worker."""
    found: list[str] = []
    stack.watch = lambda event: (
        found.append(event.response["status"] if event.response else "killed")
        if event.function == "WorkerFunction"
        else None
    )
    return found


# Concurrency and nesting


def test_begun_steps_run_once_and_in_order(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "spread", 5)
    stack.run_until_complete("w1")

    assert handle.result(0) == [0, 2, 4, 6, 8, "rested"]
    assert journal.runs == {f"w1.{n}": 1 for n in range(1, 6)}
    assert list(journal.runs) == [f"w1.{n}" for n in range(1, 6)]


def test_nested_generators_replay_without_repeating_a_step(stack: OfflineStack, begin: Begin) -> None:
    began = stack.clock.now()
    handle = begin("w1", "family", 4)
    promise = stack.run_until_complete("w1")

    assert handle.result(0) == 16
    assert set(journal.runs.values()) == {1}
    assert len(journal.runs) == 5
    assert (promise.settled_at or 0) - began >= 40_000
    assert max(record.id.count(".") for record in stack.history("w1")) == 5


def test_children_that_are_not_awaited_end_before_their_parent(stack: OfflineStack, begin: Begin) -> None:
    began = stack.clock.now()
    handle = begin("w1", "unawaited")
    promise = stack.run_until_complete("w1")

    assert handle.result(0) == "returned"
    assert (promise.settled_at or 0) - began >= 30_000
    assert [record.state for record in stack.history("w1")] == ["resolved"] * 4


def test_worker_waits_for_the_child_that_blocks_it(stack: OfflineStack, begin: Begin) -> None:
    ended = statuses(stack)
    begin("w1", "fan_out", 20)
    stack.run_until_complete("w1")

    # 20 children. The parent runs once, and again for each pending child that it awaits.
    assert begin("w1", "fan_out", 20).result(0) == sum(2 * n for n in range(20))
    # The worker of the last child goes on with the parent.
    assert ended.count("completed") == 20
    assert ended.count("suspended") <= 5


# Promises that a client settles


def test_promise_that_a_client_cancels_raises_in_the_workflow(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "approval")
    stack.pump()
    stack.store.apply(PromiseSettle(journal.asked[0], "rejected_canceled"))
    stack.pump()

    with pytest.raises(ResonateCanceledError):
        handle.result(0)


def test_awaited_deadline_is_met(stack: OfflineStack, begin: Begin, subtests: pytest.Subtests) -> None:
    # SQS is accurate to the second for 15 minutes. Further deadlines are met within a minute.
    deadlines = {2.5: 999, 60: 999, 899: 999, 901: 60_000, 3600.5: 60_000, 86_400 * 3: 60_000}
    for seconds, lateness in deadlines.items():
        with subtests.test(seconds=seconds):
            began = stack.clock.now()
            handle = begin(f"w{seconds}", "patient", seconds)
            stack.run_until_complete(f"w{seconds}")
            kind, _, at = handle.result(0).partition(" at ")
            assert kind == "ResonateTimedoutError"
            assert seconds * 1000 <= int(at) - began <= seconds * 1000 + lateness


# Errors


def test_error_of_an_unknown_type_reaches_the_caller_by_name(
    stack: OfflineStack, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test may have imported it.
    monkeypatch.delitem(sys.modules, "tests.support.worker_code.workflows", raising=False)
    handle = begin("w1", "failing", "stock")
    stack.pump()

    with pytest.raises(ApplicationError, match="no tea left") as raised:
        handle.result(0)
    assert raised.value.type_name == "tests.support.worker_code.workflows:OutOfStock"
    assert stack.invocations["WorkerFunction"] == 1, "an error of the workflow is its outcome"


@pytest.mark.parametrize("cold", [False, True])
def test_error_type_of_the_module_is_caught_after_cold_start(stack: OfflineStack, begin: Begin, cold: bool) -> None:
    handle = begin("w1", "catching_its_own")
    stack.pump()
    assert [record.id for record in stack.history("w1")] == ["w1", "w1.1", "w1.2"], "the error is recorded, it sleeps"
    if cold:
        stack.processes.forget_all()
    stack.run_until_complete("w1")

    assert handle.result(0) == "twice no tea left"


def test_arguments_are_restored_by_their_annotations(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "ordering", {"item": "tea", "count": 3})
    stack.run_until_complete("w1")

    assert handle.result(0) == "3 x tea"


# Work beyond one invocation


def test_workflow_longer_than_an_invocation_is_released_and_continued(stack: OfflineStack, begin: Begin) -> None:
    # Steps of 59.5 s: five fit into the 300 s of an invocation, and the worker does not begin a sixth.
    ended = statuses(stack)
    began = stack.clock.now()
    handle = begin("w1", "laborious", 12, 59.5)
    stack.run_until_complete("w1")

    finished = handle.result(0)
    assert [at - began for at in finished] == [round(59_500 * n) for n in range(1, 13)], "no time is lost in between"
    assert ended == ["released", "released", "completed"]
    assert set(journal.runs.values()) == {1}
    task = present(present(stack.store.record("w1")).task)
    assert task.version == 3


def test_workflow_can_be_released_any_number_of_times(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "laborious", 15, 296.0)
    stack.run_until_complete("w1")

    assert len(handle.result(0)) == 15
    assert stack.invocations["WorkerFunction"] == 15


def test_step_that_the_timeout_kills_runs_again(stack: OfflineStack, begin: Begin) -> None:
    # At 280 s there is enough time to begin the fifth step, but not to finish it.
    ended = statuses(stack)
    handle = begin("w1", "laborious", 5, 70.0)
    stack.run_until_complete("w1")

    assert len(handle.result(0)) == 5
    assert ended == ["killed", "completed"]
    assert journal.runs == {"w1.1": 1, "w1.2": 1, "w1.3": 1, "w1.4": 1, "w1.5": 2}

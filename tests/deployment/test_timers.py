"""Distant timers in EventBridge Scheduler: faults, renamed functions, deletion."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_infra.testing.moto.cloud import Moment
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.requests import TaskContinue
from tests.deployment.conftest import Begin, Redeploy
from tests.support import journal
from tests.support.faults import Fault, in_turn
from tests.support.present import present
from tests.support.worker_code import WORKFLOWS

HOUR = 3_600_000
MINUTE = 60_000
SERVICES = {
    ("writer", "WorkerFunction"): (8, {"dynamodb"}),
    ("writer", "DispatchFunction"): (1, {"scheduler"}),
    ("writer", "TickFunction"): (7, {"dynamodb", "sqs", "lambda"}),
    ("stream", "WorkerFunction"): (8, {"dynamodb"}),
    ("stream", "DispatchFunction"): (6, {"dynamodb", "scheduler", "lambda"}),
    ("stream", "TickFunction"): (3, {"dynamodb", "sqs"}),
}
"""The least number of requests of each function for one sleep of two hours, and the services that it calls."""


def timers(stack: OfflineStack, prefix: str = "timer-") -> list[str]:
    """Return the function that each EventBridge schedule with this prefix invokes."""
    scheduler, group = stack.cloud.client("scheduler"), stack.deployment.schedule_group
    schedules = scheduler.list_schedules(GroupName=group, NamePrefix=prefix)["Schedules"]
    return [each["Target"]["Arn"].rpartition(":")[2] for each in schedules]


# A crash before a request equals a crash after the request before it.
@in_turn("after", "lost")
@pytest.mark.parametrize(("delivery", "function"), SERVICES, indirect=["delivery"], scope="module")
def test_distant_timer_survives_a_fault_at_each_request(
    stack: OfflineStack, begin: Begin, delivery: str, function: str, moments: tuple[Moment, ...]
) -> None:
    hit: set[str] = set()
    for position in itertools.count():
        stack.clear()
        journal.clear()
        moment = moments[position % len(moments)]
        id = f"{function}-{moment}-{position}"
        began = stack.clock.now()
        handle = begin(id, "nap", 7200.0)
        fault = stack.cloud.fault = Fault(stack, function, moment, position)

        promise = stack.run_until_complete(id)

        assert handle.result(0) == "slept for 7200.0 seconds", fault.hit
        timer = present(stack.store.record(f"{id}.1"))
        assert (timer.state, timer.settled_at) == ("resolved", timer.timeout_at), fault.hit
        assert timer.timeout_at >= began + 2 * HOUR
        assert timer.written_at >= timer.timeout_at, fault.hit
        assert promise.settled_at is not None
        assert promise.settled_at <= timer.timeout_at + 10 * MINUTE, fault.hit
        # Once before the sleep, once after it, and once more after a crash.
        assert journal.runs[id] in (2, 3), fault.hit
        stack.advance(hours=1)
        assert timers(stack) == [], fault.hit
        if fault.hit is None:
            break
        hit.add(fault.hit.service)
    least, services = SERVICES[delivery, function]
    assert position >= least
    assert hit == services


# New names while a timer is pending


def renamed(path: Path, old: str, new: str) -> Path:
    """Write the worker's code with another name for a function."""
    sources = WORKFLOWS.read_text()
    assert f"def {old}(" in sources
    path.write_text(sources.replace(f"def {old}(", f"def {new}("))
    return path


def test_workflow_renamed_during_its_sleep_is_halted(
    stack: OfflineStack, begin: Begin, redeploy: Redeploy, tmp_path: Path
) -> None:
    handle = begin("w1", "nap", 7200.0, timeout=30 * 86_400)
    stack.pump()
    redeploy(renamed(tmp_path / "app.py", "nap", "snooze"))
    stack.advance(days=1)

    record = present(stack.store.record("w1"))
    assert record.task is not None
    assert record.pending
    assert record.task.state == "halted"
    assert "function nap not found in registry" in (record.task.error or "")
    assert [each.state for each in stack.history("w1")] == ["pending", "resolved"]

    redeploy(WORKFLOWS)
    assert stack.store.apply(TaskContinue("w1")).ok
    stack.run_until_complete("w1")
    assert handle.result(0) == "slept for 7200.0 seconds"
    assert journal.runs["w1"] == 2


def test_occurrences_of_a_renamed_function_are_halted(stack: OfflineStack, redeploy: Redeploy, tmp_path: Path) -> None:
    client = stack.client(group="client").options(target="worker", timeout=30 * 86_400)
    client.schedule("s", "double", "0 * * * *", 4)
    stack.pump()
    redeploy(renamed(tmp_path / "app.py", "double", "twice"))
    occurrences = [f"s.{at}" for at in client.schedules.next_runs("s", 2)]
    stack.advance(hours=2)
    client.schedules.pause("s")
    stack.advance(days=1)

    records = [stack.store.record(id) for id in occurrences]
    assert [record and record.task and record.task.state for record in records] == ["halted", "halted"]

    redeploy(WORKFLOWS)
    for id in occurrences:
        assert stack.store.apply(TaskContinue(id)).ok
        assert stack.run_until_complete(id).state == "resolved"
    assert journal.runs == dict.fromkeys(occurrences, 1)
    client.stop()


def test_distant_timer_is_deleted_with_its_execution(stack: OfflineStack, begin: Begin) -> None:
    years = 2 * 365 * 86_400.0
    for id in ("cancelled", "deleted"):
        begin(id, "nap", years)
    stack.options(timeout=3600, target="worker").start("nap", years, id="late")
    assert len(timers(stack)) == 3

    stack.cancel("cancelled")
    stack.cancel("deleted")
    assert stack.store.delete_execution("deleted") == 2
    stack.pump()
    assert len(timers(stack)) == 2, "the timers of kept executions are kept"

    stack.expires = True
    stack.advance(days=31)
    assert stack.store.record("late.1") is None
    assert timers(stack) == []


def test_distant_timer_is_deleted_when_its_sleep_is_resolved(stack: OfflineStack, begin: Begin) -> None:
    handle = begin("w1", "nap", 7 * 86_400.0)
    stack.pump()
    assert len(timers(stack)) == 1

    stack.resolve("w1.1")

    assert handle.result(0) == "slept for 604800.0 seconds"
    assert timers(stack) == []


def test_execution_with_the_id_of_a_deleted_one_sleeps(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "nap", 7 * 86_400.0)
    stack.pump()
    stack.cancel("w1")
    stack.store.delete_execution("w1")

    handle = begin("w1", "nap", 7200.0)
    promise = stack.run_until_complete("w1")

    assert handle.result(0) == "slept for 7200.0 seconds"
    assert promise.settled_at is not None
    assert promise.settled_at - promise.created_at == 7_200_000
    assert timers(stack) == []


@pytest.fixture
def formerly(stack: OfflineStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the dispatcher arm timers for a name that the tick function will not have later."""
    dispatch = stack.deployment.functions["DispatchFunction"]
    variables = {**dispatch.environment, "RESONATE_TICK_ARN": dispatch.environment["RESONATE_TICK_ARN"] + "-2025"}
    monkeypatch.setitem(
        stack.deployment.functions,  # pyright: ignore[reportArgumentType]
        "DispatchFunction",
        dataclasses.replace(dispatch, environment=variables),
    )
    stack.processes.forget_all()
    yield
    stack.processes.forget_all()


@pytest.mark.usefixtures("formerly")
def test_sweep_fires_a_distant_timer_of_a_renamed_tick_function(
    stack: OfflineStack, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = begin("w1", "nap", 7200.0)
    stack.pump()
    assert timers(stack) == ["resonate-tick-2025"]
    monkeypatch.undo()
    stack.processes.forget_all()

    promise = stack.run_until_complete("w1")

    assert handle.result(0) == "slept for 7200.0 seconds"
    timer = present(stack.store.record("w1.1"))
    assert promise.settled_at is not None
    assert timer.timeout_at <= promise.settled_at <= timer.timeout_at + 2 * MINUTE


@pytest.mark.usefixtures("formerly")
def test_schedule_of_a_renamed_tick_function_is_armed_again(
    stack: OfflineStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = stack.client(group="client").options(target="worker")
    client.schedule("s", "double", "0 * * * *", 4)
    stack.pump()
    assert timers(stack, "schedule-") == ["resonate-tick-2025"]
    monkeypatch.undo()
    stack.processes.forget_all()
    first, second, third = client.schedules.next_runs("s", 3)

    stack.advance(seconds=(first - stack.clock.now()) / 1000 + 120)
    assert journal.runs == {f"s.{first}": 1}
    assert timers(stack, "schedule-") == ["resonate-tick"]

    stack.advance(hours=2)
    assert journal.runs == {f"s.{at}": 1 for at in (first, second, third)}
    records = [stack.store.record(f"s.{at}") for at in (second, third)]
    assert [record and (record.settled_at or 0) - record.created_at for record in records] == [0, 0]
    client.stop()

"""Sleeps of all lengths, and failures during a sleep."""

import itertools
import logging
import time
from datetime import timedelta

import pytest

from resonate.testing.faults import Killed
from resonate_infra.testing.moto.cloud import CountedCall
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.requests import TaskGet
from tests.deployment.conftest import Begin
from tests.support import journal
from tests.support.present import present

DAY = 86_400_000


# The four failure modes


@pytest.mark.parametrize("moment", ["before", "after"])
def test_sleep_survives_a_crash_of_the_worker(stack: OfflineStack, begin: Begin, moment: str) -> None:
    # No process exists during the sleep, so the worker crashes at its suspension.
    began = stack.clock.now()
    handle = begin("w1", "nap", 3600.0)
    writes = itertools.count()  # The task is acquired, the sleep created, and the task suspended.

    def crash(now: str, call: CountedCall) -> None:
        if (now, call.caller, call.operation) == (moment, "WorkerFunction", "PutItem") and next(writes) == 2:
            stack.cloud.fault = None
            raise Killed

    stack.cloud.fault = crash
    stack.pump()
    assert stack.cloud.fault is None
    stack.processes.forget_all()
    promise = stack.run_until_complete("w1")

    assert handle.result(0) == "slept for 3600.0 seconds"
    # A crash before the suspension costs one more run, still within the sleep.
    assert stack.invocations["WorkerFunction"] == (2 if moment == "after" else 3)
    assert promise.settled_at is not None
    assert began + 3_600_000 <= promise.settled_at <= began + 3_601_000


def test_sleep_outlasts_all_processes(stack: OfflineStack, begin: Begin, subtests: pytest.Subtests) -> None:
    for days in (1, 30, 999):
        with subtests.test(days=days):
            stack.clear()
            began, started = stack.clock.now(), time.perf_counter()
            handle = begin("w1", "nap", days * 86_400.0, timeout=timedelta(days=2 * days))

            while present(stack.store.record("w1")).pending:
                stack.processes.forget_all()
                stack.advance(days=days / 4)

            assert handle.result(0) == f"slept for {days * 86_400.0} seconds"
            assert stack.clock.now() - began >= days * DAY
            assert stack.invocations["WorkerFunction"] == 2
            assert time.perf_counter() - started < 10


def test_sleep_is_not_repeated_by_calls_with_its_id(stack: OfflineStack, begin: Begin) -> None:
    first = begin("w1", "nap", 600.0)
    stack.advance(seconds=300)
    created = stack.store.record("w1")
    second = begin("w1", "nap", 600.0)
    third = stack.client(group="other").options(target="worker").begin_rpc("w1", "nap", 1.0)

    stack.run_until_complete("w1")

    assert created is not None
    assert [record.id for record in stack.history("w1")] == ["w1", "w1.1"]
    assert stack.history("w1")[1].timeout_at == created.created_at + 600_000
    assert stack.invocations["WorkerFunction"] == 2
    assert [handle.result(0) for handle in (first, second, third)] == ["slept for 600.0 seconds"] * 3
    assert begin("w1", "nap", 600.0).result(0) == "slept for 600.0 seconds"


def test_sleep_waits_for_a_worker_after_its_time(
    stack: OfflineStack, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    handle = begin("w1", "nap", 3600.0)
    stack.pump()
    functions = stack.cloud.functions
    stack.cloud.functions = {name: id for name, id in functions.items() if id != "WorkerFunction"}
    with caplog.at_level(logging.WARNING, "resonate.transports"):
        stack.advance(hours=5)

    task = present(stack.store.apply(TaskGet("w1")).task)
    assert (task.state, task.attempts, task.error) == ("pending", 0, None)
    assert "Function not found" in caplog.text

    stack.cloud.functions = functions
    stack.advance(minutes=16)

    assert handle.result(0) == "slept for 3600.0 seconds"
    assert stack.invocations["WorkerFunction"] == 2


# Lengths


def test_sleep_ends_within_a_second_after_its_time(
    stack: OfflineStack, begin: Begin, subtests: pytest.Subtests
) -> None:
    for seconds in (0, 0.001, 0.5, 1, 1.001, 2.5, 59.999, 899.5, 900, 900.001, 1019, 1021, 86_400.25):
        with subtests.test(seconds=seconds):
            began = stack.clock.now()
            handle = begin(f"w{seconds}", "nap", seconds)
            promise = stack.run_until_complete(f"w{seconds}")
            assert handle.result(0) == f"slept for {float(seconds)} seconds"
            # SQS delays by whole seconds, rounded up.
            assert seconds * 1000 <= present(promise.settled_at) - began < seconds * 1000 + 1000


def test_short_sleep_is_waited_out_without_suspension(stack: OfflineStack, begin: Begin) -> None:
    begin("w1", "nap", 0.9)

    stack.run_until_complete("w1")

    assert stack.invocations["WorkerFunction"] == 1
    assert journal.runs["w1"] == 1
    timer = present(stack.store.record("w1.1"))
    assert (timer.timer, timer.state) == (True, "resolved")

"""The threads in which a worker calls functions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.threads import Pool
from resonate.worker.calls import FunctionCalls
from resonate.worker.lease import Lease
from resonate.worker.resources import Resources
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseRecord, Request
from tests.support.driver import Driver, Flow, Killed
from tests.support.steps import PATIENCE, double, gathered


class AtOnce(Pool):
    """A pool whose calls have ended before their caller waits for the first one."""

    def enqueue(self, call: Callable[[], object], cancelled: Callable[[], object]) -> None:  # noqa: ARG002
        call()


def test_awaited_step_runs_in_the_thread_of_the_worker(pool: Pool) -> None:
    driver = Driver(functions=pool)

    def where(_: Context) -> int:
        return threading.get_ident()

    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.run(where)), (yield (yield ctx.begin_run(where)))]

    here, apart = driver.run("w", workflow)

    assert here == threading.get_ident() != apart


def test_results_that_wait_together_are_recorded_together(pool: Pool) -> None:
    driver = Driver(functions=AtOnce(1, "functions"), requests=pool)
    all_sent = threading.Barrier(3)

    def workflow(ctx: Context) -> Flow:
        return (yield from gathered(ctx.begin_run(double, n) for n in range(3)))

    def wait_for_the_others(request: Request | str) -> None:
        if isinstance(request, PromiseRecord):
            all_sent.wait(PATIENCE)

    driver.tap.answer = wait_for_the_others

    assert driver.run("w", workflow) == [0, 2, 4]


def test_results_before_the_end_of_the_process_are_recorded() -> None:
    driver = Driver(functions=AtOnce(1, "functions"))

    def killed(_: Context, n: int) -> int:
        if n == 2:
            raise Killed
        return n

    def workflow(ctx: Context) -> Flow:
        return (yield from gathered(ctx.begin_run(killed, n) for n in range(4)))

    driver.begin("w", workflow)
    with pytest.raises(Killed):
        driver.invoke()

    assert [driver.promise(f"w.{n}").state for n in (1, 2)] == ["resolved", "resolved"]


def test_calls_restart_only_if_no_function_can_return() -> None:
    clock = ManualClock()
    execution: Any = None
    calls = FunctionCalls(Resources(MemoryStore(clock), clock), Lease("w", 1, 0, 1_000), execution, None)
    assert calls.restart(clock.now())

    calls.running = 1

    assert not calls.restart(clock.now())

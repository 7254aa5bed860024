"""The threads in which a worker calls functions."""

from __future__ import annotations

import threading

from resonate import Context
from resonate.retry_policies import Never
from resonate.threads import Pool
from tests.support.driver import Driver, Flow
from tests.support.steps import PATIENCE


def test_steps_begun_together_run_at_the_same_time(pool: Pool) -> None:
    driver = Driver(functions=pool, requests=pool)
    meeting = threading.Barrier(3, timeout=PATIENCE)

    def meets(_: Context, n: int) -> int:
        meeting.wait()
        return n

    def workflow(ctx: Context) -> Flow:
        promises, results = [], []
        for n in range(3):
            promises.append((yield ctx.begin_run(meets, n)))
        for promise in promises:
            results.append((yield promise))
        return results

    assert driver.run("w", workflow) == [0, 1, 2]
    assert driver.ids() == ["w", "w.1", "w.2", "w.3"]


def test_awaited_step_runs_in_the_thread_of_the_worker(pool: Pool) -> None:
    driver = Driver(functions=pool)

    def where(_: Context) -> int:
        return threading.get_ident()

    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.run(where)), (yield (yield ctx.begin_run(where)))]

    here, apart = driver.run("w", workflow)

    assert here == threading.get_ident() != apart


def test_error_in_a_thread_is_raised_at_the_await(pool: Pool) -> None:
    driver = Driver(functions=pool)

    def fails(_: Context) -> None:
        raise KeyError("there")

    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.begin_run(fails).options(retry_policy=Never())
        try:
            yield promise
        except KeyError as error:
            return error.args[0]

    assert driver.run("w", workflow) == "there"

"""The threads in which a worker calls functions."""

from __future__ import annotations

import threading

from resonate import Context
from resonate.threads import Pool
from tests.support.driver import Driver, Flow
from tests.support.steps import PATIENCE, gathered


def test_steps_begun_together_run_at_the_same_time(pool: Pool) -> None:
    driver = Driver(functions=pool, requests=pool)
    meeting = threading.Barrier(3, timeout=PATIENCE)

    def meets(_: Context, n: int) -> int:
        meeting.wait()
        return n

    def workflow(ctx: Context) -> Flow:
        return (yield from gathered(ctx.begin_run(meets, n) for n in range(3)))

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

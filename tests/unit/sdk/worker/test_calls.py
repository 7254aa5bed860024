"""The threads in which a worker calls functions."""

from __future__ import annotations

import threading

from resonate import Context
from resonate.threads import Pool
from tests.support.driver import Driver, Flow


def test_awaited_step_runs_in_the_thread_of_the_worker(pool: Pool) -> None:
    driver = Driver(functions=pool)

    def where(_: Context) -> int:
        return threading.get_ident()

    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.run(where)), (yield (yield ctx.begin_run(where)))]

    here, apart = driver.run("w", workflow)

    assert here == threading.get_ident() != apart

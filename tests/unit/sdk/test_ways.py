"""The ways in which workflow tests run differ in what they say they do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from resonate import Context, Resonate
from tests.support.driver import Driver, Flow
from tests.support.ways import three_ways

if TYPE_CHECKING:
    from tests.support.offline_driver import OfflineDriver


def process() -> Any:
    """Return the module of the deployed worker's code, which is loaded once in each of its processes."""
    return sys.modules.get("tests.support.worker_code.registered")


@three_ways
def test_process_lasts_unless_the_way_is_forgetful(driver: Driver, way: str) -> None:
    processes: list[Any] = []

    def workflow(ctx: Context) -> Flow:
        processes.append(process())
        yield ctx.sleep(60)

    driver.run("w", workflow)

    first, second = processes
    assert (first is second) == (way != "forgetful")
    assert way == "memory" or None not in (first, second)


@three_ways
def test_client_begins_and_worker_continues_a_run(resonate: Resonate, offline: OfflineDriver | None) -> None:
    begun: list[int] = []

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        begun.append(0 if offline is None else offline.stack.invocations["WorkerFunction"])
        return (yield ctx.rpc(called))

    @resonate.register
    def called(_: Context) -> str:
        return "called"

    assert workflow.run("w") == "called"
    # The worker's first invocation is the call. It then goes on with the workflow.
    assert offline is None or begun == [0, 1]

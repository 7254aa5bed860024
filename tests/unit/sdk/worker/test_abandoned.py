"""Steps that outlive their timeouts: the workflow continues, and what such a step returns is not recorded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.aws_lambda.handler import LambdaHandler
from resonate.errors import ResonateTimedoutError
from resonate.payloads import codec
from resonate.threads import Pool
from resonate.worker.abandoned import Abandoned, Exhausted, abandoned
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseGet, TaskFulfill, TaskRelease
from tests.support.driver import Driver, Flow
from tests.support.present import present
from tests.support.steps import PATIENCE, caught, execute, runs
from tests.support.watched_stores import Memory, stop

TIMEOUT = 0.02
"""Seconds on the injected clock, which a step moves; the worker reads it again after as long in real time."""


class Hanging:
    """Steps that move the clock beyond their timeout, and end once `enough` is set."""

    def __init__(self, clock: ManualClock) -> None:
        self.enough = threading.Event()
        self.returned = threading.Event()
        self.cancelled: list[str] = []

        def plain(_: Context) -> str:
            clock.advance(round(TIMEOUT * 1000))
            assert self.enough.wait(PATIENCE)
            self.returned.set()
            return "too late"

        async def cancellable(ctx: Context) -> str:
            clock.advance(round(TIMEOUT * 1000))
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                self.cancelled.append(ctx.id)
                raise
            return "too late"

        self.plain = plain
        self.cancellable = cancellable


@pytest.fixture
def hanging(driver: Driver) -> Iterator[Hanging]:
    made = Hanging(driver.clock)
    yield made
    made.enough.set()


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    waited = threading.Event()
    for _ in range(500):
        if not len(abandoned):
            return
        waited.wait(0.01)
    raise AssertionError(str(abandoned))


@pytest.fixture(params=["inline", "pool"])
def functions(request: pytest.FixtureRequest, driver: Driver) -> Iterator[None]:
    """The threads that the worker has: for `begin_run` some of their own, or none."""
    pools = [Pool(4, "step"), Pool(2, "function")]
    driver.resources.steps = pools[0]
    driver.resources.functions = pools[1] if request.param == "pool" else None
    yield
    for pool in pools:
        pool.shutdown(wait=False)


def one_step(step: Callable[..., Any], spelling: str) -> Callable[..., Any]:
    """Return a workflow whose result is the id of its step that times out."""

    def generator(ctx: Context) -> Flow:
        if spelling == "begin_run":
            call = yield ctx.begin_run(step).options(timeout=TIMEOUT)
        else:
            call = ctx.run(step).options(timeout=TIMEOUT, durable=spelling != "not durable")
        return (yield from caught(call, ResonateTimedoutError)).id

    async def coroutine(ctx: Context) -> Any:
        try:
            await ctx.run(step).options(timeout=TIMEOUT)
        except ResonateTimedoutError as error:
            return error.id

    def inherits(ctx: Context) -> Flow:
        return (yield from caught(ctx.run(calls).options(timeout=TIMEOUT), ResonateTimedoutError)).id

    def calls(ctx: Context) -> Flow:
        try:
            yield ctx.run(step)
        finally:
            yield ctx.run(unreachable)

    def unreachable(_: Context) -> None:
        raise AssertionError("no step begins in a workflow whose time is up")

    return {"async": coroutine, "nested": runs(runs(generator)), "inherited": inherits}.get(spelling, generator)


SPELLINGS = dict.fromkeys(["run", "begin_run", "async", "not durable", "inherited"], ".1") | {"nested": ".1.1.1"}
"""How a step is called, and what its id is below that of the root."""


@pytest.mark.usefixtures("functions")
def test_workflow_continues_at_the_deadline_of_a_step(driver: Driver, subtests: pytest.Subtests) -> None:
    for number, (spelling, below) in enumerate(SPELLINGS.items()):
        with subtests.test(spelling):
            hanging, id = Hanging(driver.clock), f"w{number}"
            driver.deploy(w=one_step(hanging.plain, spelling))
            driver.create(id, {"func": "w"})
            assert driver.invoke().status == "completed"
            assert codec.decode(driver.promise(id).value) == id + below
            if spelling != "not durable":
                assert driver.record(id + below).state == "rejected_timedout"
            before = driver.records(), driver.tap.kinds()
            hanging.enough.set()
            assert hanging.returned.wait(PATIENCE)
            assert (driver.records(), driver.tap.kinds()) == before, "the late result is not recorded"


@pytest.mark.usefixtures("functions")
def test_error_of_an_abandoned_step_names_its_deadline(driver: Driver, hanging: Hanging) -> None:
    def workflow(ctx: Context) -> Flow:
        call = ctx.run(hanging.plain).options(timeout=TIMEOUT, durable=False)
        return (yield from caught(call, ResonateTimedoutError)).timeout

    deadline_s = driver.after(TIMEOUT) / 1000
    assert driver.run("w", workflow) == deadline_s


@pytest.mark.usefixtures("functions")
def test_async_step_is_cancelled_at_its_deadline(driver: Driver, subtests: pytest.Subtests) -> None:
    for spelling in ("run", "begin_run", "async", "nested"):
        with subtests.test(spelling):
            hanging = Hanging(driver.clock)
            driver.deploy(w=one_step(hanging.cancellable, spelling))
            driver.create(spelling, {"func": "w"})
            assert driver.invoke().status == "completed"
            id = codec.decode(driver.promise(spelling).value)
            assert id == spelling + SPELLINGS[spelling]
            assert driver.record(id).state == "rejected_timedout"
            driver.resources.async_functions.stop()
            assert hanging.cancelled == [id]
            assert len(abandoned) == 0


@pytest.mark.usefixtures("functions")
def test_blocked_event_loop_is_left_and_replaced(
    driver: Driver, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate.worker.async_functions.RESPONSE_S", TIMEOUT)
    monkeypatch.setattr("resonate.worker.calls.RESPONSE_S", TIMEOUT)

    async def blocks(ctx: Context) -> str:
        return hanging.plain(ctx)

    async def answers(_: Context) -> str:
        await asyncio.sleep(0)
        return "from another loop"

    def workflow(ctx: Context) -> Flow:
        yield from caught(ctx.run(blocks).options(timeout=TIMEOUT), ResonateTimedoutError)
        return (yield ctx.run(answers))

    assert driver.start("w", workflow) == ["completed"]
    assert codec.decode(driver.promise("w").value) == "from another loop"
    hanging.enough.set()
    assert hanging.returned.wait(PATIENCE), "the workflow did not wait for the end of the step"


@pytest.mark.usefixtures("functions")
def test_worker_loses_a_task_whose_own_deadline_passes(driver: Driver, hanging: Hanging) -> None:
    driver.begin("w", runs(hanging.plain), timeout=TIMEOUT)
    driver.begin("v", hanging.plain, timeout=2 * TIMEOUT)

    assert driver.work() == ["lost", "lost"]
    assert driver.promise("w").state == driver.promise("v").state == "rejected_timedout"


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_abandoned_steps_hold_up_neither_tasks_nor_stop(store: str, subtests: pytest.Subtests) -> None:
    for workers in (1, 2):
        with subtests.test(workers=workers):
            clock = ManualClock()
            hanging = Hanging(clock)
            kept = MemoryStore(clock) if store == "memory" else SqliteStore(":memory:", clock)
            resonate = Resonate(store=kept, clock=clock, workers=workers)
            workflow = resonate.register(one_step(hanging.plain, "run"), name="workflow")
            quick = resonate.register(lambda _: "quick", name="quick")

            handles = [workflow.begin_run(f"w{n}") if n % 2 else workflow.begin_rpc(f"w{n}") for n in range(4)]
            for n, handle in enumerate(handles):
                assert handle.future.result(PATIENCE) == f"w{n}.1"
            assert quick.begin_run("q").future.result(PATIENCE) == "quick"
            stop(resonate)
            hanging.enough.set()


def test_process_with_too_many_abandoned_threads_releases_its_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    few = Abandoned(2)
    for module in ("worker.calls", "process.runtime"):
        monkeypatch.setattr(f"resonate.{module}.abandoned", few)
    clock = ManualClock()
    hanging = Hanging(clock)
    store = Memory(clock)
    resonate = Resonate(store=store, clock=clock, workers=4)

    @resonate.register
    def workflow(ctx: Context, times: int) -> Flow:
        for _ in range(times):
            with contextlib.suppress(ResonateTimedoutError):
                yield ctx.run(hanging.plain).options(timeout=TIMEOUT)
        return (yield ctx.run(lambda _: "done"))

    with caplog.at_level(logging.ERROR, "resonate.worker"):
        handle = workflow.begin_run("w", 2)
        store.wait_for(TaskRelease)
    assert (len(few), few.full) == (2, True)
    assert "2 threads are left behind by steps that outlived their timeouts: plain (2)" in caplog.text
    task = present(present(store.record("w")).task)
    assert (task.state, task.version) == ("pending", 1), "handed over, and not acquired again"

    hanging.enough.set()
    # A handle that waits for a paused process polls, and its pauses would move the clock past the lease.
    store.wait_for(TaskFulfill)
    assert handle.result(PATIENCE) == "done"
    resonate.stop()


def test_lambda_worker_continues_without_an_abandoned_step(driver: Driver, hanging: Hanging) -> None:
    handler = LambdaHandler(driver.tap, driver.registry, {}, driver.clock, "p")
    driver.begin("w", one_step(hanging.plain, "run"))

    assert handler(execute(*driver.offers.popleft())) == {"status": "completed"}
    assert codec.decode(driver.promise("w").value) == "w.1"
    assert [tap.closed for tap in driver.tap.opened] == [True]
    before = driver.tap.kinds()
    hanging.enough.set()
    assert hanging.returned.wait(PATIENCE)
    assert driver.tap.kinds() == before


def test_lambda_worker_takes_no_task_beside_too_many_abandoned_threads(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Abandoned(1)
    monkeypatch.setattr("resonate.aws_lambda.handler.abandoned", few)
    few.add(threading.current_thread(), "fetch")
    handler = LambdaHandler(driver.tap, driver.registry, {}, driver.clock, "p")

    with pytest.raises(Exhausted, match="fetch"):
        handler(execute("w"))
    assert handler({"Records": [{"messageId": "m", "body": "{}"}]}) == {"batchItemFailures": [{"itemIdentifier": "m"}]}
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    with pytest.raises(SystemExit, match="fetch"):
        handler(execute("w"))
    assert driver.tap.requests == []


def test_abandoned_limit_counts_threads_that_have_not_returned() -> None:
    few = Abandoned(2)
    first, second, third = (threading.Thread(name=str(n)) for n in range(3))

    assert few.add(first, "a")
    assert few.add(second, "b")
    assert not few.add(third, "c")
    few.remove(first)
    assert not few.full
    assert few.add(third, "c")


def test_step_that_ends_before_its_timeout_is_recorded(driver: Driver) -> None:
    driver.resources.steps = Pool(1, "step")

    assert driver.run("w", runs(lambda _: threading.current_thread().name, timeout=60)) == "step-1"
    assert driver.tap.kinds() == ["task.acquire", "promise.create", "promise.settle", "task.fulfill"]
    assert driver.store.apply(PromiseGet("w.1")).promise
    driver.resources.steps.shutdown()

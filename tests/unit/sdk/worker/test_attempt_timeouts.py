"""Attempts of steps that take longer than their `attempt_timeout`: they have failed, and are retried."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from resonate import Context, Resonate
from resonate.aws_lambda.handler import LambdaHandler
from resonate.errors import AttemptTimeout, ProgramError, ResonateTimedoutError
from resonate.payloads import codec
from resonate.retry_policies import Constant, Never
from resonate.threads import Pool
from resonate.worker.abandoned import Abandoned, abandoned
from resonate.workflow.options import Options
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import TaskFulfill, TaskRelease
from tests.support.driver import Driver, Drivers, Flow
from tests.support.present import present
from tests.support.steps import ONCE, PATIENCE, caught, double, execute, gathered, runs
from tests.support.watched_stores import Memory, stop
from tests.support.ways import always_three_ways

LIMIT = 0.02
"""Seconds on the injected clock, which a step moves; the worker reads it again after as long in real time."""


class Slow:
    """Steps whose first attempts take longer than `LIMIT`, and end when `enough` is set.

    Args:
        clock: the injected clock.
        times: how many attempts are slow.

    Attributes:
        attempts: the attempts that have begun, by their contexts.
        cancelled: the attempts that were cancelled.
        late: the attempts that have returned after their limit.
    """

    def __init__(self, clock: ManualClock, times: int = 2) -> None:
        self.enough = threading.Event()
        self.attempts: list[int] = []
        self.cancelled: list[int] = []
        self.late: list[int] = []

        def plain(ctx: Context) -> str:
            self.attempts.append(ctx.info.attempt)
            if len(self.attempts) > times:
                return "in time"
            clock.advance(round(LIMIT * 1000))
            assert self.enough.wait(PATIENCE)
            self.late.append(ctx.info.attempt)
            return "too late"

        async def cancellable(ctx: Context) -> str:
            self.attempts.append(ctx.info.attempt)
            if len(self.attempts) > times:
                return "in time"
            clock.advance(round(LIMIT * 1000))
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                self.cancelled.append(ctx.info.attempt)
                raise
            return "too late"

        async def stubborn(ctx: Context) -> str:
            try:
                return await cancellable(ctx)
            except asyncio.CancelledError:
                return "not cancelled"

        self.plain, self.cancellable, self.stubborn = plain, cancellable, stubborn

    def end(self, count: int) -> None:
        """Let the slow attempts return, and wait until as many have."""
        self.enough.set()
        waited = threading.Event()
        for _ in range(500):
            if len(self.late) == count:
                return
            waited.wait(0.01)
        raise AssertionError(self.late)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    waited = threading.Event()
    for _ in range(500):
        if not len(abandoned):
            return
        waited.wait(0.01)
    raise AssertionError(str(abandoned))


@pytest.fixture(params=["no pools", "inline", "pools"])
def threads(request: pytest.FixtureRequest, driver: Driver) -> Iterator[None]:
    """The threads that the worker has for steps."""
    pools = [Pool(4, "step"), Pool(1, "function")]
    driver.resources.steps = None if request.param == "no pools" else pools[0]
    driver.resources.functions = pools[1] if request.param == "pools" else None
    yield
    for pool in pools:
        pool.shutdown(wait=False)


def calling(step: Callable[..., Any], spelling: str, policy: Any = None, **options: Any) -> Callable[..., Any]:
    """Return a workflow that runs a step with a limit for its attempts, and another step after it."""

    def generator(ctx: Context) -> Flow:
        given = {"attempt_timeout": LIMIT, "retry_policy": policy or Constant(delay=0.5), **options}
        if spelling == "begin_run":
            result = yield (yield ctx.begin_run(step).options(**given))
        else:
            result = yield ctx.run(step).options(**given)
        return [result, (yield ctx.run(double, 1))]

    async def coroutine(ctx: Context) -> Any:
        given = {"attempt_timeout": LIMIT, "retry_policy": policy or Constant(delay=0.5), **options}
        result = await ctx.run(step).options(**given)
        return [result, await ctx.run(double, 1)]

    return {"async": coroutine, "nested": runs(generator)}.get(spelling, generator)


SPELLINGS = ("run", "begin_run", "async", "nested")


@pytest.mark.usefixtures("threads")
def test_attempt_beyond_its_limit_is_retried(driver: Driver, subtests: pytest.Subtests) -> None:
    for spelling in (*SPELLINGS, "not durable"):
        with subtests.test(spelling):
            slow = Slow(driver.clock)
            durable = None if spelling != "not durable" else False
            driver.deploy(w=calling(slow.plain, spelling, durable=durable))
            driver.create(spelling, {"func": "w"})
            assert driver.finish(spelling) == ["in time", 2]
            assert slow.attempts == [1, 2, 3]
            before = driver.records(), driver.tap.kinds()

            slow.end(2)

            assert sorted(slow.late) == [1, 2], "each attempt keeps its own context"
            assert (driver.records(), driver.tap.kinds()) == before, "a late result is not recorded"


@always_three_ways
def test_attempt_that_returns_after_its_limit_has_failed(driver: Driver) -> None:
    """The clock decides, and not which thread sees it first."""

    def slow(ctx: Context) -> str:
        driver.clock.sleep(10_000 if ctx.info.attempt < 3 else 9_999)
        if ctx.info.attempt == 1:
            raise ValueError("late as well")
        return "in time"

    async def slow_async(ctx: Context) -> str:
        return slow(ctx)

    for id, step in (("v", slow), ("w", slow_async)):
        driver.deploy(w=calling(step, "run", Constant(60), attempt_timeout=10))
        driver.create(id, {"func": "w"})
        assert driver.finish(id) == ["in time", 2]
        assert driver.ids()[-4:] == [f"{id}.1", f"{id}.1~1", f"{id}.1~2", f"{id}.2"]
        for attempt in (1, 2):
            timer = driver.promise(f"{id}.1~{attempt}")
            assert codec.decode_error(replace(timer, state="rejected", value=timer.param)).args[1:] == (attempt, 10)


@pytest.mark.usefixtures("threads")
def test_async_attempt_beyond_its_limit_is_cancelled(driver: Driver, subtests: pytest.Subtests) -> None:
    for spelling in SPELLINGS:
        with subtests.test(spelling):
            slow = Slow(driver.clock)
            driver.deploy(w=calling(slow.cancellable, spelling))
            driver.create(spelling, {"func": "w"})
            assert driver.finish(spelling) == ["in time", 2]
            assert (slow.attempts, slow.cancelled) == ([1, 2, 3], [1, 2])
            assert len(abandoned) == 0


def test_async_result_after_the_cancellation_is_dropped(driver: Driver) -> None:
    slow = Slow(driver.clock)

    assert driver.run("w", calling(slow.stubborn, "run")) == ["in time", 2]
    assert slow.attempts == [1, 2, 3]


def test_attempt_of_a_function_that_still_runs_is_another(driver: Driver) -> None:
    """The first attempt does not end when it is cancelled. The second is cancelled and ends, the loop goes on."""
    ended: list[int] = []

    async def step(ctx: Context) -> str:
        attempt = ctx.info.attempt
        if attempt == 3:
            return "in time"
        driver.clock.advance(round(LIMIT * 1000))
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            if attempt == 1:
                while 2 not in ended:
                    await asyncio.sleep(0)
            ended.append(attempt)
        return "too late"

    assert driver.run("w", calling(step, "run")) == ["in time", 2]
    driver.resources.async_functions.stop()
    assert ended == [2, 1]


def test_pause_after_an_attempt_timeout_is_that_of_the_policy(drivers: Drivers) -> None:
    driver = drivers()
    slow = Slow(driver.clock)
    assert driver.start("w", calling(slow.plain, "run", Constant(delay=60))) == ["suspended"]
    timer = driver.promise("w.1~1")
    assert timer.timeout_at - driver.clock.now() == 60_000
    error = codec.decode_error(replace(timer, state="rejected", value=timer.param))
    assert error.args == ("plain", 1, LIMIT)

    assert driver.finish("w") == ["in time", 2]
    slow.enough.set()


def test_attempt_timeout_that_is_not_retried_is_raised(driver: Driver, subtests: pytest.Subtests) -> None:
    for spelling, limit in (("run", LIMIT), ("begin_run", timedelta(seconds=LIMIT))):
        with subtests.test(spelling):
            slow = Slow(driver.clock)

            def workflow(ctx: Context, slow: Slow = slow, spelling: str = spelling, limit: Any = limit) -> Flow:
                call: Any = ctx.run(slow.plain) if spelling == "run" else ctx.begin_run(slow.plain)
                call = call.options(attempt_timeout=limit, retry_policy=Never())
                if spelling == "begin_run":
                    call = yield call
                return (yield from caught(call, AttemptTimeout)).args

            driver.deploy(w=workflow)
            driver.create(spelling, {"func": "w"})
            assert driver.finish(spelling) == ["plain", 1, LIMIT]
            assert driver.record(f"{spelling}.1").state == "rejected"
            slow.enough.set()


def test_nearer_deadline_of_the_step_wins(driver: Driver) -> None:
    slow = Slow(driver.clock)

    def workflow(ctx: Context) -> Flow:
        call = ctx.run(slow.plain).options(attempt_timeout=60, timeout=LIMIT)
        return type((yield from caught(call, ResonateTimedoutError))).__name__

    assert driver.run("w", workflow) == "ResonateTimedoutError"
    slow.enough.set()


def test_attempt_in_time_costs_no_request(driver: Driver) -> None:
    assert driver.run("w", runs(double, 2, attempt_timeout=60)) == 4
    assert driver.tap.kinds() == ["task.acquire", "promise.record", "task.fulfill"]


@pytest.mark.usefixtures("threads")
def test_begun_attempts_have_their_limits_at_once(driver: Driver) -> None:
    """They do not wait for a thread of the pool, so each has its whole time."""
    both = threading.Barrier(2)

    def step(_: Context) -> int:
        return both.wait(PATIENCE)

    def workflow(ctx: Context) -> Flow:
        calls = [ctx.begin_run(step).options(attempt_timeout=60) for _ in range(2)]
        return sorted((yield from gathered(calls)))

    if driver.resources.functions is not None:
        assert driver.run("w", workflow) == [0, 1]


def test_attempt_timeout_is_refused_for_workflows(driver: Driver) -> None:
    def nested(ctx: Context) -> Flow:
        return (yield ctx.run(double, 1))

    async def nested_async(ctx: Context) -> int:
        return await ctx.run(double, 1)

    def workflow(ctx: Context) -> Flow:
        errors = []
        for func in (nested, nested_async):
            errors.append(str((yield from caught(ctx.run(func).options(attempt_timeout=60), ProgramError))))
        return errors

    errors = driver.run("w", workflow)

    text = "issues commands, so it cannot have attempt_timeout: give that to its steps, or limit it by timeout="
    assert errors == [f"nested {text}", f"nested_async {text}"]
    resonate = Resonate.local()
    with pytest.raises(ProgramError, match="nested issues commands"):
        resonate.register(nested).options(attempt_timeout=1).begin_run("w")


def test_root_function_has_the_limit_of_its_caller(drivers: Drivers, subtests: pytest.Subtests) -> None:
    for spelling in ("plain", "cancellable"):
        with subtests.test(spelling):
            driver = drivers()
            slow = Slow(driver.clock)
            step = getattr(slow, spelling)
            driver.begin_here("w", step, options=Options(attempt_timeout=LIMIT, retry_policy=Constant(delay=0.5)))
            assert driver.finish("w") == "in time"
            assert slow.attempts == [1, 2, 3]
            slow.enough.set()


def test_registered_function_is_run_with_its_attempt_timeout() -> None:
    clock = ManualClock()
    slow = Slow(clock)
    resonate = Resonate.local(clock=clock)
    function = resonate.register(slow.plain, name="f").options(attempt_timeout=LIMIT, retry_policy=ONCE)
    handle = function.begin_run("f")

    with pytest.raises(AttemptTimeout, match=r"Attempt 1 of f took longer than 0\.02 s"):
        handle.future.result(PATIENCE)
    slow.enough.set()
    stop(resonate)


def test_process_with_too_many_abandoned_attempts_releases_its_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    few = Abandoned(2)
    for module in ("worker.calls", "process.runtime"):
        monkeypatch.setattr(f"resonate.{module}.abandoned", few)
    clock = ManualClock()
    slow = Slow(clock)
    store = Memory(clock)
    resonate = Resonate(store=store, clock=clock, workers=4)
    function = resonate.register(calling(slow.plain, "run"), name="workflow")

    with caplog.at_level(logging.ERROR, "resonate.worker"):
        handle = function.begin_run("w")
        store.wait_for(TaskRelease)
    assert (len(few), few.full) == (2, True)
    task = present(present(store.record("w")).task)
    assert (task.state, task.version) == ("pending", 1), "handed over, and not acquired again"

    slow.enough.set()
    # A handle that waits for a paused process polls, and its pauses would move the clock past the lease.
    store.wait_for(TaskFulfill)
    assert handle.result(PATIENCE) == ["in time", 2]
    resonate.stop()


def test_lambda_worker_records_nothing_of_an_abandoned_attempt(driver: Driver) -> None:
    slow = Slow(driver.clock)
    handler = LambdaHandler(driver.tap, driver.registry, {}, driver.clock, "p")
    driver.begin("w", calling(slow.plain, "run"))

    assert handler(execute(*driver.offers.popleft())) == {"status": "completed"}
    assert codec.decode(driver.promise("w").value) == ["in time", 2]
    before = driver.tap.kinds()
    slow.end(2)
    assert driver.tap.kinds() == before

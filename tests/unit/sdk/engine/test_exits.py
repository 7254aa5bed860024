"""What a function raises that is not an `Exception`: its own failure, or the end of the process."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.errors import ApplicationError
from resonate.threads import Pool
from tests.support.driver import Driver, Drivers, Flow, Killed
from tests.support.steps import ONCE, caught, double, runs
from tests.support.ways import three_ways


def _exits_async(error: BaseException, *, inner: bool) -> Callable[..., Any]:
    async def exits(_: Context) -> None:
        async def raises() -> None:
            raise error

        await (asyncio.gather(raises()) if inner else raises())

    return exits


def _exits(error: BaseException) -> Callable[..., Any]:
    def exits(_: Context) -> None:
        raise error

    return exits


def _exiting_workflow(error: BaseException) -> Callable[..., Any]:
    def exits(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        raise error

    return exits


class Unusual(BaseException):
    """Like `trio.Cancelled` and `gevent.Timeout`; it has no text."""

    def __repr__(self) -> str:
        raise ValueError


EXITS = [
    SystemExit(3),
    asyncio.CancelledError(),
    GeneratorExit(),
    BaseExceptionGroup("", [SystemExit()]),
    Unusual("why"),
    BaseExceptionGroup("", [Unusual()]),
]


EXITING: dict[str, Callable[[BaseException], Callable[..., Any]]] = {
    "plain": _exits,
    "async": lambda error: _exits_async(error, inner=False),
    "async task": lambda error: _exits_async(error, inner=True),
    "workflow": _exiting_workflow,
}


@three_ways
def test_function_that_raises_an_exit_fails_at_once(
    driver: Driver, caplog: pytest.LogCaptureFixture, subtests: pytest.Subtests
) -> None:
    def workflow(ctx: Context, spelling: str, number: int, begin: bool) -> Flow:
        make = ctx.begin_run if begin else ctx.run
        call = make(EXITING[spelling](EXITS[number])).options(retry_policy=ONCE)
        failed = yield from caught((yield call) if begin else call, ApplicationError)
        return [failed.type_name, str(failed)]

    for spelling, number, begin in itertools.product(EXITING, range(len(EXITS)), (True, False)):
        name = type(EXITS[number]).__name__
        with subtests.test(name, spelling=spelling, begin=begin):
            caplog.clear()
            id = f"{spelling}-{number}-{begin}"
            kind, message = driver.run(id, workflow, spelling, number, begin)
            assert kind.rpartition(".")[2] == name
            assert ("the function was cancelled" in message) == (name == "CancelledError")
            assert driver.reports[-1].status == "completed"
            assert name in caplog.text
    assert {report.status for report in driver.reports} == {"completed"}


def test_interrupt_and_pytest_outcome_in_a_thread_fail_their_step(pool: Pool) -> None:
    driver = Driver(functions=pool)

    def workflow(ctx: Context) -> Flow:
        names = []
        for error in (KeyboardInterrupt(), pytest.fail.Exception("not so")):
            promise = yield ctx.begin_run(_exits(error)).options(retry_policy=ONCE)
            names.append((yield from caught(promise, ApplicationError)).type_name)
        return names

    assert driver.run("w", workflow) == ["KeyboardInterrupt", "Failed"]


def test_pytest_outcome_in_the_thread_of_a_test_reaches_it(drivers: Drivers, subtests: pytest.Subtests) -> None:
    for spelling in EXITING:
        with subtests.test(spelling), pytest.raises(pytest.fail.Exception, match="not so"):
            drivers().start("w", EXITING[spelling](pytest.fail.Exception("not so")))


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs a signal for users")
def test_interrupt_and_exit_by_signal_end_the_run(driver: Driver) -> None:
    def terminate(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    def interrupted(_: Context) -> None:
        raise KeyboardInterrupt

    def terminated(_: Context) -> None:
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, terminate)
    try:
        for id, step, end in (("i", interrupted, KeyboardInterrupt), ("t", terminated, SystemExit)):
            driver.begin(id, step)
            with pytest.raises(end):
                driver.invoke()
            assert driver.promise(id).pending
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_end_of_the_process_in_an_async_step_passes_through(driver: Driver) -> None:
    async def step(_: Context) -> None:
        raise Killed

    with pytest.raises(Killed):
        driver.start("w", runs(step))

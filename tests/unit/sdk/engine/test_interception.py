"""Interceptors that fail, or misbehave, around steps and workflows, and workflows that are suspended or closed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import pytest

from resonate import Context
from resonate.interceptors import InboundCall, Interceptor, OutboundCall
from resonate.retry_policies import Constant
from resonate.threads import Pool
from tests.support.driver import Driver

Flow = Generator[Any, Any, Any]


class Failing(Interceptor):
    """Fails as often as it is told.

    Attributes:
        failures: how often each place fails from now on: "enter", "exit" or "outbound".
        kind: the kind of the functions that it surrounds.
        ended: the errors with which its context managers were left.
    """

    def __init__(self, kind: str, **failures: int) -> None:
        self.kind = kind
        self.failures = failures
        self.ended: list[str] = []

    def outbound(self, call: OutboundCall) -> None:
        self._fail("outbound")
        call.headers["ok"] = "yes"

    @contextmanager
    def inbound(self, call: InboundCall) -> Iterator[None]:
        if call.kind != self.kind:
            yield
            return
        self._fail("enter")
        try:
            yield
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        finally:
            self._fail("exit")

    def _fail(self, place: str) -> None:
        if self.failures.get(place, 0) > 0:
            self.failures[place] -= 1
            raise RuntimeError(f"{place} failed")


def step(_: Context) -> str:
    return "done"


async def async_step(_: Context) -> str:
    return "done"


def workflow(ctx: Context) -> Flow:
    yield ctx.run(step)
    yield ctx.sleep(100)
    return (yield ctx.run(step))


async def async_workflow(ctx: Context) -> str:
    await ctx.run(step)
    await ctx.sleep(100)
    return await ctx.run(step)


def limited(ctx: Context) -> Flow:
    return (yield ctx.run(step).options(retry_policy=Constant(1), attempt_timeout=60, at_most_once=True))


def beside(ctx: Context) -> Flow:
    return (yield (yield ctx.begin_run(async_step).options(retry_policy=Constant(1))))


def test_failing_interceptor_of_a_step_fails_the_attempt(
    drivers: Callable[..., Driver], pool: Pool, subtests: pytest.Subtests
) -> None:
    for place in ("enter", "exit"):
        for function, kind in ((limited, "step"), (beside, "async")):
            with subtests.test(place=place, function=function.__name__):
                driver = drivers(functions=pool)
                failing = Failing(kind, **{place: 2})
                driver.registry.interceptors = (failing,)

                assert driver.run("w", function) == "done"
                assert driver.elapsed() == 2, "two attempts have failed, each with a pause of a second"
                assert {report.error for report in driver.reports} == {None}


def test_failing_interceptor_of_a_workflow_releases_its_task(
    drivers: Callable[..., Driver], subtests: pytest.Subtests
) -> None:
    """An interceptor cannot decide the outcome of an execution that may have done something already."""
    for place in ("enter", "exit"):
        for function, kind in ((workflow, "workflow"), (async_workflow, "async")):
            if (place, kind) == ("enter", "async"):
                continue  # it is a step at that time
            with subtests.test(place=place, kind=kind):
                driver = drivers()
                failing = Failing(kind)
                driver.registry.interceptors = (failing,)

                assert driver.start("w", function) == ["suspended"]
                failing.failures[place] = 1
                assert driver.finish("w") == "done"
                statuses = [(report.status, report.error) for report in driver.reports[1:]]
                raised = f"[308.00000] an interceptor around {function.__name__} raised RuntimeError: {place} failed"
                assert statuses == [("released", f"InterceptorError: {raised}"), ("completed", None)]


def test_failing_outbound_interceptor_releases_the_task(drivers: Callable[..., Driver]) -> None:
    def parent(ctx: Context) -> Flow:
        with suppress(RuntimeError):
            return (yield ctx.rpc("child"))

    def child(ctx: Context) -> str:
        return ctx.info.headers["ok"]

    driver = drivers()
    failing = Failing("step")
    driver.registry.interceptors = (failing,)
    driver.registry.add(child)
    driver.begin("w", parent)
    failing.failures["outbound"] = 1

    assert driver.finish("w") == "yes"
    assert driver.reports[0].status == "released"
    assert "an interceptor of the remote call w.1 raised RuntimeError" in (driver.reports[0].error or "")


def test_interceptor_is_left_when_its_workflow_is_suspended(
    drivers: Callable[..., Driver], subtests: pytest.Subtests, caplog: pytest.LogCaptureFixture
) -> None:
    for function, kind in ((workflow, "workflow"), (async_workflow, "async")):
        with subtests.test(kind=kind), caplog.at_level(logging.WARNING, "resonate.interceptors"):
            driver = drivers()
            failing = Failing(kind, exit=1)
            driver.registry.interceptors = (failing,)

            assert driver.run("w", function) == "done"
            assert failing.ended == ["GeneratorExit"]
            assert [report.status for report in driver.reports] == ["suspended", "completed"]
            assert "an interceptor failed when" in caplog.text


def test_interceptor_cannot_suppress_an_error(drivers: Callable[..., Driver], subtests: pytest.Subtests) -> None:
    class Suppressing(Interceptor):
        """Suppresses all errors."""

        def inbound(self, call: InboundCall) -> AbstractContextManager[Any]:  # noqa: ARG002
            return suppress(Exception)

    def fails(_: Context) -> None:
        raise ValueError("no")

    def parent(ctx: Context) -> Flow:
        with suppress(ValueError):
            yield ctx.run(fails).options(retry_policy=Constant(1, max_retries=1))
            return "suppressed"
        raise ValueError("no")

    async def parent_async(_: Context) -> None:
        raise ValueError("no")

    for function in (parent, parent_async):
        with subtests.test(function=function.__name__):
            driver = drivers()
            driver.registry.interceptors = (Suppressing(),)
            driver.registry.retry_policy = Constant(1, max_retries=0)
            with pytest.raises(ValueError, match="no"):
                driver.run("w", function)


def test_workflow_that_yields_when_closed_is_closed(driver: Driver) -> None:
    failing = Failing("workflow")
    driver.registry.interceptors = (failing,)

    def stubborn(ctx: Context) -> Flow:
        try:
            yield ctx.sleep(100)
        finally:
            yield ctx.run(step)
        return "done"

    assert driver.run("w", stubborn) == "done"
    assert failing.ended == ["GeneratorExit"]


def test_interceptor_sees_whether_a_workflow_is_replayed(driver: Driver) -> None:
    replaying: list[bool] = []

    class Noting(Interceptor):
        """Notes whether workflows begin with a replay."""

        def inbound(self, call: InboundCall) -> None:
            if call.kind == "workflow":
                replaying.append(call.replaying)

    driver.registry.interceptors = (Noting(),)
    driver.run("w", workflow)

    assert replaying == [False, True]


def test_program_without_interceptors_makes_no_extra_call(driver: Driver) -> None:
    """Only the headers of the task are read, once."""
    called: list[str] = []

    def trace(frame: Any, event: str, _: Any) -> None:
        if event == "call" and "/resonate/" in frame.f_code.co_filename.replace("\\", "/"):
            called.append(f"{frame.f_globals['__name__']}.{frame.f_code.co_name}")

    driver.begin("w", workflow)
    sys.setprofile(trace)
    try:
        driver.work()
    finally:
        sys.setprofile(None)

    own = [name for name in called if "intercept" in name]
    assert own == ["resonate.interceptors.headers_of", "resonate.interceptors.<dictcomp>"][: len(own)]
    assert "resonate.engine.attempts._launch" in called

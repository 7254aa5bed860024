"""What the model of a computation says of a workflow, and how it closes one."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from resonate import Context
from resonate.errors import ResonateHaltedError
from tests.support.driver import Driver, Flow
from tests.support.steps import Diary
from tests.support.ways import three_ways


@three_ways
def test_workflow_that_catches_base_exception_in_a_loop_is_halted(
    driver: Driver, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    caught: list[BaseException] = []
    over = False  # Python closes them once more at the end of the process, and complains unless they end

    def stubborn(ctx: Context) -> Flow:
        while not over:
            try:
                return (yield ctx.sleep(10))
            except BaseException as error:
                caught.append(error)

    async def stubborn_async(ctx: Context) -> None:
        while not over:
            try:
                await ctx.sleep(10)
                return
            except BaseException as error:
                caught.append(error)

    def above(ctx: Context) -> Flow:
        yield ctx.run(stubborn)

    for workflow in (stubborn, stubborn_async, above):
        with subtests.test(workflow.__name__):
            caught.clear()
            message = r"stubborn(_async)? catches GeneratorExit.*`except Exception`"
            with pytest.raises(ResonateHaltedError, match=message):
                driver.run(workflow.__name__, workflow)
            assert len(caught) == 10
            assert complaints == []
    over = True


@three_ways
def test_finally_blocks_that_yield_are_closed_without_a_complaint(
    driver: Driver, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator that yields in a `finally` block is still open when it is closed: Python complains about it."""
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)

    def workflow(ctx: Context) -> Flow:
        try:
            try:
                yield ctx.sleep(10)
            finally:
                yield ctx.run(diary.step("inner"))
        finally:
            try:
                yield ctx.run(diary.step("outer"))
            finally:
                yield ctx.run(asynchronous)

    async def asynchronous(ctx: Context) -> None:
        try:
            try:
                await ctx.sleep(10)
            finally:
                await ctx.run(diary.step("inner async"))
        finally:
            await ctx.run(diary.step("outer async"))

    driver.run("w", workflow)

    assert diary == ["inner", "outer", "inner async", "outer async"]
    assert complaints == []

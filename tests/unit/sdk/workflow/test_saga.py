"""Sagas: what is undone, in which order, and what the workflow ends with."""

from __future__ import annotations

from typing import Any

import pytest

from resonate import Context
from resonate.errors import ResonateCanceledError
from resonate_store.model.execution_requests import PromiseCancel
from tests.support.driver import Driver, Flow
from tests.support.steps import ONCE, Diary
from tests.support.ways import always_three_ways, three_ways


@always_three_ways
def test_saga_undoes_in_reverse_order_what_has_begun(driver: Driver, diary: Diary) -> None:
    def book(_: Context, what: str) -> str:
        diary.append(f"book {what}")
        if what == "car":
            raise ValueError("no car")
        return what

    def undo(_: Context, what: str) -> None:
        diary.append(f"undo {what}")

    def workflow(ctx: Context) -> Flow:
        saga = ctx.saga()
        yield saga.run(book, "flight", undo=(undo, "flight"))
        yield saga.rpc("book", "hotel", undo=ctx.rpc("undo", "hotel"))
        yield ctx.sleep(30)
        yield saga.run(book, "car", undo=(undo, "car")).options(retry_policy=ONCE)
        yield saga.run(book, "boat", undo=(undo, "boat"))

    driver.register(book)
    driver.register(undo)

    with pytest.raises(ValueError, match="no car"):
        driver.run("w", workflow)
    assert diary == ["book flight", "book hotel", "book car", "undo car", "undo hotel", "undo flight"]


@three_ways
def test_saga_of_a_cancelled_async_workflow_is_undone(driver: Driver, diary: Diary) -> None:
    async def workflow(ctx: Context) -> Any:
        saga = ctx.saga()
        await saga.run(diary.step("book"), undo=(diary.step("undo"),))
        await ctx.sleep(5_000)

    driver.start("w", workflow)
    assert driver.store.apply(PromiseCancel("w")).cancel == "accepted"

    with pytest.raises(ResonateCanceledError):
        driver.finish("w")
    assert diary == ["book", "undo"]


@three_ways
def test_saga_reports_failed_undos_together(driver: Driver, diary: Diary) -> None:
    def fails(_: Context, text: str) -> None:
        raise ValueError(text)

    def workflow(ctx: Context) -> Flow:
        saga = ctx.saga()
        for name in ("a", "b"):
            yield saga.run(diary.step(name), undo=ctx.run(fails, name).options(retry_policy=ONCE))
        yield saga.run(diary.step("c"), undo=(diary.step("undo c"),))
        raise KeyError("first")

    with pytest.raises(ExceptionGroup, match="2 of 3 compensations failed") as raised:
        driver.run("w", workflow)
    assert [str(error) for error in raised.value.exceptions] == ["b", "a"]
    assert isinstance(raised.value.__cause__, KeyError)
    assert diary == ["a", "b", "c", "undo c"]


@three_ways
def test_saga_is_undone_by_hand_once(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        saga = ctx.saga()
        yield saga.run(diary.step("book"), undo=(diary.step("undo"),))
        yield saga.compensate()
        yield saga.compensate()
        yield ctx.sleep(30)
        return "no trip"

    assert driver.run("w", workflow) == "no trip"
    assert diary == ["book", "undo"]


def test_saga_of_a_workflow_that_returns_undoes_nothing(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        saga = ctx.saga()
        return (yield saga.run(diary.step("book"), undo=(diary.step("undo"),)))

    driver.run("w", workflow)
    assert diary == ["book"]


def test_saga_refuses_a_wrong_undo(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        wrong: Any = diary.step("undo")
        with pytest.raises(TypeError, match=r"undo takes a function and its arguments"):
            ctx.saga().run(diary.step("book"), undo=wrong)
        return (yield ctx.run(diary.step("on")))

    driver.run("w", workflow)
    assert diary == ["on"]

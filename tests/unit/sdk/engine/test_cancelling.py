"""Cancellation of executions: who is told, in which order, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateCanceledError, ResonateStoreError
from resonate.errors.canceled import Canceled
from resonate.retry_policies import Constant
from resonate.testing import MemoryStack
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.requests import Response
from tests.support.driver import Driver, Flow, Killed
from tests.support.present import present
from tests.support.steps import Diary
from tests.support.ways import always_three_ways, three_ways


def cancel(driver: Driver, id: str, reason: str = "", *, force: bool = False) -> str | None:
    """Cancel an execution; return whether that was accepted, or None if it has ended."""
    return driver.store.apply(PromiseCancel(id, reason, force)).cancel


def ends_canceled(driver: Driver, id: str) -> None:
    with pytest.raises(ResonateCanceledError, match=id):
        driver.finish(id)


@always_three_ways
def test_cancelled_workflow_compensates_and_ends(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(diary.step("book"))
        try:
            yield ctx.sleep(5_000)
            yield ctx.run(diary.step("never"))
        except Exception:
            yield ctx.run(diary.step("wrong"))
        except Canceled as canceled:
            yield ctx.run(diary.step(f"undo: {canceled.reason}"))
            yield ctx.sleep(30)
            yield ctx.run(diary.step("undone"))
            raise
        finally:
            yield ctx.run(diary.step("close"))

    driver.start("w", workflow)
    assert cancel(driver, "w", "changed my mind") == "accepted"
    assert cancel(driver, "w") == "already"
    assert present(driver.task("w")).cancel == "changed my mind"
    with pytest.raises(ResonateCanceledError, match="Promise w canceled: changed my mind"):
        driver.finish("w")

    assert diary == ["book", "undo: changed my mind", "undone", "close"]
    assert driver.record("w").state == driver.record("w.2").state == "rejected_canceled"
    assert present(driver.promise("w").settled_at) - driver.record("w").created_at < 200_000
    assert cancel(driver, "w") is None


@three_ways
def test_async_workflow_gets_the_error_at_its_await(driver: Driver, diary: Diary) -> None:
    async def workflow(ctx: Context) -> Any:
        approval = await ctx.promise()
        try:
            await approval
        except Canceled:
            await ctx.run(diary.step("undo"))
            raise

    driver.start("w", workflow)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert diary == ["undo"]
    assert driver.record("w.1").state == "rejected_canceled"


@always_three_ways
def test_children_end_before_their_parent_compensates(driver: Driver, diary: Diary) -> None:
    def child(ctx: Context) -> Flow:
        try:
            yield ctx.sleep(5_000)
        finally:
            yield ctx.sleep(10)
            yield ctx.run(diary.step("child"))

    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_rpc(child)
        other = yield ctx.begin_rpc(child)
        yield ctx.detached(independent)
        try:
            yield other
        except Canceled:
            yield ctx.run(diary.step("parent"))
            raise

    def independent(ctx: Context) -> Flow:
        yield ctx.sleep(60)
        return "went on"

    driver.register(child)
    driver.register(independent)
    driver.start("w", workflow)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert sorted(diary) == ["child", "child", "parent"]
    assert diary.index("parent") > 0
    assert [driver.record(f"w.{n}").state for n in (1, 2)] == ["rejected_canceled"] * 2
    assert driver.finish("w.3") == "went on"


@always_three_ways
def test_nested_workflow_is_interrupted_and_its_caller_gets_the_outcome(driver: Driver, diary: Diary) -> None:
    def swallows(ctx: Context) -> Flow:
        try:
            yield ctx.sleep(5_000)
        except Canceled:
            return "saved"

    def passes_on(ctx: Context) -> Flow:
        yield ctx.sleep(5_000)

    def workflow(ctx: Context) -> Flow:
        one = yield ctx.begin_run(swallows)
        two = yield ctx.begin_run(passes_on)
        saved = yield one
        try:
            yield two
        except Canceled:
            yield ctx.run(diary.step(saved))
            yield ctx.sleep(30)
            raise

    driver.start("w", workflow)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert diary == ["saved"]
    assert [driver.record(f"w.{n}").state for n in (1, 2)] == ["resolved", "rejected_canceled"]


WAITS: dict[str, Callable[[Context, Any], Any]] = {
    "any": lambda ctx, child: ctx.any(ctx.rpc(child, 5), ctx.sleep(5_000), ctx.promise()),
    "race": lambda ctx, child: ctx.race(ctx.sleep(5_000), ctx.receive("never"), ctx.rpc(child, 5)),
    "all": lambda ctx, child: ctx.all(ctx.promise(), ctx.rpc(child, 5)),
    "map": lambda ctx, child: ctx.map(child, [1, 5], remote=True),
    "any of nested": lambda ctx, child: ctx.any(ctx.run(child, 1), ctx.run(child, 5)),
}


@three_ways
@pytest.mark.parametrize("wait", WAITS)
def test_wait_for_several_is_interrupted_when_its_calls_have_ended(driver: Driver, diary: Diary, wait: str) -> None:
    def child(ctx: Context, seconds: int) -> Flow:
        try:
            yield ctx.sleep(5_000)
        finally:
            yield ctx.sleep(seconds)
            yield ctx.run(diary.step(f"child {seconds}"))

    def workflow(ctx: Context) -> Flow:
        try:
            yield WAITS[wait](ctx, child)
        finally:
            yield ctx.run(diary.step("parent"))

    driver.register(child)
    driver.start("w", workflow)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert diary[-2:] == ["child 5", "parent"]
    assert len(diary) == len(set(diary))


def test_kill_while_calls_of_a_race_end_compensates_later(driver: Driver, diary: Diary) -> None:
    """The timer is cancelled at once. A replay must not take it for the winner."""

    def child(ctx: Context) -> Flow:
        try:
            yield ctx.sleep(5_000)
        finally:
            yield ctx.sleep(50)
            yield ctx.run(diary.step("child"))

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.race(ctx.sleep(5_000), ctx.rpc(child))
        finally:
            yield ctx.run(diary.step("parent"))

    driver.register(child)
    driver.start("w", workflow)
    cancel(driver, "w")
    driver.tap.after = killed_at("task.suspend")
    with suppress(Killed):
        driver.work()
    driver.tap.after = lambda _: None
    driver.work()
    assert diary == []
    ends_canceled(driver, "w")

    assert diary == ["child", "parent"]


def killed_at(kind: str) -> Callable[[Any], None]:
    """End the process after the first request of this kind."""

    def after(request: Any) -> None:
        if getattr(request, "kind", "") == kind:
            raise Killed

    return after


@three_ways
def test_nested_workflow_with_its_own_id_compensates(driver: Driver, diary: Diary) -> None:
    def nested(ctx: Context) -> Flow:
        try:
            yield ctx.sleep(5_000)
        finally:
            yield ctx.run(diary.step("undo"))

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(nested).options(id="nested")

    driver.start("w", workflow)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert diary == ["undo"]


@pytest.mark.parametrize("is_async", [False, True])
def test_branch_not_replayed_yet_is_cancelled_with_its_calls(driver: Driver, is_async: bool) -> None:
    """The replay cancels the branch before it has read what the branch has begun."""

    def child(ctx: Context) -> Flow:
        yield ctx.sleep(50_000)

    def inner(ctx: Context) -> Flow:
        yield (yield ctx.promise())

    def branch(ctx: Context) -> Flow:
        yield ctx.begin_rpc(child)
        yield ctx.detached(child)
        yield ctx.begin_sleep(50_000)
        yield ctx.run(inner)

    async def branch_async(ctx: Context) -> None:
        await ctx.begin_rpc(child)
        await ctx.detached(child)
        await ctx.begin_sleep(50_000)
        await ctx.run(inner)

    def workflow(ctx: Context) -> Flow:
        begun = yield ctx.begin_run(branch_async if is_async else branch)
        yield ctx.sleep(60)
        yield ctx.cancel(begun)

    driver.register(child)
    driver.start("w", workflow)
    driver.finish("w")
    driver.work()

    ended = {id: driver.promise(f"w.1{id}").state for id in ("", ".1", ".2", ".3", ".4", ".4.1")}
    assert ended == dict.fromkeys(ended, "rejected_canceled") | {".2": "pending"}


@three_ways
def test_map_is_cancelled_with_its_items(driver: Driver, diary: Diary) -> None:
    def item(ctx: Context, n: int) -> Flow:
        yield ctx.sleep(5_000)
        yield ctx.run(diary.step(str(n)))

    def workflow(ctx: Context) -> Flow:
        yield ctx.map(item, range(5), max_concurrency=2, remote=True)

    driver.register(item)
    driver.start("w", workflow)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert diary == []
    assert {each.id for each in driver.records() if each.pending} == set()


@three_ways
def test_swallowed_cancellation_is_shown_and_can_be_forced(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        while True:
            with suppress(Canceled):
                yield ctx.sleep(500)

    driver.start("w", workflow)
    cancel(driver, "w", "stop")
    driver.work()

    assert present(driver.task("w")).cancel == "stop"
    assert driver.promise("w").pending
    assert cancel(driver, "w", force=True) == "accepted"
    ends_canceled(driver, "w")


@three_ways
def test_execution_that_has_not_begun_is_settled_at_once(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(diary.step("never"))

    driver.begin("w", workflow)
    assert cancel(driver, "w") == "accepted"
    driver.work()

    assert driver.promise("w").state == "rejected_canceled"
    assert diary == []


def test_outcome_wins_over_a_late_cancellation(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(lambda _: cancel(driver, "w"))
        return "done"

    assert driver.run("w", workflow) == "done"


def test_paused_step_is_not_tried_again(driver: Driver, diary: Diary) -> None:
    def fails(_: Context) -> None:
        diary.append("try")
        raise ValueError("no")

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(fails)
        except Canceled:
            yield ctx.run(diary.step("undo"))
            raise

    driver.start("w", workflow)
    tries = len(diary)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert diary == ["try"] * tries + ["undo"]


def test_step_that_has_not_begun_is_left_out(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(diary.step("first"))
        yield ctx.sleep(50)
        try:
            yield ctx.run(diary.step("second"))
        finally:
            yield ctx.run(diary.step("undo"))

    driver.start("w", workflow)
    driver.pass_time(50)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert diary == ["first", "undo"]


@three_ways
def test_calls_of_outer_workflows_are_cancelled_as_well(driver: Driver) -> None:
    def child(ctx: Context) -> Flow:
        yield ctx.sleep(50_000)

    def nested(ctx: Context) -> Flow:
        yield ctx.sleep(5_000)

    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_rpc(child)
        yield ctx.run(nested)

    driver.register(child)
    driver.start("w", workflow)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert driver.record("w.1").state == "rejected_canceled"
    assert driver.promise("w").settled_at == driver.record("w").created_at


@three_ways
def test_begun_step_is_not_tried_again(driver: Driver, diary: Diary) -> None:
    def fails(_: Context) -> None:
        diary.append("try")
        raise ValueError("no")

    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_run(fails).options(retry_policy=Constant(delay=1000))
        yield ctx.sleep(5_000)

    driver.start("w", workflow)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert diary == ["try"]
    assert driver.promise("w").settled_at == driver.record("w").created_at


def undoes(diary: Diary, name: str, seconds: float) -> Callable[[Context], Flow]:
    """A workflow that sleeps for long, and takes some time to undo it."""

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.sleep(5_000)
        finally:
            yield ctx.sleep(seconds)
            yield ctx.run(diary.step(name))

    workflow.__name__ = workflow.__qualname__ = name
    return workflow


@always_three_ways
def test_nested_workflow_compensates_beside_a_remote_call(driver: Driver, diary: Diary) -> None:
    child, nested = undoes(diary, "child", 900), undoes(diary, "nested", 300)

    def begins(ctx: Context) -> Flow:
        yield ctx.begin_run(nested)
        yield ctx.rpc("child")

    def gathers(ctx: Context) -> Flow:
        yield ctx.all(ctx.run(nested), ctx.rpc("child"))

    driver.register(child)
    for workflow in (begins, gathers):
        driver.start(workflow.__name__, workflow)
        cancel(driver, workflow.__name__)
        ends_canceled(driver, workflow.__name__)

        assert diary == ["nested", "child"]
        diary.clear()


@three_ways
def test_ended_nested_workflow_keeps_its_outcome(driver: Driver, diary: Diary) -> None:
    def nested(ctx: Context) -> Flow:
        yield ctx.begin_rpc("child")
        return "value"

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(nested)
        finally:
            yield ctx.run(diary.step("undo"))

    driver.register(undoes(diary, "child", 0))
    driver.start("w", workflow)
    cancel(driver, "w")
    ends_canceled(driver, "w")

    assert diary == ["child", "undo"]
    assert driver.record("w.1").state == "resolved"


def test_cancellation_survives_a_kill_at_each_request(subtests: pytest.Subtests) -> None:
    kinds = ("promise.record", "promise.cancel", "promise.settle", "task.suspend", "task.fulfill")
    for kind, moment, kills in product(kinds, ("before", "after"), (1, 2)):
        with subtests.test(kind=kind, moment=moment, kills=kills):
            diary = Diary()
            resonate = Resonate(group="worker")
            child, nested = undoes(diary, "child", 900), undoes(diary, "nested", 300)

            def workflow(ctx: Context, child: Any = child, nested: Any = nested, diary: Diary = diary) -> Flow:
                yield ctx.begin_rpc(child)
                try:
                    yield ctx.run(nested)
                finally:
                    yield ctx.run(diary.step("workflow"))

            for function in (workflow, child):
                resonate.register(function)
            stack = MemoryStack(resonate)
            handle = stack.start("workflow", id="w")
            point = stack.crash(**{moment: kind}, times=kills)
            handle.cancel("stop")
            with pytest.raises(ResonateCanceledError):
                handle.result()

            assert point.hits == kills
            assert [name for name in dict.fromkeys(diary) if name != "child"] == ["nested", "workflow"]
            assert "child" in diary
            root = stack.history("w").root
            assert root.settled_at is not None
            assert root.settled_at - root.created_at < 2_000_000


def test_cancel_of_a_remote_call_raises_what_the_server_refuses(driver: Driver) -> None:
    def child(ctx: Context) -> Flow:
        yield ctx.sleep(5_000)

    def workflow(ctx: Context) -> Flow:
        call = yield ctx.begin_rpc(child)
        with pytest.raises(ResonateStoreError, match="does not know"):
            yield ctx.cancel(call)
        return "left alone"

    def refused(request: Any) -> Response | None:
        return Response(status=400, error="does not know it") if isinstance(request, PromiseCancel) else None

    driver.register(child)
    driver.tap.answer = refused
    assert driver.run("w", workflow) == "left alone"

"""What `stop` waits for, cancels and releases, and what a new start continues."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from itertools import product

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateShutdownError
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import TaskGet, TaskRelease, TaskSuspend
from tests.support.driver import Flow
from tests.support.present import present
from tests.support.serving import Serving
from tests.support.steps import PATIENCE, Held, gathered, runs
from tests.support.watched_stores import Connect, Memory, stop, threads


@pytest.mark.parametrize("workers", [1, 4])
def test_stop_leaves_no_thread(connect: Connect, workers: int) -> None:
    before = threads()
    resonate = connect(workers=workers)
    assert threads() == before, "threads start with the first piece of work"

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        return (yield from gathered(ctx.begin_run(lambda _, n: n, n) for n in range(5)))

    handle = workflow.begin_run("w")
    assert handle.result(PATIENCE) == [0, 1, 2, 3, 4]
    assert handle.future.result(PATIENCE) == [0, 1, 2, 3, 4]
    assert threads() > before
    resonate.stop()
    resonate.stop()

    assert threads() <= before


def test_stopped_worker_leaves_offers_to_another(connect: Connect, memory: Memory) -> None:
    held = Held()
    first, second = (connect(store=memory, workers=1, pid=pid) for pid in ("1", "2"))
    for worker in (first, second):
        worker.register(lambda ctx: held.step(ctx) if ctx.id == "0" else ctx.id, name="work")
    handles = [second.options(target="poll://any@default/1").begin_rpc(f"{n}", "work") for n in range(5)]
    assert held.running.wait(PATIENCE)
    stopping = threading.Thread(target=first.stop)
    stopping.start()

    assert [handle.result(PATIENCE) for handle in handles[1:]] == ["1", "2", "3", "4"]
    held.enough.set()
    stopping.join(PATIENCE)


def test_running_step_ends_before_stop_returns(
    local: Resonate, memory: Memory, stop_as_it_ends: Callable[..., None]
) -> None:
    before, held = threads(), Held()

    @local.register
    def workflow(ctx: Context) -> Flow:
        yield (yield ctx.begin_run(held.step))
        # Arms a wake-up during the stop, which must start nothing.
        yield ctx.sleep(5)

    workflow.begin_run("w")
    assert held.running.wait(PATIENCE)
    stop_as_it_ends(local, held.enough)

    assert threads() <= before
    assert present(memory.record("w.1")).state == "resolved"
    assert present(memory.apply(TaskGet("w")).task).state == "suspended"


def test_sleep_that_ended_while_stopped_continues_after_start(
    connect: Connect, memory: Memory, clock: ManualClock
) -> None:
    before = threads()
    resonate = connect(store=memory, clock=clock, workers=2)

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        yield ctx.sleep(60)
        return (yield (yield ctx.begin_run(lambda _: "done")))

    handle = workflow.begin_run("w")
    memory.wait_for(TaskSuspend)
    resonate.stop()
    clock.advance(3_600_000)
    assert threads() <= before
    resonate.start()

    assert handle.future.result(PATIENCE) == "done"
    assert workflow.begin_run("w").result(PATIENCE) == "done"


def test_endless_workflow_does_not_hold_up_stop(connect: Connect, memory: Memory) -> None:
    resonate = connect(store=memory, workers=2)
    begun = threading.Semaphore(0)
    seen: list[str] = []

    @resonate.register
    def endless(ctx: Context) -> Flow:
        while True:
            yield ctx.run(step)
            yield (yield ctx.begin_run(step))

    def step(ctx: Context) -> None:
        seen.append(ctx.id)
        begun.release()

    endless.begin_run("w")
    for _ in range(2):
        for _ in range(5):
            assert begun.acquire(timeout=PATIENCE)
        resonate.stop()
        task = present(memory.apply(TaskGet("w")).task)
        assert (task.state, task.attempts) == ("pending", 0)
        resonate.start()
    assert begun.acquire(timeout=PATIENCE)
    resonate.stop()
    assert len(set(seen)) == len(seen), "no step is repeated"


def test_endless_async_step_is_cancelled_by_stop_and_runs_again(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.setattr("resonate.process.runtime.GRACE_MS", 20)

    def check(workers: int, how: str, fails: bool) -> None:
        before, memory, running = threads(), Memory(), threading.Event()
        resonate = connect(store=memory, workers=workers)
        attempts: list[int] = []

        async def step(ctx: Context) -> str:
            attempts.append(ctx.info.attempt)
            if len(attempts) > 1:
                return "done"
            running.set()
            try:
                await asyncio.Event().wait()
            finally:
                if fails:
                    raise ValueError("no more")
            raise AssertionError("the event is never set")

        async def workflow(ctx: Context) -> str:
            return await ctx.run(step) if how == "run" else await (await ctx.begin_run(step))

        resonate.register(step if how == "root" else workflow, name="it")
        handle = resonate.begin_run("w", "it")
        assert running.wait(PATIENCE)
        stop(resonate)

        assert threads() <= before
        task = present(memory.apply(TaskGet("w")).task)
        assert (task.state, task.attempts) == ("pending", 0)
        resonate.start()
        assert handle.result(PATIENCE) == "done"
        assert attempts == [1, 1], "a stop is not a failed attempt"
        resonate.stop()

    for workers, how, fails in product((1, 2), ("run", "begin_run", "root"), (False, True)):
        with subtests.test(how, workers=workers, fails=fails):
            check(workers, how, fails)


@pytest.mark.parametrize("how", ["run", "begin_run"])
def test_async_step_about_to_end_ends_before_stop_returns(
    local: Resonate, memory: Memory, stop_as_it_ends: Callable[..., None], how: str
) -> None:
    running, enough = threading.Event(), threading.Event()

    async def step(_: Context) -> str:
        running.set()
        while not enough.is_set():
            await asyncio.sleep(0)
        return "done"

    @local.register
    async def workflow(ctx: Context) -> str:
        return await ctx.run(step) if how == "run" else await (await ctx.begin_run(step))

    workflow.begin_run("w")
    assert running.wait(PATIENCE)
    stop_as_it_ends(local, enough)

    assert present(memory.record("w.1")).state == "resolved"


def test_cancelled_async_step_can_return_a_result(local: Resonate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate.process.runtime.GRACE_MS", 20)
    running = threading.Event()

    @local.register
    async def step(_: Context) -> str:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "what there is"
        return "all"

    step.begin_run("w")
    assert running.wait(PATIENCE)
    local.stop()
    assert local.get("w").result(0) == "what there is"


def test_stop_starts_no_waiting_function(local: Resonate, memory: Memory, stop_as_it_ends: Callable[..., None]) -> None:
    running, enough = threading.Semaphore(0), threading.Event()

    @local.register
    def wide(ctx: Context) -> Flow:
        for _ in range(20):
            yield ctx.begin_run(step)

    def step(_: Context) -> None:
        running.release()
        assert enough.wait(PATIENCE)

    handle = wide.begin_run("w")
    for _ in range(2):
        assert running.acquire(timeout=PATIENCE)
    stop_as_it_ends(local, enough)
    assert len(memory.records()) == 4, "what ran is recorded, beside the promise of the fixture"

    local.start()
    assert handle.result(PATIENCE) is None


def test_stop_releases_waiting_tasks(connect: Connect, memory: Memory) -> None:
    held, resonate = Held(), connect(store=memory, workers=1)
    f = resonate.register(held.step)

    handles = [resonate.begin_run(id, f) for id in ("a", "b")]
    assert held.running.wait(PATIENCE)
    stopping = threading.Thread(target=resonate.stop)
    stopping.start()
    memory.wait_for(TaskRelease)
    held.enough.set()
    stopping.join(PATIENCE)
    assert present(memory.apply(TaskGet("b")).task).state == "pending"

    resonate.start()
    assert [handle.result(PATIENCE) for handle in handles] == ["done", "done"]


def test_stop_does_not_wait_for_an_unreachable_server(remote: Connect, serving: Serving) -> None:
    before_all, held, resonate = threads(), Held(), remote()
    waiting = resonate.begin_run("w", resonate.register(runs(held.step))).future
    assert held.running.wait(PATIENCE)
    serving.stop()
    held.enough.set()
    before = serving.clock.now()
    resonate.stop()

    assert serving.clock.now() - before < 3_000
    assert threads() <= before_all
    with pytest.raises(ResonateShutdownError):
        waiting.result(PATIENCE)

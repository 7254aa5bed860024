"""One process over a store in memory: its time, the messages it takes, and failures of its store."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.stores import LocalStore
from resonate_store.interface import StoreError
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    Request,
    Response,
    TaskCreate,
    TaskGet,
    TaskRelease,
    TaskSuspend,
)
from resonate_store.model.tags import TIMER
from tests.support.driver import Flow
from tests.support.steps import PATIENCE
from tests.support.watched_stores import Connect, Elsewhere, Memory


def test_timer_armed_while_the_timer_thread_looks_is_not_missed(connect: Connect) -> None:
    class Late(Memory):
        """Has a new timer just after the timer thread has asked for the next one."""

        def next_wake_at(self) -> int | None:
            at = super().next_wake_at()
            if threading.current_thread().name == "resonate-time" and self.record("late") is None:
                super().apply(PromiseCreate("late", self.clock.now() + 30, tags={TIMER: "true"}))
            return at

    store = Late()
    settled = threading.Event()
    resonate = connect(store=store)
    deliver = store.tick
    store.tick = lambda: (deliver(), settled.set())[0]  # type: ignore[method-assign]
    resonate.start()

    assert settled.wait(PATIENCE)


def test_timer_is_delivered_beside_one_that_is_never_due(connect: Connect, memory: Memory, clock: ManualClock) -> None:
    resonate = connect(store=memory, clock=clock)

    @resonate.register
    def patient(ctx: Context) -> Flow:
        yield (yield ctx.promise().options(timeout=sys.maxsize))

    @resonate.register
    def sleeper(ctx: Context) -> Flow:
        yield ctx.sleep(60)
        return "rested"

    resonate.options(timeout=sys.maxsize).begin_run("p", patient)
    memory.wait_for(TaskSuspend)
    memory.move(clock, 1)
    handle = sleeper.begin_run("s")
    memory.wait_for(TaskSuspend, 2)
    memory.move(clock, 60)
    assert handle.result(PATIENCE) == "rested"


def test_sleeping_workflow_does_not_block_its_worker(connect: Connect) -> None:
    store = Memory()
    resonate = connect(store=store, workers=1)
    order: list[str] = []

    @resonate.register
    def sleeps(ctx: Context, seconds: float) -> Flow:
        yield ctx.sleep(seconds)
        order.append(f"slept {seconds}")

    resonate.run("shorter than a suspension", sleeps, 0.005)
    assert store.count(TaskSuspend) == 0
    quick = resonate.register(lambda _: order.append("quick"), name="quick")
    sleeping, after = resonate.begin_run("a", sleeps, 0.3), resonate.begin_run("b", quick)
    after.result(PATIENCE)
    sleeping.result(PATIENCE)

    assert order == ["slept 0.005", "quick", "slept 0.3"]
    assert store.count(TaskSuspend) == 1


def test_message_for_another_group_is_not_taken(connect: Connect, memory: Memory) -> None:
    resonate = connect(store=memory, group="ours")
    ran: list[str] = []
    f = resonate.register(lambda ctx: ran.append(ctx.id), name="f")
    resonate.options(target="theirs").begin_rpc("a", f)
    resonate.begin_rpc("b", f).result(PATIENCE)

    assert ran == ["b"]
    assert memory.apply(TaskGet("a")).task is not None


def test_memory_target_served_by_another_instance_runs_there(connect: Connect, memory: Memory) -> None:
    ran: list[tuple[str, str]] = []
    ours, theirs = (connect(store=memory, group=group) for group in ("ours", "theirs"))
    for group, instance in (("ours", ours), ("theirs", theirs)):
        instance.register(lambda ctx, group=group: ran.append((group, ctx.id)), name="f")
    ours.options(target="theirs").rpc("a", "f")
    ours.rpc("b", "f")
    theirs.rpc("c", "f")

    assert ran == [("theirs", "a"), ("ours", "b"), ("theirs", "c")]


@pytest.fixture(params=["Resonate()", "Resonate.local()", "LocalStore"])
def alone(request: pytest.FixtureRequest) -> Iterator[Resonate]:
    """A client whose promises are in memory only."""
    if request.param == "LocalStore":
        store = LocalStore()
        resonate = Resonate(store=store, message_source=store.message_source("default", "1"))
    else:
        resonate = Resonate() if request.param == "Resonate()" else Resonate.local()
    yield resonate
    resonate.stop()


def test_memory_target_without_server_is_served_by_instance(alone: Resonate, subtests: pytest.Subtests) -> None:
    @alone.register
    def bar(_: Context, x: int) -> int:
        return x

    @alone.register
    def generator(ctx: Context, target: str) -> Flow:
        detached = yield ctx.detached("bar", 3).options(target=target)
        return [(yield ctx.rpc("bar", 2).options(target=target)), detached.id]

    @alone.register
    async def coroutine(ctx: Context, target: str) -> Any:
        return await ctx.rpc(bar, 4).options(target=target)

    for n, target in enumerate(("poll://any@workers", "workers", "poll://uni@workers/1", "https://worker.test")):
        with subtests.test(target):
            there = alone.options(target=target)
            assert there.rpc(f"y{n}", "bar", 1) == 1
            result, detached = alone.run(f"g{n}", generator, target)
            assert (result, alone.get(detached).result(PATIENCE)) == (2, 3)
            assert there.rpc(f"a{n}", coroutine, target) == 4


def test_memory_target_without_server_prefers_instance_with_function(connect: Connect) -> None:
    client = connect(group="client")
    worker = connect(store=client.store, group="worker")
    worker.register(lambda _: "done", name="f")

    assert client.rpc("a", "f") == "done"
    assert client.options(target="elsewhere").rpc("b", "f") == "done"


@pytest.mark.parametrize("how", ["run", "begin_run"])
def test_memory_call_with_foreign_target_is_continued_by_its_beginner(
    connect: Connect, memory: Memory, clock: ManualClock, how: str
) -> None:
    began, other = connect(store=memory, group="began"), connect(store=memory, group="other")
    ran: list[str] = []
    for name, resonate in (("began", began), ("other", other)):

        def f(ctx: Context, name: str = name) -> Flow:
            ran.append(name)
            yield ctx.sleep(60)
            return name

        resonate.register(f)

    handles: list[Any] = []
    there = began.options(target="poll://any@other")
    starting = threading.Thread(target=lambda: handles.append(getattr(there, how)("a", "f")))
    starting.start()
    memory.wait_for(TaskSuspend)
    memory.move(clock, 60)
    starting.join(PATIENCE)

    assert began.get("a").result(PATIENCE) == "began"
    assert ran == ["began", "began"]


@pytest.mark.parametrize(("target", "continued"), [("began", False), ("other", True)])
def test_memory_call_of_stopped_beginner_is_continued_by_its_target(
    connect: Connect, memory: Memory, clock: ManualClock, target: str, continued: bool
) -> None:
    began, other = connect(store=memory, group="began"), connect(store=memory, group="other")

    def f(ctx: Context) -> Flow:
        yield ctx.sleep(60)
        return "done"

    for resonate in (began, other):
        resonate.register(f)
    began.options(target=target).begin_run("a", f)
    memory.wait_for(TaskSuspend)
    began.stop()
    memory.move(clock, 60)
    if continued:
        assert other.get("a").result(PATIENCE) == "done"
    assert began.promises.get("a").pending is not continued
    began.start()
    assert began.get("a").result(PATIENCE) == "done"


def test_process_with_one_worker_runs_one_function_at_a_time(connect: Connect) -> None:
    resonate = connect(workers=1)
    running: list[str] = []
    most: list[int] = []

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        for _ in range(5):
            yield ctx.begin_run(step)

    @resonate.register
    def step(ctx: Context) -> None:
        running.append(ctx.id)
        most.append(len(running))
        threading.Event().wait(0.001)
        running.remove(ctx.id)

    handles = [resonate.begin_run(f"{name}{n}", name) for n in range(3) for name in ("workflow", "step")]
    resonate.run("run", workflow)
    for handle in handles:
        handle.result(PATIENCE)
    assert most == [1] * 23


def test_step_that_blocks_does_not_hold_up_other_executions(connect: Connect) -> None:
    resonate = connect(workers=4)
    meeting = threading.Barrier(4)

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(meet))

    @resonate.register
    def meet(_: Context) -> int:
        return meeting.wait(PATIENCE)

    handles = [resonate.begin_run(f"w{n}", workflow) for n in range(4)]
    assert {handle.result(PATIENCE) for handle in handles} == set(range(4))


def test_failure_of_the_store_is_logged_and_other_tasks_continue(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Elsewhere):
        def apply(self, request: Request) -> Response:
            if "bad" in str(request) and not isinstance(request, TaskCreate | PromiseGet):
                raise StoreError("no table")
            return super().apply(request)

    resonate = connect(store=Failing(MemoryStore()), workers=1)

    f = resonate.register(lambda _: "fine", name="f")
    bad = resonate.begin_run("bad", f)
    with caplog.at_level(logging.ERROR):
        assert resonate.begin_run("good", f).result(PATIENCE) == "fine"
    assert "task bad: no table" in caplog.text
    with pytest.raises(TimeoutError):
        bad.result(0)


def test_task_that_cannot_run_here_is_logged_at_each_attempt(
    connect: Connect, memory: Memory, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    resonate = connect(store=memory)
    resonate.begin_rpc("a", "nope")
    memory.wait_for(TaskRelease, 2)  # the second attempt follows at once, and the third one after a pause
    memory.move(clock, 600)
    memory.wait_for(TaskRelease, 3)

    why = "function nope not found in registry: nothing is registered here; register it by @resonate.register in"
    why += " this program. The promises of this process are in memory: with RESONATE_URL it calls workers of a server"
    said = ("WARNING", f"task a is released, and will be tried again: {why}")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [said] * 3

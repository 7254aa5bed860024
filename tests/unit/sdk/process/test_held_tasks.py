"""Leases of the tasks that a process holds: heartbeats extend them, in memory and at a server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.process.held_tasks import HeldTasks
from resonate.worker.lease import Lease
from resonate.worker.task_run import Report
from resonate.worker.worker import Worker
from resonate_store.interface import StoreError
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import (
    Request,
    Response,
    TaskAcquire,
    TaskContinue,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
)
from tests.support.driver import Flow
from tests.support.present import present
from tests.support.serving import Serving
from tests.support.steps import PATIENCE
from tests.support.watched_stores import Connect, Elsewhere, Memory


def test_begun_call_is_remembered_until_it_is_over(clock: ManualClock) -> None:
    held = HeldTasks(clock, "p", 10_000, keeps_begun=True, began=lambda: None)
    lease, later = (Lease("w", version, clock.now(), 10_000) for version in (1, 2))
    held.hold(lease, begun=True)
    held.let_go(lease)
    assert held.has_begun("w")
    assert len(held) == 0

    held.hold(later)
    held.let_go(later, over=True)
    assert not held.has_begun("w")


@pytest.mark.parametrize("begin", [False, True], ids=["run", "begin_run"])
def test_lease_of_a_running_call_is_extended(connect: Connect, memory: Memory, clock: ManualClock, begin: bool) -> None:
    resonate = connect(store=memory, clock=clock, ttl=10)
    running, enough = threading.Event(), threading.Event()

    @resonate.register
    def long(_: Context) -> str:
        running.set()
        assert enough.wait(PATIENCE)
        return "done"

    caller = ThreadPoolExecutor(1)
    outcome = long.begin_run("w").future if begin else caller.submit(long.run, "w")
    assert running.wait(PATIENCE)
    for beat in range(1, 6):
        memory.move(clock, 6)
        memory.wait_for(TaskHeartbeat, beat)
    task = memory.apply(TaskGet("w")).task
    enough.set()

    assert task is not None
    assert (task.state, task.version) == ("acquired", 1)
    assert outcome.result(PATIENCE) == "done"
    caller.shutdown()


@pytest.mark.parametrize("begin", [False, True], ids=["run", "begin_run"])
def test_lease_is_extended_in_a_store_elsewhere(connect: Connect, begin: bool) -> None:
    store = Elsewhere(MemoryStore())
    resonate = connect(store=store, ttl=1)

    @resonate.register
    def long(_: Context) -> str:
        store.wait_for(TaskHeartbeat)
        return "done"

    assert (long.begin_run("w").result(PATIENCE) if begin else long.run("w")) == "done"
    beat = next(request for request in store.seen if isinstance(request, TaskHeartbeat))
    assert [(task.id, task.version) for task in beat.tasks] == [("w", 1)]


def test_lease_is_extended_when_an_offer_arrives_again(connect: Connect, memory: Memory, clock: ManualClock) -> None:
    resonate = connect(store=memory, clock=clock, ttl=10)
    running, enough = threading.Event(), threading.Event()

    @resonate.register
    def long(_: Context) -> str:
        running.set()
        assert enough.wait(PATIENCE)
        return "done"

    handle = resonate.begin_rpc("w", long)
    assert running.wait(PATIENCE)
    memory.send("poll://any@default", {"kind": "execute", "head": {}, "data": {"task": {"id": "w", "version": 0}}})
    memory.move(clock, 6)
    memory.wait_for(TaskHeartbeat)
    enough.set()

    assert handle.result(PATIENCE) == "done"


def test_heartbeat_that_fails_is_repeated(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    class Stumbling(Elsewhere):
        stumbles = 1

        def apply(self, request: Request) -> Response:
            if isinstance(request, TaskHeartbeat) and self.stumbles:
                self.stumbles -= 1
                raise StoreError("throttled")
            return super().apply(request)

    store = Stumbling(MemoryStore())
    resonate = connect(store=store, ttl=1)

    @resonate.register
    def long(_: Context) -> str:
        store.wait_for(TaskHeartbeat)
        return "done"

    with caplog.at_level(logging.WARNING, "resonate.runtime"):
        assert long.run("w") == "done"
    assert "the leases of 1 tasks could not be extended: throttled" in caplog.text


def test_heartbeat_extends_the_leases_of_one_execution(remote: Connect, serving: Serving) -> None:
    resonate = remote(ttl=1, workers=4)
    beats: list[list[str]] = []
    apply = serving.store.apply

    def note(request: Any) -> Any:
        if request.kind == "task.heartbeat":
            beats.append([task.id for task in request.tasks])
        return apply(request)

    serving.store.apply = note  # type: ignore[method-assign]

    @resonate.register
    def long(_: Context) -> str:
        serving.wait_for("task.heartbeat", 4)
        return "done"

    handles = [resonate.begin_run(id, long) for id in ("a", "a.1", "b")]
    assert [handle.result(PATIENCE) for handle in handles] == ["done"] * 3
    assert ["a", "a.1"] in beats
    assert ["b"] in beats
    assert all(len({id[0] for id in beat}) == 1 for beat in beats)


def test_lease_of_a_waiting_task_is_extended(remote: Connect, serving: Serving) -> None:
    resonate = remote(workers=1, ttl=1)
    ran: list[str] = []

    @resonate.register
    def f(ctx: Context) -> None:
        ran.append(ctx.id)
        if ctx.id == "first":
            serving.wait_for("task.heartbeat", 6)

    handles = [resonate.begin_run(id, f) for id in ("first", "second")]
    for handle in handles:
        handle.result(PATIENCE)
    assert ran == ["first", "second"]
    assert present(present(serving.store.record("second")).task).version == 1


def test_worker_that_lost_its_task_writes_nothing_more(remote: Connect, serving: Serving) -> None:
    resonate = remote()
    first = threading.Event()

    @resonate.register
    def f(ctx: Context) -> Flow:
        yield ctx.run(step)
        first.set()
        yield ctx.run(lose)
        raise AssertionError("it continued")

    def step(_: Context) -> None: ...

    def lose(_: Context) -> None:
        serving.store.subscribe(send=lambda *_: None)
        serving.store.apply(TaskRelease("w", 1, handover=True))
        serving.store.apply(TaskAcquire("w", 1, "other", 60_000))

    handle = resonate.begin_run("w", f)
    assert first.wait(PATIENCE)
    serving.wait_for("task.fence", 3)
    with pytest.raises(TimeoutError):
        handle.result(0.05)
    resonate.stop()
    record = present(serving.store.record("w"))
    task = present(record.task)
    assert (record.state, task.state, task.pid) == ("pending", "acquired", "other")
    assert serving.store.record("w.2") is None
    assert serving.count("task.release") == 0


def _generator(step: Callable[..., None]) -> Callable[..., Any]:
    def workflow(ctx: Context) -> Flow:
        for n in range(4):
            yield ctx.run(step, n)

    return workflow


def _coroutine(step: Callable[..., None]) -> Callable[..., Any]:
    async def workflow(ctx: Context) -> None:
        for n in range(4):
            await ctx.run(step, n)

    return workflow


def _begun(step: Callable[..., None]) -> Callable[..., Any]:
    def workflow(ctx: Context) -> Flow:
        for n in range(4):
            yield (yield ctx.begin_run(step, n))

    return workflow


@pytest.mark.parametrize("spelling", [_generator, _coroutine, _begun])
@pytest.mark.parametrize("place", ["memory", "http"])
def test_old_attempt_begins_nothing_beside_a_newer_one(
    remote: Connect, serving: Serving, monkeypatch: pytest.MonkeyPatch, place: str, spelling: Callable[..., Any]
) -> None:
    """After halt and continue one process has both, and each step that the newer one has still to run runs once."""
    local = Resonate.local(workers=2)
    resonate, store = (local, local.store) if place == "memory" else (remote(), serving.store)
    ran: list[int] = []
    first, second, ended = threading.Event(), threading.Event(), threading.Event()

    def note(self: Worker, *arguments: Any, **keywords: Any) -> Report:
        report = work(self, *arguments, **keywords)
        if report.status == "lost":
            ended.set()
        return report

    work = Worker.run_acquired
    monkeypatch.setattr(Worker, "run_acquired", note)

    def step(_: Context, n: int) -> None:
        ran.append(n)
        if ran == [0, 1]:
            first.set()
            assert second.wait(PATIENCE)
        elif ran == [0, 1, 1]:
            second.set()
            assert ended.wait(PATIENCE)

    resonate.register(spelling(step), name="w")
    resonate.start()
    if place == "http":
        serving.wait_for_stream("default")
    try:
        handle = resonate.begin_run("w", "w")
        assert first.wait(PATIENCE)
        assert store.apply(TaskHalt("w")).ok
        assert store.apply(TaskContinue("w")).ok
        handle.result(PATIENCE)
    finally:
        local.stop()

    assert ran == [0, 1, 1, 2, 3]

"""Leases of the tasks that a process holds: heartbeats extend them, in memory and at a server."""

from __future__ import annotations

import logging
import threading
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
    TaskContinue,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
)
from tests.support.present import present
from tests.support.serving import Serving
from tests.support.steps import PATIENCE, SEQUENCES, Held, execute
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


def test_heartbeat_extends_the_leases_of_one_execution(clock: ManualClock, memory: Memory) -> None:
    held = HeldTasks(clock, "p", 10_000, keeps_begun=False, began=lambda: None)
    for id in ("a", "b", "a.1", "ended"):
        held.hold(Lease(id, 1, clock.now() - 10_000 * (id == "ended"), 10_000))

    assert held.extend(memory)
    beats = [request.tasks for request in memory.seen if isinstance(request, TaskHeartbeat)]
    assert [[task.id for task in tasks] for tasks in beats] == [["a", "a.1"], ["b"]]


@pytest.mark.parametrize("begin", [False, True], ids=["run", "begin_run"])
def test_lease_of_a_running_call_is_extended(connect: Connect, memory: Memory, clock: ManualClock, begin: bool) -> None:
    held = Held()
    long = connect(store=memory, clock=clock, ttl=10).register(held.step)
    caller = ThreadPoolExecutor(1)
    outcome = long.begin_run("w").future if begin else caller.submit(long.run, "w")
    assert held.running.wait(PATIENCE)
    for beat in range(1, 6):
        memory.move(clock, 6)
        memory.wait_for(TaskHeartbeat, beat)
    task = memory.apply(TaskGet("w")).task
    held.enough.set()

    assert task is not None
    assert (task.state, task.version) == ("acquired", 1)
    assert outcome.result(PATIENCE) == "done"
    caller.shutdown()


def long_in(store: Elsewhere, connect: Connect) -> Any:
    """Return a function that lasts until its lease is extended."""

    def long(_: Context) -> str:
        store.wait_for(TaskHeartbeat)
        return "done"

    return connect(store=store, ttl=1).register(long)


@pytest.mark.parametrize("begin", [False, True], ids=["run", "begin_run"])
def test_lease_is_extended_in_a_store_elsewhere(connect: Connect, begin: bool) -> None:
    store = Elsewhere(MemoryStore())
    long = long_in(store, connect)

    assert (long.begin_run("w").result(PATIENCE) if begin else long.run("w")) == "done"
    beat = next(request for request in store.seen if isinstance(request, TaskHeartbeat))
    assert [(task.id, task.version) for task in beat.tasks] == [("w", 1)]


def test_lease_is_extended_when_an_offer_arrives_again(connect: Connect, memory: Memory, clock: ManualClock) -> None:
    held, resonate = Held(), connect(store=memory, clock=clock, ttl=10)
    handle = resonate.begin_rpc("w", resonate.register(held.step))
    assert held.running.wait(PATIENCE)
    memory.send("poll://any@default", execute("w"))
    memory.move(clock, 6)
    memory.wait_for(TaskHeartbeat)
    held.enough.set()

    assert handle.result(PATIENCE) == "done"


def test_heartbeat_that_fails_is_repeated(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    class Stumbling(Elsewhere):
        stumbles = 1

        def apply(self, request: Request) -> Response:
            if isinstance(request, TaskHeartbeat) and self.stumbles:
                self.stumbles -= 1
                raise StoreError("throttled")
            return super().apply(request)

    with caplog.at_level(logging.WARNING, "resonate.runtime"):
        assert long_in(Stumbling(MemoryStore()), connect).run("w") == "done"
    assert "the leases of 1 tasks could not be extended: throttled" in caplog.text


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


@pytest.mark.parametrize("spelling", ["generator", "async", "begun"])
@pytest.mark.parametrize("place", ["memory", "http"])
def test_old_attempt_begins_nothing_beside_a_newer_one(
    remote: Connect, serving: Serving, monkeypatch: pytest.MonkeyPatch, place: str, spelling: str
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

    def step(ctx: Context) -> None:
        ran.append(int(ctx.id.removeprefix("w.")))
        if ran == [1, 2]:
            first.set()
            assert second.wait(PATIENCE)
        elif ran == [1, 2, 2]:
            second.set()
            assert ended.wait(PATIENCE)

    resonate.register(SEQUENCES[spelling](step), name="w")
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

    assert ran == [1, 2, 2, 3, 4, 5, 6]

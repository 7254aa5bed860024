"""Threads, leases and time in one process, with the store in memory and with one elsewhere."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.errors import ResonateHaltedError, ResonateShutdownError, ResonateStoreError
from resonate.retry_policies import Constant
from resonate.stores import LocalStore
from resonate.worker.lease import Lease, Lost
from resonate_store.interface import StoreError
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseSettle,
    Request,
    Response,
    TaskContinue,
    TaskCreate,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)
from resonate_store.model.tags import TARGET, TIMER
from tests.support.driver import Flow

PATIENCE = 10.0
"""Seconds after which a test that waits for a thread has failed."""


class Seen:
    """Mixed into a store: tests wait for requests that it has answered."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[Request] = []
        self._news = threading.Condition()

    def apply(self, request: Request) -> Response:
        response: Response = super().apply(request)  # type: ignore[misc]
        with self._news:
            self.seen.append(request)
            self._news.notify_all()
        return response

    def wait_for(self, kind: type, count: int = 1) -> None:
        """Return once `count` requests of the kind have been answered."""
        with self._news:
            assert self._news.wait_for(lambda: self.count(kind) >= count, PATIENCE), f"no {kind.__name__} came"

    def count(self, kind: type) -> int:
        return sum(isinstance(request, kind) for request in self.seen)


class Memory(Seen, MemoryStore):
    def move(self, clock: ManualClock, seconds: float) -> None:
        """Move the clock, and let whoever minds the time look at it."""
        clock.advance(round(seconds * 1000))
        assert self.on_wake is not None
        self.on_wake(0)


class _Elsewhere:
    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def apply(self, request: Request) -> Response:
        return self.store.apply(request)

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        return self.store.children(id, separator)

    def open(self) -> _Elsewhere:
        return self

    def close(self) -> None: ...


class Elsewhere(Seen, _Elsewhere):
    """A store of a user's class that is not in this process, as far as the runtime can see."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def memory(clock: ManualClock) -> Memory:
    return Memory(clock)


@pytest.fixture
def connect() -> Iterator[Callable[..., Resonate]]:
    """Makes connections that are stopped when the test is over."""
    made: list[Resonate] = []

    def make(**arguments: Any) -> Resonate:
        made.append(Resonate(**arguments))
        return made[-1]

    yield make
    for resonate in made:
        resonate.stop()


def threads() -> set[threading.Thread]:
    """The threads that belong to this package."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("resonate")}


def stop_as_it_ends(resonate: Resonate, enough: threading.Event) -> None:
    """Let what is running end when somebody is stopping, and wait until everything has."""
    stopping = threading.Thread(target=resonate.stop)
    stopping.start()
    while not resonate._runtime._resources.stopping:
        pass
    enough.set()
    stopping.join(PATIENCE)
    assert not stopping.is_alive()


Connect = Callable[..., Resonate]


# -- time -------------------------------------------------------------------------------------------------------------


def test_a_week_passes_when_the_clock_says_so(connect: Connect, memory: Memory, clock: ManualClock) -> None:
    resonate = connect(store=memory, clock=clock)

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        yield ctx.sleep(7 * 86_400)
        return "rested"

    handle = workflow.begin_run("w")
    memory.wait_for(TaskSuspend)
    memory.move(clock, 7 * 86_400 - 1)
    assert not handle.done()
    memory.move(clock, 1)

    assert handle.future.result(PATIENCE) == "rested"


def test_a_retry_waits_for_its_time(connect: Connect, memory: Memory, clock: ManualClock) -> None:
    resonate = connect(store=memory, clock=clock)
    began: list[int] = []

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky).options(retry_policy=Constant(3600)))

    def flaky(ctx: Context) -> int:
        began.append(clock.now())
        if ctx.info.attempt < 3:
            raise ValueError("again")
        return ctx.info.attempt

    handle = workflow.begin_run("w")
    for suspension in (1, 2):
        memory.wait_for(TaskSuspend, suspension)
        memory.move(clock, 3600)

    assert handle.future.result(PATIENCE) == 3
    assert [later - began[0] for later in began] == [0, 3_600_000, 7_200_000]


def test_a_wake_up_that_arrives_while_time_is_being_looked_at_is_not_missed(connect: Connect) -> None:
    class Late(Memory):
        """Gets a timer just after the thread that minds the time has asked for the next one."""

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


@pytest.mark.parametrize("begin", [False, True], ids=["run", "begin_run"])
def test_the_lease_of_what_runs_here_is_kept(connect: Connect, memory: Memory, clock: ManualClock, begin: bool) -> None:
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
def test_leases_are_kept_in_a_store_elsewhere_too(connect: Connect, begin: bool) -> None:
    store = Elsewhere(MemoryStore())
    resonate = connect(store=store, ttl=1)

    @resonate.register
    def long(_: Context) -> str:
        store.wait_for(TaskHeartbeat)
        return "done"

    assert (long.begin_run("w").result(PATIENCE) if begin else long.run("w")) == "done"
    beat = next(request for request in store.seen if isinstance(request, TaskHeartbeat))
    assert [(task.id, task.version) for task in beat.tasks] == [("w", 1)]


def test_lease_is_kept_when_an_offer_arrives_again(connect: Connect, memory: Memory, clock: ManualClock) -> None:
    resonate = connect(store=memory, clock=clock, ttl=10)
    running, enough = threading.Event(), threading.Event()

    @resonate.register
    def long(_: Context) -> str:
        running.set()
        assert enough.wait(PATIENCE)
        return "done"

    handle = resonate.begin_rpc("w", long)
    assert running.wait(PATIENCE)
    resonate._runtime._accept("w", 0)
    memory.move(clock, 6)
    memory.wait_for(TaskHeartbeat)
    enough.set()

    assert handle.result(PATIENCE) == "done"


def test_ended_lease_is_neither_extended_nor_confirmed(memory: Memory, clock: ManualClock) -> None:
    lease = Lease("w", 1, clock.now(), 10_000)
    lease.end()
    lease.extend(clock.now(), 10_000)
    lease.confirm(clock.now())

    with pytest.raises(Lost):
        lease.check(memory, clock)
    assert memory.seen == []


def test_a_heartbeat_that_fails_is_tried_again(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
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


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_a_promise_elsewhere_is_looked_at_until_it_is_settled(connect: Connect) -> None:
    behind = MemoryStore()
    resonate = connect(store=Elsewhere(behind))
    behind.apply(PromiseCreate("p", behind.clock.now() + 60_000))
    handle = resonate.get("p")

    with pytest.raises(TimeoutError):
        handle.result(0.03)
    threading.Timer(0.05, lambda: behind.apply(PromiseSettle("p", "resolved"))).start()
    assert handle.result(PATIENCE) is None


def test_waiting_in_memory_asks_the_store_only_when_there_is_news(connect: Connect, memory: Memory) -> None:
    resonate = connect(store=memory)
    memory.apply(PromiseCreate("p", memory.clock.now() + 60_000))
    handle = resonate.get("p")
    threading.Timer(0.1, lambda: memory.apply(PromiseSettle("p", "resolved"))).start()
    before = memory.count(PromiseGet)

    assert handle.result(PATIENCE) is None
    assert memory.count(PromiseGet) - before <= 3


def test_a_halted_task_is_an_error_with_its_reason_and_not_a_hang(connect: Connect, memory: Memory) -> None:
    resonate = connect(store=memory)

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        return (yield (yield ctx.promise(id="p")))

    handle = workflow.begin_run("w")
    memory.wait_for(TaskSuspend)
    memory.apply(TaskHalt("w", reason="poison"))
    with pytest.raises(ResonateHaltedError, match="Task w is halted: poison"):
        handle.result(PATIENCE)
    with pytest.raises(ResonateHaltedError, match="poison"):
        handle.done()

    memory.apply(PromiseSettle("p", "resolved"))
    memory.apply(TaskContinue("w"))
    assert handle.result(PATIENCE) is None


def test_a_poisonous_call_is_halted_after_ten_attempts(connect: Connect, memory: Memory, clock: ManualClock) -> None:
    resonate = connect(store=memory, clock=clock)
    handle = resonate.begin_rpc("w", "nobody")

    for attempt in range(1, 10):
        memory.wait_for(TaskRelease, attempt)
        memory.move(clock, 600)
    memory.wait_for(TaskRelease, 10)

    with pytest.raises(ResonateHaltedError, match=r"halted after 10 attempts.*function nobody not found in registry"):
        handle.result(PATIENCE)


def test_a_promise_that_is_not_there_is_an_error(connect: Connect, memory: Memory) -> None:
    resonate = connect(store=memory)
    memory.apply(PromiseCreate("p", memory.clock.now() + 60_000))
    handle = resonate.get("p")
    del memory._records["p"]

    with pytest.raises(ResonateStoreError, match="was not found") as caught:
        handle.result()
    assert caught.value.code == 100.404


def test_a_message_for_another_group_is_none_of_ours(connect: Connect, memory: Memory) -> None:
    resonate = connect(store=memory, group="ours")
    ran: list[str] = []

    @resonate.register
    def f(ctx: Context) -> None:
        ran.append(ctx.id)

    resonate.options(target="theirs").begin_rpc("a", f)
    resonate.begin_rpc("b", f).result(PATIENCE)

    assert ran == ["b"]
    assert memory.apply(TaskGet("a")).task is not None


def test_memory_target_served_by_another_instance_runs_there(connect: Connect, memory: Memory) -> None:
    ran: list[tuple[str, str]] = []

    def instance(group: str) -> Resonate:
        def f(ctx: Context) -> None:
            ran.append((group, ctx.id))

        made = connect(store=memory, group=group)
        made.register(f)
        return made

    ours, theirs = instance("ours"), instance("theirs")
    ours.options(target="theirs").rpc("a", "f")
    ours.rpc("b", "f")
    theirs.rpc("c", "f")

    assert ran == [("theirs", "a"), ("ours", "b"), ("theirs", "c")]


@pytest.fixture(params=["Resonate()", "Resonate.local()", "LocalStore"])
def alone(request: pytest.FixtureRequest) -> Iterator[Resonate]:
    """An instance whose promises are in memory, and nowhere else."""
    if request.param == "LocalStore":
        store = LocalStore()
        resonate = Resonate(store=store, message_source=store.message_source("default", "1"))
    else:
        resonate = Resonate() if request.param == "Resonate()" else Resonate.local()
    yield resonate
    resonate.stop()


@pytest.mark.parametrize("target", ["poll://any@workers", "workers", "poll://uni@workers/1", "https://worker.test"])
def test_memory_target_without_server_is_served_by_instance(alone: Resonate, target: str) -> None:
    @alone.register
    def bar(_: Context, x: int) -> int:
        return x

    @alone.register
    def generator(ctx: Context) -> Flow:
        detached = yield ctx.detached("bar", 3).options(target=target, id="detached")
        return [(yield ctx.rpc("bar", 2).options(target=target)), detached.id]

    @alone.register
    async def coroutine(ctx: Context) -> Any:
        return await ctx.rpc(bar, 4).options(target=target)

    there = alone.options(target=target)
    assert there.rpc("y", "bar", 1) == 1
    assert alone.run("g", generator) == [2, "detached"]
    assert alone.get("detached").result(PATIENCE) == 3
    assert there.rpc("a", coroutine) == 4


def test_memory_target_without_server_prefers_instance_with_function(connect: Connect) -> None:
    client = connect(group="client")
    worker = connect(store=client.store, group="worker")
    worker.register(lambda _: "done", name="f")

    assert client.rpc("a", "f") == "done"
    assert client.options(target="nobody").rpc("b", "f") == "done"


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
    began.stop()
    assert not began._runtime._held.has_begun("a")


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


# -- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
def test_no_thread_of_ours_is_left_after_stop(connect: Connect, workers: int) -> None:
    before = threads()
    resonate = connect(workers=workers)
    assert threads() == before, "threads start with the first piece of work"

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        promises, got = [], []
        for n in range(5):
            promises.append((yield ctx.begin_run(lambda _, n: n, n)))
        for promise in promises:
            got.append((yield promise))
        return got

    handle = workflow.begin_run("w")
    assert handle.result(PATIENCE) == [0, 1, 2, 3, 4]
    assert handle.future.result(PATIENCE) == [0, 1, 2, 3, 4]
    assert threads() > before
    resonate.stop()
    resonate.stop()

    assert threads() <= before


@pytest.mark.parametrize("elsewhere", [False, True])
def test_stop_tells_whoever_waits_and_a_new_start_goes_on(connect: Connect, elsewhere: bool) -> None:
    behind = Memory()
    store = Elsewhere(behind) if elsewhere else behind
    resonate = connect(store=store)
    resonate.start()
    behind.apply(PromiseCreate("p", behind.clock.now() + 60_000))
    handle = resonate.get("p")
    waiting = handle.future
    store.wait_for(PromiseGet, 2)
    resonate.stop()
    with pytest.raises(ResonateShutdownError, match="stopped while waiting for p"):
        waiting.result(PATIENCE)

    resonate.start()
    before = store.count(PromiseGet)
    with pytest.raises(TimeoutError):
        handle.result(0.1)
    assert store.count(PromiseGet) - before < 10, "it waits; it does not ask all the time"
    behind.apply(PromiseSettle("p", "resolved"))
    assert handle.result(PATIENCE) is None


def test_what_a_stopped_worker_did_not_acquire_goes_to_another(connect: Connect, memory: Memory) -> None:
    enough, running = threading.Event(), threading.Event()

    def work(ctx: Context) -> str:
        if ctx.id == "0":
            running.set()
            assert enough.wait(PATIENCE)
        return ctx.id

    first, second = (connect(store=memory, workers=1, pid=pid) for pid in ("1", "2"))
    for worker in (first, second):
        worker.register(work, name="work")
    handles = [second.options(target="poll://any@default/1").begin_rpc(f"{n}", "work") for n in range(5)]
    assert running.wait(PATIENCE)
    stopping = threading.Thread(target=first.stop)
    stopping.start()

    assert [handle.result(PATIENCE) for handle in handles[1:]] == ["1", "2", "3", "4"]
    enough.set()
    stopping.join(PATIENCE)


def test_what_runs_is_finished_before_stop_returns(connect: Connect, memory: Memory) -> None:
    before = threads()
    resonate = connect(store=memory, workers=2)
    running, enough = threading.Event(), threading.Event()

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        yield (yield ctx.begin_run(step))
        # Arms a wake-up while everything stops; nobody may start again because of it.
        yield ctx.sleep(5)

    def step(_: Context) -> None:
        running.set()
        assert enough.wait(PATIENCE)

    workflow.begin_run("w")
    assert running.wait(PATIENCE)
    stop_as_it_ends(resonate, enough)

    assert threads() <= before
    record, task = memory.record("w.1"), memory.apply(TaskGet("w")).task
    assert record is not None
    assert record.state == "resolved"
    assert task is not None
    assert task.state == "suspended"


def test_work_goes_on_after_a_new_start(connect: Connect, memory: Memory, clock: ManualClock) -> None:
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


def test_a_workflow_without_an_end_does_not_hold_up_stop_and_goes_on_afterwards(
    connect: Connect, memory: Memory
) -> None:
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
        task = memory.apply(TaskGet("w")).task
        assert task is not None
        assert (task.state, task.attempts) == ("pending", 0)
        resonate.start()
    assert begun.acquire(timeout=PATIENCE)
    resonate.stop()
    assert len(set(seen)) == len(seen), "no step is repeated"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", ["run", "begin_run", "root"])
@pytest.mark.parametrize("end", ["cancelled", "fails"])
def test_an_async_step_without_an_end_is_cancelled_by_stop_and_runs_again_afterwards(
    connect: Connect, memory: Memory, monkeypatch: pytest.MonkeyPatch, workers: int, how: str, end: str
) -> None:
    monkeypatch.setattr("resonate.process.runtime.GRACE_MS", 20)
    before = threads()
    resonate = connect(store=memory, workers=workers)
    running = threading.Event()
    attempts: list[int] = []

    async def step(ctx: Context) -> str:
        attempts.append(ctx.info.attempt)
        if len(attempts) > 1:
            return "done"
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            if end == "fails":
                raise ValueError("no more")

    async def workflow(ctx: Context) -> str:
        return await ctx.run(step) if how == "run" else await (await ctx.begin_run(step))

    resonate.register(step if how == "root" else workflow, name="it")
    handle = resonate.begin_run("w", "it")
    assert running.wait(PATIENCE)
    stopping = threading.Thread(target=resonate.stop)
    stopping.start()
    stopping.join(PATIENCE)

    assert not stopping.is_alive()
    assert threads() <= before
    task = memory.apply(TaskGet("w")).task
    assert task is not None
    assert (task.state, task.attempts) == ("pending", 0)
    resonate.start()
    assert handle.result(PATIENCE) == "done"
    assert attempts == [1, 1], "being stopped is no failure"


@pytest.mark.parametrize("how", ["run", "begin_run"])
def test_an_async_step_that_is_about_to_finish_does_so_before_stop_returns(
    connect: Connect, memory: Memory, how: str
) -> None:
    resonate = connect(store=memory, workers=2)
    running, enough = threading.Event(), threading.Event()

    async def step(_: Context) -> str:
        running.set()
        while not enough.is_set():
            await asyncio.sleep(0)
        return "done"

    @resonate.register
    async def workflow(ctx: Context) -> str:
        return await ctx.run(step) if how == "run" else await (await ctx.begin_run(step))

    workflow.begin_run("w")
    assert running.wait(PATIENCE)
    stop_as_it_ends(resonate, enough)

    record = memory.record("w.1")
    assert record is not None
    assert record.state == "resolved"


def test_an_async_step_may_finish_although_it_is_cancelled(
    connect: Connect, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate.process.runtime.GRACE_MS", 20)
    resonate = connect(store=memory, workers=2)
    running = threading.Event()

    @resonate.register
    async def step(_: Context) -> str:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "what there is"
        return "all"

    step.begin_run("w")
    assert running.wait(PATIENCE)
    resonate.stop()
    assert resonate.get("w").result(0) == "what there is"


def test_time_is_minded_while_something_is_awaited_that_is_never_due(
    connect: Connect, memory: Memory, clock: ManualClock
) -> None:
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


def test_functions_that_wait_for_their_turn_are_not_started_by_stop(connect: Connect, memory: Memory) -> None:
    resonate = connect(store=memory, workers=2)
    running, enough = threading.Semaphore(0), threading.Event()

    @resonate.register
    def wide(ctx: Context) -> Flow:
        for _ in range(20):
            yield ctx.begin_run(step)

    def step(_: Context) -> None:
        running.release()
        assert enough.wait(PATIENCE)

    handle = wide.begin_run("w")
    for _ in range(2):
        assert running.acquire(timeout=PATIENCE)
    stop_as_it_ends(resonate, enough)
    assert len(memory.records()) == 3, "what ran is recorded"

    resonate.start()
    assert handle.result(PATIENCE) is None


def test_tasks_that_wait_for_their_turn_are_given_back(connect: Connect, memory: Memory) -> None:
    resonate = connect(store=memory, workers=1)
    running, enough = threading.Event(), threading.Event()

    @resonate.register
    def f(_: Context) -> None:
        running.set()
        assert enough.wait(PATIENCE)

    handles = [resonate.begin_run(id, f) for id in ("a", "b")]
    assert running.wait(PATIENCE)
    stopping = threading.Thread(target=resonate.stop)
    stopping.start()
    memory.wait_for(TaskRelease)
    enough.set()
    stopping.join(PATIENCE)
    task = memory.apply(TaskGet("b")).task
    assert task is not None
    assert task.state == "pending"

    resonate.start()
    assert [handle.result(PATIENCE) for handle in handles] == [None, None]


def test_one_worker_runs_one_function_at_a_time_whoever_asks(connect: Connect) -> None:
    resonate = connect(workers=1)
    running: list[str] = []
    most: list[int] = []

    @resonate.register
    def f(ctx: Context) -> Flow:
        for _ in range(5):
            yield ctx.begin_run(step)

    def step(ctx: Context) -> None:
        running.append(ctx.id)
        most.append(len(running))
        threading.Event().wait(0.001)
        running.remove(ctx.id)

    handles = [resonate.begin_run(f"begun{n}", f) for n in range(3)]
    resonate.run("run", f)
    for handle in handles:
        handle.result(PATIENCE)
    assert most == [1] * 20


def test_two_connections_share_a_store_in_memory(connect: Connect, memory: Memory) -> None:
    worker, client = connect(store=memory, group="worker"), connect(store=memory, group="client")

    @worker.register
    def f(ctx: Context) -> Flow:
        yield ctx.sleep(0)
        return ctx.id

    assert client.options(target="worker").begin_rpc("w", "f").result(PATIENCE) == "w"


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_a_store_that_fails_is_logged_and_the_rest_goes_on(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Elsewhere):
        def apply(self, request: Request) -> Response:
            if "bad" in str(request) and not isinstance(request, TaskCreate | PromiseGet):
                raise StoreError("no table")
            return super().apply(request)

    resonate = connect(store=Failing(MemoryStore()), workers=1)

    @resonate.register
    def f(_: Context) -> str:
        return "fine"

    bad = resonate.begin_run("bad", f)
    with caplog.at_level(logging.ERROR):
        assert resonate.begin_run("good", f).result(PATIENCE) == "fine"
    assert "task bad: no table" in caplog.text
    with pytest.raises(TimeoutError):
        bad.result(0)


def test_a_task_that_cannot_be_run_here_is_told_of_once_an_attempt(
    connect: Connect, memory: Memory, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    resonate = connect(store=memory)
    resonate.begin_rpc("a", "nope")
    memory.wait_for(TaskRelease)
    memory.move(clock, 600)
    memory.wait_for(TaskRelease, 2)

    why = "function nope not found in registry: nothing is registered here"
    said = ("WARNING", f"task a is released, and will be tried again: {why}")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [said] * 2


def test_a_target_of_a_process_reaches_its_group(connect: Connect, memory: Memory) -> None:
    resonate = connect(store=memory, pid="me")

    @resonate.register
    def f(_: Context) -> str:
        return "here"

    assert resonate.options(target="poll://uni@default/me").rpc("a", f) == "here"
    promise = memory.apply(PromiseGet("a")).promise
    assert promise is not None
    assert promise.tags[TARGET] == "poll://uni@default/me"


# -- sleeps -----------------------------------------------------------------------------------------------------------


def test_a_workflow_that_sleeps_here_does_not_keep_the_worker_from_others() -> None:
    store = Memory()
    resonate = Resonate(store=store, workers=1)
    order: list[str] = []

    @resonate.register
    def sleeps(ctx: Context) -> Flow:
        yield ctx.sleep(0.3)
        order.append("awake")

    @resonate.register
    def quick(_: Context) -> None:
        order.append("quick")

    sleeping, after = resonate.begin_run("a", sleeps), resonate.begin_run("b", quick)
    after.result(PATIENCE)
    sleeping.result(PATIENCE)
    resonate.stop()

    assert order == ["quick", "awake"]
    assert store.count(TaskSuspend) == 1


def test_a_sleep_that_is_shorter_than_a_suspension_is_waited_out() -> None:
    store = Memory()
    resonate = Resonate(store=store)

    @resonate.register
    def sleeps(ctx: Context) -> Flow:
        yield ctx.sleep(0.005)
        return "awake"

    assert resonate.run("a", sleeps) == "awake"
    resonate.stop()
    assert store.count(TaskSuspend) == 0


@pytest.mark.parametrize("how", ["run", "begin_run"])
def test_a_retry_policy_of_the_caller_holds_after_a_sleep(how: str) -> None:
    resonate = Resonate()
    attempts: list[int] = []

    @resonate.register
    def fails(ctx: Context) -> Flow:
        yield ctx.sleep(0.05)
        attempts.append(ctx.info.attempt)
        raise ValueError("never mind")

    chosen = resonate.options(retry_policy=Constant(0, max_retries=2))
    with pytest.raises(ValueError, match="never mind"):
        chosen.run("a", fails) if how == "run" else chosen.begin_run("a", fails).result(PATIENCE)
    resonate.stop()

    # Each time it comes back it repeats the attempts that are over, up to their end.
    assert attempts == [1, 1, 2, 1, 2, 3]

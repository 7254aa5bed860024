"""How a worker finds out that it does not hold its task any more, and what it still does until then."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from resonate import Context
from resonate.payloads import codec
from resonate.worker.lease import Lease, Lost
from resonate.worker.resources import Resources
from resonate_store.model.requests import (
    PromiseRecord,
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskContinue,
    TaskHalt,
    TaskRelease,
)
from resonate_store.model.tags import FUNC, PARENT, SCOPE
from resonate_store.remote.store import HttpStore
from tests.support.driver import TTL, Driver, Drivers, Flow
from tests.support.present import present
from tests.support.steps import SEQUENCES, begun, double, sequence
from tests.support.ways import always_three_ways
from tests.support.wire import URL, Line

STOPS: dict[str, Callable[[str], Request]] = {
    "halt": TaskHalt,
    "cancel": lambda id: PromiseSettle(id, "rejected_canceled"),
}


@always_three_ways
def test_step_begins_at_most_two_seconds_after_a_stop(driver: Driver, subtests: pytest.Subtests) -> None:
    began: list[int] = []
    stopped_at: list[int] = []

    def step(ctx: Context) -> None:
        began.append(driver.clock.now())
        driver.clock.sleep(900)
        if len(began) == 2:
            root = ctx.id.partition(".")[0]
            assert driver.store.apply(STOPS[root.partition("-")[0]](root)).ok
            stopped_at.append(driver.clock.now())

    for stop, spelling in product(STOPS, SEQUENCES):
        with subtests.test(stop, spelling=spelling):
            began.clear()
            stopped_at.clear()
            driver.serve(f"{stop}-{spelling}", w=SEQUENCES[spelling](step))
            assert len(began) < 6
            assert max(began) <= stopped_at[0] + 2_000
            assert driver.reports[-1].status == "lost"


def test_step_does_not_begin_after_the_end_of_the_lease(driver: Driver) -> None:
    ran: list[str] = []

    def step(ctx: Context) -> None:
        ran.append(ctx.id)
        driver.clock.sleep(TTL)

    assert driver.start("w", sequence(step)) == ["lost"]
    assert ran == ["w.1"]
    assert driver.tap.kinds() == ["task.acquire", "promise.record"]


@pytest.mark.parametrize("holder", ["us", "another"])
def test_outcome_of_another_worker_makes_both_verify_their_task(driver: Driver, holder: str) -> None:
    """The worker that holds the version continues, and the other one ends."""
    ran: list[str] = []

    def step(ctx: Context) -> str:
        ran.append(ctx.id)
        if ctx.id == "w.2":
            now = driver.clock.now()
            tags = {SCOPE: "local", FUNC: "step"}
            another = PromiseRecord("w.2", now + 1_000, now - 1, "resolved", tags=tags)
            assert driver.store.apply(another).ok
            if holder == "another":
                assert driver.store.apply(TaskRelease("w", 1, handover=True)).ok
                assert driver.store.apply(TaskAcquire("w", 1, "another", TTL)).ok
        return "ours"

    def workflow(ctx: Context) -> Flow:
        return (yield from begun(ctx.run(step) for _ in range(4)))

    driver.begin("w", workflow)
    report = driver.invoke()

    assert driver.tap.kinds().count("task.verify") == 1
    if holder == "us":
        assert report.status == "completed"
        assert codec.decode(driver.promise("w").value) == ["ours", None, "ours", "ours"]
    else:
        assert report.status == "lost"
        assert ran == ["w.1", "w.2"]


@pytest.mark.parametrize("holder", ["us", "another"])
@pytest.mark.parametrize("kind", ["run", "rpc", "promise"])
def test_record_of_another_command_is_not_adopted(driver: Driver, holder: str, kind: str) -> None:
    """A worker with other code has stored it. The worker that holds the task is halted, and the other one ends."""
    commands: dict[str, Callable[[Context], Any]] = {
        "run": lambda ctx: ctx.run(double, 1),
        "rpc": lambda ctx: ctx.rpc("double", 1),
        "promise": lambda ctx: ctx.promise(),
    }

    def workflow(ctx: Context) -> Flow:
        now = driver.clock.now()
        tags = {SCOPE: "local", FUNC: "other", PARENT: "w"}
        assert driver.store.apply(PromiseRecord("w.1", now + 1_000, now - 1, "resolved", tags=tags)).ok
        if holder == "another":
            assert driver.store.apply(TaskRelease("w", 1, handover=True)).ok
            assert driver.store.apply(TaskAcquire("w", 1, "another", TTL)).ok
        return (yield commands[kind](ctx))

    driver.begin("w", workflow)
    report = driver.invoke()

    assert report.status == ("halted" if holder == "us" else "lost")
    if holder == "us":
        assert "other" in (report.error or "")


def test_fenced_record_of_a_remote_store_confirms_the_lease(driver: Driver) -> None:
    """Over HTTP every step is fenced, so its worker reads the task only after a step that takes long."""
    line = Line(driver.store)
    driver.use(Resources(HttpStore(URL, clock=driver.clock, post=line), driver.clock))
    ran: list[str] = []

    def step(ctx: Context) -> None:
        ran.append(ctx.id)
        driver.clock.sleep(1_000)
        if ctx.id == "w.4":
            assert driver.store.apply(TaskHalt("w")).ok

    assert driver.start("w", sequence(step)) == ["lost"]
    assert ran == ["w.1", "w.2", "w.3", "w.4"]
    assert not [kind for kind in (b"task.get", b"task.release") if kind in b"".join(line.bodies)]
    assert driver.store.record("w.4") is None


def test_record_fenced_by_newer_version_does_not_confirm_the_lease(driver: Driver) -> None:
    """Another attempt in the same process holds the task, and the store fences by its version."""
    driver.use(Resources(HttpStore(URL, clock=driver.clock, post=Line(driver.store)), driver.clock))
    ran: list[str] = []

    def step(ctx: Context) -> None:
        ran.append(ctx.id)
        driver.clock.sleep(1_000)
        if ctx.id == "w.2":
            assert driver.store.apply(TaskHalt("w")).ok
            assert driver.store.apply(TaskContinue("w")).ok
            assert driver.resources.store.apply(TaskAcquire("w", 1, "p1", TTL)).ok

    driver.begin("w", sequence(step))
    assert driver.invoke().status == "lost"
    assert ran == ["w.1", "w.2", "w.3", "w.4"]


@pytest.mark.parametrize("stop", STOPS)
def test_worker_that_waits_in_short_sleeps_ends_after_a_stop(driver: Driver, stop: str) -> None:
    slept: list[int] = []

    def workflow(ctx: Context) -> Flow:
        for n in range(10):
            yield ctx.sleep(0.6)
            slept.append(n)
            if n == 1:
                assert driver.store.apply(STOPS[stop]("w")).ok

    assert driver.start("w", workflow) == ["lost"]
    assert slept == [0, 1, 2, 3]


def test_task_is_verified_at_most_every_two_seconds(drivers: Drivers, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, seconds: int) -> Flow:
        for _ in range(seconds * 10):
            yield ctx.run(lambda _: driver.clock.sleep(100))

    for seconds, reads in ((1, 0), (2, 0), (10, 4)):
        with subtests.test(seconds=seconds):
            driver = drivers()
            assert driver.start("w", workflow, seconds) == ["completed"]
            assert driver.tap.kinds().count("task.verify") == reads


def test_ended_lease_is_neither_extended_nor_confirmed(driver: Driver) -> None:
    clock = driver.clock
    lease = Lease("w", 1, clock.now(), 10_000)
    lease.end()
    lease.extend(clock.now(), 10_000)
    lease.confirm(clock.now())

    with pytest.raises(Lost):
        lease.check(driver.tap, clock)
    assert driver.tap.requests == []


@pytest.mark.parametrize("moment", ["suspend", "fulfill", "release", "halt"])
def test_worker_whose_lease_another_one_has_is_lost(driver: Driver, moment: str) -> None:
    def taken(request: Request | str) -> None:
        if not isinstance(request, str) and request.kind == f"task.{moment}":
            driver.pass_time(TTL / 1000)
            id, version = driver.offers[-1]
            assert driver.store.apply(TaskAcquire(id, version, "another", TTL)).ok
            driver.offers.clear()

    def suspends(ctx: Context) -> Flow:
        yield ctx.sleep(3600)

    workflows: dict[str, Callable[..., Any]] = {"suspend": suspends, "halt": suspends, "fulfill": lambda _: "done"}
    driver.deploy(**{"workflow": workflows[moment]} if moment in workflows else {})
    driver.create("w", {"func": "workflow"})
    if moment == "halt":
        driver.invoke()
        driver.deploy(workflow=sequence(lambda _: None))
        driver.pass_time(3600)
    driver.tap.answer = taken

    assert driver.invoke().status == "lost"
    task = present(driver.task("w"))
    assert (task.state, task.pid) == ("acquired", "another")

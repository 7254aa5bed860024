"""The run of one task: its requests, in which order and how many at once, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from resonate import Context
from resonate.payloads import codec
from resonate.retry_policies import Constant
from resonate.threads import Pool
from resonate_store.interface import StoreError
from resonate_store.model.requests import PromiseCreate, Request, Response, TaskRelease, TaskSuspend
from tests.support.driver import Driver, Drivers, Flow
from tests.support.present import present
from tests.support.steps import PATIENCE, begun, double, gathered, runs


def test_suspension_is_one_request_and_resumption_one_read(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        yield ctx.sleep(10)

    driver.run("w", workflow)

    assert [report.status for report in driver.reports] == ["suspended", "completed"]
    assert driver.tap.kinds() == [
        *["task.acquire", "promise.record", "promise.create", "task.suspend"],
        *["task.acquire", "children:w", "task.fulfill"],
    ]


def test_children_settled_during_suspension_are_read_at_once(driver: Driver) -> None:
    """A worker that gets 300 reads all children again."""

    def workflow(ctx: Context) -> Flow:
        return sum((yield from gathered(ctx.begin_rpc("elsewhere", n) for n in range(30))))

    def settle_all(request: Request | str) -> None:
        if not isinstance(request, str) and request.kind == "task.suspend":
            for n in range(1, 31):
                driver.settle(f"w.{n}", n)

    driver.begin("w", workflow)
    driver.tap.answer = settle_all

    assert driver.invoke().status == "completed"
    assert codec.decode(driver.promise("w").value) == sum(range(1, 31))
    creations = ["promise.create"] * 30
    assert driver.tap.kinds() == ["task.acquire", *creations, "task.suspend", "children:w", "task.fulfill"]


@pytest.mark.parametrize("begin", [False, True], ids=["run", "begin_run"])
def test_step_does_not_begin_after_the_deadline_of_the_invocation(driver: Driver, begin: bool) -> None:
    driver.time = 25.0
    ran: list[int] = []

    def slow(_: Context, n: int) -> int:
        ran.append(n)
        driver.clock.advance(10_000)
        return n

    def workflow(ctx: Context) -> Flow:
        if begin:
            return sum((yield from gathered(ctx.begin_run(slow, n) for n in range(7))))
        return sum((yield from begun(ctx.run(slow, n) for n in range(7))))

    assert driver.run("w", workflow) == 21
    # Three steps fit before 25 s are over; a step that has begun is finished and recorded.
    assert [report.status for report in driver.reports] == ["released", "released", "completed"]
    assert all(report.error is None for report in driver.reports)
    assert present(driver.task("w")).attempts == 0
    assert all(request.handover for request in driver.tap.requests if isinstance(request, TaskRelease))
    assert ran == list(range(7)), "no step runs twice"


def test_handover_is_offered_at_once_and_not_counted(driver: Driver) -> None:
    driver.time = 0.0
    driver.begin("w", runs(double, 1))
    for _ in range(20):
        assert driver.invoke().status == "released"
    driver.time = None

    assert driver.finish("w") == 2
    assert driver.elapsed() == 0


def test_short_wait_that_would_pass_the_deadline_releases_the_task(drivers: Drivers, subtests: pytest.Subtests) -> None:
    def fails_once(_: Context) -> None:
        if driver.elapsed() == 0:
            raise ValueError("again")

    def workflow(ctx: Context, what: str) -> Flow:
        if what == "sleep":
            yield ctx.sleep(0.9)
        else:
            yield ctx.run(fails_once).options(retry_policy=Constant(0.9))
        return driver.elapsed()

    for what in ("sleep", "pause"):
        with subtests.test(what):
            driver = drivers()
            driver.time = 0.5
            driver.begin("w", workflow, what)
            assert driver.invoke().status == "released"
            driver.time = None
            assert driver.finish("w") == 0.9


def test_suspension_after_the_deadline_is_not_a_handover(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.sleep(3600)

    driver.time = 0.0
    assert driver.start("w", workflow) == ["suspended"]


def test_begun_steps_are_recorded_before_a_handover(pool: Pool) -> None:
    driver = Driver(functions=pool)
    driver.time = 5.0
    ran: list[str] = []
    late = threading.Event()

    def apart(_: Context) -> str:
        ran.append("apart")
        assert late.wait(PATIENCE)
        return "apart"

    def here(_: Context, name: str) -> str:
        ran.append(name)
        driver.clock.advance(10_000)
        late.set()
        return name

    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.begin_run(apart)
        one = yield ctx.run(here, "one")
        two = yield ctx.run(here, "two")
        return [(yield promise), one, two]

    driver.begin("w", workflow)
    assert driver.invoke().status == "released"
    assert driver.promise("w.1").state == "resolved"

    assert driver.finish("w") == ["apart", "one", "two"]
    assert sorted(ran) == ["apart", "one", "two"]


def at_creations(ids: set[str], act: Callable[[str], object]) -> Callable[[Request | str], Response | None]:
    """Do something when one of these promises is about to be created; it may be an answer."""

    def answer(request: Request | str) -> Response | None:
        answered = act(request.id) if isinstance(request, PromiseCreate) and request.id in ids else None
        return answered if isinstance(answered, Response) else None

    return answer


def fan_out(ctx: Context, width: int) -> Flow:
    return (yield from gathered(ctx.begin_rpc(double, n) for n in range(width)))


def test_workflows_begun_in_a_row_create_their_promises_together(pool: Pool) -> None:
    driver = Driver(requests=pool)
    together = threading.Barrier(3, timeout=PATIENCE)

    def asks(ctx: Context) -> Flow:
        promise = yield ctx.promise()
        driver.settle(promise.id, 1)
        return (yield promise)

    def workflow(ctx: Context) -> Flow:
        return sum((yield from gathered(ctx.begin_run(asks) for _ in range(3))))

    driver.tap.answer = at_creations({"w.1.1", "w.2.1", "w.3.1"}, lambda _: together.wait())

    assert driver.run("w", workflow) == 3


def test_replayed_workflow_does_not_wait_for_earlier_creations(pool: Pool) -> None:
    """Their ids are their own, so they are not among the records that replay reads."""
    driver = Driver(requests=pool)
    together = threading.Barrier(3, timeout=PATIENCE)

    def workflow(ctx: Context) -> Flow:
        promises = yield from begun(ctx.promise(id=f"p{n}") for n in range(3))
        yield ctx.run(double, 1)
        return sum((yield from begun(promises)))

    assert driver.start("w", workflow) == ["suspended"]
    for n in range(3):
        driver.settle(f"p{n}", 1)
    driver.tap.answer = at_creations({"p0", "p1", "p2"}, lambda _: together.wait())

    assert driver.finish("w") == 3


@pytest.mark.parametrize("then", ["a step", "the end"])
def test_pipelined_creates_complete_before_the_next_action(pool: Pool, then: str) -> None:
    driver = Driver(requests=pool)
    continued = threading.Event()
    there: list[list[str]] = []

    def workflow(ctx: Context) -> Flow:
        for _ in range(3):
            yield ctx.begin_rpc("elsewhere").options(target="poll://any@others")
        continued.set()
        if then == "a step":
            yield ctx.run(lambda _: there.append(driver.ids()))

    def answer(request: Request | str) -> None:
        if isinstance(request, TaskSuspend):
            there.append(driver.ids())
        elif isinstance(request, PromiseCreate) and request.id != "w.1":
            assert continued.wait(PATIENCE)

    driver.tap.answer = answer
    driver.begin("w", workflow)
    assert driver.invoke().status == "suspended"
    assert there[0] == ["w", "w.1", "w.2", "w.3"]


@pytest.mark.parametrize("failure", ["StoreError", "409"])
def test_failed_pipelined_create_ends_the_run_after_the_rest(pool: Pool, failure: str) -> None:
    driver = Driver(requests=pool)
    failed, ended = threading.Event(), threading.Event()
    together = threading.Barrier(3, timeout=PATIENCE)
    arrived: list[str] = []

    def fail_or_wait(id: str) -> Response | None:
        together.wait()
        if id == "w.2":
            failed.set()
            if failure == "StoreError":
                raise StoreError("the network is gone")
            return Response(status=409, error="fenced")
        assert failed.wait(PATIENCE)
        ended.wait(0.1)
        arrived.append(id)
        return None

    driver.register(double)
    driver.begin("w", fan_out, 4)
    driver.tap.answer = at_creations({"w.2", "w.3", "w.4"}, fail_or_wait)
    report = driver.invoke()
    ended.set()

    assert report.status == ("released" if failure == "StoreError" else "lost")
    assert sorted(arrived) == ["w.3", "w.4"]
    if failure == "StoreError":
        driver.tap.answer = lambda _: None
        assert driver.finish("w") == [0, 2, 4, 6]

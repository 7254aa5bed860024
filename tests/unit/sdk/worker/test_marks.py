"""Marks of steps that run at most once, recorded over HTTP: lost answers, killed workers and refusals."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from resonate import Context
from resonate.errors import ResonateStoreError, StepInterrupted
from resonate.testing.faults import Killed
from resonate.worker.resources import Resources
from resonate_store.model.requests import PromiseRecord, Request, Response
from resonate_store.model.tags import BEGUN
from resonate_store.remote.store import HttpStore
from tests.support.driver import TTL, Driver, Drivers, Flow
from tests.support.steps import caught
from tests.support.wire import URL, Line


class Remote:
    """A driver whose worker calls a server, and the steps that have run. An old server records a step in two requests.

    Each of the two steps of the workflow runs at most once.
    """

    def __init__(self, driver: Driver, *, old: bool) -> None:
        self.driver = driver
        self.ran: list[str] = []
        self.line = Line(driver.store, old=old)
        driver.use(Resources(HttpStore(URL, clock=driver.clock, jitter=lambda: 0.0, post=self.line), driver.clock))

        def step(ctx: Context) -> str:
            self.ran.append(ctx.id)
            return "done"

        def workflow(ctx: Context) -> Flow:
            got = []
            for _ in range(2):
                done = yield from caught(ctx.run(step).options(at_most_once=True), StepInterrupted)
                got.append("interrupted" if isinstance(done, StepInterrupted) else done)
            return got

        driver.begin("w", workflow)

    def kinds(self) -> list[str]:
        return [msgspec.json.decode(body)["kind"] for body in self.line.bodies]


def test_mark_over_http_is_one_request(drivers: Drivers, subtests: pytest.Subtests) -> None:
    for old, of_steps in ((False, ["task.record"] * 4), (True, ["task.fence"] * 8)):
        with subtests.test(old=old):
            remote = Remote(drivers(), old=old)
            assert remote.driver.finish("w") == ["done", "done"]
            assert remote.kinds() == ["task.acquire", *of_steps, "task.fulfill"]


def test_lost_answer_to_a_mark_interrupts_nothing(drivers: Drivers, subtests: pytest.Subtests) -> None:
    for old in (False, True):
        for position in range(1, 9 if old else 5):
            with subtests.test(old=old, position=position):
                remote = Remote(drivers(), old=old)
                remote.line.faults = [*[None] * position, "lost", "lost"]
                assert remote.driver.finish("w") == ["done", "done"]
                assert remote.ran == ["w.1", "w.2"]


def test_kill_at_each_http_request_runs_no_step_twice(drivers: Drivers, subtests: pytest.Subtests) -> None:
    for old in (False, True):
        for position in range(1, 9 if old else 5):
            for moment in ("before", "after"):
                with subtests.test(old=old, position=position, moment=moment):
                    remote = Remote(drivers(), old=old)
                    post = remote.line.post

                    def die(body: bytes, moment: str = moment, post: Callable[..., object] = post) -> None:
                        if moment == "after":
                            post(body, {}, 1.0)
                        raise Killed

                    remote.line.faults = [*[None] * position, die]
                    with pytest.raises(Killed):
                        remote.driver.invoke()

                    got = remote.driver.finish("w")
                    assert len(set(remote.ran)) == len(remote.ran)
                    assert got.count("interrupted") <= 1
                    done = [f"w.{n + 1}" for n, each in enumerate(got) if each == "done"]
                    assert set(done) <= set(remote.ran)


def test_worker_that_held_an_older_version_marks_nothing(drivers: Drivers, subtests: pytest.Subtests) -> None:
    for old in (False, True):
        with subtests.test(old=old):
            remote = Remote(drivers(), old=old)
            driver = remote.driver

            def lose(_: bytes, driver: Driver = driver) -> None:
                driver.clock.advance(TTL)
                driver.store.tick()

            remote.line.faults = [None, lose]
            assert driver.invoke().status == "lost"
            assert remote.ran == []
            assert driver.finish("w") == ["done", "done"]
            assert driver.record("w.1~m1").tags[BEGUN] == "2"


def test_refused_mark_is_the_error_of_its_step(driver: Driver) -> None:
    ran: list[str] = []

    def refuse(request: Request | str) -> Response | None:
        is_mark = isinstance(request, PromiseRecord) and "~m" in request.id
        return Response(status=400, error="the id is too long") if is_mark else None

    def workflow(ctx: Context) -> Flow:
        call = ctx.run(lambda ctx: ran.append(ctx.id)).options(at_most_once=True)
        return str((yield from caught(call, ResonateStoreError)))

    driver.tap.answer = refuse

    assert "the id is too long" in driver.run("w", workflow)
    assert ran == []


def test_store_that_cannot_record_a_mark_releases_the_task(driver: Driver) -> None:
    statuses = [503, 401]
    ran: list[str] = []

    def fail(request: Request | str) -> Response | None:
        is_mark = isinstance(request, PromiseRecord) and "~m" in request.id
        return Response(status=statuses.pop(), error="not now") if is_mark and statuses else None

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(lambda ctx: ran.append(ctx.id)).options(at_most_once=True)

    driver.tap.answer = fail
    driver.run("w", workflow)

    assert [report.status for report in driver.reports] == ["released", "released", "completed"]
    assert ran == ["w.1"]

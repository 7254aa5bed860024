"""Steps of a worker over HTTP, which is killed, or loses an answer, at each of its requests."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import pytest

from resonate import Context, Resonate
from resonate.payloads import codec
from resonate.worker.resources import Resources
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.driver import TTL, Driver, Flow, Killed
from tests.support.present import present
from tests.support.serving import PATIENCE, Serving, new_server  # noqa: F401
from tests.support.wire import URL, Line, posted_to

STEPS = 3


class Remote:
    """A driver whose worker calls a server, and how often each step has run."""

    def __init__(self, driver: Driver, *, old: bool = False) -> None:
        self.driver = driver
        self.ran: list[str] = []
        self.line = Line(driver.store, old=old)
        driver.use(Resources(HttpStore(URL, clock=driver.clock, jitter=lambda: 0.0, post=self.line), driver.clock))

        def step(ctx: Context) -> str:
            self.ran.append(ctx.id)
            return f"{ctx.id} run {len(self.ran)}"

        def workflow(ctx: Context) -> Flow:
            got = []
            for _ in range(STEPS):
                got.append((yield ctx.run(step)))
            return got

        driver.begin("w", workflow)

    def kinds(self) -> list[str]:
        return [msgspec.json.decode(body)["kind"] for body in self.line.bodies]

    def outcome(self) -> list[str]:
        promise = self.driver.promise("w")
        assert promise.state == "resolved"
        return codec.decode(promise.value)

    def recorded(self) -> dict[str, str]:
        records = [present(self.driver.store.record(f"w.{n + 1}")) for n in range(STEPS)]
        return {record.id: codec.decode(record.value) for record in records if record.state == "resolved"}


def test_step_over_http_is_one_request(drivers: Callable[[], Driver], subtests: pytest.Subtests) -> None:
    for old, of_steps in ((False, ["task.record"] * STEPS), (True, ["task.fence"] * 2 * STEPS)):
        with subtests.test(old=old):
            remote = Remote(drivers(), old=old)

            assert remote.driver.invoke().status == "completed"
            assert remote.kinds() == ["task.acquire", *of_steps, "task.fulfill"]
            assert list(remote.recorded().values()) == remote.outcome()


def test_worker_killed_at_an_http_request_records_no_step_twice(
    drivers: Callable[[], Driver], subtests: pytest.Subtests
) -> None:
    """The next worker adopts what was recorded, and runs only the step whose record is missing."""
    for old in (False, True):
        for position in range(1, 1 + STEPS * (2 if old else 1)):
            for moment in ("before", "after"):
                with subtests.test(old=old, position=position, moment=moment):
                    remote = Remote(drivers(), old=old)
                    post = remote.line.post

                    def die(body: bytes, moment: str = moment, post: Callable[..., Reply] = post) -> None:
                        if moment == "after":
                            post(body, {}, 1.0)
                        raise Killed

                    remote.line.faults = [*[None] * position, die]
                    with pytest.raises(Killed):
                        remote.driver.invoke()
                    before = {id for id in ("w.1", "w.2", "w.3") if _is_settled(remote.driver, id)}
                    ran_before = list(remote.ran)
                    remote.driver.clock.advance(TTL)
                    remote.driver.store.tick()

                    assert remote.driver.invoke().status == "completed"
                    assert before.isdisjoint(remote.ran[len(ran_before) :]), "what was recorded does not run again"
                    assert len(remote.ran) == STEPS + len(set(ran_before) - before)
                    assert list(remote.recorded().values()) == remote.outcome()


def _is_settled(driver: Driver, id: str) -> bool:
    record = driver.store.record(id)
    return record is not None and not record.pending


def test_lost_answer_over_http_records_no_step_twice(drivers: Callable[[], Driver], subtests: pytest.Subtests) -> None:
    for old in (False, True):
        for position in range(1, 1 + STEPS * (2 if old else 1)):
            with subtests.test(old=old, position=position):
                remote = Remote(drivers(), old=old)
                remote.line.faults = [*[None] * position, "lost", "lost"]

                assert remote.driver.invoke().status == "completed"
                assert remote.ran == ["w.1", "w.2", "w.3"]
                assert list(remote.recorded().values()) == remote.outcome()


def test_step_of_a_task_of_another_worker_ends_the_run(driver: Driver) -> None:
    remote = Remote(driver)

    def lose(_: bytes) -> None:
        driver.clock.advance(TTL)
        driver.store.tick()

    remote.line.faults = [None, None, lose]

    assert driver.invoke().status == "lost"
    assert remote.ran == ["w.1", "w.2"]
    assert driver.store.record("w.2") is None
    assert driver.invoke().status == "completed"
    assert remote.ran == ["w.1", "w.2", "w.2", "w.3"]


def test_server_that_is_replaced_during_a_workflow_loses_no_step(driver: Driver) -> None:
    remote = Remote(driver)
    old, new = posted_to(driver.store, old=True), remote.line.post

    def replaced(_: bytes) -> None:
        remote.line.post = old if remote.line.post is new else new

    remote.line.faults = [None, replaced, None, None, replaced]

    assert driver.invoke().status == "completed"
    assert remote.ran == ["w.1", "w.2", "w.3"]
    assert list(remote.recorded().values()) == remote.outcome()


def test_connection_cut_at_a_step_records_it_once(serving: Serving) -> None:
    """Over sockets: the server carries each record out, and then cuts the connection."""
    cut: set[int] = set()
    ran: list[str] = []

    def drop(kind: str) -> str | None:
        number = serving.count("task.record")
        if kind == "task.record" and number % 2 == 0 and number not in cut:
            cut.add(number)
            return "drop"
        return None

    def step(ctx: Context) -> str:
        ran.append(ctx.id)
        return ctx.id

    def workflow(ctx: Context) -> Flow:
        got = []
        for _ in range(STEPS):
            got.append((yield ctx.run(step)))
        return got

    serving.before = drop
    resonate = Resonate.remote(url=serving.url)
    resonate.register(workflow)
    done: list[list[str]] = []
    caller = threading.Thread(target=lambda: done.append(resonate.run("w", workflow)))
    caller.start()
    caller.join(PATIENCE)
    resonate.stop()

    assert done == [["w.1", "w.2", "w.3"]]
    assert ran == ["w.1", "w.2", "w.3"]
    assert serving.count("task.record") == 2 * STEPS

"""Generations of an execution as a worker runs them: its requests, its faults, and workers that have lost the task."""

from __future__ import annotations

import binascii
from collections import Counter
from typing import Any

import msgspec
import pytest

from resonate import Context
from resonate.encryption import AESGCMEncryptor, EncryptedStore
from resonate.errors import PayloadTooLargeError, ProgramError
from resonate.payloads import codec
from resonate.worker.resources import Resources
from resonate_store.interface import StoreUnreachable
from resonate_store.model.requests import ContinueWithArguments, PromiseRecord, Request, Response, TaskRelease
from resonate_store.model.tags import ORIGIN, PARENT, SCOPE
from resonate_store.remote.store import HttpStore
from tests.support.driver import TTL, Driver, Drivers, Flow, Killed
from tests.support.steps import double
from tests.support.wire import URL, Line

MOST = 3


class Journal:
    """A workflow of `MOST` generations in either spelling, and how often each step has run."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()

        def step(ctx: Context, n: int) -> int:
            self.runs[ctx.id] += 1
            return n + 1

        def nested(ctx: Context, n: int) -> Flow:
            yield ctx.run(step, n)

        def workflow(ctx: Context, n: int) -> Flow:
            n = yield ctx.run(step, n)
            yield (yield ctx.begin_run(nested, n))
            yield ctx.sleep(10)
            if n < MOST:
                return ctx.continue_as(n)
            return n

        async def workflow_async(ctx: Context, n: int) -> int:
            n = await ctx.run(step, n)
            await (await ctx.begin_run(nested, n))
            await ctx.sleep(10)
            if n < MOST:
                return ctx.continue_as(n)
            return n

        self.step = step
        self.workflow = workflow
        self.workflow_async = workflow_async

    def check(self, driver: Driver, *, again: int = 0) -> None:
        """The execution has its result, only its last history is left, and at most `again` steps have run twice."""
        assert codec.decode(driver.promise("w").value) == MOST
        assert driver.record("w").generation == MOST
        assert set(driver.ids()) == {"w", "w.3+0", "w.3+1", "w.3+2", "w.3+2.1", "w.3+3"}
        assert self.runs.keys() == {"w.1", "w.2.1", "w.2+1", "w.2+2.1", "w.3+1", "w.3+2.1"}
        assert sum(self.runs.values()) - len(self.runs) <= again


def recover(driver: Driver) -> Any:
    """End the lease of a killed worker, and finish."""
    driver.clock.advance(TTL)
    driver.store.tick()
    return driver.finish("w")


def strike_at(driver: Driver, moment: str, position: int) -> list[int]:
    """Have the worker end, or lose an answer, at a request. Returns how many requests are left until then."""
    left = [position]

    def strike() -> None:
        left[0] -= 1
        if left[0] == -1:
            raise StoreUnreachable("no answer") if moment == "lost" else Killed

    if moment == "before":
        driver.tap.answer = lambda _: strike()
    else:
        driver.tap.after = lambda _: strike()
    return left


@pytest.mark.parametrize("joins", [False, True], ids=["two requests", "one request"])
@pytest.mark.parametrize("spelling", ["workflow", "workflow_async"])
def test_worker_killed_at_a_request_repeats_no_generation(
    drivers: Drivers, spelling: str, joins: bool, subtests: pytest.Subtests
) -> None:
    for moment in ("before", "after", "lost"):
        position = 0
        while True:
            with subtests.test(moment=moment, position=position):
                driver, journal = drivers(), Journal()
                driver.tap.joins = joins
                driver.begin("w", getattr(journal, spelling), 0)
                left = strike_at(driver, moment, position)
                try:
                    driver.finish("w")
                except (Killed, StoreUnreachable):
                    recover(driver)
                journal.check(driver, again=1)
                done = left[0] >= 0
            if done:
                break
            position += 1
        assert position > 20


def test_continuation_is_two_requests_and_one_read_after_a_suspension(driver: Driver) -> None:
    driver.run("w", Journal().workflow, 0)

    steps = ["promise.record", "promise.create", "promise.record", "promise.settle", "promise.create", "task.suspend"]
    first = ["task.acquire", *steps, "task.acquire", "children:w"]
    second = ["promise.record", "task.continue_as", *steps, "task.acquire", "children:w"]
    assert driver.tap.kinds() == [*first, *second, *second, "task.fulfill"]
    read = [request for request in driver.tap.requests if request == "children:w"]
    assert len(read) == MOST


def test_continuation_is_one_request_where_the_store_takes_it(driver: Driver) -> None:
    def workflow(ctx: Context, n: int) -> Flow:
        n = yield ctx.run(double, n)
        if n < 4:
            return ctx.continue_as(n)
        return n

    driver.tap.joins = True

    assert driver.run("w", workflow, 1) == 4
    assert driver.ids() == ["w", "w.2+0", "w.2+1"]
    kinds = ["task.acquire", "promise.record", "task.continue_as", "promise.record", "task.fulfill"]
    assert driver.tap.kinds() == kinds


def test_worker_releases_between_generations(driver: Driver) -> None:
    driver.time = 25.0

    def slow(_: Context, n: int) -> int:
        driver.clock.advance(10_000)
        return n + 1

    def workflow(ctx: Context, n: int) -> Flow:
        n = yield ctx.run(slow, n)
        if n < 7:
            return ctx.continue_as(n)
        return n

    assert driver.run("w", workflow, 0) == 7
    assert [report.status for report in driver.reports] == ["released", "released", "completed"]
    assert all(request.handover for request in driver.tap.requests if isinstance(request, TaskRelease))
    assert driver.record("w").generation == 7


def test_stopping_process_releases_after_a_generation(driver: Driver) -> None:
    def forever(ctx: Context, n: int) -> Flow:
        yield ctx.run(double, n)
        if n == 5:
            driver.resources.stopping = True
        return ctx.continue_as(n + 1)

    driver.begin("w", forever, 1)
    assert driver.invoke().status == "released"
    assert driver.record("w").generation == 6


@pytest.mark.parametrize("joins", [False, True])
def test_worker_that_has_lost_the_task_cannot_continue_it(driver: Driver, joins: bool) -> None:
    driver.tap.joins = joins
    journal = Journal()
    held: list[bool] = []

    def workflow(ctx: Context, n: int) -> Flow:
        n = yield ctx.run(journal.step, n)
        if n == 2 and not held:
            held.append(True)
            # Another worker takes over, and is done before this one goes on.
            driver.clock.advance(TTL)
            driver.store.tick()
            driver.work()
        if n < 5:
            return ctx.continue_as(n)
        return n

    driver.begin("w", workflow, 0)
    assert driver.invoke().status == "lost"
    assert [report.status for report in driver.reports] == ["completed", "lost"]
    assert codec.decode(driver.promise("w").value) == 5
    # With two requests it has written the arguments of a generation that was over, and nothing more.
    assert driver.ids() == ["w", *([] if joins else ["w.3+0"]), "w.5+0", "w.5+1"]
    assert journal.runs == {"w.1": 1, "w.2+1": 1, "w.3+1": 1, "w.4+1": 1, "w.5+1": 1}


def arguments(driver: Driver, *args: Any, **tags: str) -> PromiseRecord:
    value = codec.encode_call("workflow", args, {}, 1)
    lineage = {SCOPE: "local", PARENT: "w", ORIGIN: "w", **tags}
    return PromiseRecord("w.2+0", driver.after(60), driver.clock.now(), "resolved", value, tags=lineage)


@pytest.mark.parametrize("joins", [False, True])
def test_first_arguments_of_a_generation_count(driver: Driver, joins: bool) -> None:
    """The worker that wrote them was killed. Its workflow had other ones, because it reads a clock."""
    driver.tap.joins = joins

    def workflow(ctx: Context, seen: Any) -> Flow:
        yield ctx.run(double, 1)
        if seen == 0:
            return ctx.continue_as(driver.elapsed())
        return seen

    driver.begin("w", workflow, 0)
    driver.store.apply(arguments(driver, "the first"))
    driver.clock.advance(1000)
    assert driver.finish("w") == "the first"


@pytest.mark.parametrize("joins", [False, True])
def test_promise_in_the_place_of_the_arguments_rejects(driver: Driver, joins: bool) -> None:
    driver.tap.joins = joins

    def workflow(ctx: Context, n: int) -> Flow:
        yield ctx.run(double, n)
        return ctx.continue_as(n + 1)

    driver.begin("w", workflow, 0)
    driver.store.apply(arguments(driver, "of another", **{PARENT: "v"}))
    with pytest.raises(Exception, match=r"w\.2\+0"):
        driver.finish("w")


@pytest.mark.parametrize("joins", [False, True])
def test_arguments_that_are_too_large_reject_the_execution(driver: Driver, joins: bool) -> None:
    def workflow(ctx: Context, n: int) -> Flow:
        yield ctx.run(double, n)
        return ctx.continue_as(n + 1)

    def refuse(request: Request | str) -> Response | None:
        if isinstance(request, ContinueWithArguments) or (isinstance(request, PromiseRecord) and request.id == "w.2+0"):
            return Response(status=413, error="too large")
        return None

    driver.tap.answer, driver.tap.joins = refuse, joins
    with pytest.raises(PayloadTooLargeError, match="too large"):
        driver.run("w", workflow, 0)
    assert driver.record("w").generation is None


def test_missing_arguments_release_the_task(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def workflow(ctx: Context, n: int) -> Flow:
        yield ctx.sleep(100)
        return ctx.continue_as(n + 1)

    driver.start("w", workflow, 0)
    driver.pass_time(100)
    driver.work()
    children = driver.tap.children
    monkeypatch.setattr(driver.tap, "children", lambda *at: [each for each in children(*at) if each.id != "w.2+0"])
    driver.pass_time(100)
    report = driver.invoke()
    assert (report.status, "there is no 'w.2+0'" in (report.error or "")) == ("released", True)


class OverHttp:
    """A worker of a server, perhaps an old one, perhaps with encrypted payloads."""

    def __init__(self, driver: Driver, *, old: bool = False, encrypted: bool = False) -> None:
        self.driver = driver
        self.line = Line(driver.store, old=old)
        store: Any = HttpStore(URL, clock=driver.clock, jitter=lambda: 0.0, post=self.line)
        if encrypted:
            store = EncryptedStore(store, AESGCMEncryptor({"k": bytes(32)}))
        driver.use(Resources(store, driver.clock))

    def kinds(self) -> list[str]:
        return [msgspec.json.decode(body)["kind"] for body in self.line.bodies]


def test_generation_over_http_is_continued_by_another_worker(driver: Driver) -> None:
    remote, journal = OverHttp(driver), Journal()
    assert driver.run("w", journal.workflow, 0) == MOST
    journal.check(driver)
    assert remote.kinds().count("task.continue_as") == MOST - 1
    assert "promise.search" not in remote.kinds()
    statuses = [report.status for report in driver.reports]
    assert statuses == ["suspended"] * MOST + ["completed"]


def test_lost_answer_over_http_begins_no_generation_twice(drivers: Drivers, subtests: pytest.Subtests) -> None:
    position = 0
    while True:
        with subtests.test(position=position):
            driver, journal = drivers(), Journal()
            remote = OverHttp(driver)
            driver.begin("w", journal.workflow, 0)
            remote.line.faults = [*[None] * position, "lost"]
            driver.finish("w")
            journal.check(driver)
            done = bool(remote.line.faults)
        if done:
            break
        position += 1
    assert position > 20


@pytest.mark.parametrize("http", [False, True])
def test_encrypted_arguments_are_read_by_the_next_worker(driver: Driver, http: bool) -> None:
    if http:
        OverHttp(driver, encrypted=True)
    else:
        driver.use(Resources(EncryptedStore(driver.store, AESGCMEncryptor({"k": bytes(32)})), driver.clock))

    def workflow(ctx: Context, words: str) -> Flow:
        yield ctx.sleep(10)
        if len(words) < 30:
            return ctx.continue_as(f"{words} and secret")
        return len(words)

    driver.register(workflow)
    call = AESGCMEncryptor({"k": bytes(32)}).encrypt(
        codec.encode({"func": "workflow", "args": ["very"]}, "a call"), "param:w"
    )
    driver.create("w", call)
    while driver.promise("w").pending:
        driver.work()
        driver.pass_time(11)
    assert driver.record("w").generation == 4
    values = [driver.record("w.4+0").value.data]
    assert not [data for data in values if data is None or b"secret" in binascii.a2b_base64(data)]


def test_server_without_generations_is_refused_at_the_call(driver: Driver) -> None:
    remote = OverHttp(driver, old=True)
    ran: list[str] = []

    def workflow(ctx: Context, n: int) -> Flow:
        yield ctx.run(double, n)
        try:
            return ctx.continue_as(n + 1)
        except ProgramError as error:
            ran.append(str(error))
            raise

    with pytest.raises(ProgramError, match=r"does not know the request task\.continue_as"):
        driver.run("w", workflow, 0)
    assert len(ran) == 1
    assert "task.continue_as" not in remote.kinds()


def test_continuation_is_repeated_at_a_server_that_knows_it(driver: Driver) -> None:
    """During a deployment, an old server may answer in between."""
    remote = OverHttp(driver)
    old, new = Line(driver.store, old=True).post, remote.line.post
    replaced: list[bool] = []

    def workflow(ctx: Context, n: int) -> Flow:
        yield ctx.run(double, n)
        if n < 2:
            following = ctx.continue_as(n + 1)
            if not replaced:
                replaced.append(True)
                remote.line.post = old
            return following
        return n

    driver.begin("w", workflow, 1)
    assert driver.invoke().status == "released"
    remote.line.post = new
    assert driver.finish("w") == 2

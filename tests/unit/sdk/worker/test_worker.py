"""How a worker's run for one task ends, and what it leaves behind."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resonate import Context
from resonate.errors import ApplicationError, ResonateHaltedError, ResonateStoreError
from resonate.payloads import codec
from resonate.retry_policies import Constant, Never
from resonate.threads import Pool
from resonate.worker.resources import Resources
from resonate_store.interface import StoreError
from resonate_store.model.records import Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    Request,
    Response,
    TaskAcquire,
    TaskContinue,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)
from resonate_store.model.tags import SCOPE, TARGET
from resonate_store.remote.store import HttpStore
from tests.support.driver import TTL, Driver, Flow
from tests.support.ways import always_three_ways, three_ways
from tests.support.wire import URL, Line

PATIENCE = 10.0
"""Seconds after which a test that waits for a thread has failed."""


def double(_: Context, n: int) -> int:
    return 2 * n


# -- completed, suspended, lost ---------------------------------------------------------------------------------------


def test_an_offer_is_acquired_worked_on_and_fulfilled(driver: Driver) -> None:
    driver.begin("w", double, 2)

    assert driver.invoke().status == "completed"
    promise, task = driver.promise("w"), driver.task("w")
    assert (promise.state, codec.decode(promise.value)) == ("resolved", 4)
    assert task is not None
    assert (task.state, task.version) == ("fulfilled", 1)
    assert driver.tap.kinds() == ["task.acquire", "task.fulfill"]


def test_suspension_is_one_request_and_resumption_reads_the_children_once(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        yield ctx.sleep(10)

    driver.run("w", workflow)

    assert [report.status for report in driver.reports] == ["suspended", "completed"]
    assert driver.tap.kinds() == [
        *["task.acquire", "promise.record", "promise.create", "task.suspend"],
        *["task.acquire", "children:w", "task.fulfill"],
    ]


def test_many_children_that_settled_meanwhile_are_learned_of_at_once(driver: Driver) -> None:
    """A worker that is told 300 reads all children again, instead of being refused a suspension for each."""

    def workflow(ctx: Context) -> Flow:
        promises = []
        for n in range(30):
            promises.append((yield ctx.begin_rpc("elsewhere", n)))
        total = 0
        for promise in promises:
            total += yield promise
        return total

    def settle_all(request: Request | str) -> Response | None:
        if not isinstance(request, str) and request.kind == "task.suspend":
            for n in range(1, 31):
                driver.settle(f"w.{n}", n)
        return None

    driver.begin("w", workflow)
    driver.tap.answer = settle_all

    assert driver.invoke().status == "completed"
    assert codec.decode(driver.promise("w").value) == sum(range(1, 31))
    assert driver.tap.kinds() == [
        *["task.acquire", *["promise.create"] * 30],
        *["task.suspend", "children:w", "task.fulfill"],
    ]


@pytest.mark.parametrize("offers", [2, 3])
def test_a_repeated_offer_is_lost_and_changes_nothing(driver: Driver, offers: int) -> None:
    driver.begin("w", double, 2)
    driver.offers.extend([driver.offers[0]] * (offers - 1))

    assert driver.work() == ["completed", *["lost"] * (offers - 1)]


def test_an_offer_of_what_does_not_exist_is_lost(driver: Driver) -> None:
    assert driver.worker.run("nothing", 0, TTL).status == "lost"


Step = Callable[[Context], Any]


def _sequence(step: Step) -> Callable[..., Any]:
    def workflow(ctx: Context) -> Flow:
        for _ in range(6):
            yield ctx.run(step)

    return workflow


def _async_sequence(step: Step) -> Callable[..., Any]:
    async def workflow(ctx: Context) -> None:
        for _ in range(6):
            await ctx.run(step)

    return workflow


def _nested(step: Step) -> Callable[..., Any]:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(_sequence(step))

    return workflow


def _begun(step: Step) -> Callable[..., Any]:
    def workflow(ctx: Context) -> Flow:
        for _ in range(6):
            yield (yield ctx.begin_run(step))

    return workflow


SPELLINGS = [_sequence, _async_sequence, _nested, _begun]
STOPS: dict[str, Request] = {
    "halt": TaskHalt("w"),
    "cancel": PromiseSettle("w", "rejected_canceled"),
}


@always_three_ways
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("stop", STOPS)
def test_no_step_begins_two_seconds_after_a_halt_or_cancel(
    driver: Driver, spelling: Callable[[Step], Callable[..., Any]], stop: str
) -> None:
    began: list[int] = []
    stopped_at: list[int] = []

    def step(_: Context) -> None:
        began.append(driver.clock.now())
        driver.clock.sleep(900)
        if len(began) == 2:
            assert driver.store.apply(STOPS[stop]).ok
            stopped_at.append(driver.clock.now())

    driver.begin("w", spelling(step))
    driver.work()

    assert len(began) < 6
    assert max(began) <= stopped_at[0] + 2_000
    assert driver.reports[-1].status == "lost"


def test_no_step_begins_after_the_lease_and_nothing_is_asked(driver: Driver) -> None:
    ran: list[str] = []

    def step(ctx: Context) -> None:
        ran.append(ctx.id)
        driver.clock.sleep(TTL)

    driver.begin("w", _sequence(step))
    assert driver.invoke().status == "lost"
    assert ran == ["w.1"]
    assert driver.tap.kinds() == ["task.acquire", "promise.record"]


@pytest.mark.parametrize("holder", ["us", "another"])
def test_another_workers_outcome_stops_the_worker_without_the_task(driver: Driver, holder: str) -> None:
    """A record of another worker's makes both ask at once: the one that holds the version goes on."""
    ran: list[str] = []

    def step(ctx: Context) -> str:
        ran.append(ctx.id)
        if ctx.id == "w.2":
            now = driver.clock.now()
            another = PromiseRecord("w.2", now + 1_000, now - 1, "resolved", tags={SCOPE: "local"})
            assert driver.store.apply(another).ok
            if holder == "another":
                assert driver.store.apply(TaskRelease("w", 1, handover=True)).ok
                assert driver.store.apply(TaskAcquire("w", 1, "another", TTL)).ok
        return "ours"

    def workflow(ctx: Context) -> Flow:
        got = []
        for _ in range(4):
            got.append((yield ctx.run(step)))
        return got

    driver.begin("w", workflow)
    report = driver.invoke()

    assert driver.tap.kinds().count("task.verify") == 1
    if holder == "us":
        assert report.status == "completed"
        assert codec.decode(driver.promise("w").value) == ["ours", None, "ours", "ours"]
    else:
        assert report.status == "lost"
        assert ran == ["w.1", "w.2"]


def test_fenced_records_of_a_remote_store_count_as_news(driver: Driver) -> None:
    """Over HTTP every step is fenced, so its worker asks for the task only after a step that takes long."""
    line = Line(driver.store)
    driver.use(Resources(HttpStore(URL, clock=driver.clock, post=line), driver.clock))
    ran: list[str] = []

    def step(ctx: Context) -> None:
        ran.append(ctx.id)
        driver.clock.sleep(1_000)
        if ctx.id == "w.4":
            assert driver.store.apply(TaskHalt("w")).ok

    driver.begin("w", _sequence(step))

    assert driver.invoke().status == "lost"
    assert ran == ["w.1", "w.2", "w.3", "w.4"]
    assert b"task.get" not in b"".join(line.bodies)


def test_records_fenced_by_a_newer_version_do_not_confirm_the_lease(driver: Driver) -> None:
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

    driver.begin("w", _sequence(step))

    assert driver.invoke().status == "lost"
    assert ran == ["w.1", "w.2", "w.3", "w.4"]


@pytest.mark.parametrize("stop", STOPS)
def test_worker_that_waits_out_short_sleeps_stops_after_halt_or_cancel(driver: Driver, stop: str) -> None:
    slept: list[int] = []

    def workflow(ctx: Context) -> Flow:
        for n in range(10):
            yield ctx.sleep(0.6)
            slept.append(n)
            if n == 1:
                assert driver.store.apply(STOPS[stop]).ok

    driver.begin("w", workflow)

    assert driver.invoke().status == "lost"
    assert slept == [0, 1, 2, 3]


@pytest.mark.parametrize(("seconds", "reads"), [(1, 0), (2, 0), (10, 4)])
def test_the_task_is_read_at_most_every_two_seconds(driver: Driver, seconds: int, reads: int) -> None:
    def workflow(ctx: Context) -> Flow:
        for _ in range(seconds * 10):
            yield ctx.run(lambda _: driver.clock.sleep(100))

    driver.begin("w", workflow)

    assert driver.invoke().status == "completed"
    assert driver.tap.kinds().count("task.verify") == reads


@pytest.mark.parametrize("moment", ["suspend", "fulfill", "release", "halt"])
def test_a_worker_whose_lease_has_gone_to_another_one_has_lost(driver: Driver, moment: str) -> None:
    def taken(request: Request | str) -> Response | None:
        if not isinstance(request, str) and request.kind == f"task.{moment}":
            driver.pass_time(TTL / 1000)
            id, version = driver.offers[-1]
            assert driver.store.apply(TaskAcquire(id, version, "another", TTL)).ok
            driver.offers.clear()
        return None

    def workflow(ctx: Context) -> Flow:
        if moment == "suspend":
            yield ctx.sleep(3600)
        if moment == "halt":
            yield ctx.run(double, 1)
        return "done"

    def before(ctx: Context) -> Flow:
        yield ctx.rpc("elsewhere").options(target="poll://any@elsewhere")

    if moment == "halt":
        driver.deploy(workflow=before)
        driver.create("w", {"func": "workflow"})
        driver.invoke()
        driver.settle("w.1")
        driver.deploy(workflow=workflow)
        driver.offers = type(driver.offers)([offer for offer in driver.offers if offer[0] == "w"])
    else:
        if moment != "release":
            driver.register(workflow)
        driver.create("w", {"func": "workflow"})
    driver.tap.answer = taken

    assert driver.invoke().status == "lost"
    task = driver.task("w")
    assert task is not None
    assert (task.state, task.pid) == ("acquired", "another")


# -- released ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"func": "nobody"}, "function nobody not found in registry"),
        ({"func": "double", "version": 7}, "function double version 7 not found in registry"),
        ({"func": 5}, r"the param of promise w is not a call \(.*func"),
        ({"func": "double", "args": 5}, r"the param of promise w is not a call \(.*args"),
        ({"func": "double", "kwargs": [1]}, r"the param of promise w is not a call \(.*kwargs"),
        ({"func": "double", "version": "x"}, r"the param of promise w is not a call \(.*version"),
        ("double", r"the param of promise w is not a call \("),
        (None, r"the param of promise w is not a call \("),
        (Value(data="bm90IGpzb24="), "its data, 8 bytes, is not JSON text"),
        (Value(data="x"), "its data, 1 characters, is not the base64 of JSON text"),
        (Value(data="W1tb" * 40_000), "its data, 120000 bytes, is not JSON text"),
    ],
)
def test_a_call_that_cannot_be_made_is_given_back_and_after_ten_attempts_halted(
    driver: Driver, call: Any, error: str
) -> None:
    driver.register(double)
    driver.create("w", call)

    with pytest.raises(ResonateHaltedError, match=rf"(?s)halted after 10 attempts without progress.*{error}"):
        driver.finish("w")
    assert [report.status for report in driver.reports] == ["released"] * 10
    assert driver.elapsed() > 60, "attempts are spread over time"
    task = driver.task("w")
    assert task is not None
    assert (task.state, task.attempts) == ("halted", 10)
    # Nothing is lost: the function is deployed, the task continued.
    driver.deploy(nobody=double)
    driver.store.apply(TaskContinue("w"))
    driver.work()


@three_ways
def test_a_missing_function_that_turns_up_is_run(driver: Driver) -> None:
    driver.create("w", {"func": "double", "args": [4]})
    assert set(driver.work()) == {"released"}
    driver.register(double)

    assert driver.finish("w") == 8


@three_ways
def test_a_call_from_another_sdk_needs_only_a_function(driver: Driver) -> None:
    def hello(_: Context) -> str:
        return "hello"

    driver.register(hello)
    calls: list[dict[str, Any]] = [{"func": "hello"}, {"func": "hello", "args": None, "kwargs": None, "version": None}]
    for number, call in enumerate(calls):
        driver.create(f"w{number}", call)
        assert driver.finish(f"w{number}") == "hello"


def test_replayed_call_keeps_the_target_of_its_record(driver: Driver) -> None:
    driver.register(double)

    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.rpc(double, 1)), (yield ctx.rpc(double, 2))]

    driver.begin("w", workflow)
    assert driver.invoke().status == "suspended"
    driver.worker.group = "g"

    assert driver.finish("w") == [2, 4]
    assert [driver.record(id).tags[TARGET] for id in ("w.1", "w.2")] == ["poll://any@default", "poll://any@g"]


@pytest.mark.parametrize("failure", [Response(status=503, error="too busy"), StoreError("no table")])
@pytest.mark.parametrize("kind", ["promise.record", "promise.create", "task.suspend", "task.fulfill"])
def test_a_store_that_cannot_answer_gives_the_task_back_to_be_tried_again(
    driver: Driver, kind: str, failure: Response | StoreError
) -> None:
    calls = 0

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        yield ctx.sleep(10)

    def fails_once(request: Request | str) -> Response | None:
        nonlocal calls
        calls += not isinstance(request, str) and request.kind == kind
        if isinstance(request, str) or request.kind != kind or calls > 1:
            return None
        if isinstance(failure, StoreError):
            raise failure
        return failure

    driver.tap.answer = fails_once

    assert driver.run("w", workflow) is None
    reason = [report.error for report in driver.reports if report.status == "released"]
    assert len(reason) == 1
    assert ("too busy" if isinstance(failure, Response) else "no table") in str(reason[0])


def test_a_store_that_is_gone_raises_and_the_lease_brings_the_task_back(driver: Driver) -> None:
    def gone(_: Request | str) -> Response | None:
        raise StoreError("no table")

    driver.tap.answer = gone
    driver.begin("w", double, 1)
    with pytest.raises(StoreError, match="no table"):
        driver.invoke()
    driver.tap.answer = lambda _: None

    assert driver.finish("w") == 2


# -- handed over ------------------------------------------------------------------------------------------------------


@pytest.fixture
def steps() -> Iterator[list[int]]:
    """The numbers of the steps that ran; no step ever runs twice."""
    ran: list[int] = []
    yield ran
    assert len(ran) == len(set(ran))


@pytest.mark.parametrize("begin", [False, True], ids=["run", "begin_run"])
def test_no_step_begins_after_the_deadline_and_the_next_run_goes_on(
    driver: Driver, steps: list[int], begin: bool
) -> None:
    driver.time = 25.0

    def slow(_: Context, n: int) -> int:
        steps.append(n)
        driver.clock.advance(10_000)
        return n

    def workflow(ctx: Context) -> Flow:
        if not begin:
            total = 0
            for n in range(7):
                total += yield ctx.run(slow, n)
            return total
        promises, results = [], []
        for n in range(7):
            promises.append((yield ctx.begin_run(slow, n)))
        for promise in promises:
            results.append((yield promise))
        return sum(results)

    assert driver.run("w", workflow) == 21
    # Three steps fit before 25 s are over; a step that has begun is finished and recorded.
    assert [report.status for report in driver.reports] == ["released", "released", "completed"]
    assert all(report.error is None for report in driver.reports)
    task = driver.task("w")
    assert task is not None
    assert task.attempts == 0
    handovers = [request for request in driver.tap.requests if isinstance(request, TaskRelease)]
    assert all(request.handover for request in handovers)


def test_a_handover_is_offered_again_at_once_and_never_counted(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(double, 1)

    driver.time = 0.0
    driver.begin("w", workflow)
    for _ in range(20):
        assert driver.invoke().status == "released"
    driver.time = None

    assert driver.finish("w") is None
    assert driver.elapsed() == 0


@pytest.mark.parametrize("what", ["sleep", "pause"])
def test_a_short_wait_is_handed_over_when_it_would_pass_the_deadline(driver: Driver, what: str) -> None:
    def fails_once(_: Context) -> None:
        if driver.clock.now() == begun:
            raise ValueError("again")

    def workflow(ctx: Context) -> Flow:
        if what == "sleep":
            yield ctx.sleep(0.9)
        else:
            yield ctx.run(fails_once).options(retry_policy=Constant(0.9))
        return driver.elapsed()

    begun = driver.clock.now()
    driver.time = 0.5
    driver.begin("w", workflow)
    assert driver.invoke().status == "released"
    driver.time = None

    assert driver.finish("w") == 0.9


def test_suspending_after_the_deadline_is_no_handover(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.sleep(3600)

    driver.time = 0.0
    driver.begin("w", workflow)

    assert driver.invoke().status == "suspended"


# -- threads ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(4, "pool") as pool:
        yield pool


def test_functions_begun_together_run_at_the_same_time(pool: Pool) -> None:
    driver = Driver(functions=pool, requests=pool)
    meeting = threading.Barrier(3, timeout=PATIENCE)

    def meets(_: Context, n: int) -> int:
        meeting.wait()
        return n

    def workflow(ctx: Context) -> Flow:
        promises, results = [], []
        for n in range(3):
            promises.append((yield ctx.begin_run(meets, n)))
        for promise in promises:
            results.append((yield promise))
        return results

    assert driver.run("w", workflow) == [0, 1, 2]
    assert driver.ids() == ["w", "w.1", "w.2", "w.3"]


def test_a_plain_run_stays_in_the_thread_of_the_worker(pool: Pool) -> None:
    driver = Driver(functions=pool)

    def where(_: Context) -> int:
        return threading.get_ident()

    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.run(where)), (yield (yield ctx.begin_run(where)))]

    here, apart = driver.run("w", workflow)

    assert here == threading.get_ident() != apart


def test_what_has_begun_is_finished_and_recorded_before_a_handover(pool: Pool) -> None:
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


def test_an_error_in_a_thread_is_an_error_at_the_await(pool: Pool) -> None:
    driver = Driver(functions=pool)

    def fails(_: Context) -> None:
        raise KeyError("there")

    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.begin_run(fails).options(retry_policy=Never())
        try:
            yield promise
        except KeyError as error:
            return error.args[0]

    assert driver.run("w", workflow) == "there"


def _exits_async(error: BaseException, *, inner: bool) -> Callable[..., Any]:
    async def exits(_: Context) -> None:
        async def raises() -> None:
            raise error

        await (asyncio.gather(raises()) if inner else raises())

    return exits


def _exits(error: BaseException) -> Callable[..., Any]:
    def exits(_: Context) -> None:
        raise error

    return exits


def _exiting_workflow(error: BaseException) -> Callable[..., Any]:
    def exits(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        raise error

    return exits


class Unusual(BaseException):
    """Like `trio.Cancelled` and `gevent.Timeout`; nothing can be said about it."""

    def __repr__(self) -> str:
        raise ValueError


EXITS = [
    SystemExit(3),
    asyncio.CancelledError(),
    GeneratorExit(),
    BaseExceptionGroup("", [SystemExit()]),
    Unusual("why"),
    BaseExceptionGroup("", [Unusual()]),
]
EXITING: dict[str, Callable[[BaseException], Callable[..., Any]]] = {
    "plain": _exits,
    "async": lambda error: _exits_async(error, inner=False),
    "async task": lambda error: _exits_async(error, inner=True),
    "workflow": _exiting_workflow,
}


@three_ways
@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize("spelling", EXITING)
@pytest.mark.parametrize("error", EXITS, ids=lambda error: type(error).__name__)
def test_a_step_that_raises_an_exit_fails_at_once(
    driver: Driver, caplog: pytest.LogCaptureFixture, error: BaseException, spelling: str, begin: bool
) -> None:
    exits = EXITING[spelling](error)

    def workflow(ctx: Context) -> Flow:
        try:
            if begin:
                yield (yield ctx.begin_run(exits).options(retry_policy=Never()))
            else:
                yield ctx.run(exits).options(retry_policy=Never())
        except ApplicationError as failed:
            return failed.type_name

    assert driver.run("w", workflow).rpartition(".")[2] == type(error).__name__
    assert [report.status for report in driver.reports] == ["completed"]
    assert type(error).__name__ in caplog.text


def test_an_interrupt_raised_in_a_thread_fails_its_step(pool: Pool) -> None:
    driver = Driver(functions=pool)

    def workflow(ctx: Context) -> Flow:
        try:
            yield (yield ctx.begin_run(_exits(KeyboardInterrupt())).options(retry_policy=Never()))
        except ApplicationError as failed:
            return failed.type_name

    assert driver.run("w", workflow) == "KeyboardInterrupt"


def test_pytest_outcome_in_a_thread_fails_its_step(pool: Pool) -> None:
    driver = Driver(functions=pool)
    fails = _exits(pytest.fail.Exception("not so"))

    def workflow(ctx: Context) -> Flow:
        try:
            yield (yield ctx.begin_run(fails).options(retry_policy=Never()))
        except ApplicationError as failed:
            return failed.type_name

    assert driver.run("w", workflow) == "Failed"


@pytest.mark.parametrize("spelling", EXITING)
def test_pytest_outcome_in_the_threads_of_a_test_reaches_it(driver: Driver, spelling: str) -> None:
    driver.begin("w", EXITING[spelling](pytest.fail.Exception("not so")))
    with pytest.raises(pytest.fail.Exception, match="not so"):
        driver.work()


def test_an_exit_is_retried_as_the_policy_of_its_step_says(driver: Driver) -> None:
    def exits_once(ctx: Context) -> int:
        if ctx.info.attempt == 1:
            raise SystemExit(3)
        return ctx.info.attempt

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(exits_once).options(retry_policy=Constant(0, 1)))

    assert driver.run("w", workflow) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs a signal of one's own")
def test_an_interrupt_and_an_exit_by_signal_end_the_run(driver: Driver) -> None:
    def terminate(_number: int, _frame: object) -> None:
        raise SystemExit(0)

    def interrupted(_: Context) -> None:
        raise KeyboardInterrupt

    def terminated(_: Context) -> None:
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, terminate)
    try:
        for id, step, end in (("i", interrupted, KeyboardInterrupt), ("t", terminated, SystemExit)):
            driver.begin(id, step)
            with pytest.raises(end):
                driver.invoke()
            assert driver.promise(id).pending
    finally:
        signal.signal(signal.SIGUSR1, before)


def at_creations(ids: set[str], act: Callable[[str], object]) -> Callable[[Request | str], Response | None]:
    """Do something when one of these promises is about to be created; it may be an answer."""

    def answer(request: Request | str) -> Response | None:
        answered = act(request.id) if isinstance(request, PromiseCreate) and request.id in ids else None
        return answered if isinstance(answered, Response) else None

    return answer


def fan_out(ctx: Context, width: int) -> Flow:
    promises, results = [], []
    for n in range(width):
        promises.append((yield ctx.begin_rpc(double, n)))
    for promise in promises:
        results.append((yield promise))
    return results


def test_calls_that_are_begun_in_a_row_are_created_together_after_the_first(pool: Pool) -> None:
    driver = Driver(requests=pool)
    together = threading.Barrier(3, timeout=PATIENCE)
    driver.register(double)
    driver.tap.answer = at_creations({"w.2", "w.3", "w.4"}, lambda _: together.wait())

    assert driver.run("w", fan_out, 4) == [0, 2, 4, 6]


def test_workflows_that_are_begun_in_a_row_create_their_promises_together(pool: Pool) -> None:
    driver = Driver(requests=pool)
    together = threading.Barrier(3, timeout=PATIENCE)

    def asks(ctx: Context) -> Flow:
        promise = yield ctx.promise()
        driver.settle(promise.id, 1)
        return (yield promise)

    def workflow(ctx: Context) -> Flow:
        promises, total = [], 0
        for _ in range(3):
            promises.append((yield ctx.begin_run(asks)))
        for promise in promises:
            total += yield promise
        return total

    driver.tap.answer = at_creations({"w.1.1", "w.2.1", "w.3.1"}, lambda _: together.wait())

    assert driver.run("w", workflow) == 3


def test_a_replayed_workflow_need_not_wait_for_the_promises_that_it_has_got_beyond(pool: Pool) -> None:
    """Their ids are their own, so they are not among the records that replay reads."""
    driver = Driver(requests=pool)
    together = threading.Barrier(3, timeout=PATIENCE)

    def workflow(ctx: Context) -> Flow:
        promises, total = [], 0
        for n in range(3):
            promises.append((yield ctx.promise(id=f"p{n}")))
        yield ctx.run(double, 1)
        for promise in promises:
            total += yield promise
        return total

    driver.begin("w", workflow)
    assert driver.invoke().status == "suspended"
    for n in range(3):
        driver.settle(f"p{n}", 1)
    driver.tap.answer = at_creations({"p0", "p1", "p2"}, lambda _: together.wait())

    assert driver.finish("w") == 3


@pytest.mark.parametrize("then", ["a step", "the end"])
def test_what_is_on_its_way_is_there_before_anything_else_happens(pool: Pool, then: str) -> None:
    driver = Driver(requests=pool)
    gone_on = threading.Event()
    there: list[list[str]] = []

    def workflow(ctx: Context) -> Flow:
        for _ in range(3):
            yield ctx.begin_rpc("elsewhere").options(target="poll://any@others")
        gone_on.set()
        if then == "a step":
            yield ctx.run(lambda _: there.append(driver.ids()))

    def answer(request: Request | str) -> Response | None:
        if isinstance(request, TaskSuspend):
            there.append(driver.ids())
        elif isinstance(request, PromiseCreate) and request.id != "w.1":
            assert gone_on.wait(PATIENCE)
        return None

    driver.tap.answer = answer
    driver.begin("w", workflow)

    assert driver.invoke().status == "suspended"
    assert there[0] == ["w", "w.1", "w.2", "w.3"]


@pytest.mark.parametrize("failure", ["StoreError", "409"])
def test_a_failure_on_the_way_ends_the_run_after_the_rest_has_arrived(pool: Pool, failure: str) -> None:
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


def test_refused_call_on_its_way_is_raised_at_next_yield_and_await(
    pool: Pool,
) -> None:
    driver = Driver(requests=pool)

    def workflow(ctx: Context) -> Flow:
        promises, results = [], []
        for n in range(3):
            promises.append((yield ctx.begin_rpc(double, n)))
        for promise in promises:
            try:
                results.append((yield promise))
            except ResonateStoreError as error:
                results.append(error.mesg)
        return results

    driver.register(double)
    driver.tap.answer = at_creations({"w.2"}, lambda _: Response(status=400, error="not like this"))

    assert driver.run("w", workflow) == ["not like this", "not like this", 4]

"""What an execution knows of its promises: overridden ids, promises settled elsewhere, outcomes refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.errors import (
    PayloadError,
    PayloadTooLargeError,
    ResonateCanceledError,
    ResonateStoreError,
    ResonateTimedoutError,
)
from resonate.payloads import codec
from resonate_store.model.records import SettledState, Value
from resonate_store.model.requests import PromiseCreate, PromiseRecord, PromiseSettle, Response, TaskFulfill
from resonate_store.model.tags import LINK, PARENT
from tests.support.driver import DAY, Driver, Flow
from tests.support.steps import Diary, begun, caught, double, runs
from tests.support.ways import always_three_ways, three_ways


@three_ways
def test_overridden_id_leaves_a_link_and_replay_reads_only_that(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        values = [
            (yield ctx.run(double, 21).options(id="run")),
            (yield ctx.rpc(double, 21).options(id="rpc")),
            (yield ctx.run(runs(double, 21)).options(id="nested")),
            (yield ctx.sleep(5).options(id="sleep")),
            (yield (yield ctx.promise(id="promise"))),
        ]
        yield ctx.sleep(100)
        return values

    driver.register(double)
    driver.begin("w", workflow)
    while "promise" not in driver.ids():
        driver.work()
        driver.pass_time(5)
    driver.settle("promise", 42)
    while "w.6" not in driver.ids():
        driver.pass_time(5)
        driver.work()

    for number, id in enumerate(("run", "rpc", "nested", "sleep", "promise"), 1):
        link = driver.promise(f"w.{number}")
        assert (link.tags[LINK], link.tags[PARENT], link.state) == (id, "w", "resolved")
        driver.expire(id)
    assert driver.finish("w") == [42, 42, 42, None, 42]
    assert not {"run", "rpc", "nested", "sleep", "promise"} & {*driver.ids()}


@always_three_ways
def test_workflows_share_the_promise_of_one_id(driver: Driver, diary: Diary) -> None:
    shared = driver.register(diary.step("shared", "once"))

    def workflow(ctx: Context) -> Flow:
        here = yield ctx.run(shared).options(id="shared-here")
        there = yield ctx.rpc("shared").options(id="shared-there")
        return [here, there]

    driver.begin("one", workflow)
    driver.begin("two", workflow)

    assert driver.finish("one") == driver.finish("two") == ["once", "once"]
    assert diary == ["shared", "shared"]
    assert [driver.promise(id).tags[LINK] for id in ("one.1", "two.1")] == ["shared-here"] * 2


@three_ways
def test_same_id_within_one_execution_is_one_promise(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        one = yield ctx.begin_run(diary.step("ran", 1)).options(id="same")
        two = yield ctx.begin_run(diary.step("ran", 1)).options(id="same")
        return [one.id, two.id, (yield one), (yield two)]

    assert driver.run("w", workflow) == ["same", "same", 1, 1]
    assert diary == ["ran"]


@three_ways
def test_shared_promise_keeps_the_deadline_it_was_created_with(driver: Driver) -> None:
    def step(ctx: Context) -> float:
        return ctx.info.timeout

    def nested(ctx: Context) -> Flow:
        return min(ctx.info.timeout, (yield ctx.run(step)))

    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.run(step).options(id="step")), (yield ctx.run(nested).options(id="nested"))]

    deadline = driver.after(30)
    for id in ("step", "nested"):
        driver.store.apply(PromiseCreate(id, deadline))

    assert driver.run("w", workflow) == [deadline / 1000] * 2


@three_ways
def test_error_of_a_shared_promise_is_kept_in_its_link(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.promise(id="hitl")
        first = yield from caught(promise, ValueError, ResonateCanceledError, ResonateTimedoutError, PayloadError)
        yield ctx.sleep(10)
        return repr(first)

    settlements: dict[str, Callable[[], None]] = {
        "ValueError('no')": lambda: driver.settle("hitl", ValueError("no"), "rejected"),
        "ResonateCanceledError('hitl')": lambda: driver.settle("hitl", state="rejected_canceled"),
        "ResonateTimedoutError('hitl'": lambda: driver.pass_time(2 * DAY),
    }
    for expected, settle in settlements.items():
        driver.store.apply(PromiseCreate("hitl", driver.after(DAY)))
        driver.start(expected, workflow, timeout=3 * DAY)
        settle()
        assert driver.finish(expected).startswith(expected)
        assert driver.promise(f"{expected}.1").state == "rejected"
        driver.expire("hitl")


COMMANDS: dict[str, Callable[[Context], Any]] = {
    "run": lambda ctx: ctx.run(f),
    "nested": lambda ctx: ctx.run(nap),
    "rpc": lambda ctx: ctx.rpc("f"),
    "begin_rpc": lambda ctx: ctx.begin_rpc("f"),
    "promise": lambda ctx: ctx.promise(),
    "sleep": lambda ctx: ctx.sleep(10),
}


def f(_: Context) -> str:
    return "f"


def nap(ctx: Context) -> Flow:
    yield ctx.sleep(10)


@three_ways
def test_execution_under_a_commands_id_is_not_adopted(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, what: str) -> Flow:
        error = yield from caught(COMMANDS[what](ctx), ResonateStoreError)
        yield ctx.sleep(10)
        return error.mesg

    def execution(ctx: Context, done: bool) -> Flow:
        if not done:
            yield (yield ctx.promise())
        return "its own"

    driver.register(f)
    for what in COMMANDS:
        for done in (False, True):
            with subtests.test(what, done=done):
                id = f"{what}-{done}"
                driver.start(f"{id}.1", execution, done)
                assert f"{id}.1 exists and is an execution of its own" in driver.run(id, workflow, what)
                if not done:
                    driver.settle(f"{id}.1.1")
                assert driver.finish(f"{id}.1") == "its own"


@three_ways
def test_command_whose_number_is_a_siblings_id_is_refused(driver: Driver, subtests: pytest.Subtests) -> None:
    siblings: dict[str, Callable[[Context], Any]] = {
        "run": lambda ctx: ctx.run(f).options(id=f"{ctx.id}.2"),
        "rpc": lambda ctx: ctx.rpc("f").options(id=f"{ctx.id}.2"),
        "begin_rpc": lambda ctx: ctx.begin_rpc("f").options(id=f"{ctx.id}.2"),
    }
    seen: list[str] = []

    def workflow(ctx: Context, sibling: str, what: str) -> Flow:
        yield siblings[sibling](ctx)
        seen.append((yield from caught(COMMANDS[what](ctx), ResonateStoreError)).mesg)
        yield ctx.sleep(200)
        return "done"

    async def async_workflow(ctx: Context, sibling: str, what: str) -> str:
        await siblings[sibling](ctx)
        try:
            await COMMANDS[what](ctx)
        except ResonateStoreError as error:
            seen.append(error.mesg)
        await ctx.sleep(200)
        return "done"

    driver.register(f)
    for what, sibling, spelling in itertools.product(COMMANDS, siblings, (workflow, async_workflow)):
        id = f"{what}-{sibling}-{spelling.__name__}"
        with subtests.test(id):
            seen.clear()
            assert driver.run(id, spelling, sibling, what) == "done"
            assert len(seen) > 1
            refusal = f".options(id=...) gave that id to the command {id}.1: give {id}.1 an id"
            assert all(refusal in text for text in seen)


@always_three_ways
def test_promise_is_settled_from_outside(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        numbered = yield ctx.promise(data={"ask": "me"}, tags={"mine": "x"}, timeout=60.0)
        named = yield ctx.promise(id="approval", data={"ask": "me"}, tags={"mine": "x"}, timeout=60.0)
        yield ctx.run(diary.step("mail"))
        return [(yield numbered), (yield named)]

    assert driver.start("w", workflow) == ["suspended"]
    for id in ("w.1", "approval"):
        promise = driver.promise(id)
        assert (promise.tags["mine"], promise.timeout_at) == ("x", driver.after(60))
        driver.settle(id, {"answer": id})

    assert driver.finish("w") == [{"answer": "w.1"}, {"answer": "approval"}]
    assert diary == ["mail"]


@three_ways
def test_promise_settled_before_its_command_is_awaited_at_once(driver: Driver) -> None:
    driver.store.apply(PromiseCreate("early", driver.after(DAY)))
    driver.settle("early", "bird")

    def workflow(ctx: Context) -> Flow:
        return (yield (yield ctx.promise(id="early")))

    assert driver.run("w", workflow) == "bird"
    assert [report.status for report in driver.reports] == ["completed"]


@three_ways
def test_rejection_from_outside_is_raised_at_the_await(driver: Driver) -> None:
    unreadable = Value(data="bm90IGpzb24=")
    rejections: list[tuple[str | None, Value, SettledState, str]] = [
        (None, codec.encode_error(ValueError("refused")), "rejected", "ValueError('refused')"),
        (None, Value(), "rejected_canceled", "ResonateCanceledError('w.2')"),
        (None, codec.encode({"why": "data"}, "a value"), "rejected", "Exception({'why': 'data'})"),
        (None, unreadable, "rejected", "JSON text"),
        ("approval", unreadable, "rejected", "JSON text"),
    ]

    def workflow(ctx: Context) -> Flow:
        raised = []
        for promise in (yield from begun(ctx.promise(id=id) for id, *_ in rejections)):
            error = yield from caught(promise, Exception)
            raised.append(error.mesg if isinstance(error, PayloadError) else repr(error))
        return raised

    driver.start("w", workflow)
    for number, (id, value, state, _) in enumerate(rejections, 1):
        assert driver.store.apply(PromiseSettle(id or f"w.{number}", state, value)).ok

    for raised, (*_, expected) in zip(driver.finish("w"), rejections, strict=True):
        assert expected in raised


@three_ways
def test_child_that_outlives_its_timeout_raises_it(driver: Driver, subtests: pytest.Subtests) -> None:
    def slow(_: Context) -> str:
        driver.clock.sleep(6_000)
        return "too late"

    def nested(ctx: Context) -> Flow:
        yield ctx.sleep(60)

    def workflow(ctx: Context, how: str) -> Flow:
        calls: dict[str, Callable[[], Any]] = {
            "run": lambda: ctx.run(slow),
            "begin_run": lambda: ctx.begin_run(slow),
            "nested": lambda: ctx.run(nested),
            "rpc": lambda: ctx.rpc(nested),
            "promise": ctx.promise,
        }
        error = yield from caught(calls[how]().options(timeout=5.0), ResonateTimedoutError)
        if how in ("begin_run", "promise"):
            error = yield from caught(error, ResonateTimedoutError)
        return [error.id, error.timeout]

    driver.register(nested)
    for how in ("run", "begin_run", "nested", "rpc", "promise"):
        with subtests.test(how):
            deadline = driver.clock.now() / 1000 + 5
            assert driver.run(how, workflow, how) == [f"{how}.1", deadline]
            assert driver.promise(f"{how}.1").state == "rejected_timedout"
    assert driver.promise("nested.1.1").timeout_at == driver.promise("nested.1").timeout_at


@always_three_ways
def test_root_times_out_while_it_is_suspended(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield (yield ctx.promise())

    with pytest.raises(ResonateTimedoutError) as caught:
        driver.run("w", workflow, timeout=30.0)

    assert caught.value.id == "w"
    assert driver.elapsed() == 30


@three_ways
def test_workflow_that_outlives_its_own_deadline_is_lost(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(lambda _: driver.clock.sleep(60_000))
        return "too late"

    driver.begin("w", workflow, timeout=30.0)

    assert driver.work() == ["lost"]
    assert driver.promise("w").state == "rejected_timedout"


def test_result_too_large_to_record_is_raised_at_the_call(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        error = yield from caught(ctx.run(double, 1), ResonateStoreError)
        yield ctx.sleep(10)
        return error.status

    driver.tap.answer = lambda request: (
        Response(status=413, error="too large")
        if isinstance(request, PromiseRecord) and request.state == "resolved"
        else None
    )

    assert driver.run("w", workflow) == 413
    assert driver.promise("w.1").state == "rejected"


def test_result_of_the_root_too_large_to_record_rejects_it(driver: Driver) -> None:
    answers = [Response(status=413, error="the promise would have 500 KB, and 400 KB is the limit")]
    driver.tap.answer = lambda request: answers.pop() if answers and isinstance(request, TaskFulfill) else None

    with pytest.raises(PayloadTooLargeError, match="would have 500 KB"):
        driver.run("w", double, 1)

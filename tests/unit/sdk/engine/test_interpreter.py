"""The programming model as a workflow meets it, executed by a worker over a store in memory, and deployed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from resonate import Context
from resonate.engine.conventions import Conventions
from resonate.errors import (
    NonDeterminismError,
    PayloadError,
    PayloadTooLargeError,
    ProgramError,
    ResonateCanceledError,
    ResonateHaltedError,
    ResonateStoreError,
    ResonateTimedoutError,
    SignatureError,
    is_final,
)
from resonate.payloads import codec
from resonate.retry_policies import Constant, Exponential, Linear, Never, RetryPolicy
from resonate.workflow.commands import LocalCall
from resonate.workflow.context import Info
from resonate.workflow.options import Options
from resonate_store.model.records import Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    Request,
    Response,
    TaskContinue,
    TaskSuspendRegistered,
)
from resonate_store.model.tags import DELAY, FUNC, LINK, ORIGIN, PARENT, SCOPE, TARGET, TIMER
from tests.support.driver import DAY, Driver, Flow
from tests.support.ways import always_three_ways, three_ways

ONCE = Never()


class Diary(list[Any]):
    """What the functions of a test have done, in order; `diary.step` makes functions that say so."""

    def step(self, name: str, result: Any = None, error: Exception | None = None) -> Callable[..., Any]:
        def function(_: Context) -> Any:
            self.append(name)
            if error is not None:
                raise error
            return result

        function.__name__ = name
        return function


@pytest.fixture
def diary() -> Diary:
    return Diary()


def double(_: Context, n: int) -> int:
    return 2 * n


def text_of(_: Context, first: str, *rest: str, sep: str = "") -> str:
    return sep.join((first, *rest))


# -- steps ------------------------------------------------------------------------------------------------------------


@three_ways
def test_steps_happen_in_sequence_each_with_the_result_of_the_one_before(driver: Driver) -> None:
    def workflow(ctx: Context, n: int) -> Flow:
        once = yield ctx.run(double, n)
        twice = yield ctx.run(double, once)
        return [once, twice]

    assert driver.run("w", workflow, 1) == [2, 4]
    assert driver.ids() == ["w", "w.1", "w.2"]
    assert [report.status for report in driver.reports] == ["completed"]


def test_a_step_costs_one_write_when_it_has_finished(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        for n in range(3):
            yield ctx.run(double, n)

    driver.run("w", workflow)

    assert driver.tap.kinds() == ["task.acquire", *["promise.record"] * 3, "task.fulfill"]


@always_three_ways
def test_arguments_of_every_form_arrive(driver: Driver) -> None:
    def workflow(ctx: Context, first: str, *rest: str, sep: str) -> Flow:
        here = yield ctx.run(text_of, first, *rest, sep=sep)
        there = yield ctx.rpc("text_of", first, *rest, sep=sep)
        return [here, there]

    driver.register(text_of)

    assert driver.run("w", workflow, "a", "b", "c", sep="-") == ["a-b-c", "a-b-c"]


@always_three_ways
def test_a_result_is_what_replay_will_see_not_the_object_that_was_returned(driver: Driver) -> None:
    def pair(_: Context) -> Any:
        return (1, {2: "two"})

    def typed(_: Context) -> tuple[int, dict[int, str]]:
        return (1, {2: "two"})

    seen: list[Any] = []

    def workflow(ctx: Context) -> Flow:
        seen.append([(yield ctx.run(pair)), (yield ctx.run(typed))])
        yield ctx.sleep(10)

    driver.run("w", workflow)

    assert seen == [[[1, {"2": "two"}], (1, {2: "two"})]] * 2


@pytest.mark.parametrize("alias", ["lfc", "rfc", "lfi", "rfi"])
@three_ways
def test_the_short_names_do_the_same(driver: Driver, alias: str) -> None:
    def workflow(ctx: Context) -> Flow:
        given = yield getattr(ctx, alias)(double, 21)
        return given if alias.endswith("c") else (yield given)

    driver.register(double)

    assert driver.run("w", workflow) == 42


@three_ways
def test_a_plain_function_can_be_the_root(driver: Driver) -> None:
    assert driver.run("d", double, 4) == 8
    assert driver.ids() == ["d"]


@three_ways
def test_a_context_knows_its_execution(driver: Driver) -> None:
    infos: dict[str, Info] = {}

    def step(ctx: Context) -> None:
        infos[ctx.id] = ctx.info

    def workflow(ctx: Context) -> Flow:
        infos[ctx.id] = ctx.info
        yield ctx.run(step).options(tags={"mine": "x"}, timeout=5.0)
        yield ctx.run(step).options(idempotency_key="key")

    start = driver.clock.now() / 1000
    driver.run("w", workflow, tags={"yours": "y"}, timeout=60.0)

    assert infos["w"].timeout == start + 60
    assert infos["w"].tags["yours"] == "y"
    assert (infos["w.1"].timeout, infos["w.1"].tags["mine"], infos["w.1"].attempt) == (start + 5, "x", 1)
    assert [infos[id].idempotency_key for id in ("w", "w.1", "w.2")] == ["w", "w.1", "key"]


@three_ways
def test_a_dependency_is_at_hand_in_workflow_and_step(driver: Driver) -> None:
    driver.dependencies["db"] = 7

    def step(ctx: Context) -> int:
        return ctx.get_dependency("db")

    def workflow(ctx: Context) -> Flow:
        return [ctx.get_dependency("db"), (yield ctx.run(step)), ctx.get_dependency("other", "default")]

    assert driver.run("w", workflow) == [7, 7, "default"]


# -- promises and joining ---------------------------------------------------------------------------------------------


@always_three_ways
def test_a_started_step_is_awaited_later_and_as_often_as_one_likes(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        here = yield ctx.begin_run(diary.step("here", 1))
        there = yield ctx.begin_rpc("there")
        return [(yield there), (yield here), (yield there), (yield here)]

    def there(_: Context) -> int:
        return 2

    driver.register(there)

    assert driver.run("w", workflow) == [2, 1, 2, 1]
    assert diary == ["here"]


@three_ways
def test_a_promise_of_another_coroutine_of_the_computation_can_be_awaited(driver: Driver) -> None:
    def inner(_: Context, promise: Any) -> Flow:
        return (yield promise) + 1

    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.begin_run(double, 4)
        return (yield ctx.run(inner, promise))

    assert driver.run("w", workflow) == 9


@three_ways
def test_a_promise_of_another_computation_cannot_be_awaited(driver: Driver) -> None:
    promises: list[Any] = []

    def one(ctx: Context) -> Flow:
        promises.append((yield ctx.begin_run(double, 1)))

    def two(_: Context) -> Flow:
        yield promises[0]

    driver.run("one", one)

    with pytest.raises(ValueError, match=r"belongs to another computation.*ctx\.promise\(id="):
        driver.run("two", two)


@pytest.mark.parametrize("ending", ["return", "raise"])
@always_three_ways
def test_what_was_started_is_joined_in_creation_order_before_the_end(driver: Driver, diary: Diary, ending: str) -> None:
    def waits(ctx: Context, name: str, seconds: float) -> Flow:
        yield ctx.sleep(seconds)
        diary.append((name, driver.elapsed()))

    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_run(waits, "slow", 20)
        yield ctx.begin_run(waits, "fast", 10)
        yield ctx.begin_run(diary.step("fails", error=ValueError("nobody asks"))).options(retry_policy=ONCE)
        yield ctx.begin_rpc("remote")
        diary.append("end")
        if ending == "raise":
            raise KeyError("mine")
        return "mine"

    def remote(ctx: Context) -> Flow:
        yield ctx.sleep(2)
        raise ValueError("nobody asks")

    driver.deploy(workflow=workflow, remote=remote)
    driver.create("w", {"func": "workflow"})
    driver.work()
    # It waits for the first only: the remote call has been made, and nobody waits for it yet.
    assert driver.record("w.1.1").callbacks == {"w": 1}
    assert driver.record("w.4").callbacks == {}

    if ending == "raise":
        with pytest.raises(KeyError, match="mine"):
            driver.finish("w")
    else:
        assert driver.finish("w") == "mine"
    assert ("slow", 20.0) in diary
    assert ("fast", 10.0) in diary
    assert all(not driver.promise(f"w.{n}").pending for n in (1, 2, 3, 4))


@three_ways
def test_what_is_detached_is_neither_awaited_nor_bounded_by_its_caller(driver: Driver) -> None:
    def elsewhere(ctx: Context) -> Flow:
        yield ctx.sleep(500)
        return "done"

    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.detached("elsewhere")
        return promise.id

    driver.register(elsewhere)
    driver.begin("w", workflow, timeout=60.0)
    driver.work()

    assert not driver.promise("w").pending
    detached = driver.promise("w.1")
    assert detached.pending
    assert detached.tags[ORIGIN] == "w.1"
    assert detached.timeout_at > driver.promise("w").timeout_at
    assert driver.finish("w.1") == "done"


@always_three_ways
def test_a_detached_call_can_be_awaited_all_the_same(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.detached(double, 3)
        return (yield promise)

    driver.register(double)

    assert driver.run("w", workflow) == 6


# -- nesting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [False, True], ids=["run", "begin_run"])
@always_three_ways
def test_generators_nest_and_number_their_own_children(driver: Driver, begin: bool) -> None:
    def inner(ctx: Context, n: int) -> Flow:
        first = yield ctx.run(double, n)
        yield ctx.sleep(10)
        return first + (yield ctx.run(double, first))

    def workflow(ctx: Context) -> Flow:
        if begin:
            one = yield ctx.begin_run(inner, 1)
            two = yield ctx.begin_run(inner, 2)
            return [(yield one), (yield two)]
        return [(yield ctx.run(inner, 1)), (yield ctx.run(inner, 2))]

    assert driver.run("w", workflow) == [6, 12]
    assert driver.ids() == ["w", *(f"w.{n}{m}" for n in (1, 2) for m in ("", ".1", ".2", ".3"))]
    assert driver.elapsed() == (10 if begin else 20)
    assert driver.promise("w.1.3").tags[PARENT] == "w.1"
    assert driver.promise("w.1.3").tags[ORIGIN] == "w"


def test_replay_repeats_no_recorded_step_and_reads_finished_generators_not_again(driver: Driver, diary: Diary) -> None:
    def inner(ctx: Context, name: str) -> Flow:
        yield ctx.run(diary.step(f"{name}1"))
        yield ctx.sleep(10)
        yield ctx.run(diary.step(f"{name}2"))

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(inner, "a")
        yield ctx.run(inner, "b")

    driver.run("w", workflow)

    assert diary == ["a1", "a2", "b1", "b2"]
    # The first invocation knows that nothing exists yet; the last does not descend into what has finished.
    reads = [request for request in driver.tap.requests if isinstance(request, str)]
    assert reads == ["children:w", "children:w.1", "children:w", "children:w.2"]


@three_ways
def test_a_generator_may_end_without_yielding(driver: Driver) -> None:
    def inner(_: Context) -> Flow:
        return "at once"
        yield

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(inner))

    assert driver.run("w", workflow) == "at once"


# -- errors -----------------------------------------------------------------------------------------------------------


class Special(ValueError):
    pass


class Insufficient(Exception):
    def __init__(self, needed: int, *, available: int) -> None:
        super().__init__(needed)
        self.available = available


@pytest.mark.parametrize("where", ["run", "begin_run", "rpc", "nested"])
@always_three_ways
def test_an_error_is_raised_at_the_yield_as_its_own_type(driver: Driver, where: str) -> None:
    def fails(_: Context) -> None:
        raise Insufficient(5, available=3)

    def nested(ctx: Context) -> Flow:
        yield ctx.run(fails).options(non_retryable_exceptions=(Insufficient,))

    def nested_remote(ctx: Context) -> Flow:
        yield from nested(ctx)

    def workflow(ctx: Context) -> Flow:
        try:
            if where == "run":
                yield ctx.run(fails).options(retry_policy=ONCE)
            elif where == "begin_run":
                yield (yield ctx.begin_run(fails).options(retry_policy=ONCE))
            elif where == "rpc":
                yield ctx.rpc(nested_remote)
            else:
                yield ctx.run(nested)
        except Insufficient as error:
            return [error.args, error.available]

    driver.register(nested_remote)

    assert driver.run("w", workflow) == [[5], 3]


@three_ways
def test_an_uncaught_error_reaches_the_caller(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(diary.step("bad", error=Insufficient(1, available=0))).options(retry_policy=ONCE)

    with pytest.raises(Insufficient) as caught:
        driver.run("w", workflow)

    assert (caught.value.args, caught.value.available) == ((1,), 0)
    assert driver.promise("w").state == "rejected"


@always_three_ways
def test_try_except_else_and_finally_work_around_yields(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            try:
                yield ctx.run(diary.step("fails", error=ValueError("no"))).options(retry_policy=ONCE)
            except ValueError:
                yield ctx.run(diary.step("handled"))
            else:
                yield ctx.run(diary.step("never"))
            finally:
                yield ctx.run(diary.step("cleaned"))
            raise KeyError("later")
        except KeyError as error:
            return error.args[0]

    assert driver.run("w", workflow) == "later"
    assert diary == ["fails", "handled", "cleaned"]


@always_three_ways
def test_what_a_finally_block_yields_happens_at_the_end_and_not_when_the_workflow_suspends(
    driver: Driver, diary: Diary
) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.sleep(10)
            yield ctx.sleep(10)
        finally:
            yield ctx.run(diary.step("cleaned"))
        return "done"

    assert driver.run("w", workflow) == "done"
    assert diary == ["cleaned"]
    assert [report.status for report in driver.reports] == ["suspended", "suspended", "completed"]


@pytest.mark.parametrize("spelling", ["generator", "async", "nested"])
@three_ways
def test_workflow_that_catches_base_exception_in_a_loop_is_halted(
    driver: Driver, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    caught: list[BaseException] = []

    def stubborn(ctx: Context) -> Flow:
        while True:
            try:
                return (yield ctx.sleep(10))
            except BaseException as error:
                caught.append(error)

    async def stubborn_async(ctx: Context) -> None:
        while True:
            try:
                return await ctx.sleep(10)
            except BaseException as error:
                caught.append(error)

    def above(ctx: Context) -> Flow:
        yield ctx.run(stubborn)

    workflow = {"generator": stubborn, "async": stubborn_async, "nested": above}[spelling]

    with pytest.raises(ResonateHaltedError, match=r"stubborn(_async)? catches GeneratorExit.*`except Exception`"):
        driver.run("w", workflow)
    assert len(caught) == 10
    assert complaints == []


@three_ways
def test_finally_blocks_within_each_other_are_left_in_silence(
    driver: Driver, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever yields in a `finally` block has not ended when it is closed, and Python complains when it is freed."""
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)

    def workflow(ctx: Context) -> Flow:
        try:
            try:
                yield ctx.sleep(10)
            finally:
                yield ctx.run(diary.step("inner"))
        finally:
            try:
                yield ctx.run(diary.step("outer"))
            finally:
                yield ctx.run(asynchronous)

    async def asynchronous(ctx: Context) -> None:
        try:
            try:
                await ctx.sleep(10)
            finally:
                await ctx.run(diary.step("inner async"))
        finally:
            await ctx.run(diary.step("outer async"))

    driver.run("w", workflow)

    assert diary == ["inner", "outer", "inner async", "outer async"]
    assert complaints == []


@three_ways
def test_a_step_that_raises_stop_iteration_does_not_end_the_workflow(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(diary.step("stops", error=StopIteration(5))).options(retry_policy=ONCE)
        except StopIteration as error:
            return error.value

    assert driver.run("w", workflow) == 5


@pytest.mark.parametrize("rubbish", [None, 5, "text", ["a list"], object(), double], ids=lambda value: str(type(value)))
@three_ways
def test_yielding_anything_else_is_a_type_error_in_the_workflow(driver: Driver, rubbish: object) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield rubbish
        except TypeError as error:
            yield ctx.run(double, 1)
            return str(error)

    message = driver.run("w", workflow)

    assert "a workflow yields commands such as ctx.run(...), or promises, and not" in message
    assert type(rubbish).__name__ in message
    assert driver.ids() == ["w", "w.1"]


@three_ways
def test_wrong_arguments_are_the_functions_own_type_error(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(double)
        except TypeError as error:
            return str(error)

    assert "double cannot be called like this: its argument 'n' is missing" in driver.run("w", workflow)
    with pytest.raises(TypeError, match="positional argument"):
        driver.run("v", workflow, "too", "many")


# -- payloads that cannot travel --------------------------------------------------------------------------------------


@three_ways
def test_an_unencodable_result_names_its_path_and_is_not_retried(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(diary.step("step", {"rows": [1, object()]}))
        except PayloadError as error:
            return error.mesg

    message = driver.run("w", workflow)

    assert message.startswith("the result of step cannot travel: result['rows'][1] is an object")
    assert diary == ["step"]
    assert driver.promise("w.1").state == "rejected"


@three_ways
def test_an_unencodable_result_of_the_root_rejects_it(driver: Driver) -> None:
    def workflow(_: Context) -> Flow:
        return object()
        yield

    with pytest.raises(PayloadError, match="the result of workflow cannot travel"):
        driver.run("w", workflow)


def awaits_for_too_long(driver: Driver, closed: list[str]) -> Callable[..., Flow]:
    """A workflow whose nested one may take five seconds and awaits a promise that may take ten days."""
    foreign = PromiseCreate("foreign", driver._after(10 * DAY), tags={})
    assert driver.store.apply(foreign).ok

    def inner(ctx: Context) -> Flow:
        try:
            yield (yield ctx.promise(id="foreign"))
        finally:
            closed.append(ctx.id)

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(inner).options(timeout=5.0)
        except ResonateTimedoutError as error:
            return [error.id, (yield ctx.run(double, 4))]

    return workflow


@three_ways
def test_a_nested_workflow_does_not_outlast_its_time_by_what_it_awaits(driver: Driver) -> None:
    assert driver.run("w", awaits_for_too_long(driver, [])) == ["w.1", 8]
    assert driver.elapsed() == 5
    assert driver.promise("foreign").pending


def test_a_nested_workflow_whose_time_is_up_before_the_worker_suspends_is_let_go(driver: Driver) -> None:
    closed: list[str] = []

    def late(request: Request | str) -> Response | None:
        if not isinstance(request, str) and request.kind == "task.suspend":
            driver.clock.advance(5000)
        return None

    driver.begin("w", awaits_for_too_long(driver, closed))
    driver.tap.answer = late

    assert driver.invoke().status == "completed"
    assert codec.decode(driver.promise("w").value) == ["w.1", 8]
    assert closed == ["w.1"]


@pytest.mark.parametrize("how", ["rpc", "begin_rpc", "detached", "promise"])
@three_ways
def test_unencodable_arguments_are_raised_at_the_call(driver: Driver, how: str) -> None:
    def workflow(ctx: Context) -> Flow:
        bad = {"k": object()}
        try:
            yield ctx.promise(data=bad) if how == "promise" else getattr(ctx, how)("f", 1, x=bad)
        except PayloadError as error:
            return error.mesg

    message = driver.run("w", workflow)

    assert ("['k']" if how == "promise" else "kwargs['x']['k']") in message
    assert driver.ids() == ["w"]


@three_ways
def test_a_nondurable_step_may_return_anything(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        handle = yield ctx.run(lambda _: object()).options(durable=False)
        return type(handle).__name__

    assert driver.run("w", workflow) == "object"


def refuse(kind: str, id: str, status: int, error: str) -> Callable[[Request | str], Response | None]:
    """Answer requests of this kind about this promise with a failure."""

    def answer(request: Request | str) -> Response | None:
        matches = not isinstance(request, str) and request.kind == kind and getattr(request, "id", None) == id
        return Response(status=status, error=error) if matches else None

    return answer


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("how", ["rpc", "sleep", "promise", "nested"])
def test_a_creation_that_the_store_refuses_is_raised_at_the_yield(driver: Driver, how: str, status: int) -> None:
    def nested(ctx: Context) -> Flow:
        yield ctx.sleep(1)

    def workflow(ctx: Context) -> Flow:
        commands: dict[str, Any] = {
            "rpc": ctx.rpc("f"),
            "sleep": ctx.sleep(10),
            "promise": ctx.promise(),
            "nested": ctx.run(nested),
        }
        try:
            got = yield commands[how]
            if how == "promise":
                yield got
        except ResonateStoreError as error:
            return [error.mesg, error.status, (yield ctx.run(double, 1))]

    driver.tap.answer = refuse("promise.create", "w.1", status, "not like this")

    assert driver.run("w", workflow) == ["not like this", status, 2]


@three_ways
def test_a_target_that_is_no_address_is_raised_at_the_yield(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.rpc("f").options(target="ftp://nowhere")
        except ResonateStoreError as error:
            return [error.code, error.mesg]

    code, message = driver.run("w", workflow)

    assert code == 100.4
    assert "'ftp://nowhere' is not an address" in message


def test_a_result_too_large_to_record_is_an_error_at_the_call(driver: Driver) -> None:
    def large(_: Context) -> str:
        return "x" * 1000

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(large)
        except ResonateStoreError as error:
            yield ctx.sleep(10)
            return error.status

    driver.tap.answer = lambda request: (
        Response(status=413, error="too large")
        if isinstance(request, PromiseRecord) and request.state == "resolved"
        else None
    )

    assert driver.run("w", workflow) == 413
    assert driver.promise("w.1").state == "rejected"


def test_a_result_of_the_root_too_large_to_record_rejects_it(driver: Driver) -> None:
    refused: list[Request] = []

    def answer(request: Request | str) -> Response | None:
        if not isinstance(request, str) and request.kind == "task.fulfill" and not refused:
            refused.append(request)
            return Response(status=413, error="the promise would have 500 KB, and 400 KB is the limit")
        return None

    driver.tap.answer = answer

    with pytest.raises(PayloadTooLargeError, match="would have 500 KB"):
        driver.run("w", double, 1)


# -- ids --------------------------------------------------------------------------------------------------------------


@always_three_ways
def test_every_command_takes_a_number_even_when_its_id_is_overridden(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promises = [
            (yield ctx.begin_run(double, 1)),
            (yield ctx.begin_run(double, 2).options(id="mine")),
            (yield ctx.begin_rpc("double", 3)),
            (yield ctx.promise(id="hitl")),
            (yield ctx.promise()),
            (yield ctx.detached("double", 4).options(id="apart")),
        ]
        yield ctx.sleep(1).options(id="nap")
        yield ctx.run(double, 5)
        return [promise.id for promise in promises]

    driver.register(double)
    driver.begin("w", workflow)
    driver.work()
    for id in ("w.5", "hitl"):
        driver.settle(id)

    assert driver.finish("w") == ["w.1", "mine", "w.3", "hitl", "w.5", "apart"]
    assert {"nap", "w.8"} < set(driver.ids())


@pytest.mark.parametrize("how", ["run", "rpc", "nested", "promise", "sleep"])
@three_ways
def test_an_overridden_id_leaves_a_link_and_replay_reads_only_that(driver: Driver, how: str) -> None:
    def nested(ctx: Context) -> Flow:
        return (yield ctx.run(double, 21))

    def workflow(ctx: Context) -> Flow:
        match how:
            case "run":
                value = yield ctx.run(double, 21).options(id="foreign")
            case "rpc":
                value = yield ctx.rpc(double, 21).options(id="foreign")
            case "nested":
                value = yield ctx.run(nested).options(id="foreign")
            case "sleep":
                value = yield ctx.sleep(5).options(id="foreign")
            case _:
                value = yield (yield ctx.promise(id="foreign"))
        yield ctx.sleep(100)
        return value

    driver.register(double)
    driver.begin("w", workflow)
    driver.work()
    if how == "promise":
        driver.settle("foreign", 42)
    while "w.2" not in driver.ids():
        driver.pass_time(5)
        driver.work()

    link = driver.promise("w.1")
    assert link.tags[LINK] == "foreign"
    assert link.tags[PARENT] == "w"
    assert link.state == "resolved"
    driver.expire("foreign")
    assert driver.finish("w") == (None if how == "sleep" else 42)
    assert "foreign" not in driver.ids()


@always_three_ways
def test_two_workflows_share_what_has_the_same_id(driver: Driver, diary: Diary) -> None:
    def shared(_: Context) -> str:
        diary.append("ran")
        return "once"

    def workflow(ctx: Context) -> Flow:
        here = yield ctx.run(shared).options(id="shared-here")
        there = yield ctx.rpc("shared").options(id="shared-there")
        return [here, there]

    driver.register(shared)
    driver.begin("one", workflow)
    driver.begin("two", workflow)

    assert driver.finish("one") == driver.finish("two") == ["once", "once"]
    assert diary == ["ran", "ran"]
    assert [driver.promise(id).tags[LINK] for id in ("one.1", "two.1")] == ["shared-here"] * 2


@pytest.mark.parametrize("nested", [False, True])
@three_ways
def test_a_shared_promise_keeps_the_deadline_it_was_created_with(driver: Driver, nested: bool) -> None:
    def step(ctx: Context) -> float:
        return ctx.info.timeout

    def generator(ctx: Context) -> Flow:
        return min(ctx.info.timeout, (yield ctx.run(step)))

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(generator if nested else step).options(id="shared"))

    driver.store.apply(PromiseCreate("shared", driver._after(30)))

    assert driver.run("w", workflow) == driver._after(30) / 1000


@three_ways
def test_an_error_of_a_shared_promise_is_kept_in_the_link(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.promise(id="hitl")
        try:
            yield promise
        except (ValueError, ResonateCanceledError, ResonateTimedoutError, PayloadError) as error:
            first = repr(error)
        yield ctx.sleep(10)
        return first

    settlements: dict[str, Callable[[], None]] = {
        "ValueError('no')": lambda: driver.settle("hitl", ValueError("no"), "rejected"),
        "ResonateCanceledError('hitl')": lambda: driver.settle("hitl", state="rejected_canceled"),
        "ResonateTimedoutError('hitl'": lambda: driver.pass_time(2 * DAY),
    }
    for expected, settle in settlements.items():
        driver.store.apply(PromiseCreate("hitl", driver._after(DAY)))
        driver.begin(expected, workflow, timeout=3 * DAY)
        driver.work()
        settle()
        assert driver.finish(expected).startswith(expected)
        assert driver.promise(f"{expected}.1").state == "rejected"
        driver.expire("hitl")


@pytest.mark.parametrize("id", [None, "hitl"])
@three_ways
def test_a_payload_from_outside_that_cannot_be_read_is_an_error_at_the_await(driver: Driver, id: str | None) -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.promise(id=id)
        try:
            yield promise
        except PayloadError as error:
            return error.mesg

    driver.begin("w", workflow)
    driver.work()
    driver.store.apply(PromiseSettle(id or "w.1", "rejected", Value(data="bm90IGpzb24=")))

    assert "JSON text" in driver.finish("w")


@three_ways
def test_the_same_id_twice_in_one_execution_is_one_promise(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        one = yield ctx.begin_run(diary.step("ran", 1)).options(id="same")
        two = yield ctx.begin_run(diary.step("ran", 1)).options(id="same")
        return [one.id, two.id, (yield one), (yield two)]

    assert driver.run("w", workflow) == ["same", "same", 1, 1]
    assert diary == ["ran"]


# -- promises that others settle --------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", [None, "approval"])
@always_three_ways
def test_a_promise_is_settled_from_outside(driver: Driver, diary: Diary, id: str | None) -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.promise(id=id, data={"ask": "me"}, tags={"mine": "x"}, timeout=60.0)
        yield ctx.run(diary.step("mail"))
        return (yield promise)

    driver.begin("w", workflow)
    assert driver.work() == ["suspended"]
    promise = driver.promise(id or "w.1")
    assert (promise.tags["mine"], promise.timeout_at) == ("x", driver._after(60))
    driver.settle(promise.id, {"answer": 42})

    assert driver.finish("w") == {"answer": 42}
    assert diary == ["mail"]


@three_ways
def test_a_promise_may_be_settled_before_anybody_asks_for_it(driver: Driver) -> None:
    driver.store.apply(PromiseCreate("early", driver._after(DAY)))
    driver.settle("early", "bird")

    def workflow(ctx: Context) -> Flow:
        return (yield (yield ctx.promise(id="early")))

    assert driver.run("w", workflow) == "bird"
    assert [report.status for report in driver.reports] == ["completed"]


@pytest.mark.parametrize(
    ("value", "state", "error"),
    [
        (ValueError("refused"), "rejected", "ValueError('refused')"),
        (None, "rejected_canceled", "ResonateCanceledError('w.1')"),
        ({"why": "plain data"}, "rejected", "Exception({'why': 'plain data'})"),
    ],
)
@three_ways
def test_a_rejection_from_outside_is_raised(driver: Driver, value: Any, state: Any, error: str) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield (yield ctx.promise())
        except Exception as raised:
            return repr(raised)

    driver.begin("w", workflow)
    driver.work()
    driver.settle("w.1", value, state)

    assert driver.finish("w") == error


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "suspensions"), [(0, 0), (0.0001, 0), (0.25, 0), (1, 0), (1.001, 1), (604800, 1)])
@three_ways
def test_a_sleep_takes_its_time_and_suspends_when_that_is_worth_it(
    driver: Driver, seconds: float, suspensions: int
) -> None:
    def workflow(ctx: Context) -> Flow:
        return (yield ctx.sleep(seconds))

    assert driver.run("w", workflow, timeout=10 * DAY) is None
    assert driver.elapsed() == pytest.approx(max(0.001 if seconds else 0, seconds), abs=driver.lateness)
    assert len(driver.reports) == 1 + suspensions
    assert driver.promise("w.1").tags[TIMER] == "true"


@three_ways
def test_sleeps_begun_in_nested_generators_pass_together(driver: Driver) -> None:
    def nap(ctx: Context, seconds: float) -> Flow:
        yield ctx.sleep(seconds)
        return driver.elapsed()

    def workflow(ctx: Context) -> Flow:
        promises = []
        for seconds in (0.5, 0.75, 30, 20):
            promises.append((yield ctx.begin_run(nap, seconds)))
        woken = []
        for promise in promises:
            woken.append((yield promise))
        return woken

    assert driver.run("w", workflow) == pytest.approx([0.5, 0.75, 30, 20], abs=driver.lateness)
    assert driver.elapsed() == pytest.approx(30, abs=driver.lateness)


@always_three_ways
def test_a_sleep_ends_with_its_parent_at_the_latest(driver: Driver) -> None:
    def nested(ctx: Context) -> Flow:
        yield ctx.sleep(1000)

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(nested).options(timeout=30.0)
        except ResonateTimedoutError as error:
            return error.id

    assert driver.run("w", workflow) == "w.1"
    assert driver.promise("w.1.1").timeout_at == driver.promise("w.1").timeout_at
    assert driver.elapsed() == 30


@pytest.mark.parametrize(
    ("seconds", "error"),
    [(-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError), (True, TypeError)],
)
@three_ways
def test_a_sleep_that_cannot_be_is_refused_where_it_is_asked_for(driver: Driver, seconds: Any, error: type) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.sleep(seconds)
        except error as refused:
            return str(refused)

    assert driver.run("w", workflow).startswith("secs must be")
    assert driver.ids() == ["w"]


@pytest.mark.parametrize("how", ["run", "begin_run", "nested", "rpc", "promise"])
@three_ways
def test_a_child_that_takes_too_long_raises_a_timeout(driver: Driver, how: str) -> None:
    def slow(_: Context) -> str:
        driver.clock.sleep(6_000)
        return "too late"

    def nested(ctx: Context) -> Flow:
        yield ctx.sleep(60)

    def workflow(ctx: Context) -> Flow:
        try:
            match how:
                case "run":
                    yield ctx.run(slow).options(timeout=5.0)
                case "begin_run":
                    yield (yield ctx.begin_run(slow).options(timeout=5.0))
                case "nested":
                    yield ctx.run(nested).options(timeout=5.0)
                case "rpc":
                    yield ctx.rpc(nested).options(timeout=5.0)
                case _:
                    yield (yield ctx.promise(timeout=5.0))
        except ResonateTimedoutError as error:
            return [error.id, error.timeout]

    driver.register(nested)
    deadline = driver.clock.now() / 1000 + 5

    assert driver.run("w", workflow) == ["w.1", deadline]
    assert driver.promise("w.1").state == "rejected_timedout"


@pytest.mark.parametrize("how", ["run", "rpc", "promise", "sleep"])
@three_ways
def test_deadlines_of_children_are_capped_by_their_parents(driver: Driver, how: str) -> None:
    def workflow(ctx: Context) -> Flow:
        commands: dict[str, Any] = {
            "run": ctx.begin_run(double, 1).options(timeout=500.0),
            "rpc": ctx.begin_rpc("double", 1).options(timeout=500.0),
            "promise": ctx.promise(timeout=500.0),
            "sleep": ctx.sleep(500),
        }
        yield commands[how]

    driver.register(double)
    driver.begin("w", workflow, timeout=60.0)
    driver.work()

    assert driver.promise("w.1").timeout_at == driver.promise("w").timeout_at


@always_three_ways
def test_the_root_times_out_while_it_is_suspended(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield (yield ctx.promise())

    with pytest.raises(ResonateTimedoutError) as caught:
        driver.run("w", workflow, timeout=30.0)

    assert caught.value.id == "w"
    assert driver.elapsed() == 30


@three_ways
def test_a_workflow_that_outlives_its_own_deadline_has_lost_it(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(lambda _: driver.clock.sleep(60_000))
        return "too late"

    driver.begin("w", workflow, timeout=30.0)

    assert driver.work() == ["lost"]
    assert driver.promise("w").state == "rejected_timedout"


# -- retries ----------------------------------------------------------------------------------------------------------


class Flaky:
    """A step that fails a number of times, and notes at which second each attempt began."""

    def __init__(self, driver: Driver, failures: int, error: Exception | None = None) -> None:
        self.times: list[float] = []
        self.attempts: list[int] = []
        self.error = error or ValueError("again")

        def flaky(ctx: Context) -> str:
            self.times.append(driver.elapsed())
            self.attempts.append(ctx.info.attempt)
            if len(self.times) <= failures:
                raise self.error
            return "ok"

        self.step = flaky


@pytest.mark.parametrize("begin", [False, True], ids=["run", "begin_run"])
@pytest.mark.parametrize(
    ("policy", "times"),
    [
        (Constant(delay=0.5), [0, 0.5, 1, 1.5]),
        (Constant(delay=10), [0, 10, 20, 30]),
        (Constant(delay=0), [0, 0, 0, 0]),
        (Linear(delay=0.5), [0, 0.5, 1.5, 3]),
        (Linear(delay=10), [0, 10, 30, 60]),
        (Exponential(), [0, 2, 6, 14]),
        (Exponential(delay=0.25, factor=2), [0, 0.5, 1.5, 3.5]),
        (Exponential(delay=10, max_delay=15), [0, 15, 30, 45]),
        (None, [0, 2, 6, 14]),
    ],
)
@three_ways
def test_a_step_is_retried_as_its_policy_says(
    driver: Driver, policy: RetryPolicy | None, times: list[float], begin: bool
) -> None:
    flaky = Flaky(driver, failures=3)

    def workflow(ctx: Context) -> Flow:
        if begin:
            return (yield (yield ctx.begin_run(flaky.step).options(retry_policy=policy)))
        return (yield ctx.run(flaky.step).options(retry_policy=policy))

    assert driver.run("w", workflow) == "ok"
    assert flaky.times == pytest.approx(times, abs=driver.lateness)
    assert flaky.attempts == [1, 2, 3, 4]


@pytest.mark.parametrize("delay", [0.5, 10])
@pytest.mark.parametrize("retries", [0, 1, 3])
@three_ways
def test_a_policy_gives_up_after_its_number_of_retries(driver: Driver, delay: float, retries: int) -> None:
    flaky = Flaky(driver, failures=99)

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(flaky.step).options(retry_policy=Constant(delay=delay, max_retries=retries))

    with pytest.raises(ValueError, match="again"):
        driver.run("w", workflow)
    assert flaky.attempts == list(range(1, retries + 2))


@three_ways
def test_never_and_what_is_not_retryable_are_final_at_once(driver: Driver) -> None:
    def outcome(failing: Flaky, **options: Any) -> list[int]:
        def workflow(ctx: Context) -> Flow:
            try:
                yield ctx.run(failing.step).options(**options)
            except ValueError:
                return failing.attempts

        driver.deploy(workflow=workflow)
        id = f"w{len(driver.reports)}"
        driver.create(id, {"func": "workflow"})
        return driver.finish(id)

    assert outcome(Flaky(driver, 9), retry_policy=Never()) == [1]
    assert outcome(Flaky(driver, 9), non_retryable_exceptions=(KeyError, ValueError)) == [1]
    # Its exact type counts: a subclass is retried.
    limited = Constant(delay=0, max_retries=2)
    assert outcome(Flaky(driver, 9, Special()), non_retryable_exceptions=(ValueError,), retry_policy=limited) == [
        1,
        2,
        3,
    ]


@always_three_ways
def test_a_long_pause_is_a_timer_promise_that_carries_the_error(driver: Driver) -> None:
    flaky = Flaky(driver, failures=2, error=ValueError("the reason"))

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky.step).options(retry_policy=Constant(delay=3600)))

    driver.begin("w", workflow)
    assert driver.work() == ["suspended"]
    assert driver.ids() == ["w", "w.1", "w.1~1"]
    timer = driver.promise("w.1~1")
    assert (timer.tags[TIMER], timer.timeout_at) == ("true", driver._after(3600))
    assert timer.param != Value()

    assert driver.finish("w") == "ok"
    assert driver.ids() == ["w", "w.1", "w.1~1", "w.1~2"]
    assert flaky.times == [0, 3600, 7200]


@three_ways
def test_a_short_pause_leaves_no_trace(driver: Driver) -> None:
    flaky = Flaky(driver, failures=2)

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky.step).options(retry_policy=Constant(delay=1)))

    assert driver.run("w", workflow) == "ok"
    assert driver.ids() == ["w", "w.1"]
    assert len(driver.reports) == 1


@three_ways
def test_a_pause_begins_when_the_attempt_has_failed(driver: Driver) -> None:
    begun: list[float] = []

    def slow(_: Context) -> None:
        begun.append(driver.elapsed())
        driver.clock.sleep(5_000)
        if len(begun) < 4:
            raise ValueError("again")

    def workflow(ctx: Context) -> Flow:
        policy = Constant(delay=1 if len(begun) < 2 else 10)
        yield ctx.run(slow).options(retry_policy=policy)

    driver.run("w", workflow)

    assert begun == [0, 6, 12, 18]


@pytest.mark.parametrize(("delay", "attempts"), [(0.9, 6), (2, 3)])
@three_ways
def test_no_attempt_begins_past_the_deadline(driver: Driver, delay: float, attempts: int) -> None:
    flaky = Flaky(driver, failures=99)

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(flaky.step).options(retry_policy=Constant(delay=delay), timeout=5.0)

    with pytest.raises(ValueError, match="again"):
        driver.run("w", workflow)
    assert len(flaky.times) == attempts
    assert max(flaky.times) <= 5


@three_ways
def test_retries_of_several_steps_wait_side_by_side(driver: Driver) -> None:
    flaky = [Flaky(driver, failures=2) for _ in range(3)]

    def workflow(ctx: Context) -> Flow:
        promises = []
        for n, each in enumerate(flaky):
            promises.append((yield ctx.begin_run(each.step).options(retry_policy=Constant(delay=10 * (n + 1)))))
        got = []
        for promise in promises:
            got.append((yield promise))
        return got

    assert driver.run("w", workflow) == ["ok"] * 3

    assert [each.times for each in flaky] == [[0, 10, 20], [0, 20, 40], [0, 30, 60]]


@three_ways
def test_a_retried_step_with_an_id_of_its_own_keeps_its_count(driver: Driver) -> None:
    flaky = Flaky(driver, failures=3)

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky.step).options(id="mine", retry_policy=Constant(delay=10)))

    assert driver.run("w", workflow) == "ok"
    assert flaky.attempts == [1, 2, 3, 4]
    assert flaky.times == [0, 10, 20, 30]


@pytest.mark.parametrize("delay", [0.5, 10])
@always_three_ways
def test_a_generator_is_retried_from_the_top_with_fresh_children(driver: Driver, diary: Diary, delay: float) -> None:
    attempts: list[int] = []

    def attempt(ctx: Context) -> Flow:
        number = ctx.info.attempt
        yield ctx.run(diary.step(f"work{number}"))
        yield ctx.sleep(5)
        yield ctx.run(diary.step(f"fail{number}", error=None if number == 3 else ValueError("again"))).options(
            retry_policy=ONCE
        )
        attempts.append(number)
        return ctx.id

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(attempt).options(retry_policy=Constant(delay=delay)))

    assert driver.run("w", workflow) == "w.1"
    assert diary == ["work1", "fail1", "work2", "fail2", "work3", "fail3"]
    assert attempts == [3]
    assert {f"w.1.{n}" for n in range(1, 10)} < set(driver.ids())


@pytest.mark.parametrize("durable", [True, False])
@three_ways
def test_a_step_that_keeps_failing_lets_the_worker_go_now_and_then(driver: Driver, durable: bool) -> None:
    flaky = Flaky(driver, failures=250)

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky.step).options(retry_policy=Constant(delay=0), durable=durable))

    assert driver.run("w", workflow) == "ok"
    assert flaky.times[::50] == pytest.approx([0, 0, 2, 2, 4, 4], abs=2 * driver.lateness)
    assert len(flaky.times) == 251, "no attempt is lost or repeated"
    assert driver.ids() == (["w", "w.1", "w.1~100", "w.1~200"] if durable else ["w"])
    assert len(driver.reports) == (3 if durable else 1)


@three_ways
def test_a_retry_is_not_put_off_past_the_timeout(driver: Driver) -> None:
    flaky = Flaky(driver, failures=120)

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky.step).options(retry_policy=Constant(delay=0.01), timeout=2))

    assert driver.run("w", workflow) == "ok"
    assert flaky.times[-1] == pytest.approx(1.2, abs=0.1)


@three_ways
def test_short_and_long_pauses_of_a_generator_are_each_waited_for_once(driver: Driver) -> None:
    began: list[tuple[int, float]] = []

    def attempt(ctx: Context) -> Flow:
        if not driver.store.record(f"w.1.{ctx.count + 1}"):
            began.append((ctx.info.attempt, driver.elapsed()))
        yield ctx.run(double, ctx.info.attempt)
        if ctx.info.attempt < 5:
            raise ValueError("again")
        return ctx.info.attempt

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(attempt).options(retry_policy=Linear(delay=0.5)))

    assert driver.run("w", workflow) == 5
    assert [attempt for attempt, _ in began] == [1, 2, 3, 4, 5]
    assert [at for _, at in began] == pytest.approx([0, 0.5, 1.5, 3, 5], abs=driver.lateness)


@three_ways
def test_a_generator_is_not_retried_by_default(driver: Driver, diary: Diary) -> None:
    def fails(ctx: Context) -> Flow:
        yield ctx.run(diary.step("step"))
        raise ValueError("final")

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(fails)

    with pytest.raises(ValueError, match="final"):
        driver.run("w", workflow)
    assert diary == ["step"]


@three_ways
def test_a_policy_may_be_chosen_by_the_function(driver: Driver) -> None:
    def choose(func: Callable[..., Any]) -> RetryPolicy:
        return Constant(5, max_retries=2) if func is fails else Never()

    def fails(ctx: Context) -> None:
        raise ValueError(f"attempt {ctx.info.attempt}")

    def workflow(ctx: Context) -> Flow:
        got = []
        for policy in (choose, lambda _: Never(), lambda _: "often"):
            try:
                yield ctx.run(fails).options(retry_policy=policy)
            except (ValueError, TypeError) as error:
                got.append(str(error))
        return got

    assert driver.run("w", workflow) == [
        "attempt 3",
        "attempt 1",
        "retry_policy must give a `RetryPolicy` for fails, got 'often'",
    ]


class Answering:
    """A retry policy that gives, or raises, what it was made with."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def next(self, attempt: int) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer if attempt else 0


def by_code(error: Any) -> bool:
    return error.code == 500


BROKEN: dict[str, tuple[RetryPolicy, str]] = {
    "retry_if": (Constant(0, retry_if=by_code), "Constant, raised AttributeError: 'ValueError' object has no"),
    "raises": (Answering(KeyError("no such attempt")), "Answering, raised KeyError: 'no such attempt'"),
    "text": (Answering("x"), "next(1) must be a pause in seconds or None, got 'x'"),
    "negative": (Answering(-1), "next(1) must be a pause in seconds or None, got -1"),
    "nan": (Answering(float("nan")), "next(1) must be a pause in seconds or None, got nan"),
}


@pytest.mark.parametrize("how", ["step", "generator", "async"])
@pytest.mark.parametrize("policy", BROKEN)
@three_ways
def test_a_failure_is_final_if_its_policy_fails_itself(
    driver: Driver, how: str, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken, said = BROKEN[policy]
    attempts: list[int] = []

    def step(ctx: Context) -> None:
        attempts.append(ctx.info.attempt)
        raise ValueError("of the step")

    def generator(ctx: Context) -> Flow:
        yield ctx.run(double, 1)
        step(ctx)

    async def coroutine(ctx: Context) -> None:
        step(ctx)

    def workflow(ctx: Context) -> Flow:
        func = {"step": step, "generator": generator, "async": coroutine}[how]
        try:
            yield ctx.run(func).options(retry_policy=broken)
        except ValueError as error:
            yield ctx.sleep(5)
            return [str(error), *error.__notes__]

    text, note, *_ = driver.run("w", workflow)
    assert text == "of the step"
    assert said in note
    assert attempts == [1]
    assert "is not tried again: its retry policy" in caplog.text


@always_three_ways
def test_a_workflow_handles_the_error_that_its_steps_policy_cannot(driver: Driver) -> None:
    def step(_: Context) -> None:
        raise ValueError("of the step")

    def workflow(ctx: Context) -> Flow:
        try:
            yield ctx.run(step).options(retry_policy=BROKEN["retry_if"][0])
        except ValueError as error:
            return str(error)

    assert driver.run("w", workflow) == "of the step"


@three_ways
def test_a_pause_may_be_any_number(driver: Driver) -> None:
    flaky = Flaky(driver, failures=1)

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky.step).options(retry_policy=Answering(Decimal("0.5"))))

    assert driver.run("w", workflow) == "ok"
    assert flaky.times == pytest.approx([0, 0.5], abs=driver.lateness)


@three_ways
def test_a_plain_root_is_retried_across_invocations(driver: Driver) -> None:
    flaky = Flaky(driver, failures=4)
    driver.registry.add(flaky.step, "root")
    driver.create("r", {"func": "root"})

    assert driver.finish("r") == "ok"
    assert flaky.times == [0, 2, 6, 14, 30]
    assert flaky.attempts == [1, 2, 3, 4, 5]
    assert driver.ids() == ["r", *(f"r.0~{n}" for n in range(1, 5))]


@three_ways
def test_a_delayed_root_is_retried_with_pauses_too(driver: Driver) -> None:
    flaky = Flaky(driver, failures=2)
    driver.registry.add(flaky.step, "root")
    driver.create("r", {"func": "root"}, tags={DELAY: str(driver._after(100))})

    assert driver.finish("r") == "ok"
    assert flaky.times == [100, 102, 106]


@pytest.mark.parametrize("generator", [False, True])
def test_the_callers_policy_holds_for_the_root_it_runs_here(driver: Driver, generator: bool) -> None:
    flaky = Flaky(driver, failures=2)

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky.step).options(retry_policy=ONCE))

    driver.begin_here("r", workflow if generator else flaky.step, options=Options(retry_policy=Constant(delay=0.5)))

    assert driver.finish("r") == "ok"
    assert flaky.times == [0, 0.5, 1]


@pytest.mark.parametrize("delay", [0, 0.5, 1.5])
@pytest.mark.parametrize("kind", ["step", "generator", "async"])
def test_the_callers_policy_holds_after_a_suspension_too(driver: Driver, kind: str, delay: float) -> None:
    attempts: list[int] = []

    def fail(ctx: Context) -> None:
        attempts.append(ctx.info.attempt)
        raise ValueError(f"attempt {ctx.info.attempt}")

    def generator(ctx: Context) -> Flow:
        if ctx.info.attempt > 1:
            yield ctx.sleep(5)
        fail(ctx)

    async def later(ctx: Context) -> None:
        await ctx.sleep(5)
        fail(ctx)

    func = {"step": fail, "generator": generator, "async": later}[kind]
    options = Options(retry_policy=Constant(delay, max_retries=2))
    driver.begin_here("r", func, options=options)

    with pytest.raises(ValueError, match="attempt 3"):
        driver.finish("r")
    assert attempts[-1] == 3
    assert not driver.worker.options, "what is settled is remembered"


@pytest.mark.parametrize("delay", [0, 0.5, 1.5])
@pytest.mark.parametrize("kind", ["generator", "async"])
def test_whoever_has_not_the_callers_policy_goes_on_with_the_attempt_that_was_reached(
    driver: Driver, kind: str, delay: float
) -> None:
    def generator(ctx: Context) -> Flow:
        yield ctx.run(double, ctx.info.attempt)
        if ctx.info.attempt < 3:
            raise ValueError("an old error")
        yield (yield ctx.promise(id="approval"))
        raise KeyError(f"attempt {ctx.info.attempt}")

    async def coroutine(ctx: Context) -> None:
        await ctx.run(double, ctx.info.attempt)
        if ctx.info.attempt < 3:
            raise ValueError("an old error")
        await (await ctx.promise(id="approval"))
        raise KeyError(f"attempt {ctx.info.attempt}")

    func = generator if kind == "generator" else coroutine
    driver.begin_here("r", func, options=Options(retry_policy=Constant(delay)))
    while not driver.store.record("approval"):
        driver.pass_time(1)
        driver.work()
    driver.worker.options.clear()  # as in another process
    driver.settle("approval", "yes")

    with pytest.raises(KeyError, match="attempt 3"):
        driver.finish("r")


def test_of_the_calls_that_were_begun_the_oldest_are_forgotten(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate.worker.worker.MOST_REMEMBERED", 2)
    for id in ("a", "b", "c"):
        driver.worker.remember(id, Options(retry_policy=ONCE))
    driver.worker.remember("d", Options(timeout=1))

    assert list(driver.worker.options) == ["b", "c"]


# -- not durable ------------------------------------------------------------------------------------------------------


@always_three_ways
def test_a_nondurable_step_leaves_no_record_and_runs_again_on_replay(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        one = yield ctx.run(diary.step("cheap", 1)).options(durable=False)
        two = yield (yield ctx.begin_run(diary.step("too", 2)).options(durable=False))
        yield ctx.sleep(10)
        return one + two

    assert driver.run("w", workflow) == 3
    assert diary == ["cheap", "too", "cheap", "too"]
    assert driver.ids() == ["w", "w.3"]


@three_ways
def test_a_nondurable_step_is_retried_here(driver: Driver) -> None:
    flaky = Flaky(driver, failures=2)

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(flaky.step).options(durable=False, retry_policy=Constant(delay=10)))

    assert driver.run("w", workflow) == "ok"
    assert (flaky.times, len(driver.reports), driver.ids()) == ([0, 10, 20], 1, ["w"])


@three_ways
def test_the_steps_of_a_nondurable_generator_are_durable(driver: Driver, diary: Diary) -> None:
    def inner(ctx: Context) -> Flow:
        one = yield ctx.run(diary.step("one", 1))
        yield ctx.sleep(10)
        return one + (yield ctx.run(diary.step("two", 2)))

    def workflow(ctx: Context) -> Flow:
        value = yield ctx.run(inner).options(durable=False)
        yield ctx.sleep(10)
        return value

    assert driver.run("w", workflow) == 3
    assert diary == ["one", "two"]
    assert "w.1" not in driver.ids()


# -- what replay does not accept --------------------------------------------------------------------------------------


def f(_: Context) -> str:
    return "f"


def g(_: Context) -> str:
    return "g"


def then(*commands: Callable[[Context], Any]) -> Callable[..., Any]:
    """A workflow that yields these commands, then sleeps, and tells what it got."""

    def workflow(ctx: Context) -> Flow:
        got = []
        for command in commands:
            got.append((yield command(ctx)))
        yield ctx.sleep(100)
        return got

    return workflow


def run_f(ctx: Context) -> Any:
    return ctx.run(f)


def run_g(ctx: Context) -> Any:
    return ctx.run(g)


def rpc_f(ctx: Context) -> Any:
    return ctx.rpc("f")


def run_f_as_x(ctx: Context) -> Any:
    return ctx.run(f).options(id="x")


def run_f_as_y(ctx: Context) -> Any:
    return ctx.run(f).options(id="y")


def nap(ctx: Context) -> Any:
    return ctx.sleep(1)


@pytest.mark.parametrize(
    ("before", "after", "expected", "found"),
    [
        ([run_f], [run_g], "run f", "run g"),
        ([run_f], [rpc_f], "run f", "rpc f"),
        ([rpc_f], [run_f], "rpc f", "run f"),
        ([run_f], [nap], "run f", "a sleep"),
        ([nap], [run_f], "a sleep", "run f"),
        ([nap], [lambda ctx: ctx.promise()], "a sleep", "a promise"),
        ([run_f, run_g], [run_g, run_f], "run f", "run g"),
        ([run_f, rpc_f], [rpc_f, run_f], "run f", "rpc f"),
        ([run_f_as_x], [run_f], "run f with the id x", "run f"),
        ([run_f], [run_f_as_x], "run f", "run f with the id x"),
        ([run_f_as_x], [run_f_as_y], "run f with the id x", "run f with the id y"),
    ],
)
@three_ways
def test_a_changed_workflow_halts_its_task_until_it_is_put_right(
    driver: Driver, before: list[Any], after: list[Any], expected: str, found: str
) -> None:
    driver.deploy(w=then(*before), f=f, g=g)
    driver.create("w", {"func": "w"})
    driver.work()
    done = [command(Context("w", Info(1, 0, {}, 1), driver.registry, {})) for command in before]
    driver.deploy(w=then(*after), f=f, g=g)

    with pytest.raises(ResonateHaltedError) as halted:
        driver.finish("w")

    problem = str(NonDeterminismError("w.1", expected, found))
    assert halted.value.reason == problem
    assert f"w.1 was {expected} when it first ran and is now {found}" in problem
    assert driver.reports[-1].status == "halted"
    assert driver.promise("w").pending
    # The right code is back.
    driver.deploy(w=then(*before), f=f, g=g)
    assert driver.store.apply(TaskContinue("w")).ok
    assert driver.finish("w") == [None if "sleep" in command.describe() else command.name for command in done]


@always_three_ways
def test_a_change_in_a_nested_generator_halts_too(driver: Driver) -> None:
    def version(inner: Callable[..., Any]) -> Callable[..., Any]:
        def workflow(ctx: Context) -> Flow:
            return (yield ctx.run(inner))

        return workflow

    one, two = then(run_f), then(run_g)
    driver.deploy(w=version(one))
    driver.create("w", {"func": "w"})
    driver.work()
    driver.deploy(w=version(two))

    with pytest.raises(ResonateHaltedError, match=r"w\.1\.1 was run f when it first ran and is now run g"):
        driver.finish("w")


@three_ways
def test_a_workflow_cannot_catch_its_own_nondeterminism(driver: Driver, diary: Diary) -> None:
    def careless(ctx: Context) -> Flow:
        try:
            yield ctx.run(g)
        except Exception:
            diary.append("caught")

    driver.deploy(w=then(run_f))
    driver.create("w", {"func": "w"})
    driver.work()
    driver.deploy(w=careless)

    with pytest.raises(ResonateHaltedError):
        driver.finish("w")
    assert diary == []


@three_ways
def test_a_change_behind_what_has_happened_is_no_matter(driver: Driver) -> None:
    driver.deploy(w=then(run_f))
    driver.create("w", {"func": "w"})
    driver.work()

    def longer(ctx: Context) -> Flow:
        got = yield ctx.run(f)
        yield ctx.sleep(100)
        return [got, (yield ctx.run(g)), "more"]

    driver.deploy(w=longer)

    assert driver.finish("w") == ["f", "g", "more"]


def shorter(kind: str) -> Callable[..., Any]:
    """The new code of a workflow that ran f, slept and ran g: it ends after f."""

    def generator(ctx: Context) -> Flow:
        yield ctx.run(f)
        if kind == "raises":
            raise ValueError("early")
        return "early"

    async def asynchronous(ctx: Context) -> str:
        await ctx.run(f)
        return "early"

    def plain(_: Context) -> str:
        return "early"

    return {"async": asynchronous, "plain": plain}.get(kind, generator)


def sleeping(ctx: Context) -> Flow:
    yield ctx.run(f)
    yield ctx.sleep(100)
    return (yield ctx.run(g))


@pytest.mark.parametrize(
    ("kind", "nested"),
    [
        ("returns", False),
        ("raises", False),
        ("async", False),
        ("plain", False),
        ("returns", True),
        ("raises", True),
        ("async", True),
    ],
)
@three_ways
def test_workflow_that_ends_before_its_history_is_halted(driver: Driver, kind: str, nested: bool) -> None:
    def above(inner: Callable[..., Any]) -> Callable[..., Any]:
        def workflow(ctx: Context) -> Flow:
            return (yield ctx.run(inner))

        return workflow if nested else inner

    new = shorter(kind)
    new.__name__ = "sleeping"
    driver.deploy(w=above(sleeping), f=f)
    driver.create("w", {"func": "w"})
    driver.work()
    driver.deploy(w=above(new), f=f)

    with pytest.raises(ResonateHaltedError) as halted:
        driver.finish("w")

    id, command = ("w.1.2" if nested else "w.2"), "a sleep"
    if kind == "plain":
        id, command = "w.1", "run f"
    assert str(NonDeterminismError(id, command, "nothing")) in halted.value.reason
    assert ("it raised ValueError: early" in halted.value.reason) == (kind == "raises")
    driver.deploy(w=above(sleeping), f=f)
    assert driver.store.apply(TaskContinue("w")).ok
    assert driver.finish("w") == "g"


@three_ways
def test_execution_that_looks_like_a_later_command_halts_nothing(driver: Driver) -> None:
    lineage = dict.fromkeys((ORIGIN, PARENT), "w.7")
    driver.register(f)
    driver.begin("w", sleeping)
    driver.create("w.7", {"func": "f"}, tags=lineage)
    driver.create("w.8", {"func": "f"})
    driver.work()

    assert driver.finish("w") == "g"


COMMANDS: dict[str, Callable[[Context], Any]] = {
    "run": lambda ctx: ctx.run(f),
    "nested": lambda ctx: ctx.run(sleeping),
    "rpc": lambda ctx: ctx.rpc("f"),
    "begin_rpc": lambda ctx: ctx.begin_rpc("f"),
    "promise": lambda ctx: ctx.promise(),
    "sleep": lambda ctx: ctx.sleep(10),
}


@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize("done", [False, True])
@three_ways
def test_execution_under_a_commands_id_is_not_adopted(driver: Driver, what: str, done: bool) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            yield COMMANDS[what](ctx)
        except ResonateStoreError as error:
            yield ctx.sleep(10)
            return error.mesg

    def execution(ctx: Context) -> Flow:
        if not done:
            yield (yield ctx.promise())
        return "its own"

    driver.register(f)
    driver.begin("w.1", execution)
    driver.work()

    assert "w.1 exists and is an execution of its own" in driver.run("w", workflow)
    if not done:
        driver.settle("w.1.1")
    assert driver.finish("w.1") == "its own"


def outlasting(ctx: Context) -> Flow:
    yield ctx.sleep(500)


NUMBERED: dict[str, Callable[[Context, str], Any]] = {
    "run": lambda ctx, id: ctx.run(f).options(id=id),
    "nested": lambda ctx, id: ctx.run(sleeping).options(id=id),
    "begin_run": lambda ctx, id: ctx.begin_run(f).options(id=id),
    "rpc": lambda ctx, id: ctx.rpc("f").options(id=id),
    "begin_rpc": lambda ctx, id: ctx.begin_rpc("f").options(id=id),
    "detached": lambda ctx, id: ctx.detached("outlasting").options(id=id),
    "promise": lambda ctx, id: ctx.promise(id=id, timeout=150),
    "sleep": lambda ctx, id: ctx.sleep(1).options(id=id),
}


@pytest.mark.parametrize("spelling", ["generator", "async"])
@pytest.mark.parametrize("what", NUMBERED)
@three_ways
def test_overridden_ids_that_look_like_later_commands_halt_nothing(driver: Driver, what: str, spelling: str) -> None:
    def workflow(ctx: Context) -> Flow:
        for number in ("5", "1001", "007"):
            yield NUMBERED[what](ctx, f"{ctx.id}.{number}")
        yield ctx.sleep(100)
        return "done"

    async def async_workflow(ctx: Context) -> str:
        for number in ("5", "1001", "007"):
            await NUMBERED[what](ctx, f"{ctx.id}.{number}")
        await ctx.sleep(100)
        return "done"

    driver.register(f)
    driver.register(outlasting)

    assert driver.run("w", workflow if spelling == "generator" else async_workflow) == "done"


@pytest.mark.parametrize("suffix", ["²", "2~7", "2~²"])
@three_ways
def test_overridden_id_like_a_retry_timer_counts_no_attempt(driver: Driver, suffix: str) -> None:
    attempts: list[int] = []

    def flaky(ctx: Context) -> None:
        attempts.append(ctx.info.attempt)
        if len(attempts) == 1:
            raise ValueError("once")

    def workflow(ctx: Context) -> Flow:
        yield ctx.rpc("f").options(id=f"{ctx.id}.{suffix}")
        yield ctx.run(flaky).options(retry_policy=Constant(delay=60))

    driver.register(f)
    driver.run("w", workflow)

    assert attempts == [1, 2]
    assert not any(report.status == "released" for report in driver.reports)


@pytest.mark.parametrize("spelling", ["generator", "async"])
@pytest.mark.parametrize("given", ["run", "rpc", "begin_rpc"])
@pytest.mark.parametrize("what", COMMANDS)
@three_ways
def test_command_whose_number_is_a_siblings_id_is_refused(driver: Driver, what: str, given: str, spelling: str) -> None:
    seen: list[str] = []

    def workflow(ctx: Context) -> Flow:
        yield NUMBERED[given](ctx, f"{ctx.id}.2")
        try:
            yield COMMANDS[what](ctx)
        except ResonateStoreError as error:
            seen.append(error.mesg)
        yield ctx.sleep(200)
        return "done"

    async def async_workflow(ctx: Context) -> str:
        await NUMBERED[given](ctx, f"{ctx.id}.2")
        try:
            await COMMANDS[what](ctx)
        except ResonateStoreError as error:
            seen.append(error.mesg)
        await ctx.sleep(200)
        return "done"

    driver.register(f)

    assert driver.run("w", workflow if spelling == "generator" else async_workflow) == "done"
    assert len(seen) > 1
    assert all(".options(id=...) gave that id to the command w.1: give w.1 an id" in text for text in seen)


def test_records_of_a_worker_that_is_ahead_halt_nothing(driver: Driver) -> None:
    """A worker whose lease is over goes on, and records more than its successor has issued."""
    driver.begin("w", sleeping)
    driver.invoke()
    ahead = {SCOPE: "local", PARENT: "w", FUNC: "g"}
    at = driver.clock.now()
    assert driver.store.apply(PromiseRecord("w.3", at + 1_000_000, at, "resolved", tags=ahead)).ok

    assert driver.finish("w") is None
    assert driver.reports[-1].status == "completed"


@pytest.mark.parametrize("delay", [0.5, 60])
def test_workflow_that_retried_before_replays_its_attempts(driver: Driver, delay: float) -> None:
    def inner(ctx: Context) -> Flow:
        yield ctx.run(f)
        if ctx.info.attempt < 3:
            raise ValueError("not yet")
        yield ctx.sleep(100)
        return ctx.info.attempt

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(inner).options(retry_policy=Constant(delay=delay, max_retries=2)))

    assert driver.run("w", workflow) == 3


def test_begun_commands_never_awaited_and_retry_timers_halt_nothing(driver: Driver) -> None:
    calls: list[int] = []

    def flaky(_: Context) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("once")

    def workflow(ctx: Context) -> Flow:
        yield ctx.detached("elsewhere").options(target="poll://any@others")
        yield ctx.run(flaky).options(retry_policy=Constant(delay=60))
        yield ctx.begin_run(f).options(id="own")
        yield ctx.promise()
        yield ctx.sleep(100)
        yield ctx.detached("elsewhere").options(target="poll://any@others")
        driver.settle("w.4")
        return "done"

    assert driver.run("w", workflow) == "done"


def test_replayed_command_with_settled_record_builds_no_request(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    external, local = Conventions.external, Conventions.local

    def noted(self: Conventions, command: Any, id: str, *arguments: Any, **more: Any) -> Any:
        built.append(id)
        return (local if isinstance(command, LocalCall) else external)(self, command, id, *arguments, **more)

    def workflow(ctx: Context) -> Flow:
        built.clear()
        yield ctx.sleep(60)
        yield ctx.rpc(double, 1)
        call = yield ctx.begin_rpc(double, 2)
        step = yield ctx.begin_run(double, 3)
        promise = yield ctx.promise()
        if driver.promise(promise.id).pending:
            driver.settle(promise.id, 5)
        got = [(yield call), (yield step), (yield promise)]
        yield ctx.sleep(60)
        return [*got, *built]

    monkeypatch.setattr(Conventions, "external", noted)
    monkeypatch.setattr(Conventions, "local", noted)
    driver.register(double)

    assert driver.run("w", workflow) == [4, 6, 5]


def add(_: Context, a: Any, b: Any = 0) -> Any:
    return a + b


NOT_YIELDED: dict[str, Callable[[Context], Any]] = {
    "argument of a step": lambda ctx: (yield ctx.run(add, ctx.run(f))),
    "argument of a call": lambda ctx: (yield ctx.rpc("add", {"a": [ctx.run(f)]})),
    "promise as an argument of a step": lambda ctx: (yield ctx.run(add, (yield ctx.begin_run(f)), 1)),
    "operand": lambda ctx: (yield ctx.begin_run(f)) + 1,
    "right operand": lambda ctx: 1 + (yield ctx.begin_run(f)),
    "command as an operand": lambda ctx: (yield ctx.run(f)) and ctx.run(f) * 2,
    "comparison": lambda ctx: (yield ctx.begin_run(f)) > 1,
    "item": lambda ctx: (yield ctx.begin_run(f))[0],
    "iteration": lambda ctx: (yield from ctx.run(f)),  # pyright: ignore
    "result": lambda ctx: ((yield ctx.run(f)), ctx.run(f)),
}


@pytest.mark.parametrize("how", NOT_YIELDED)
def test_command_used_as_its_result_says_to_yield_it(driver: Driver, how: str) -> None:
    def workflow(ctx: Context) -> Flow:
        return (yield from NOT_YIELDED[how](ctx))

    with pytest.raises((ProgramError, PayloadError), match="write `yield`"):
        driver.run("w", workflow)
    assert driver.elapsed() == 0


def test_promise_is_true_and_compares_equal_to_itself(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.begin_run(f)
        return bool(promise) and promise == promise

    assert driver.run("w", workflow) is True


# -- blocking ---------------------------------------------------------------------------------------------------------


@always_three_ways
def test_a_workflow_suspends_on_what_blocks_it_and_nothing_else(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promises = []
        for n in range(5):
            promises.append((yield ctx.promise(id=f"p{n}")))
        total = 0
        for promise in reversed(promises):
            total += yield promise
        return total

    driver.begin("w", workflow)
    driver.work()
    assert [id for id in driver.ids() if driver.record(id).callbacks] == ["p4"]
    for n in range(4):
        driver.settle(f"p{n}", 1)
    assert driver.work() == []
    driver.settle("p4", 1)

    assert driver.finish("w") == 5
    assert [report.status for report in driver.reports] == ["suspended", "completed"]


def test_many_remote_children_cost_few_invocations(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promises = []
        for n in range(1000):
            promises.append((yield ctx.begin_rpc("double", n).options(target="poll://any@others")))
        total = 0
        for promise in promises:
            total += yield promise
        return total

    driver.begin("w", workflow)
    driver.invoke()
    driver.offers.clear()
    for n in range(1, 1001):
        driver.settle(f"w.{n}", 1)

    assert driver.finish("w") == 1000
    assert len(driver.reports) < 10


BEGINS: dict[str, Callable[[Context], Any]] = {
    "promise": lambda ctx: ctx.promise(),
    "promise with an id": lambda ctx: ctx.promise(id="own"),
    "begin_rpc": lambda ctx: ctx.begin_rpc("double", 1),
    "begin_rpc with an id": lambda ctx: ctx.begin_rpc("double", 1).options(id="own"),
    "detached": lambda ctx: ctx.detached("double", 1),
}
"""What others can see, and a workflow may tell them of at once."""


@pytest.mark.parametrize("what", BEGINS)
@always_three_ways
def test_what_is_begun_exists_when_the_workflow_goes_on(driver: Driver, what: str) -> None:
    found: list[bool] = []

    def workflow(ctx: Context) -> Flow:
        promise = yield BEGINS[what](ctx)
        found.append(promise.id in driver.ids())

    driver.register(double)
    driver.begin("w", workflow)
    driver.work()

    assert found[0]


@pytest.mark.parametrize("what", BEGINS)
@three_ways
def test_what_is_begun_exists_when_an_async_workflow_goes_on(driver: Driver, what: str) -> None:
    found: list[bool] = []

    async def workflow(ctx: Context) -> None:
        first = await BEGINS[what](ctx)
        found.append(first.id in driver.ids())
        second = await ctx.promise()
        found.append(second.id in driver.ids())

    driver.register(double)
    driver.begin("w", workflow)
    driver.work()

    assert found[:2] == [True, True]


@always_three_ways
def test_a_workflow_may_settle_its_promise_itself(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.promise(id="p")
        if driver.promise("p").pending:
            driver.settle("p", "yes")
        return (yield promise)

    assert driver.run("w", workflow) == "yes"


def test_a_function_that_is_begun_runs_when_the_workflow_waits_and_not_for_a_creation(
    driver: Driver, diary: Diary
) -> None:
    def workflow(ctx: Context) -> Flow:
        step = yield ctx.begin_run(diary.step("step"))
        promise = yield ctx.promise(id="p")
        diary.append("goes on")
        yield step
        driver.settle("p")
        yield promise

    driver.run("w", workflow)

    assert diary == ["goes on", "step"]
    assert driver.tap.kinds()[:3] == ["task.acquire", "promise.create", "promise.record"]


def test_a_promise_that_is_recorded_is_not_created_again(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.promise()
        yield ctx.begin_rpc("elsewhere").options(target="poll://any@others")
        yield promise

    driver.begin("w", workflow)
    driver.invoke()
    driver.settle("w.1")
    driver.offers.extend([("w", driver.offers.pop()[1])])
    driver.work()

    assert driver.tap.kinds().count("promise.create") == 2


def test_concurrent_generators_are_waited_for_together(driver: Driver) -> None:
    def waits(ctx: Context, n: int) -> Flow:
        return (yield (yield ctx.promise(id=f"p{n}")))

    def workflow(ctx: Context) -> Flow:
        promises = []
        for n in range(200):
            promises.append((yield ctx.begin_run(waits, n)))
        got = []
        for promise in promises:
            got.append((yield promise))
        return sum(got)

    driver.begin("w", workflow)
    assert driver.work() == ["suspended"]
    assert all(driver.record(f"p{n}").callbacks == {"w": 1} for n in range(200))
    for n in range(200):
        driver.settle(f"p{n}", n)

    assert driver.finish("w") == sum(range(200))


@pytest.mark.parametrize("count", [1, 120])
def test_what_settles_while_the_workflow_suspends_is_not_missed(driver: Driver, diary: Diary, count: int) -> None:
    def waits(ctx: Context, n: int) -> Flow:
        return (yield (yield ctx.promise(id=f"p{n}")))

    def workflow(ctx: Context) -> Flow:
        promises = []
        for n in range(count):
            promises.append((yield ctx.begin_run(waits, n)))
        yield ctx.run(diary.step("once"))
        got = []
        for promise in promises:
            got.append((yield promise))
        return got

    def meanwhile(request: Request | str) -> Response | None:
        if not isinstance(request, str) and request.kind == "task.suspend":
            for n in range(count):
                driver.settle(f"p{n}", n)
        return None

    driver.tap.answer = meanwhile
    driver.begin("w", workflow)

    assert driver.work() == ["completed"]
    assert driver.finish("w") == list(range(count))
    assert diary == ["once"]
    assert "children:w" not in driver.tap.requests


def test_what_settles_between_two_parts_of_a_large_suspension_is_not_missed(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(ctx: Context, n: int) -> Flow:
        return (yield (yield ctx.promise(id=f"p{n}")))

    def workflow(ctx: Context) -> Flow:
        promises, got = [], []
        for n in range(120):
            promises.append((yield ctx.begin_run(waits, n)))
        for promise in promises:
            got.append((yield promise))
        return got

    def settling_first(request: Request) -> Response:
        if isinstance(request, TaskSuspendRegistered) and driver.promise("p0").pending:
            for n in range(120):
                driver.settle(f"p{n}", n)
        return run(request)

    run = driver.store._run
    monkeypatch.setattr(driver.store, "_run", settling_first)
    driver.begin("w", workflow)

    assert driver.work() == ["completed"]
    assert driver.finish("w") == list(range(120))


@pytest.mark.parametrize("how", ["promise", "rpc", "nested"])
@three_ways
def test_awaiting_an_ancestor_is_an_error_and_not_a_hang(driver: Driver, how: str) -> None:
    def nested(ctx: Context) -> Flow:
        yield (yield ctx.promise(id="w"))

    def workflow(ctx: Context) -> Flow:
        match how:
            case "promise":
                yield (yield ctx.promise(id="w"))
            case "rpc":
                yield ctx.rpc("workflow").options(id="w")
            case _:
                yield ctx.run(nested)

    name = "nested" if how == "nested" else "workflow"
    with pytest.raises(ValueError, match=f"{name} cannot wait for the promise w: it is settled after {name} has ended"):
        driver.run("w", workflow)


@three_ways
def test_a_workflow_may_catch_that_it_waits_for_itself_and_go_on(driver: Driver) -> None:
    def nested(ctx: Context, above: Any) -> Flow:
        refused = []
        for wait in (
            ctx.promise(id=ctx.id),
            ctx.run(double, 1).options(id="child"),
            ctx.sleep(1).options(id="w"),
            above,
        ):
            try:
                yield wait
            except ValueError:
                refused.append(type(wait).__name__)
        yield ctx.sleep(10)
        return refused

    def child(ctx: Context) -> Flow:
        itself = yield ctx.detached("workflow").options(id="w")
        return (yield ctx.run(nested, itself))

    def workflow(ctx: Context) -> Flow:
        return (yield (yield ctx.begin_run(child).options(id="child")))

    assert driver.run("w", workflow) == ["PromiseCommand", "LFC", "Sleep", "Promise"]


@always_three_ways
def test_workflows_that_wait_for_each_other_are_halted_with_a_reason(driver: Driver) -> None:
    def waits(ctx: Context, other: str) -> Flow:
        yield ctx.sleep(10)
        yield (yield ctx.promise(id=other))

    def workflow(ctx: Context) -> Flow:
        one = yield ctx.begin_run(waits, "two").options(id="one")
        yield ctx.begin_run(waits, "one").options(id="two")
        yield one

    with pytest.raises(ResonateHaltedError, match="task w waits for itself"):
        driver.run("w", workflow)


def test_remote_calls_carry_what_a_foreign_worker_needs(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        yield ctx.begin_rpc("theirs", 1, x=2).options(target="their-group", version=3, tags={"mine": "x"})
        yield ctx.begin_rpc("theirs").options(target="https://example.com/run")
        yield ctx.begin_rpc(double, 2)

    driver.register(double)
    driver.begin("w", workflow)
    driver.invoke()

    one = driver.promise("w.1")
    assert codec.decode(one.param) == {"func": "theirs", "args": [1], "kwargs": {"x": 2}, "version": 3}
    assert one.tags[TARGET] == "poll://any@their-group"
    assert (one.tags["mine"], one.tags[SCOPE], one.tags[PARENT], one.tags[ORIGIN]) == ("x", "global", "w", "w")
    assert driver.promise("w.2").tags[TARGET] == "https://example.com/run"
    assert codec.decode(driver.promise("w.3").param)["func"] == "double"
    assert driver.promise("w.3").tags[TARGET] == "poll://any@default"


# -- branches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
@three_ways
def test_finished_branch_changes_no_shared_state_on_replay(driver: Driver, shared: bool) -> None:
    """What README says of branches: they return what others need."""

    def workflow(ctx: Context) -> Flow:
        left = 2

        def branch(ctx: Context, seconds: float) -> Flow:
            nonlocal left
            yield ctx.sleep(seconds)
            if shared:
                left -= 1
            return 1

        branches = []
        for seconds in (60, 120):
            branches.append((yield ctx.begin_run(branch, seconds)))
        for promise in branches:
            done = yield promise
            left -= 0 if shared else done
        return left

    assert driver.run("w", workflow) == (1 if shared else 0)


# -- errors that no repetition cures -----------------------------------------------------------------------------------


HOPELESS: dict[str, BaseException] = {
    "signature": SignatureError("no such argument"),
    "payload": PayloadError("no JSON form"),
    "too large": PayloadTooLargeError("6 MB"),
    "history": NonDeterminismError("w.1", "run a", "run b"),
    "program": ProgramError("not like this"),
}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("kind", HOPELESS)
def test_step_error_that_no_repetition_cures_is_final(driver: Driver, kind: str, grouped: bool) -> None:
    error = HOPELESS[kind]
    calls: list[int] = []

    def step(ctx: Context) -> None:
        calls.append(ctx.info.attempt)
        if grouped:
            raise BaseExceptionGroup("all", [ValueError("a"), BaseExceptionGroup("some", [error])])
        raise error

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(step).options(retry_policy=Constant(delay=60))

    with pytest.raises((type(error), ExceptionGroup)):
        driver.run("w", workflow)

    assert calls == [1]


def test_only_program_errors_make_those_raised_from_them_final() -> None:
    def wrapped(cause: BaseException, times: int) -> BaseException:
        for _ in range(times):
            error = ValueError("w")
            error.__cause__ = cause
            cause = error
        return cause

    cycle = wrapped(KeyError("k"), 2)
    cycle.__cause__.__cause__ = cycle  # type: ignore[union-attr]
    group = ExceptionGroup("g", [ValueError("a"), HOPELESS["program"]])  # type: ignore[list-item]

    assert all(map(is_final, (wrapped(HOPELESS["program"], 3), wrapped(group, 1))))
    assert not any(map(is_final, (wrapped(HOPELESS["payload"], 1), wrapped(HOPELESS["signature"], 1), cycle)))


def test_step_that_returns_generator_is_final_and_says_so(driver: Driver) -> None:
    def nested(ctx: Context) -> Flow:
        yield ctx.sleep(1)

    def workflow(ctx: Context) -> Flow:
        yield ctx.run(lambda ctx: nested(ctx))

    with pytest.raises(ProgramError, match=r"<lambda> returned the generator nested.*ctx\.run\(nested"):
        driver.run("w", workflow)
    assert driver.elapsed() == 0

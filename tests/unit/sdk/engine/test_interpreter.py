"""Workflows as the interpreter runs and replays them, in memory and deployed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest

from resonate import Context
from resonate.engine.actions import Finished
from resonate.engine.conventions import Conventions
from resonate.engine.interpreter import Execution
from resonate.engine.model import Lineage, Node, Work
from resonate.errors import PayloadError, ProgramError
from resonate.workflow.commands import LocalCall, state_of
from resonate.workflow.context import Info
from resonate.workflow.registry import Registry
from resonate_store.model.records import EMPTY
from resonate_store.model.tags import ORIGIN, PARENT
from tests.support.driver import Driver, Flow
from tests.support.steps import ONCE, Diary, caught, double, gathered
from tests.support.ways import always_three_ways, three_ways


def text_of(_: Context, first: str, *rest: str, sep: str = "") -> str:
    return sep.join((first, *rest))


@three_ways
def test_steps_run_in_sequence_with_the_results_of_earlier_ones(driver: Driver) -> None:
    def inner(_: Context) -> Flow:
        return "without a yield"
        yield

    def workflow(ctx: Context, n: int) -> Flow:
        once = yield ctx.run(double, n)
        twice = yield ctx.run(double, once)
        return [once, twice, (yield ctx.run(inner))]

    assert driver.run("w", workflow, 1) == [2, 4, "without a yield"]
    assert driver.ids() == ["w", "w.1", "w.2", "w.3"]
    assert [report.status for report in driver.reports] == ["completed"]


@always_three_ways
def test_call_passes_arguments_of_every_form(driver: Driver) -> None:
    def workflow(ctx: Context, first: str, *rest: str, sep: str) -> Flow:
        here = yield ctx.run(text_of, first, *rest, sep=sep)
        there = yield ctx.rpc("text_of", first, *rest, sep=sep)
        return [here, there]

    driver.register(text_of)

    assert driver.run("w", workflow, "a", "b", "c", sep="-") == ["a-b-c", "a-b-c"]


@always_three_ways
def test_result_of_a_step_is_what_replay_will_see(driver: Driver) -> None:
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


def test_replay_repeats_no_recorded_step_and_reads_no_finished_workflow(driver: Driver, diary: Diary) -> None:
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


def test_replay_creates_no_recorded_promise_again(driver: Driver) -> None:
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


@always_three_ways
def test_begun_call_can_be_awaited_later_and_repeatedly(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        here = yield ctx.begin_run(diary.step("here", 1))
        there = yield ctx.begin_rpc("there")
        apart = yield ctx.detached("there")
        assert here
        assert here == here
        return [(yield there), (yield here), (yield there), (yield ctx.run(inner, here)), (yield apart)]

    def inner(_: Context, promise: Any) -> Flow:
        return (yield promise) + 10

    def there(_: Context) -> int:
        return 2

    driver.register(there)

    assert driver.run("w", workflow) == [2, 1, 2, 11, 2]
    assert diary == ["here"]


@three_ways
def test_promise_of_another_execution_cannot_be_awaited(driver: Driver) -> None:
    promises: list[Any] = []

    def one(ctx: Context) -> Flow:
        promises.append((yield ctx.begin_run(double, 1)))

    def two(_: Context) -> Flow:
        yield promises[0]

    driver.run("one", one)

    with pytest.raises(ValueError, match=r"belongs to another computation.*ctx\.promise\(id="):
        driver.run("two", two)


@always_three_ways
def test_workflow_joins_begun_calls_in_creation_order_at_its_end(driver: Driver, diary: Diary) -> None:
    def waits(ctx: Context, name: str, seconds: float) -> Flow:
        yield ctx.sleep(seconds)
        diary.append((ctx.id, name, driver.elapsed()))

    def workflow(ctx: Context, ending: str) -> Flow:
        yield ctx.begin_run(waits, "slow", 20)
        yield ctx.begin_run(waits, "fast", 10)
        yield ctx.begin_run(diary.step("fails", error=ValueError("not awaited"))).options(retry_policy=ONCE)
        yield ctx.begin_rpc("remote")
        if ending == "raise":
            raise KeyError("mine")
        return "mine"

    def remote(ctx: Context) -> Flow:
        yield ctx.sleep(2)
        raise ValueError("not awaited")

    driver.deploy(workflow=workflow, remote=remote)
    for ending in ("return", "raise"):
        driver.create(ending, {"func": "workflow", "args": [ending]})
    driver.work()
    # It waits for the first call only: the remote call exists, and nothing waits for it yet.
    for ending in ("return", "raise"):
        assert driver.record(f"{ending}.1.1").callbacks == {ending: 1}
        assert driver.record(f"{ending}.4").callbacks == {}

    with pytest.raises(KeyError, match="mine"):
        driver.finish("raise")
    assert driver.finish("return") == "mine"
    for ending in ("return", "raise"):
        assert {(f"{ending}.1", "slow", 20.0), (f"{ending}.2", "fast", 10.0)} <= {*diary} - {"fails"}
        assert all(not driver.promise(f"{ending}.{n}").pending for n in (1, 2, 3, 4))


@three_ways
def test_detached_call_outlives_its_caller(driver: Driver) -> None:
    def elsewhere(ctx: Context) -> Flow:
        yield ctx.sleep(500)
        return "done"

    def workflow(ctx: Context) -> Flow:
        promise = yield ctx.detached("elsewhere")
        return promise.id

    driver.register(elsewhere)
    driver.start("w", workflow, timeout=60.0)

    assert not driver.promise("w").pending
    detached = driver.promise("w.1")
    assert detached.pending
    assert detached.tags[ORIGIN] == "w.1"
    assert detached.timeout_at > driver.promise("w").timeout_at
    assert driver.finish("w.1") == "done"


@always_three_ways
def test_nested_workflows_number_their_own_children(driver: Driver) -> None:
    def inner(ctx: Context, n: int) -> Flow:
        first = yield ctx.run(double, n)
        yield ctx.sleep(10)
        return first + (yield ctx.run(double, first))

    def workflow(ctx: Context, begin: bool) -> Flow:
        if begin:
            return (yield from gathered(ctx.begin_run(inner, n) for n in (1, 2)))
        return [(yield ctx.run(inner, 1)), (yield ctx.run(inner, 2))]

    for id, begin, elapsed in (("w", False, 20), ("x", True, 30)):
        assert driver.run(id, workflow, begin) == [6, 12]
        assert driver.elapsed() == elapsed
        assert driver.promise(f"{id}.1.3").tags[PARENT] == f"{id}.1"
        assert driver.promise(f"{id}.1.3").tags[ORIGIN] == id
    assert driver.ids() == [
        each for id in "wx" for each in (id, *(f"{id}.{n}{m}" for n in (1, 2) for m in ("", ".1", ".2", ".3")))
    ]


@three_ways
def test_replayed_branch_that_has_finished_does_not_run_again(driver: Driver) -> None:
    """A workflow therefore counts what branches return, and not what they do to shared variables."""

    def workflow(ctx: Context) -> Flow:
        left = {"shared": 2, "returned": 2}

        def branch(ctx: Context, seconds: float) -> Flow:
            yield ctx.sleep(seconds)
            left["shared"] -= 1
            return 1

        for done in (yield from gathered(ctx.begin_run(branch, seconds) for seconds in (60, 120))):
            left["returned"] -= done
        return left

    assert driver.run("w", workflow) == {"shared": 1, "returned": 0}


class Insufficient(Exception):
    def __init__(self, needed: int, *, available: int) -> None:
        super().__init__(needed)
        self.available = available


@always_three_ways
def test_error_of_a_call_is_raised_at_its_yield(driver: Driver) -> None:
    def fails(_: Context) -> None:
        raise Insufficient(5, available=3)

    def nested(ctx: Context) -> Flow:
        yield ctx.run(fails).options(non_retryable_exceptions=(Insufficient,))

    def nested_remote(ctx: Context) -> Flow:
        yield from nested(ctx)

    def workflow(ctx: Context) -> Flow:
        found = []
        begun = yield ctx.begin_run(fails).options(retry_policy=ONCE)
        for call in (ctx.run(fails).options(retry_policy=ONCE), begun, ctx.rpc(nested_remote), ctx.run(nested)):
            error = yield from caught(call, Insufficient)
            found.append([error.args, error.available])
        return found

    driver.register(nested_remote)

    assert driver.run("w", workflow) == [[[5], 3]] * 4


@always_three_ways
def test_try_except_else_and_finally_work_around_yields(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        try:
            try:
                yield ctx.run(diary.step("fails", error=ValueError("no"))).options(retry_policy=ONCE)
            except ValueError:
                yield ctx.sleep(10)
                yield ctx.run(diary.step("handled"))
                yield ctx.sleep(10)
            else:
                yield ctx.run(diary.step("never"))
            finally:
                yield ctx.run(diary.step("cleaned"))
            raise KeyError("later")
        except KeyError as error:
            return error.args[0]

    assert driver.run("w", workflow) == "later"
    assert diary == ["fails", "handled", "cleaned"]
    assert [report.status for report in driver.reports] == ["suspended", "suspended", "completed"]


@three_ways
def test_stop_iteration_of_a_step_does_not_end_its_workflow(driver: Driver, diary: Diary) -> None:
    def workflow(ctx: Context) -> Flow:
        step = diary.step("stops", error=StopIteration(5))
        return (yield from caught(ctx.run(step).options(retry_policy=ONCE), StopIteration)).value

    assert driver.run("w", workflow) == 5


@three_ways
def test_yield_of_anything_but_a_command_is_a_type_error(driver: Driver) -> None:
    rubbish: list[Any] = [None, 5, "text", ["a list"], object(), double]

    def workflow(ctx: Context) -> Flow:
        messages = []
        for each in rubbish:
            messages.append(str((yield from caught(each, TypeError))))
        yield ctx.run(double, 1)
        return messages

    for each, message in zip(rubbish, driver.run("w", workflow), strict=True):
        assert "a workflow yields commands such as ctx.run(...), or promises, and not" in message
        assert type(each).__name__ in message
    assert driver.ids() == ["w", "w.1"]


@three_ways
def test_call_with_wrong_arguments_is_a_type_error(driver: Driver) -> None:
    def workflow(ctx: Context) -> Flow:
        unfit: Any = double
        try:
            yield ctx.run(unfit)
        except TypeError as error:
            return str(error)

    assert "double cannot be called like this: its argument 'n' is missing" in driver.run("w", workflow)
    with pytest.raises(TypeError, match="positional argument"):
        driver.run("v", workflow, "too", "many")


def f(_: Context) -> str:
    return "f"


def add(_: Context, a: Any, b: Any = 0) -> Any:
    return a + b


NOT_YIELDED: dict[str, Callable[[Context], Any]] = {
    "argument of a step": lambda ctx: (yield ctx.run(add, ctx.run(f))),
    "argument of a call": lambda ctx: (yield ctx.rpc("add", {"a": [ctx.run(f)]})),
    "promise as an argument of a step": lambda ctx: (yield ctx.run(add, (yield ctx.begin_run(f)), 1)),
    "operand": lambda ctx: (yield ctx.begin_run(f)) + 1,
    "right operand": lambda ctx: 1 + (yield ctx.begin_run(f)),
    "command as an operand": lambda ctx: (yield ctx.run(f)) and cast("Any", ctx.run(f)) * 2,
    "comparison": lambda ctx: (yield ctx.begin_run(f)) > 1,
    "item": lambda ctx: (yield ctx.begin_run(f))[0],
    "iteration": lambda ctx: (yield from ctx.run(f)),  # pyright: ignore
    "result": lambda ctx: ((yield ctx.run(f)), ctx.run(f)),
}


def test_command_used_as_its_result_says_to_yield_it(driver: Driver, subtests: pytest.Subtests) -> None:
    def workflow(ctx: Context, how: str) -> Flow:
        return (yield from NOT_YIELDED[how](ctx))

    for number, how in enumerate(NOT_YIELDED):
        with subtests.test(how), pytest.raises((ProgramError, PayloadError), match="write `yield`"):
            driver.run(f"w{number}", workflow, how)
    assert driver.elapsed() == 0


def test_short_names_of_calls_are_the_same_methods() -> None:
    long_names = (Context.run, Context.begin_run, Context.rpc, Context.begin_rpc)
    assert (Context.lfc, Context.lfi, Context.rfc, Context.rfi) == long_names


def test_restarted_execution_is_like_a_new_one() -> None:
    def workflow(_: Context) -> None:
        pass

    registry, given = Registry(), {}

    def root_of(generation: int) -> Work:
        context = Context("w", Info(1, 0, {}, 1, "w", generation), registry, {}, stem=f"w.{generation}+")
        node, lineage = Node("w", 10**15), Lineage.of("w", "w", "w", 10**15)
        how = (context, state_of(context), lineage, {}, None, (), "w", "workflow", True)
        return Work(node, workflow, "workflow", (), {}, *how)

    def shown(execution: Execution) -> dict[str, Any]:
        state = {name: getattr(execution, name) for name in dir(execution) if not name.startswith("__")}
        for name in ("records", "_progress", "_conventions"):
            parts = state.pop(name)
            names = getattr(parts, "__struct_fields__", None) or vars(parts)
            state |= {f"{name}.{each}": getattr(parts, each) for each in names}
        # `start` sets the instant and the version.
        ignored = ("now", "_version", "_progress.records")
        return {name: value for name, value in state.items() if name not in ignored and not callable(value)}

    first, second = root_of(1), root_of(2)
    execution = Execution(first, registry, given, encoders=given)
    for parts in (execution, execution.records):
        for name in getattr(parts, "__struct_fields__", None) or vars(parts):
            left = getattr(parts, name)
            if isinstance(left, dict) and left is not given:
                left["left"] = first
            elif isinstance(left, (list, deque)):
                left.append(first)
    canceled = {"canceled": "why", "_places": {"w": (1, "")}, "_reached": frozenset("w"), "_held_back": [first]}
    for name, value in ({"finished": Finished("resolved", EMPTY), "_sent": 1} | canceled).items():
        setattr(execution, name, value)
    for name, value in {"resumed_by": frozenset("w"), "resumed_at": 1}.items():
        setattr(getattr(execution, "_progress"), name, value)  # noqa: B009
    new = Execution(second, registry, given, encoders=given)
    assert shown(execution) != shown(new)

    execution.restart(second)

    assert shown(execution) == shown(new)

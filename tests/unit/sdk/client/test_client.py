"""The client as a program uses it: with real threads and promises in memory, or beside a deployment."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from resonate import Context, Handle, Resonate
from resonate.client.function import Function
from resonate.errors import PayloadError, ResonateStoreError, ResonateTimedoutError
from resonate.payloads import codec
from resonate.retry_policies import Constant, Never, RetryPolicy
from resonate.testing import MemoryStack
from resonate.workflow.registry import Registry
from resonate_store.local.memory import MemoryStore
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseSettle
from resonate_store.model.tags import ORIGIN, SCOPE, TARGET
from tests.support.driver import Flow
from tests.support.ways import always_three_ways, three_ways
from tests.unit.sdk.conftest import Connect

PATIENCE = 10.0
"""Seconds after which a test that waits for a thread has failed."""


@pytest.fixture
def resonate(connect: Connect) -> Resonate:
    return connect(workers=4)


def promise_of(resonate: Resonate, id: str) -> PromiseView:
    promise = resonate.store.apply(PromiseGet(id)).promise
    assert promise is not None
    return promise


def add(_: Context, a: int, b: int = 1) -> int:
    return a + b


HELLO_WORLD = """
from resonate import Resonate

resonate = Resonate.local()


def baz(_, greetee):
    print("running baz")
    return f"Hello {greetee} from baz!"


def bar(_, greetee):
    print("running bar")
    return f"Hello {greetee} from bar!"


@resonate.register
def foo(ctx, greetee):
    print("running foo")
    foo_greeting = f"Hello {greetee} from foo!"
    bar_greeting = yield ctx.run(bar, greetee=greetee)
    baz_greeting = yield ctx.run(baz, greetee=greetee)
    return f"{foo_greeting} {bar_greeting} {baz_greeting}"


result = foo.run("hello-world-example", greetee="World")
print(result)
resonate.stop()
"""


def test_the_hello_world_example_runs_unmodified(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(HELLO_WORLD, "hello_world.py", "exec"), {})

    assert capsys.readouterr().out.splitlines() == [
        "running foo",
        "running bar",
        "running baz",
        "Hello World from foo! Hello World from bar! Hello World from baz!",
    ]


# -- the default retry policy -----------------------------------------------------------------------------------------


def attempts_under(default: Any, **options: Any) -> list[str]:
    """What is called, in order, when a step of a workflow fails and the workflow with it."""
    calls: list[str] = []

    def step(_: Context) -> None:
        calls.append("step")
        raise LookupError

    def workflow(ctx: Context) -> Flow:
        calls.append("workflow")
        yield ctx.run(step).options(**options)

    program = Resonate(retry_policy=default)
    program.register(workflow)
    with MemoryStack(program) as stack, pytest.raises(LookupError):
        stack.run(workflow)
    return calls


def test_retry_policy_of_a_program_is_the_default_of_its_steps() -> None:
    assert attempts_under(Constant(5, 2)) == ["workflow", "step", "workflow", "step", "workflow", "step"]
    assert attempts_under(Constant(0, 2)) == ["workflow", "step", "step", "step"]
    assert attempts_under(Never()) == ["workflow", "step"]


def test_retry_policy_of_a_call_comes_before_the_programs() -> None:
    assert attempts_under(Constant(0, 2), retry_policy=Never()) == ["workflow", "step"]


def test_retry_policy_chosen_by_function_holds_for_workflows_too() -> None:
    def choose(func: Callable[..., Any]) -> RetryPolicy:
        return Constant(0, 1) if func.__name__ == "workflow" else Never()

    assert attempts_under(choose) == ["workflow", "step", "workflow", "step"]


def test_retry_policy_of_a_program_holds_in_its_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_FUNCTIONS", "1")
    program = Resonate(store=MemoryStore(), retry_policy=Never())

    @program.register
    def fails(_: Context) -> None:
        raise ValueError("at once")

    program.options(target="elsewhere").begin_rpc("a", fails)
    offer = {"kind": "execute", "head": {}, "data": {"task": {"id": "a", "version": 0}}}

    assert program.handler()(offer, None) == {"status": "completed"}
    with pytest.raises(ValueError, match="at once"):
        program.get("a").result()
    program.stop()


def test_retry_policy_of_a_program_that_is_none_is_refused() -> None:
    for make in (Resonate, Resonate.local, Resonate.remote):
        with pytest.raises(TypeError, match="retry_policy must be `RetryPolicy`, got int"):
            make(retry_policy=cast("Any", 3))


# -- registering ------------------------------------------------------------------------------------------------------


@three_ways
def test_a_function_is_registered_in_three_forms(resonate: Resonate) -> None:
    @resonate.register
    def plain(_: Context) -> str:
        return "plain"

    @resonate.register(name="other", version=2)
    def named(_: Context) -> str:
        return "named"

    called = resonate.register(lambda _: "called", name="third")

    assert all(isinstance(function, Function) for function in (plain, named, called))
    assert [resonate.run(name, name) for name in ("plain", "other", "third")] == ["plain", "named", "called"]
    assert [resonate.rpc(name * 2, name) for name in ("plain", "other", "third")] == ["plain", "named", "called"]
    assert (named.name, named.version) == ("other", 2)


def test_what_cannot_be_registered_is_named(resonate: Resonate) -> None:
    resonate.register(add)

    wrong: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: resonate.register(add), ValueError, "function add already registered"),
        (lambda: resonate.register(lambda _: 1), ValueError, "name required when registering a lambda function"),
        (lambda: resonate.register(functools.partial(add)), ValueError, "function add already registered"),
        (lambda: resonate.register(add, name=5), TypeError, "name must be `str`, got int"),  # type: ignore[call-overload]
        (lambda: resonate.register(version="1"), TypeError, "version must be `int`, got str"),  # type: ignore[call-overload]
        (lambda: resonate.register(add, name="x", version=0), ValueError, "greater than zero, got 0"),
    ]
    for register, error, message in wrong:
        with pytest.raises(error, match=message):
            register()


@three_ways
def test_versions_live_side_by_side(resonate: Resonate) -> None:
    resonate.register(lambda _: "one", name="f", version=1)
    resonate.register(lambda _: "two", name="f", version=2)

    assert resonate.run("latest", "f") == "two"
    assert resonate.options(version=1).run("first", "f") == "one"
    assert resonate.options(version=1).rpc("remote", "f") == "one"
    with pytest.raises(ValueError, match="function f version 3 not found in registry"):
        resonate.options(version=3).run("third", "f")


def test_a_registry_can_be_shared(connect: Connect) -> None:
    registry = Registry()
    connect(registry=registry).register(add)

    assert connect(registry=registry).run("a", "add", 1) == 2


# -- starting and waiting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["function", "name", "wrapper"])
@three_ways
def test_the_four_ways_to_start_something(resonate: Resonate, by: str) -> None:
    wrapper = resonate.register(add)
    func: Any = {"function": add, "name": "add", "wrapper": wrapper}[by]

    assert resonate.run("a", func, 1) == 2
    assert resonate.rpc("b", func, 1, b=2) == 3
    assert resonate.begin_run("c", func, a=1, b=3).result(PATIENCE) == 4
    assert resonate.begin_rpc("d", func, 1, 4).result(PATIENCE) == 5
    assert resonate.begin_rpc("e", func=func, a=1, b=5).result(PATIENCE) == 6
    assert resonate.get("a").result(PATIENCE) == 2


@always_three_ways
def test_a_workflow_of_everything(resonate: Resonate) -> None:
    @resonate.register
    def workflow(ctx: Context, n: int) -> Flow:
        here = yield ctx.begin_run(add, n)
        there = yield ctx.begin_rpc("add", n, b=10)
        nested = yield ctx.run(inner, n)
        return [(yield here), (yield there), nested]

    def inner(ctx: Context, n: int) -> Flow:
        return (yield ctx.rpc(add, n, 100))

    resonate.register(add)

    assert workflow.run("w", 1) == [2, 11, 101]


@three_ways
def test_the_same_id_runs_once(resonate: Resonate) -> None:
    runs: list[str] = []

    @resonate.register
    def once(ctx: Context, n: int) -> int:
        runs.append(ctx.id)
        return n

    assert [once.run("a", 1), once.run("a", 2), once.rpc("a", 3), resonate.get("a").result()] == [1, 1, 1, 1]
    assert once.begin_run("a", 4).result(PATIENCE) == 1
    assert runs == ["a"]


def test_the_same_id_at_the_same_time_runs_once(resonate: Resonate) -> None:
    running, enough = threading.Event(), threading.Event()
    runs: list[str] = []

    @resonate.register
    def once(ctx: Context) -> str:
        runs.append(ctx.id)
        running.set()
        assert enough.wait(PATIENCE)
        return "done"

    handles = [once.begin_run("a")]
    assert running.wait(PATIENCE)
    handles += [once.begin_run("a"), once.begin_rpc("a"), resonate.get("a")]
    enough.set()

    assert [handle.result(PATIENCE) for handle in handles] == ["done"] * 4
    assert once.run("a") == "done"
    assert runs == ["a"]


@three_ways
def test_running_under_the_id_of_a_bare_promise_waits_for_that(resonate: Resonate) -> None:
    resonate.register(add)
    resonate.store.apply(PromiseCreate("p", 10**13))
    handle = resonate.begin_run("p", add, 1)
    assert not handle.done()
    resonate.store.apply(PromiseSettle("p", "resolved", codec.encode("by hand", "a value")))

    assert handle.result(PATIENCE) == "by hand"


def test_a_handle_waits_as_long_as_it_is_told(resonate: Resonate) -> None:
    enough = threading.Event()

    @resonate.register
    def slow(_: Context) -> str:
        assert enough.wait(PATIENCE)
        return "done"

    handle = slow.begin_run("w")
    assert not handle.done()
    with pytest.raises(TimeoutError, match="w has no outcome after"):
        handle.result(0.01)
    enough.set()
    assert handle.result(PATIENCE) == "done"
    assert handle.done()
    assert resonate.get("w").done()


def test_handles_can_be_awaited(resonate: Resonate) -> None:
    resonate.register(add)

    async def main() -> list[int]:
        return list(await asyncio.gather(*(handle_of(n) for n in range(5))))

    async def handle_of(n: int) -> int:
        return await resonate.begin_run(f"w{n}", add, n)

    assert asyncio.run(main()) == [1, 2, 3, 4, 5]


@dataclass
class Invoice:
    number: int
    total: float


def issue(_: Context, invoice: Invoice) -> Invoice:
    return Invoice(invoice.number + 1, invoice.total)


@three_ways
def test_arguments_and_results_have_their_types(resonate: Resonate) -> None:
    resonate.register(issue)

    assert resonate.run("a", issue, Invoice(1, 9.5)) == Invoice(2, 9.5)
    assert resonate.rpc("b", issue, invoice=Invoice(1, 9.5)) == Invoice(2, 9.5)
    # Whoever has only the id, has only the data.
    assert resonate.get("a").result() == {"number": 2, "total": 9.5}


class Declined(Exception):
    def __init__(self, card: str, *, code: int) -> None:
        super().__init__(card)
        self.code = code


@pytest.mark.parametrize("how", ["run", "begin_run", "rpc"])
@three_ways
def test_an_error_reaches_the_caller_as_itself(resonate: Resonate, how: str) -> None:
    @resonate.register
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(fails).options(retry_policy=Never())

    def fails(_: Context) -> None:
        raise Declined("visa", code=51)

    with pytest.raises(Declined, match="visa") as caught:
        workflow.begin_run("w").result(PATIENCE) if how == "begin_run" else getattr(resonate, how)("w", workflow)
    assert caught.value.code == 51


@three_ways
def test_human_in_the_loop(resonate: Resonate) -> None:
    mailed = threading.Event()

    @resonate.register
    def approval(ctx: Context) -> Flow:
        promise = yield ctx.promise(id="approval")
        yield ctx.run(lambda _: mailed.set())
        return {"approved": (yield promise)}

    handle = approval.begin_run("w")
    assert mailed.wait(PATIENCE)
    resonate.store.apply(PromiseSettle("approval", "resolved", codec.encode(True, "the answer")))

    assert handle.result(PATIENCE) == {"approved": True}


# -- options ----------------------------------------------------------------------------------------------------------


@three_ways
def test_options_are_for_what_is_started_with_them(resonate: Resonate) -> None:
    resonate.register(add)
    one = resonate.options(tags={"mine": "x"}, timeout=60.0)
    one.options(target="worker").begin_rpc("a", add, 1)
    resonate.run("b", add, 1)

    a, b = promise_of(resonate, "a"), promise_of(resonate, "b")
    assert (a.tags["mine"], a.tags[TARGET], a.tags[SCOPE], a.tags[ORIGIN]) == (
        *("x", "poll://any@worker", "global"),
        "a",
    )
    assert a.timeout_at - a.created_at == pytest.approx(60_000, abs=1_000)
    assert "mine" not in b.tags
    assert b.tags[TARGET] == "poll://any@default"
    assert b.timeout_at - b.created_at == pytest.approx(31_536_000_000, abs=1_000)


@pytest.mark.parametrize("how", ["run", "begin_run"])
@three_ways
def test_a_retry_policy_holds_for_what_runs_here(resonate: Resonate, how: str) -> None:
    attempts: list[int] = []

    @resonate.register
    def flaky(ctx: Context) -> str:
        attempts.append(ctx.info.attempt)
        raise ValueError("never mind")

    chosen = resonate.options(retry_policy=Constant(delay=0, max_retries=2))
    with pytest.raises(ValueError, match="never mind"):
        chosen.run("w", flaky) if how == "run" else chosen.begin_run("w", flaky).result(PATIENCE)
    assert attempts == [1, 2, 3]


@pytest.mark.parametrize("how", ["run", "begin_run", "function"])
@always_three_ways
def test_an_attempt_that_was_reached_goes_on_after_a_suspension(resonate: Resonate, how: str) -> None:
    @resonate.register
    def workflow(ctx: Context) -> Flow:
        if ctx.info.attempt == 1:
            raise ValueError("first attempt")
        yield ctx.sleep(2)
        return "ok"

    if how == "function":
        assert workflow.options(retry_policy=Constant(0.1)).run("w") == "ok"
    else:
        chosen = resonate.options(retry_policy=Constant(0.1))
        assert (chosen.run("w", workflow) if how == "run" else chosen.begin_run("w", workflow).result(PATIENCE)) == "ok"


def test_a_policy_with_long_pauses_comes_to_its_end(resonate: Resonate) -> None:
    attempts: list[int] = []

    @resonate.register
    def fails(ctx: Context) -> None:
        attempts.append(ctx.info.attempt)
        raise ValueError("never mind")

    with pytest.raises(ValueError, match="never mind"):
        resonate.options(retry_policy=Constant(1.1, max_retries=2)).begin_run("w", fails).result(PATIENCE)
    assert attempts == [1, 2, 3]


def test_a_call_that_is_begun_again_goes_by_the_policy_it_is_begun_with(resonate: Resonate) -> None:
    begun = threading.Event()

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        begun.set()
        yield ctx.rpc("approve")
        raise ValueError(f"attempt {ctx.info.attempt}")

    workflow.begin_run("w")
    assert begun.wait(PATIENCE)
    again = workflow.options(retry_policy=Constant(0, max_retries=2)).begin_run("w")

    @resonate.register
    def approve(_: Context) -> str:
        return "yes"

    with pytest.raises(ValueError, match="attempt 3"):
        again.result(PATIENCE)


@pytest.mark.parametrize("how", ["run", "begin_run"])
@three_ways
def test_a_retry_policy_may_be_chosen_by_the_function(resonate: Resonate, how: str) -> None:
    @resonate.register
    def fails(ctx: Context) -> None:
        raise ValueError(f"attempt {ctx.info.attempt}")

    chosen: list[Any] = []
    start = getattr(resonate.options(retry_policy=lambda func: (chosen.append(func), Constant(0, 2))[1]), how)
    with pytest.raises(ValueError, match="attempt 3"):
        start("a", fails).result(PATIENCE)
    assert set(chosen) == {fails.func}

    with pytest.raises(TypeError, match="retry_policy must give a `RetryPolicy` for fails, got None"):
        getattr(resonate.options(retry_policy=cast("Any", lambda _: None)), how)("b", fails)
    with pytest.raises(ResonateStoreError, match="not found"):
        resonate.get("b")


@three_ways
def test_whoever_is_told_of_a_promise_may_resolve_it_at_once(resonate: Resonate) -> None:
    @resonate.register
    def asks(ctx: Context) -> Flow:
        promise = yield ctx.promise(id="the-question")
        resonate.promises.resolve(id=promise.id, data='"yes"')
        return (yield promise)

    assert resonate.run("w", asks) == "yes"


@three_ways
def test_a_timeout_is_an_error(resonate: Resonate) -> None:
    @resonate.register
    def waits(ctx: Context) -> Flow:
        yield (yield ctx.promise())

    handle = resonate.options(timeout=0.05).begin_run("w", waits)

    with pytest.raises(ResonateTimedoutError, match="Promise w timedout"):
        handle.result(PATIENCE)


@three_ways
def test_a_dependency_is_at_hand(connect: Connect) -> None:
    resonate = connect(dependencies={"a": 1})
    resonate.set_dependency("b", 2)

    @resonate.register
    def sums(ctx: Context) -> Flow:
        return ctx.get_dependency("a") + (yield ctx.run(lambda ctx: ctx.get_dependency("b")))

    assert [sums.run("w"), sums.rpc("v")] == [3, 3]


def test_one_worker_runs_one_function_at_a_time(connect: Connect) -> None:
    resonate = connect(workers=1)
    alone = threading.Lock()

    @resonate.register
    def busy(_: Context) -> int:
        assert alone.acquire(blocking=False)
        total = sum(range(20_000))  # longer than a thread is left alone
        alone.release()
        return total

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        one, two = (yield ctx.begin_run(busy)), (yield ctx.begin_run(busy))
        return (yield one) + (yield two)

    before, _ = sys.getswitchinterval(), sys.setswitchinterval(0.00001)
    try:
        handles = [resonate.begin_run(f"w{n}", workflow if n % 2 else busy) for n in range(20)]
        for handle in handles:
            assert cast("int", handle.result(PATIENCE)) > 0
    finally:
        sys.setswitchinterval(before)


def test_several_workers_run_functions_at_the_same_time(connect: Connect) -> None:
    resonate = connect(workers=3)
    together = threading.Barrier(3, timeout=PATIENCE)

    @resonate.register
    def meets(_: Context) -> None:
        together.wait()

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        promises, got = [], []
        for _ in range(3):
            promises.append((yield ctx.begin_run(meets)))
        for promise in promises:
            got.append((yield promise))
        return got

    for handle in [resonate.begin_run(f"w{n}", meets) for n in range(3)]:
        handle.result(PATIENCE)
    assert workflow.run("w") == [None] * 3


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"group": 5}, TypeError, "group must be `str`, got int"),
        ({"pid": 5}, TypeError, "pid must be `str`, got int"),
        ({"ttl": "10"}, TypeError, "ttl must be `int`, got str"),
        ({"ttl": 0}, ValueError, "ttl must be at least 1, got 0"),
        ({"workers": "4"}, TypeError, "workers must be `int`, got str"),
        ({"workers": 0}, ValueError, "workers must be at least 1, got 0"),
        ({"log_level": "LOUD"}, ValueError, "one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got 'LOUD'"),
        ({"log_level": None}, TypeError, "log_level must be `int or str`, got NoneType"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    for make in (Resonate, Resonate.local):
        with pytest.raises(error, match=message):
            make(**arguments)


@pytest.mark.parametrize("how", ["run", "begin_run", "rpc", "begin_rpc"])
@pytest.mark.parametrize(
    ("id", "func", "error", "message"),
    [
        (5, add, TypeError, "id must be `str`, got int"),
        ("", add, ValueError, "the id is empty"),
        ("x" * 1001, add, ValueError, "1001 bytes long and 1000 is the limit"),
        ("a\0b", add, ValueError, "contains a NUL character"),
        ("a", 5, TypeError, "func must be a function or its name, got int"),
        ("a", None, TypeError, "func must be a function or its name, got NoneType"),
        ("a", add, ValueError, "function add not found in registry"),
    ],
)
def test_a_wrong_call_is_named(
    resonate: Resonate, how: str, id: Any, func: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(resonate, how)(id, func)


@pytest.mark.parametrize("how", ["run", "begin_run"])
def test_running_here_needs_the_function_here(resonate: Resonate, how: str) -> None:
    with pytest.raises(ValueError, match="function nobody not found in registry"):
        getattr(resonate, how)("a", "nobody")
    assert not resonate.options(target="elsewhere").begin_rpc("a", "nobody").done()


@three_ways
def test_unencodable_arguments_are_named_at_once(resonate: Resonate) -> None:
    resonate.register(add)

    calls: list[Any] = [resonate.run, resonate.begin_run, resonate.rpc, resonate.begin_rpc]
    for call in calls:
        with pytest.raises(PayloadError, match=r"the arguments of add cannot travel: args\[0\]\['k'\] is an object"):
            call("a", add, {"k": object()})
    with pytest.raises(ResonateStoreError):
        resonate.get("a")


@three_ways
def test_other_refusals(resonate: Resonate) -> None:
    resonate.register(add)

    with pytest.raises(ResonateStoreError, match="was not found") as missing:
        resonate.get("nothing")
    assert (missing.value.code, missing.value.details) == (100.404, {"id": "nothing"})
    with pytest.raises(TypeError, match="id must be `str`, got int"):
        resonate.get(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name must be `str`, got int"):
        resonate.set_dependency(5, "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout must be `float`, got str"):
        resonate.options(timeout="1")  # type: ignore[arg-type]
    with pytest.raises(ResonateStoreError, match="'ftp://x' is not an address"):
        resonate.options(target="ftp://x").begin_rpc("a", add, 1)


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [None, ""])
def test_without_a_table_promises_live_in_memory(monkeypatch: pytest.MonkeyPatch, table: str | None) -> None:
    monkeypatch.delenv("RESONATE_TABLE", raising=False)
    if table is not None:
        monkeypatch.setenv("RESONATE_TABLE", table)

    assert isinstance(Resonate().store, MemoryStore)


def test_the_environment_names_a_table_and_local_does_not_care(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_TABLE", "a-table")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    assert isinstance(Resonate.local().store, MemoryStore)
    assert type(Resonate().store).__name__ == "DynamoStore"
    own = MemoryStore()
    assert Resonate(store=own).store is own


def test_each_local_connection_has_promises_of_its_own(connect: Connect) -> None:
    one, two = connect(), connect()
    one.register(add)
    one.run("a", add, 1)

    with pytest.raises(ResonateStoreError):
        two.get("a")


@pytest.mark.parametrize(("level", "number"), [("WARNING", logging.WARNING), (logging.DEBUG, logging.DEBUG)])
def test_the_log_level(connect: Connect, level: int | str, number: int) -> None:
    connect(log_level=level)

    assert logging.getLogger("resonate").level == number
    connect(log_level=logging.NOTSET)


@three_ways
def test_an_option_does_not_leak_into_a_handle(resonate: Resonate) -> None:
    resonate.register(add)
    handle: Handle[int] = resonate.options(timeout=60.0).begin_run("a", add, 1)

    assert (handle.id, handle.result(PATIENCE)) == ("a", 2)


def test_second_function_under_an_id_warns_with_both_names(
    resonate: Resonate, caplog: pytest.LogCaptureFixture
) -> None:
    @resonate.register
    def one(_: Context) -> str:
        return "one"

    @resonate.register
    def two(_: Context) -> str:
        return "two"

    assert resonate.run("same", one) == "one"
    assert resonate.run("same", one) == "one"
    assert "same exists" not in caplog.text
    assert resonate.run("same", two) == "one"
    assert "same exists and calls one, not two" in caplog.text

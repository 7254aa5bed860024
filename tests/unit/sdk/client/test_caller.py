"""Calls of registered functions by a program: run, begin_run, rpc and begin_rpc, and their options."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import pytest

from resonate import Context, Resonate
from resonate.errors import PayloadError, ResonateStoreError
from resonate.payloads import codec
from resonate.retry_policies import Constant, Never
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseSettle
from resonate_store.model.tags import ORIGIN, SCOPE, TARGET
from tests.support.driver import Flow
from tests.support.present import present
from tests.support.steps import PATIENCE, Held, runs
from tests.support.ways import always_three_ways, three_ways


def promise_of(resonate: Resonate, id: str) -> PromiseView:
    return present(resonate.store.apply(PromiseGet(id)).promise)


def add(_: Context, a: int, b: int = 1) -> int:
    return a + b


@three_ways
def test_call_names_its_function_in_three_ways(resonate: Resonate) -> None:
    by: list[Any] = [add, "add", resonate.register(add)]
    for number, func in enumerate(by):
        assert resonate.run(f"a{number}", func, 1) == 2
        assert resonate.rpc(f"b{number}", func, 1, b=2) == 3
        assert resonate.begin_run(f"c{number}", func, a=1, b=3).result(PATIENCE) == 4
        assert resonate.begin_rpc(f"d{number}", func, 1, 4).result(PATIENCE) == 5
        assert resonate.begin_rpc(f"e{number}", func=func, a=1, b=5).result(PATIENCE) == 6
        assert resonate.get(f"a{number}").result(PATIENCE) == 2


@always_three_ways
def test_workflow_calls_functions_here_and_remotely(resonate: Resonate) -> None:
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
def test_call_of_an_id_that_exists_does_not_run_again(resonate: Resonate) -> None:
    ran: list[str] = []

    @resonate.register
    def once(ctx: Context, n: int) -> int:
        ran.append(ctx.id)
        return n

    assert [once.run("a", 1), once.run("a", 2), once.rpc("a", 3), resonate.get("a").result()] == [1, 1, 1, 1]
    assert once.begin_run("a", 4).result(PATIENCE) == 1
    assert ran == ["a"]


def test_concurrent_calls_of_one_id_run_once(resonate: Resonate) -> None:
    held, ran = Held(), list[str]()

    @resonate.register
    def once(ctx: Context) -> str:
        ran.append(ctx.id)
        return held.step(ctx)

    handles = [once.begin_run("a")]
    assert held.running.wait(PATIENCE)
    handles += [once.begin_run("a"), once.begin_rpc("a"), resonate.get("a")]
    held.enough.set()

    assert [handle.result(PATIENCE) for handle in handles] == ["done"] * 4
    assert once.run("a") == "done"
    assert ran == ["a"]


@three_ways
def test_call_under_the_id_of_a_promise_waits_for_it(resonate: Resonate) -> None:
    resonate.register(add)
    resonate.store.apply(PromiseCreate("p", 10**13))
    handle = resonate.begin_run("p", add, 1)
    assert not handle.done()
    resonate.store.apply(PromiseSettle("p", "resolved", codec.encode("by hand", "a value")))

    assert handle.result(PATIENCE) == "by hand"


@dataclass
class Invoice:
    number: int
    total: float


def issue(_: Context, invoice: Invoice) -> Invoice:
    return Invoice(invoice.number + 1, invoice.total)


@three_ways
def test_arguments_and_results_of_a_call_have_their_types(resonate: Resonate) -> None:
    resonate.register(issue)

    assert resonate.run("a", issue, Invoice(1, 9.5)) == Invoice(2, 9.5)
    assert resonate.rpc("b", issue, invoice=Invoice(1, 9.5)) == Invoice(2, 9.5)
    # With only the id there is only the data.
    assert resonate.get("a").result() == {"number": 2, "total": 9.5}


class Declined(Exception):
    def __init__(self, card: str, *, code: int) -> None:
        super().__init__(card)
        self.code = code


@three_ways
def test_error_of_a_call_reaches_its_caller_as_itself(resonate: Resonate) -> None:
    def fails(_: Context) -> None:
        raise Declined("visa", code=51)

    workflow = resonate.register(runs(fails, retry_policy=Never()))
    calls: list[Callable[[], Any]] = [
        lambda: resonate.run("a", workflow),
        lambda: resonate.begin_run("b", workflow).result(PATIENCE),
        lambda: resonate.rpc("c", workflow),
    ]
    for call in calls:
        with pytest.raises(Declined, match="visa") as caught:
            call()
        assert caught.value.code == 51


@three_ways
def test_options_hold_only_for_calls_started_with_them(resonate: Resonate) -> None:
    resonate.register(add)
    one = resonate.options(tags={"mine": "x"}, timeout=60.0)
    one.options(target="worker").begin_rpc("a", add, 1)
    resonate.run("b", add, 1)

    a, b = promise_of(resonate, "a"), promise_of(resonate, "b")
    assert a.tags | {"mine": "x", TARGET: "poll://any@worker", SCOPE: "global", ORIGIN: "a"} == a.tags
    assert a.timeout_at - a.created_at == pytest.approx(60_000, abs=1_000)
    assert "mine" not in b.tags
    assert b.tags[TARGET] == "poll://any@default"
    assert b.timeout_at - b.created_at == pytest.approx(31_536_000_000, abs=1_000)


@always_three_ways
def test_retry_policy_of_a_call_holds_after_a_suspension(resonate: Resonate) -> None:
    @resonate.register
    def workflow(ctx: Context) -> Flow:
        if ctx.info.attempt == 1:
            raise ValueError("first attempt")
        yield ctx.sleep(1.1)
        return "ok"

    chosen = resonate.options(retry_policy=Constant(0.1))
    begun = chosen.begin_run("a", workflow)
    assert chosen.run("b", workflow) == "ok"
    assert begun.result(PATIENCE) == "ok"
    assert workflow.options(retry_policy=Constant(0.1)).run("c") == "ok"


def test_call_that_is_begun_again_has_its_new_retry_policy(resonate: Resonate) -> None:
    begun = threading.Event()

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        begun.set()
        yield ctx.rpc("approve")
        raise ValueError(f"attempt {ctx.info.attempt}")

    workflow.begin_run("w")
    assert begun.wait(PATIENCE)
    again = workflow.options(retry_policy=Constant(0, max_retries=2)).begin_run("w")
    resonate.register(lambda _: "yes", name="approve")

    with pytest.raises(ValueError, match="attempt 3"):
        again.result(PATIENCE)


@three_ways
def test_retry_policy_of_a_call_can_be_chosen_by_function(resonate: Resonate) -> None:
    @resonate.register
    def fails(ctx: Context) -> None:
        raise ValueError(f"attempt {ctx.info.attempt}")

    chosen: list[Any] = []
    for how in ("run", "begin_run"):
        chosen.clear()
        start = getattr(resonate.options(retry_policy=lambda func: (chosen.append(func), Constant(0, 2))[1]), how)
        with pytest.raises(ValueError, match="attempt 3"):
            start(how, fails).result(PATIENCE)
        assert set(chosen) == {fails.func}

        with pytest.raises(TypeError, match="retry_policy must give a `RetryPolicy` for fails, got None"):
            getattr(resonate.options(retry_policy=cast("Any", lambda _: None)), how)("b", fails)
        with pytest.raises(ResonateStoreError, match="not found"):
            resonate.get("b")


def test_call_with_invalid_arguments_is_named(resonate: Resonate, subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, Any, type[Exception], str]] = [
        (5, add, TypeError, "id must be `str`, got int"),
        ("", add, ValueError, "the id is empty"),
        ("x" * 1001, add, ValueError, "1001 bytes long and 1000 is the limit"),
        ("a\0b", add, ValueError, "contains a NUL character"),
        ("a", 5, TypeError, "func must be a function or its name, got int"),
        ("a", None, TypeError, "func must be a function or its name, got NoneType"),
        ("a", add, ValueError, "function add not found in registry"),
    ]
    calls: list[Callable[..., Any]] = [resonate.run, resonate.begin_run, resonate.rpc, resonate.begin_rpc]
    for call, (id, func, error, message) in product(calls, cases):
        with subtests.test(message, call=call.__name__), pytest.raises(error, match=message):
            call(id, func)


def test_run_needs_the_function_here_and_rpc_does_not(resonate: Resonate) -> None:
    for call in (resonate.run, resonate.begin_run):
        with pytest.raises(ValueError, match="function absent not found in registry"):
            call("a", "absent")
    assert not resonate.options(target="elsewhere").begin_rpc("a", "absent").done()


@three_ways
def test_call_with_arguments_that_cannot_be_encoded_is_named(resonate: Resonate) -> None:
    resonate.register(add)

    calls: list[Any] = [resonate.run, resonate.begin_run, resonate.rpc, resonate.begin_rpc]
    for call in calls:
        with pytest.raises(PayloadError, match=r"the arguments of add cannot travel: args\[0\]\['k'\] is an object"):
            call("a", add, {"k": object()})
    with pytest.raises(ResonateStoreError):
        resonate.get("a")


@three_ways
def test_call_with_invalid_option_or_unknown_id_is_named(resonate: Resonate) -> None:
    resonate.register(add)

    with pytest.raises(ResonateStoreError, match="was not found") as missing:
        resonate.get("nothing")
    assert (missing.value.code, missing.value.details) == (100.404, {"id": "nothing"})
    with pytest.raises(TypeError, match="name must be `str`, got int"):
        resonate.set_dependency(5, "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout must be `float`, got str"):
        resonate.options(timeout="1")  # type: ignore[arg-type]
    with pytest.raises(ResonateStoreError, match="'ftp://x' is not an address"):
        resonate.options(target="ftp://x").begin_rpc("a", add, 1)


def test_second_function_warns_with_both_names(resonate: Resonate, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("one", "two"):
        resonate.register(lambda _, name=name: name, name=name)

    assert [resonate.run("same", "one") for _ in range(2)] == ["one", "one"]
    assert "same exists" not in caplog.text
    assert resonate.run("same", "two") == "one"
    assert "same exists and calls one, not two" in caplog.text


def test_created_execution_that_exists_warns_unless_a_key_refuses(
    resonate: Resonate, caplog: pytest.LogCaptureFixture
) -> None:
    resonate.register(add)
    first = resonate.create_execution("x", add, 1, 2)
    assert resonate.create_execution("x", add, 1, 2).param == first.param
    assert "x exists" not in caplog.text
    assert resonate.create_execution("x", add, 1, 3).param == first.param
    assert "x exists with other arguments" in caplog.text

    keyed = resonate.options(idempotency_key="1 and 2")
    keyed.create_execution("y", add, 1, 2)
    with pytest.raises(ResonateStoreError) as refused:
        resonate.options(idempotency_key="1 and 3").create_execution("y", add, 1, 3)
    assert refused.value.status == 409

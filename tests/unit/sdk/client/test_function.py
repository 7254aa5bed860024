"""Registered functions: still functions, and ways to start executions."""

from __future__ import annotations

from typing import Any

import pytest

from resonate import Context, Resonate
from resonate_store.model.requests import PromiseGet
from resonate_store.model.tags import TARGET
from tests.support.driver import Flow
from tests.support.present import present
from tests.support.ways import three_ways


def add(_: Context, a: int, b: int = 1) -> int:
    """Add."""
    return a + b


def test_registered_function_is_still_the_function(resonate: Resonate) -> None:
    function: Any = resonate.register(add, name="plus", version=3)

    assert (function.name, function.func, function.version) == ("plus", add, 3)
    assert (function.__name__, function.__doc__, function.__module__) == ("add", "Add.", __name__)
    assert function(Any, 1, b=2) == 3
    assert function == add
    assert hash(function) == hash(add)
    assert {add: 1}[function] == 1
    assert function != resonate.register(lambda _: None, name="another")


@three_ways
def test_registered_function_starts_itself(resonate: Resonate) -> None:
    function = resonate.register(add)

    assert function.run("a", 1) == 2
    assert function.rpc("b", 1, b=2) == 3
    assert function.begin_run("c", 1, 3).result(10) == 4
    assert function.begin_rpc("d", a=1, b=4).result(10) == 5


@three_ways
def test_options_of_a_registered_function_stay(resonate: Resonate) -> None:
    function = resonate.register(add)

    assert function.options(tags={"mine": "x"}) is function
    assert function.options(target="worker", timeout=50.0) is function
    function.begin_rpc("a", 1)
    promise = present(resonate.store.apply(PromiseGet("a")).promise)
    assert (promise.tags["mine"], promise.tags[TARGET]) == ("x", "poll://any@worker")
    assert promise.timeout_at - promise.created_at == pytest.approx(50_000, abs=1_000)
    with pytest.raises(TypeError, match="timeout must be `float`, got str"):
        function.options(timeout="x")  # type: ignore[arg-type]
    resonate.begin_rpc("b", function, 1)
    other = present(resonate.store.apply(PromiseGet("b")).promise)
    assert "mine" not in other.tags, "the options are the function's, not the client's"


@three_ways
def test_registered_function_runs_its_own_version(resonate: Resonate) -> None:
    one = resonate.register(lambda _: "one", name="f", version=1)
    two = resonate.register(lambda _: "two", name="f", version=2)
    old = resonate.options(version=1)

    assert [one.run("a"), two.run("b"), resonate.run("c", "f"), old.run("i", "f")] == ["one", "two", "two", "one"]
    assert [one.rpc("d"), two.rpc("e"), resonate.rpc("f", "f"), old.rpc("j", "f")] == ["one", "two", "two", "one"]
    assert [one.options(version=2).run("g"), one.rpc("h")] == ["two", "two"]
    with pytest.raises(ValueError, match="function f version 3 not found in registry"):
        resonate.options(version=3).run("third", "f")


@three_ways
def test_registered_function_is_called_by_workflows(resonate: Resonate) -> None:
    function = resonate.register(add)

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        return [(yield ctx.run(function, 1)), (yield ctx.rpc(function, 2)), (yield ctx.rpc(add, 3))]

    assert workflow.run("w") == [2, 3, 4]

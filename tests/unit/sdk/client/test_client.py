"""The client of a program: its settings, registered functions, dependencies, workers and handler."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.client.function import Function
from resonate.errors import ResonateStoreError
from resonate.retry_policies import Constant, Never, RetryPolicy
from resonate.testing import MemoryStack
from resonate.workflow.registry import Registry
from resonate_store.local.memory import MemoryStore
from tests.support.driver import Flow
from tests.support.steps import PATIENCE, execute, gathered
from tests.support.ways import three_ways
from tests.unit.sdk.conftest import Connect


def add(_: Context, a: int, b: int = 1) -> int:
    return a + b


def attempts_under(default: Any, **options: Any) -> list[str]:
    """Return what is called, in order, when a step and with it its workflow fail."""
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


def test_retry_policy_of_a_program_is_its_default() -> None:
    def choose(func: Callable[..., Any]) -> RetryPolicy:
        return Constant(0, 1) if func.__name__ == "workflow" else Never()

    assert attempts_under(Constant(5, 2)) == ["workflow", "step", "workflow", "step", "workflow", "step"]
    assert attempts_under(Constant(0, 2)) == ["workflow", "step", "step", "step"]
    assert attempts_under(Never()) == ["workflow", "step"]
    assert attempts_under(Constant(0, 2), retry_policy=Never()) == ["workflow", "step"]
    assert attempts_under(choose) == ["workflow", "step", "workflow", "step"]


def test_retry_policy_of_a_program_holds_in_its_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_FUNCTIONS", "1")
    program = Resonate(store=MemoryStore(), retry_policy=Never())

    @program.register
    def fails(_: Context) -> None:
        raise ValueError("at once")

    program.options(target="elsewhere").begin_rpc("a", fails)

    assert program.handler()(execute("a"), None) == {"status": "completed"}
    with pytest.raises(ValueError, match="at once"):
        program.get("a").result()
    program.stop()


@three_ways
def test_function_is_registered_in_three_forms(resonate: Resonate) -> None:
    plain = resonate.register(add)
    named = resonate.register(name="other", version=2)(lambda _: "named")
    called = resonate.register(lambda _: "called", name="third")

    assert all(isinstance(function, Function) for function in (plain, named, called))
    for how in (resonate.run, resonate.rpc):
        assert how(f"{how.__name__}-add", "add", 1) == 2
        assert [how(f"{how.__name__}-{name}", name) for name in ("other", "third")] == ["named", "called"]
    assert (named.name, named.version) == ("other", 2)


def test_registration_that_is_invalid_is_named(resonate: Resonate) -> None:
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


def test_registry_can_be_shared(connect: Connect) -> None:
    registry = Registry()
    connect(registry=registry).register(add)

    assert connect(registry=registry).run("a", "add", 1) == 2


@three_ways
def test_dependency_is_found_in_workflow_and_step(connect: Connect) -> None:
    resonate = connect(dependencies={"a": 1})
    resonate.set_dependency("b", 2)

    @resonate.register
    def sums(ctx: Context) -> Flow:
        return ctx.get_dependency("a") + (yield ctx.run(lambda ctx: ctx.get_dependency("b")))

    assert [sums.run("w"), sums.rpc("v")] == [3, 3]


def test_several_workers_run_functions_at_the_same_time(connect: Connect) -> None:
    resonate = connect(workers=3)
    together = threading.Barrier(3, timeout=PATIENCE)

    @resonate.register
    def meets(_: Context) -> None:
        together.wait()

    @resonate.register
    def workflow(ctx: Context) -> Flow:
        return (yield from gathered(ctx.begin_run(meets) for _ in range(3)))

    for handle in [resonate.begin_run(f"w{n}", meets) for n in range(3)]:
        handle.result(PATIENCE)
    assert workflow.run("w") == [None] * 3


def test_invalid_setting_is_named(subtests: pytest.Subtests) -> None:
    settings: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"group": 5}, TypeError, "group must be `str`, got int"),
        ({"pid": 5}, TypeError, "pid must be `str`, got int"),
        ({"ttl": "10"}, TypeError, "ttl must be `int`, got str"),
        ({"ttl": 0}, ValueError, "ttl must be at least 1, got 0"),
        ({"workers": "4"}, TypeError, "workers must be `int`, got str"),
        ({"workers": 0}, ValueError, "workers must be at least 1, got 0"),
        ({"log_level": "LOUD"}, ValueError, "one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got 'LOUD'"),
        ({"log_level": None}, TypeError, "log_level must be `int or str`, got NoneType"),
        ({"retry_policy": 3}, TypeError, "retry_policy must be `RetryPolicy`, got int"),
        ({"registry": {}}, TypeError, "registry must be `Registry`, got dict"),
        ({"dependencies": []}, TypeError, "dependencies must be `dict`, got list"),
    ]
    makes: list[Callable[..., Resonate]] = [Resonate, Resonate.local, Resonate.remote]
    for make, (arguments, error, message) in product(makes, settings):
        with subtests.test(message, make=make.__name__), pytest.raises(error, match=message):
            make(**arguments)


def test_local_connections_do_not_share_promises(connect: Connect) -> None:
    one, two = connect(), connect()
    one.register(add)
    one.run("a", add, 1)

    with pytest.raises(ResonateStoreError):
        two.get("a")


def test_log_level_is_that_of_the_logger(connect: Connect) -> None:
    levels: list[tuple[int | str, int]] = [("WARNING", logging.WARNING), (logging.DEBUG, logging.DEBUG)]
    for level, number in levels:
        connect(log_level=level)
        assert logging.getLogger("resonate").level == number
    connect(log_level=logging.NOTSET)

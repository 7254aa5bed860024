from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from resonate import Context
from resonate.workflow.commands import state_of
from resonate.workflow.context import Info
from resonate.workflow.options import Options
from resonate.workflow.registry import Registry


def foo(_: Context, n: int) -> int:
    return n


class Something:
    def __call__(self, _: Context) -> None: ...


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def ctx(registry: Registry) -> Context:
    return Context("w", Info(1, 2.5, {"a": "b"}, 3, "w"), registry, {"db": 7})


def test_dependency_without_a_default_is_logged_if_missing(ctx: Context, caplog: pytest.LogCaptureFixture) -> None:
    assert (ctx.get_dependency("db"), ctx.get_dependency("bd", None), ctx.get_dependency("bd", 1)) == (7, None, 1)
    assert caplog.records == []
    assert ctx.get_dependency("bd") is None

    (record,) = caplog.records
    logged = (
        rf"no dependency 'bd' is set here, so it is None \({re.escape(__file__)}:\d+\): there are db; get_dependency"
    )
    assert re.match(logged, record.getMessage())
    with pytest.raises(TypeError, match="key must be `str`, got int"):
        ctx.get_dependency(5)  # type: ignore[arg-type]


def test_command_takes_an_id_only_when_yielded(ctx: Context) -> None:
    for command in (ctx.run(foo, 1), ctx.begin_run(foo, n=1), ctx.rpc("foo"), ctx.promise(), ctx.sleep(1)):
        assert command is not None
    state = state_of(ctx)
    assert (state.count, repr(ctx)) == (0, "Context(id='w')")
    assert [state.next_id(), state.next_id()] == ["w.1", "w.2"]


def test_local_call_takes_any_function_and_nothing_else(ctx: Context, subtests: pytest.Subtests) -> None:
    makers: list[Callable[..., Any]] = [Context.run, Context.begin_run, Context.lfc, Context.lfi]
    for make in makers:
        with subtests.test(make.__name__):
            command = make(ctx, foo, 1, n=2)

            assert (command.func, command.name, command.args, command.kwargs) == (foo, "foo", (1,), {"n": 2})
            unfit: list[Any] = [Something, len, "foo", None]
            for wrong in unfit:
                with pytest.raises(ValueError, match="provided callable must be a function"):
                    make(ctx, wrong)


@pytest.mark.parametrize("make", [Context.rpc, Context.begin_rpc, Context.rfc, Context.rfi, Context.detached])
def test_remote_call_takes_any_name_or_a_registered_function(
    ctx: Context, registry: Registry, make: Callable[..., Any]
) -> None:
    unknown = make(ctx, "elsewhere", 1, n=2)
    assert (unknown.name, unknown.version, unknown.args, unknown.kwargs) == ("elsewhere", 1, (1,), {"n": 2})
    with pytest.raises(ValueError, match="function foo not found in registry"):
        make(ctx, foo)

    registry.add(foo, "known", 4)
    assert [(make(ctx, key, 1).name, make(ctx, key, 1).version) for key in (foo, "known")] == [("known", 4)] * 2
    assert make(ctx, foo, 1).attached is (make is not Context.detached)
    with pytest.raises(TypeError, match="known cannot be called like this: its argument 'n' is missing"):
        make(ctx, foo)


def test_promise_command_takes_options_as_arguments(ctx: Context) -> None:
    command = ctx.promise(id="x", timeout=5, idempotency_key="k", data={"a": 1}, tags={"t": "v"})

    assert command.data == {"a": 1}
    assert command.opts == Options(id="x", timeout=5, idempotency_key="k", tags={"t": "v"})
    with pytest.raises(TypeError, match="timeout must be `float`, got str"):
        ctx.promise(timeout="5")  # type: ignore[arg-type]


def test_sleep_needs_a_finite_number_of_seconds(ctx: Context, subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, type[Exception], str]] = [
        (-0.1, ValueError, "zero or more, got -0.1"),
        (float("nan"), ValueError, "got nan"),
        (float("inf"), ValueError, "got inf"),
        ("1", TypeError, "secs must be `float`, got str"),
        (None, TypeError, "secs must be `float`, got NoneType"),
        (True, TypeError, "secs must be `float`, got bool"),
    ]
    for secs, error, message in cases:
        with subtests.test(secs=secs), pytest.raises(error, match=message):
            ctx.sleep(secs)

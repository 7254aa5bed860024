from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.workflow.registry import Registered, Registry


def foo(_: Context) -> None: ...


def bar(_: Context) -> None: ...


async def awaits(_: Context) -> None: ...


async def streams() -> AsyncIterator[int]:
    yield 1


class Something:
    def __call__(self) -> None: ...

    @staticmethod
    def static(_: Context) -> None: ...


FOO = rf".*\.foo \({__file__}:\d+\)"


def test_function_is_found_by_name_and_by_itself() -> None:
    registry = Registry()
    added = registry.add(foo)

    assert added == Registered("foo", foo, 1, validate=True)
    assert registry.get("foo") == registry.get("foo", 1) == registry.get(foo) == added
    assert registry.names() == ["foo"]


def test_registry_returns_the_latest_version_for_zero() -> None:
    registry = Registry()
    for version, func in ((3, foo), (1, bar)):
        registry.add(func, "f", version)

    assert registry.get("f").version == 3
    assert registry.get("f", 1).func is bar
    # A function object is itself, whatever other versions of its name there are.
    assert registry.get(bar).version == 1
    assert [registry.latest(each) for each in ("f", bar, "unknown", len)] == [3, 1, 1, 1]


def test_registration_of_a_wrong_function_is_refused(subtests: pytest.Subtests) -> None:
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((foo, "other"), f"function other already registered: {FOO} is version 1 of foo"),
        ((bar, "foo"), f"function foo already registered: {FOO} is version 1 of foo"),
        ((bar, "b", 0), "provided version must be greater than zero, got 0"),
        ((bar, "b", -1), "provided version must be greater than zero, got -1"),
        ((lambda _: None,), "name required when registering a lambda function"),
        ((Something,), "provided callable must be a function, got the class Something: give a function"),
        ((streams,), "streams is an async generator: an async function awaits its commands and yields nothing"),
        ((functools.lru_cache(bar),), "provided callable must be a function, got bar, which is not written in Python"),
        ((len,), "provided callable must be a function, got len, which is not written in Python: wrap it"),
        (("bar",), "provided callable must be a function, got str"),
    ]
    for arguments, message in cases:
        with subtests.test(message=message):
            registry = Registry()
            registry.add(foo)

            with pytest.raises(ValueError, match=message):
                registry.add(*arguments)
            assert registry.names() == ["foo"]


def test_registration_accepts_functions_with_a_parameter_for_the_context() -> None:
    def nothing() -> None: ...

    def named(*, n: int) -> None: ...

    def variadic(*args: Any) -> None: ...

    registry = Registry()
    for function in (nothing, named):
        with pytest.raises(TypeError, match=f"{function.__name__} needs a first parameter that takes the context"):
            registry.add(function)
    for function in (variadic, Something.static, awaits):
        registry.add(function)
    registry.add(lambda _: None, "nameless")

    assert registry.names() == ["awaits", "nameless", "static", "variadic"]


def test_function_that_is_not_registered_is_refused(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, int, str]] = [
        ("bar", 0, "function bar not found in registry: it has foo"),
        (bar, 0, "function bar not found in registry: it has foo"),
        ("foo", 2, "function foo version 2 not found in registry: it has version 1"),
        (foo, 2, "function foo version 2 not found in registry: it has version 1"),
        (functools.partial(foo), 0, f"function foo not found in registry: this one was not registered, {FOO}"),
        (None, 0, r"got NoneType: give the function and its arguments, \(step, 4\) and not \(step\(ctx, 4\)\)"),
    ]
    for key, version, message in cases:
        with subtests.test(message=message):
            registry = Registry()
            registry.add(foo)

            with pytest.raises(ValueError, match=message):
                registry.get(key, version)


def test_registered_function_object_is_found_as_its_function() -> None:
    registry = Registry()
    wrapper = Resonate.local(registry=registry).register(foo)
    other = Registry()
    other.add(wrapper)

    assert registry.get(wrapper).func is foo
    assert registry.latest(wrapper) == 1
    assert other.get(foo).func is foo

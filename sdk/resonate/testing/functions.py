"""Functions under test: what they are called, where in a worker they are met, and what stands in for others'."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, cast

from resonate.client.function import Function
from resonate.workflow.callables import name_of as named
from resonate.workflow.context import Context


def name_of(workflow: Callable[..., Any] | str) -> str:
    """What a function is called in messages and calls."""
    if isinstance(workflow, str):
        return workflow
    if isinstance(workflow, Function):
        return cast("Function[..., Any]", workflow).name
    return named(workflow)


def stub_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The workflow that a mocked function is served by; unlike a step, a workflow that fails is not tried again."""

    def stub(_: Context, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        yield from ()
        result = function(*args, **kwargs)
        if not isinstance(result, CoroutineType):
            return result
        import asyncio  # loaded for a mock that is async

        return asyncio.run(cast("Coroutine[Any, Any, Any]", result))

    return stub


def place_of(place: str | Callable[..., Any]) -> str:
    """What a fail-point calls a place: a function by its own name, which is what a worker knows of a step."""
    if isinstance(place, Function):
        return cast("Function[..., Any]", place).func.__name__
    return place if isinstance(place, str) else named(place)

"""Functions under test: their names, and the workflows that replace mocked functions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, cast

from resonate.client.function import Function
from resonate.workflow.callables import name_of as named
from resonate.workflow.context import Context


def name_of(workflow: Callable[..., Any] | str) -> str:
    """Return the name of a function in messages and calls."""
    if isinstance(workflow, str):
        return workflow
    if isinstance(workflow, Function):
        return cast("Function[..., Any]", workflow).name
    return named(workflow)


def stub_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the workflow that serves calls of a mocked function. A workflow, unlike a step, is not retried."""

    def stub(_: Context, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        yield from ()
        result = function(*args, **kwargs)
        if not isinstance(result, CoroutineType):
            return result
        import asyncio  # here, because few mocks are async

        return asyncio.run(cast("Coroutine[Any, Any, Any]", result))

    return stub


def place_of(place: str | Callable[..., Any]) -> str:
    """Return the name of the place of a fail-point. The place of a function has the function's own name."""
    if isinstance(place, Function):
        return cast("Function[..., Any]", place).func.__name__
    return place if isinstance(place, str) else named(place)

"""Functions under test: their names, their registries, and the workflows that replace mocked functions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, cast

from resonate.client.function import Function
from resonate.testing.history import Recorded
from resonate.workflow.callables import name_of as named
from resonate.workflow.context import Context
from resonate.workflow.registry import Registry


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


def registry_of(registry: Registry | None, workflow: Callable[..., Any], root: Recorded) -> Registry:
    """Return a registry that holds the workflow under its recorded name, and the functions that it calls."""
    call = root.param
    if not isinstance(call, dict) or not isinstance(name := cast("dict[str, Any]", call).get("func"), str):
        raise ValueError(
            f"the promise {root.id} is not the call of a function, so there is nothing to replay: {call!r}"
        )
    version = cast("dict[str, Any]", call).get("version") or 1
    known = Registry()
    known.add(workflow, name, version)
    if registry is None:
        return known
    known.encoders.update(registry.encoders)
    for other in registry.names():
        for registered in _versions(registry, other):
            if (registered.name, registered.version) != (name, version) and registered.func is not workflow:
                known.add(registered.func, registered.name, registered.version)
    return known


def _versions(registry: Registry, name: str) -> list[Any]:
    found: list[Any] = []
    for version in range(1, registry.latest(name) + 1):
        try:
            found.append(registry.get(name, version))
        except ValueError:
            continue
    return found

"""Callables that are not plain functions: bound methods, `functools.partial` and objects with a `__call__`.

Each is wrapped in a plain function of the same kind: function, generator function or async function. So the interpreter
supports plain functions only.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Mapping
from typing import Any, cast

from msgspec.structs import replace

from resonate.errors.mistakes import MissingContextError, NotAFunctionError
from resonate.workflow.signatures import ADAPTED, Adapted, Signature, signature_of

_VARIADIC = 0x04
_GENERATOR = 0x20
_COROUTINE = 0x80
"""The code flags of functions with `*args`, of generator functions and of async ones (`inspect.CO_...`)."""
_NEEDED = "provided callable must be a function"


class Core:
    """The function inside a callable, and the parameters that the callable fills.

    Attributes:
        func: the function.
        bound: how many of its first parameters are filled: one in a method (`self`), else none.
        given: the parameters that are filled by name.
    """

    def __init__(self, func: types.FunctionType, bound: int, given: Mapping[str, Any]) -> None:
        self.func = func
        self.bound = bound
        self.given = given


def name_of(func: Any) -> str:
    """Return the name of a callable: for a partial that of its function, for an object that of its class."""
    if isinstance(func, functools.partial):
        return name_of(cast("functools.partial[Any]", func).func)
    return getattr(func, "__name__", None) or type(func).__name__


def adapted(func: Any) -> types.FunctionType:
    """Return a plain function that calls this callable.

    Raises:
        ValueError: it is not a callable that takes a context; the message says what to write instead.
        TypeError: it has no parameter for the context.
    """
    core = core_of(func)
    code = core.func.__code__
    if not (code.co_argcount > core.bound or code.co_flags & _VARIADIC):
        raise MissingContextError(
            f"{name_of(func)} needs a first parameter that takes the context, such as `ctx: Context`"
        )
    adapter = _adapter(func, code.co_flags)
    adapter.__name__, adapter.__qualname__ = name_of(func), core.func.__qualname__
    adapter.__module__, adapter.__doc__ = core.func.__module__, core.func.__doc__
    setattr(adapter, ADAPTED, Adapted(func, _signature(core)))
    return adapter


def core_of(func: Any) -> Core:
    """Return the function inside a callable.

    Raises:
        ValueError: it does not contain a Python function, or it fills the parameter of the context.
    """
    if isinstance(func, types.FunctionType):
        return Core(func, 0, {})
    if isinstance(func, types.MethodType) and isinstance(func.__func__, types.FunctionType):
        return Core(func.__func__, 1, {})
    if isinstance(func, functools.partial):
        return _core_of_partial(cast("functools.partial[Any]", func))
    call: Any = getattr(cast("type[Any]", type(func)), "__call__", None)  # noqa: B004 - whose code is it?
    if isinstance(func, type) or not isinstance(call, types.FunctionType):
        raise NotAFunctionError(f"{_NEEDED}, {instead(func)}")
    return Core(call, 1, {})


def _core_of_partial(func: functools.partial[Any]) -> Core:
    inner = func.func
    inner = getattr(getattr(inner, "_registered", None), "func", inner)
    if func.args:
        name = name_of(inner)
        raise NotAFunctionError(
            f"{_NEEDED}, and this functools.partial fills the first parameter of {name}, which takes the context:"
            f" fill others by name, functools.partial({name}, amount=5)"
        )
    core = core_of(inner)
    return Core(core.func, core.bound, {**core.given, **func.keywords})


def instead(given: Any) -> str:
    """Return what was given instead of a function, and what to write."""
    if isinstance(given, type):
        return f"got the class {given.__name__}: give a function, a bound method or an object with a __call__"
    if callable(given):
        name = name_of(given)
        return f"got {name}, which is not written in Python: wrap it, def step(ctx, ...): return {name}(...)"
    kind = cast("type[Any]", type(given)).__name__
    if kind == "coroutine":
        given.close()  # otherwise Python warns that it was not awaited
    name = given.__name__ if kind in ("coroutine", "generator") else "step"
    return f"got {kind}: give the function and its arguments, ({name}, 4) and not ({name}(ctx, 4))"


def definition_of(func: Any) -> str:
    """Return where a function is defined: its file and first line."""
    code = core_of(getattr(getattr(func, ADAPTED, None), "func", func)).func.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def refuse_called(func: Any) -> None:
    """Raise a `ValueError` for the result of a call that was given instead of the function."""
    if not callable(func):
        raise NotAFunctionError(f"{_NEEDED}, {instead(func)}")


def _adapter(func: Any, flags: int) -> types.FunctionType:
    if flags & _GENERATOR:

        def generator(ctx: Any, /, *args: Any, **kwargs: Any) -> Any:
            return cast("Any", (yield from func(ctx, *args, **kwargs)))

        return cast("types.FunctionType", generator)
    if flags & _COROUTINE:

        async def coroutine(ctx: Any, /, *args: Any, **kwargs: Any) -> Any:
            return await func(ctx, *args, **kwargs)

        return cast("types.FunctionType", coroutine)

    def plain(ctx: Any, /, *args: Any, **kwargs: Any) -> Any:
        return func(ctx, *args, **kwargs)

    return cast("types.FunctionType", plain)


def _signature(core: Core) -> Signature:
    """Return the signature of the parameters that remain after the context."""
    signature, code = signature_of(core.func), core.func.__code__
    names = code.co_varnames[1 + core.bound : code.co_argcount]
    filled = min([names.index(name) for name in core.given if name in names], default=sys.maxsize)
    context = code.co_varnames[core.bound] if code.co_argcount > core.bound else ""
    least = signature.least if signature.least == sys.maxsize else max(0, signature.least - core.bound)
    most = signature.most if signature.most == sys.maxsize else signature.most - core.bound
    return replace(
        signature,
        positional=signature.positional[core.bound :],
        named={name: kind for name, kind in signature.named.items() if name != context},
        least=min(least, filled) if least < sys.maxsize else least,
        most=min(most, filled) if least < sys.maxsize else most,
    )

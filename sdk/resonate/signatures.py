"""What a function's annotations say of its arguments and of its result; read once."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, cast, get_args, get_origin

import msgspec

from resonate.restore import restore

_VARIADIC = 0x04
_KEYWORDS = 0x08
"""The code flags of functions with `*args` and with `**kwargs` (`inspect.CO_VARARGS`, `inspect.CO_VARKEYWORDS`)."""


class Signature(msgspec.Struct, frozen=True):
    """A function's positional parameters after the context, and by name, and its result.

    `variadic` and `keywords` are the annotations of `*args` and `**kwargs`.
    """

    positional: tuple[Any, ...] = ()
    variadic: Any = Any
    named: dict[str, Any] = {}
    keywords: Any = Any
    result: Any = Any

    def arguments(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments restored to their annotated types."""
        types_ = (*self.positional, *([self.variadic] * max(0, len(args) - len(self.positional))))
        restored = [restore(value, annotation) for value, annotation in zip(args, types_, strict=False)]
        return restored, {name: restore(value, self.named.get(name, self.keywords)) for name, value in kwargs.items()}


_signatures: dict[Any, Signature] = {}


def signature_of(func: Callable[..., Any]) -> Signature:
    """The signature of a workflow or step function, read once."""
    known = _signatures.get(func)
    if known is None:
        known = _signatures[func] = _read_signature(func)
    return known


def _read_signature(func: Callable[..., Any]) -> Signature:
    code = getattr(func, "__code__", None)
    if code is None:
        return Signature()
    try:
        hints = typing.get_type_hints(func) if func.__annotations__ else {}
    except Exception:
        hints = {}
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    stars = iter(code.co_varnames[len(names) :])
    variadic = hints.get(next(stars), Any) if code.co_flags & _VARIADIC else Any
    keywords = hints.get(next(stars), Any) if code.co_flags & _KEYWORDS else Any
    by_name = names[max(1, code.co_posonlyargcount) :]
    named = {name: hints[name] for name in by_name if name in hints}
    if get_origin(keywords) is typing.Unpack:
        named = {**_fields_of(get_args(keywords)[0]), **named}
        keywords = Any
    return Signature(
        positional=tuple(hints.get(name, Any) for name in names[1 : code.co_argcount]),
        variadic=variadic,
        named=named,
        keywords=keywords,
        result=_result_type(hints.get("return", Any)),
    )


def _fields_of(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except Exception:
        return {}


def _result_type(annotation: Any) -> Any:
    """The type that a call produces: what a generator or coroutine returns, or the annotation itself."""
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is None or not isinstance(origin, type):
        return annotation
    name = cast("type", origin).__qualname__
    if name in ("Generator", "Coroutine") and len(arguments) == 3:
        return arguments[2]
    return Any if name in ("Generator", "Iterator", "Iterable", "Coroutine") else annotation

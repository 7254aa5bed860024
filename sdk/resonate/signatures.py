"""What a function's parameters and annotations say: the types of its arguments and result, and which calls fit it.

A call that cannot be bound to the function's parameters will not be bound by trying again, so it is refused: where it
is made if the function is known there, else where it would run, with an error that names the function and the argument.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_origin

import msgspec

from resonate.errors import SignatureError
from resonate.restore import restore

_VARIADIC = 0x04
_KEYWORDS = 0x08
"""The code flags of functions with `*args` and with `**kwargs` (`inspect.CO_VARARGS`, `inspect.CO_VARKEYWORDS`)."""


class Signature(msgspec.Struct, frozen=True):
    """A function's positional parameters after the context, and by name, and its result.

    `variadic` and `keywords` are the annotations of `*args` and `**kwargs`. A call with `least` to `most` positional
    arguments and no others fits; of any other call `check` knows.
    """

    positional: tuple[Any, ...] = ()
    variadic: Any = Any
    named: dict[str, Any] = {}
    keywords: Any = Any
    result: Any = Any
    least: int = 0
    most: int = sys.maxsize

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


def check(func: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse a call that the function, called `name`, cannot be given; its context is not among the arguments.

    Raises:
        SignatureError: an argument is missing, unknown or given twice, or there are too many.
    """
    signature = signature_of(func)
    if (kwargs or not signature.least <= len(args) <= signature.most) and (problem := _problem(func, args, kwargs)):
        raise SignatureError(f"{name} cannot be called like this: {problem}")


def takes_context(func: Callable[..., Any]) -> bool:
    """Whether the function has a place for the context, which it is given first."""
    code = func.__code__
    return bool(code.co_argcount or code.co_flags & _VARIADIC)


def _problem(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """What keeps the function from being called, in words; `inspect` would say it, and take long to load."""
    code = func.__code__
    if not takes_context(func):
        return "it has no parameter for the context, which it is given first"
    positional = code.co_varnames[: code.co_argcount]
    only_named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    by_name = (*positional[code.co_posonlyargcount :], *only_named)
    filled = positional[: 1 + len(args)]
    if len(args) >= len(positional) > 0 and not code.co_flags & _VARIADIC:
        most, given = len(positional) - 1, len(args)
        takes = f"it takes {most} positional argument{'' if most == 1 else 's'} after its context"
        return f"{takes}, and {given} {'was' if given == 1 else 'were'} given"
    for name in kwargs:
        if name not in by_name and not code.co_flags & _KEYWORDS:
            return f"it has no parameter {name!r} that can be given by name"
        if name in by_name and name in filled:
            return f"its parameter {name!r} was given twice"
    required = positional[: len(positional) - len(func.__defaults__ or ())]
    missing = [name for name in required if name not in filled and (name not in by_name or name not in kwargs)]
    missing += [name for name in only_named if name not in kwargs and name not in (func.__kwdefaults__ or ())]
    return f"{_listed(missing)} missing" if missing else None


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names))
    return f"its argument {shown} is" if len(names) == 1 else f"its arguments {shown} are"


def _read_signature(func: Callable[..., Any]) -> Signature:
    code = getattr(func, "__code__", None)
    if code is None:
        return Signature()
    least, most = _counts(func)
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
        least=least,
        most=most,
    )


def _counts(func: Callable[..., Any]) -> tuple[int, int]:
    """How few and how many positional arguments, and no others, fit the function after its context."""
    code = func.__code__
    required = max(0, code.co_argcount - len(func.__defaults__ or ()) - 1)
    if not takes_context(func) or code.co_kwonlyargcount > len(func.__kwdefaults__ or ()):
        return sys.maxsize, sys.maxsize
    return required, sys.maxsize if code.co_flags & _VARIADIC else code.co_argcount - 1


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
    name = origin.__qualname__
    if name in ("Generator", "Coroutine") and len(arguments) == 3:
        return arguments[2]
    return Any if name in ("Generator", "Iterator", "Iterable", "Coroutine") else annotation

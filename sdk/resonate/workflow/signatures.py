"""Signatures of functions: the types of arguments and result, and which calls fit.

A call that does not fit the function's parameters would not fit at a retry, so it is refused. That happens where the
call is made if the function is known there, else in the worker. The error names the function and the argument.
"""

from __future__ import annotations

import logging
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional, get_args, get_origin

import msgspec

from resonate.errors import PayloadError, SignatureError
from resonate.payloads.annotations import plain_hint
from resonate.payloads.restore import Doubtful, doubted, fit, restore, tell_change

logger = logging.getLogger("resonate.signatures")

_OPTIONS = (
    "at_most_once",
    "attempt_timeout",
    "durable",
    "encoder",
    "id",
    "idempotency_key",
    "non_retryable_exceptions",
    "retry_policy",
    "tags",
    "target",
    "timeout",
    "version",
)
"""The options of calls, which are not arguments."""
_VARIADIC = 0x04
_KEYWORDS = 0x08
"""The code flags of functions with `*args` and with `**kwargs` (`inspect.CO_VARARGS`, `inspect.CO_VARKEYWORDS`)."""


class Signature(msgspec.Struct, frozen=True):
    """A function's parameters after the context, and its result, as annotations.

    Attributes:
        names, positional: names and annotations of the positional parameters.
        variadic, keywords: the annotations of `*args` and `**kwargs`.
        named: the annotations of parameters that can be given by name.
        result: the annotation of the result.
        doubtful: whether a parameter has a type whose values JSON data does not always distinguish.
        least, most: a call with only positional arguments fits if there are `least` to `most` of them. `check` checks
            all other calls.
    """

    names: tuple[str, ...] = ()
    positional: tuple[Any, ...] = ()
    variadic: Any = Any
    named: dict[str, Any] = {}
    keywords: Any = Any
    result: Any = Any
    doubtful: bool = False
    least: int = 0
    most: int = sys.maxsize

    def arguments(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, strict: bool = False
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments restored to their annotated types.

        Args:
            args, kwargs: the arguments as JSON data.
            strict: whether an argument that does not fit is an error; otherwise it stays as it is.

        Raises:
            Unfit: an argument does not fit; its path begins with the parameter.
        """
        if strict and not kwargs and len(args) <= len(self.names):  # the fast way of most calls
            return [fit(*each) for each in zip(args, self.positional, self.names, strict=False)], {}
        each = list(self._annotated(args, kwargs))
        if strict:
            values = [fit(value, annotation, name) for name, value, annotation in each]
        else:
            values = [restore(value, annotation) for _, value, annotation in each]
        return values[: len(args)], dict(zip(kwargs, values[len(args) :], strict=True))

    def check_values(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments that would be restored to another value: JSON data does not show the type.

        Raises:
            PayloadError: an argument would be restored to another value.
        """
        if logger.isEnabledFor(logging.DEBUG):
            for parameter, value, annotation in self._annotated(args, kwargs):
                tell_change(f"{parameter} of {name}", value, annotation)
        if not self.doubtful:
            return
        for parameter, value, annotation in self._annotated(args, kwargs):
            check_value(f"the arguments of {name}", parameter, value, annotation)

    def _annotated(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        """Yield the parameter's name, the value and the annotation of each argument."""
        for number, value in enumerate(args):
            known = number < len(self.names)
            name = self.names[number] if known else f"argument {number + 1}"
            yield name, value, self.positional[number] if known else self.variadic
        for name, value in kwargs.items():
            yield name, value, self.named.get(name, self.keywords)


def check_value(what: str, place: str, value: Any, annotation: Any) -> None:
    """Refuse a value that would be restored to another value.

    Args:
        what: names the payload in the error.
        place: names the value.
        value: the value.
        annotation: the type that it would be restored to.

    Raises:
        PayloadError: the value would be restored to another value.
    """
    if type(annotation) is Doubtful and annotation.changes(value):
        raise PayloadError(
            f"{what} cannot travel: {place} is a {type(value).__name__}, which would come back as another member of"
            f" {annotation.annotation}, for their JSON forms are alike: annotate one type, or tell them apart by a tag"
            " or field"
        )


UNKNOWN = Signature()
"""Signature of a function that is not known here."""


class Adapted(msgspec.Struct, frozen=True):
    """What an adapter function calls: the callable, and the signature of its remaining parameters."""

    func: Callable[..., Any]
    signature: Signature


ADAPTED = "_resonate_adapted"
"""Attribute of adapter functions that holds their `Adapted`."""

_signatures: dict[Any, Signature] = {}


def signature_of(func: Callable[..., Any]) -> Signature:
    """Return the signature of a workflow or step function, which is read once."""
    known = _signatures.get(func)
    if known is None:
        adapted: Adapted | None = getattr(func, ADAPTED, None)
        if adapted is not None:  # not cached: there is a new adapter for every call
            return adapted.signature
        known = _signatures[func] = _read_signature(func)
    return known


def check(func: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse a call that does not fit the function. The arguments do not include the context.

    Raises:
        SignatureError: an argument is missing, unknown or given twice, or there are too many.
    """
    signature = signature_of(func)
    if (kwargs or not signature.least <= len(args) <= signature.most) and (problem := _problem(func, args, kwargs)):
        raise SignatureError(f"{name} cannot be called like this: {problem}")


def takes_context(func: Callable[..., Any]) -> bool:
    """Return whether the function has a first parameter, for the context."""
    code = func.__code__
    return bool(code.co_argcount or code.co_flags & _VARIADIC)


def _problem(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return why a call does not fit, or None. `inspect` would give the same answer, but takes long to load."""
    adapted: Adapted | None = getattr(func, ADAPTED, None)
    if adapted is not None:
        return _problem_of_binding(adapted.func, args, kwargs)
    code = func.__code__
    if not takes_context(func):
        return f"it has no parameter for the context, which it is given first: def {code.co_name}(ctx, ...)"
    positional = code.co_varnames[: code.co_argcount]
    only_named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    by_name = (*positional[code.co_posonlyargcount :], *only_named)
    filled = positional[: 1 + len(args)]
    if len(args) >= len(positional) > 0 and not code.co_flags & _VARIADIC:
        most, given = len(positional) - 1, len(args)
        takes = f"it takes {most} positional argument{'' if most == 1 else 's'} after its context"
        return f"{takes}, and {given} {'was' if given == 1 else 'were'} given{_advice(func, args)}"
    for name in kwargs:
        if name not in by_name and not code.co_flags & _KEYWORDS:
            option = f"; an option is set by .options({name}=...)" if name in _OPTIONS else ""
            return f"it has no parameter {name!r} that can be given by name{option}"
        if name in by_name and name in filled:
            return f"its parameter {name!r} was given twice"
    required = positional[: len(positional) - len(func.__defaults__ or ())]
    missing = [name for name in required if name not in filled and (name not in by_name or name not in kwargs)]
    missing += [name for name in only_named if name not in kwargs and name not in (func.__kwdefaults__ or ())]
    return f"{_listed(missing)} missing{_advice(func, args)}" if missing else None


def _advice(func: Callable[..., Any], args: Sequence[Any]) -> str:
    """Return what to change in a call with too few or too many arguments, if the mistake is a common one."""
    if any(hasattr(value, "continue_as") for value in args):
        return ": leave the context out, because the worker gives it"
    if func.__code__.co_varnames[:1] == ("self",) and "." in func.__qualname__:
        owner, _, name = func.__qualname__.rpartition(".")
        return f": it is a function of a class, so give the method of an object, {owner.rpartition('.')[2]}(...).{name}"
    return ""


def _problem_of_binding(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return why a call does not fit a callable that is not a plain function, or None."""
    import inspect

    try:
        inspect.signature(func).bind(None, *args, **kwargs)
    except TypeError as error:
        return str(error)
    return None


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names))
    return f"its argument {shown} is" if len(names) == 1 else f"its arguments {shown} are"


def _read_signature(func: Callable[..., Any]) -> Signature:
    code = getattr(func, "__code__", None)
    if code is None:
        return Signature()
    least, most = _counts(func)
    hints = _hints_of(func) if func.__annotations__ else {}
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    stars = iter(code.co_varnames[len(names) :])
    variadic = hints.get(next(stars), Any) if code.co_flags & _VARIADIC else Any
    keywords = hints.get(next(stars), Any) if code.co_flags & _KEYWORDS else Any
    for name in _with_default_none(func):
        if name in hints and hints[name] is not Any:
            hints[name] = Optional[hints[name]]  # noqa: UP045 - an annotation may be a text, which has no `|`
    variadic, keywords = doubted(variadic), keywords if get_origin(keywords) is typing.Unpack else doubted(keywords)
    result = doubted(_result_type(hints.pop("return", Any)))
    hints = {name: doubted(hint) for name, hint in hints.items() if name in names}
    by_name = names[max(1, code.co_posonlyargcount) :]
    named = {name: hints[name] for name in by_name if name in hints}
    if get_origin(keywords) is typing.Unpack:
        named = {**_fields_of(get_args(keywords)[0]), **named}
        keywords = Any
    return Signature(
        names=names[1 : code.co_argcount],
        positional=tuple(hints.get(name, Any) for name in names[1 : code.co_argcount]),
        variadic=variadic,
        named=named,
        keywords=keywords,
        result=result,
        doubtful=any(type(each) is Doubtful for each in (*hints.values(), *named.values(), variadic, keywords)),
        least=least,
        most=most,
    )


def _hints_of(func: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function, without its context's and without those that cannot be resolved.

    They are read when the function is first called. When it is registered, the classes that they name may not be
    defined yet.
    """
    code = func.__code__
    context = code.co_varnames[0] if code.co_argcount else None
    annotations = {name: each for name, each in func.__annotations__.items() if name != context}
    try:
        return _resolved(func, annotations)
    except Exception:  # one cannot be resolved, so each is tried alone
        pass
    hints: dict[str, Any] = {}
    for name, annotation in annotations.items():
        try:
            hints |= _resolved(func, {name: annotation})
        except Exception as error:
            logger.warning(
                "the annotation %s of %s in %s.%s cannot be resolved (%s), so nothing is restored or checked by it:"
                " import what it names when the program runs, not under TYPE_CHECKING",
                annotation,
                "the result" if name == "return" else f"the parameter {name}",
                func.__module__,
                func.__qualname__,
                error,
            )
    return hints


def _resolved(func: Any, annotations: dict[str, Any]) -> dict[str, Any]:
    """Return these annotations of a function, evaluated.

    Raises:
        Exception: an annotation cannot be resolved.
    """
    if getattr(func, "__no_type_check__", False):
        return {}
    like = types.SimpleNamespace(__annotations__=annotations, __type_params__=getattr(func, "__type_params__", ()))
    while hasattr(func, "__wrapped__"):
        func = func.__wrapped__
    hints = typing.get_type_hints(like, func.__globals__, include_extras=True)
    return {name: _without_notes(hint) for name, hint in hints.items()}


def _without_notes(hint: Any) -> Any:
    """Return the type of an `Annotated` without constraints that msgspec checks; other hints stay as they are."""
    if get_origin(hint) is not typing.Annotated or any(isinstance(each, msgspec.Meta) for each in hint.__metadata__):
        return hint
    return hint.__origin__


def _with_default_none(func: Callable[..., Any]) -> Iterator[str]:
    """Yield the parameters whose default is None: they accept None, whatever their annotations are."""
    code = func.__code__
    defaults = func.__defaults__ or ()
    positional = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    yield from (name for name, default in zip(positional, defaults, strict=True) if default is None)
    yield from (name for name, default in (func.__kwdefaults__ or {}).items() if default is None)


def _counts(func: Callable[..., Any]) -> tuple[int, int]:
    """Return the minimum and maximum number of arguments of a call that gives them all by position."""
    code = func.__code__
    required = max(0, code.co_argcount - len(func.__defaults__ or ()) - 1)
    if not takes_context(func) or code.co_kwonlyargcount > len(func.__kwdefaults__ or ()):
        return sys.maxsize, sys.maxsize
    return required, sys.maxsize if code.co_flags & _VARIADIC else code.co_argcount - 1


def _fields_of(kind: Any) -> dict[str, Any]:
    try:
        return {
            name: doubted(plain_hint(hint)) for name, hint in typing.get_type_hints(kind, include_extras=True).items()
        }
    except Exception:
        return {}


def _result_type(annotation: Any) -> Any:
    """Return the type of a call's result: what a generator or coroutine returns, or the annotation itself."""
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is None or not isinstance(origin, type):
        return annotation
    name = origin.__qualname__
    if name in ("Generator", "Coroutine") and len(arguments) == 3:
        return arguments[2]
    return Any if name in ("Generator", "Iterator", "Iterable", "Coroutine") else annotation

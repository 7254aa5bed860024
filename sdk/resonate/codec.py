"""How values travel: JSON, base64 in `value.data`, as the official SDKs write it (REFERENCE 6.6).

Results and arguments are restored to the types that the function's annotations name, by msgspec: dataclasses, structs,
datetimes, decimals, UUIDs, enums, bytes, tuples and sets. Where there is no annotation, or the value does not fit it,
plain JSON comes back: an annotation that is wrong must not break a workflow that works without it.

Errors travel as type, message, arguments and traceback text, and come back as their own type when this process has
already imported it. Nothing is ever unpickled, nothing is imported because a payload names it, and no constructor of a
user's class runs.
"""

from __future__ import annotations

import binascii
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, cast, get_args, get_origin

import msgspec

from resonate.errors import (
    ApplicationError,
    PayloadError,
    ResonateCanceledError,
    ResonateTimedoutError,
)
from resonate_store.records import EMPTY, Promise, Value

_PLAIN = (str, int, float, bool, type(None))
_json = msgspec.json.Encoder(enc_hook=lambda value: _refuse(value))
_parse = msgspec.json.Decoder()


def _refuse(value: Any) -> Any:
    raise NotImplementedError(f"{type(value).__module__}.{type(value).__qualname__}")


def encode(value: Any, what: str) -> Value:
    """The payload that carries `value`.

    Args:
        value: anything made of JSON types, dataclasses, structs, datetimes, decimals, UUIDs, enums, bytes.
        what: names the value in the error, e.g. "the result of foo".

    Raises:
        PayloadError: some part of it cannot travel.
    """
    if value is None:
        return EMPTY
    try:
        encoded = _json.encode(value)
    except (NotImplementedError, TypeError, ValueError, RecursionError, OverflowError) as error:
        path, culprit = _find_culprit(value, "$")
        raise PayloadError(
            f"{what} cannot travel: {path} is {culprit}, which has no JSON form ({type(error).__name__}: {error});"
            " return plain data, a dataclass or a msgspec.Struct"
        ) from None
    return Value(data=binascii.b2a_base64(encoded, newline=False).decode("ascii"))


def _find_culprit(value: Any, path: str) -> tuple[str, str]:
    """The path of the first part that cannot travel."""
    for child_path, child in _parts(value, path):
        try:
            _json.encode(child)
        except RecursionError:
            break
        except Exception:
            return _find_culprit(child, child_path)
    return path, f"a {type(value).__module__}.{type(value).__qualname__}"


def decode(value: Value, annotation: Any = Any) -> Any:
    """The value that `encode` was given, restored to `annotation` where it fits.

    Raises:
        PayloadError: the payload is not base64 JSON.
    """
    if value.data is None or value.data == "":
        return None
    try:
        plain = _parse.decode(binascii.a2b_base64(value.data))
    except (binascii.Error, msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PayloadError(f"a payload is not base64-encoded JSON ({error}): {value.data[:80]!r}") from None
    return restore(plain, annotation)


def restore(plain: Any, annotation: Any) -> Any:
    """Convert JSON data to the annotated type; data that does not fit comes back as it is."""
    if annotation is Any or annotation is None or (annotation in _PLAIN and type(plain) is annotation):
        return plain
    try:
        return msgspec.convert(plain, annotation, str_keys=True)
    except Exception:  # a user's __post_init__ may raise anything
        return plain


def _parts(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"{path}[{key!r}]", item) for key, item in cast("dict[Any, Any]", value).items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(f"{path}[{index}]", item) for index, item in enumerate(cast("list[Any]", value))]
    names: Iterable[str] = ()
    for listing in ("__struct_fields__", "__dataclass_fields__", "__dict__"):
        names = names or getattr(value, listing, ())
    return [(f"{path}.{name}", getattr(value, name, None)) for name in names]


class Signature(msgspec.Struct, frozen=True):
    """What a function's annotations say: its positional parameters after the context, by name, and its result."""

    positional: tuple[Any, ...] = ()
    variadic: Any = Any
    named: dict[str, Any] = {}
    result: Any = Any

    def arguments(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments restored to their annotated types."""
        types_ = (*self.positional, *([self.variadic] * max(0, len(args) - len(self.positional))))
        restored = [restore(value, annotation) for value, annotation in zip(args, types_, strict=False)]
        return restored, {name: restore(value, self.named.get(name, Any)) for name, value in kwargs.items()}


_signatures: dict[Any, Signature] = {}


def signature_of(func: Callable[..., Any]) -> Signature:
    """The annotations of a workflow or step function, read once."""
    known = _signatures.get(func)
    if known is None:
        known = _signatures[func] = _read_signature(func)
    return known


def _read_signature(func: Callable[..., Any]) -> Signature:
    code = getattr(func, "__code__", None)
    if code is None or not getattr(func, "__annotations__", None):
        return Signature()
    try:
        hints = typing.get_type_hints(func)
    except Exception:
        return Signature()
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    has_variadic = bool(code.co_flags & 0x04)
    variadic = code.co_varnames[len(names)] if has_variadic else None
    return Signature(
        positional=tuple(hints.get(name, Any) for name in names[1 : code.co_argcount]),
        variadic=hints.get(variadic, Any) if variadic else Any,
        named={name: hints[name] for name in names[1:] if name in hints},
        result=_result_type(hints.get("return", Any)),
    )


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


def encode_error(error: BaseException) -> Value:
    """The payload that carries an error."""
    state: dict[str, Any] = {
        "__type": "error",
        "name": type(error).__name__,
        "type": f"{type(error).__module__}:{type(error).__qualname__}",
        "message": _text(error),
        "traceback": _unicode("".join(traceback.format_exception(error))[-8000:]),
    }
    if isinstance(error, ApplicationError):
        state["name"] = state["type"] = error.type_name
        state["message"] = error.message
        state["traceback"] = error.remote_traceback or state["traceback"]
    else:
        arguments = OSError.__reduce__(error)[1] if isinstance(error, OSError) else error.args
        if _travels(arguments):
            state["args"] = arguments
        if attributes := {name: item for name, item in vars(error).items() if _travels(item)}:
            state["state"] = attributes
    return encode(state, "an error")


def _text(error: BaseException) -> str:
    try:
        return _unicode(str(error))
    except Exception as failure:
        return f"its message cannot be had: __str__ raised {type(failure).__name__}"


def _unicode(text: str) -> str:
    """The text without lone surrogates, such as file names that are not UTF-8 bring along."""
    return text.encode("utf-8", "backslashreplace").decode()


def _travels(value: Any) -> bool:
    try:
        _json.encode(value)
    except Exception:
        return False
    return True


def decode_error(promise: Promise) -> BaseException:
    """The error that a promise which did not resolve stands for."""
    if promise.state == "rejected_timedout":
        return ResonateTimedoutError(promise.id, promise.timeout_at / 1000)
    if promise.state == "rejected_canceled":
        return ResonateCanceledError(promise.id)
    try:
        content = decode(promise.value)
    except PayloadError as error:
        return error
    if not isinstance(content, dict):
        return Exception(content)
    error = cast("dict[str, Any]", content)
    if error.get("__type") not in ("error", "aggregate_error"):
        return Exception(error)
    return _rebuilt(error) or ApplicationError(
        str(error.get("type") or error.get("name") or ""),
        str(error.get("message", "")),
        str(error.get("traceback") or error.get("stack") or ""),
    )


def _rebuilt(error: dict[str, Any]) -> BaseException | None:
    """The error as its own type, if this process knows that type and the built-in part of it takes the arguments."""
    module, _, name = str(error.get("type", "")).partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        # Not getattr: a module may import what it is asked for.
        found = vars(found).get(part) if isinstance(found, (type, types.ModuleType)) else None
    if not (isinstance(found, type) and issubclass(found, Exception)) or found is ApplicationError:
        return None
    native = found
    while native.__module__ != "builtins":
        native = cast("type[Exception]", native.__base__)
    arguments: Any = error.get("args", [error.get("message", "")])
    state: Any = error.get("state", {})
    if not isinstance(arguments, list) or not isinstance(state, dict):
        return None
    try:
        rebuilt = native.__new__(found, *arguments)
        native.__init__(rebuilt, *cast("list[Any]", arguments))
    except Exception:
        return None
    vars(rebuilt).update(cast("dict[str, Any]", state))
    return rebuilt


def outcome_of(promise: Promise, annotation: Any = Any) -> Any:
    """The value of a settled promise, or its error raised."""
    if promise.state != "resolved":
        raise decode_error(promise)
    return decode(promise.value, annotation)

"""Annotations read for JSON data: fields with their types and defaults, collections, and names for errors."""

from __future__ import annotations

import typing
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast, get_args, get_origin

import msgspec

SCALARS = (str, int, float, bool, type(None))
PLAIN = (*SCALARS, list, dict)
_MAX_SHOWN_CHARS = 40
"""Maximum length of a text that an error shows."""


class Unresolved(Exception):
    """The annotation cannot be resolved, so it does not say how to restore data."""


def itself(annotation: Any) -> Any:
    """Return the type behind a `NewType`, a type alias or `LiteralString`, or else the annotation itself."""
    while True:
        if annotation is typing.LiteralString:
            return str
        behind = getattr(annotation, "__supertype__", None)
        if behind is None and type(annotation).__name__ == "TypeAliasType":
            behind = annotation.__value__
        if behind is None:
            return annotation
        annotation = behind


def plain_hint(hint: Any) -> Any:
    """Return the annotation of a typed dictionary's item without `Required`, `NotRequired` and `ReadOnly`."""
    while getattr(get_origin(hint), "_name", None) in ("Required", "NotRequired", "ReadOnly"):
        (hint,) = get_args(hint)
    return hint


def fields_of(kind: Any) -> Mapping[str, str] | None:
    """Return the fields of a structure, by their names in data; None for any other type."""
    if typing.is_typeddict(kind):
        return {name: name for name in kind.__annotations__}
    config = getattr(kind, "__struct_config__", None)
    if config is not None:
        return (
            None if config.array_like else dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
        )
    fields = getattr(kind, "__dataclass_fields__", None)
    return None if fields is None else {name: name for name, field in fields.items() if _is_field(field)}


def _is_field(field: Any) -> bool:
    return getattr(field, "_field_type", None) is not None and field._field_type.name == "_FIELD"


def hints_of(kind: Any, arguments: Sequence[Any]) -> dict[str, Any]:
    """Return the annotations of a class. In a generic one the arguments replace the type variables.

    Raises:
        Unresolved: an annotation names something that does not exist.
    """
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception as error:
        raise Unresolved(f"{kind.__name__}: {error}") from None
    variables = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    if not variables:
        return hints
    return {name: _substituted(hint, variables) for name, hint in hints.items()}


def _substituted(hint: Any, variables: Mapping[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return variables.get(hint, hint)
    inner = getattr(hint, "__parameters__", ())
    return hint[tuple(variables.get(each, Any) for each in inner)] if inner and not isinstance(hint, type) else hint


def has_default(kind: Any, field: str) -> bool:
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        from dataclasses import MISSING  # loaded already, because the program has a dataclass

        each = fields[field]
        return not each.init or each.default is not MISSING or each.default_factory is not MISSING
    return _struct_defaults(kind).get(field, msgspec.NODEFAULT) is not msgspec.NODEFAULT


def default_is_none(kind: Any, field: str) -> bool:
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None:
        return fields[field].default is None
    return _struct_defaults(kind).get(field, msgspec.NODEFAULT) is None


def _struct_defaults(kind: Any) -> dict[str, Any]:
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    return dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))


def collection_of(kind: Any) -> Callable[..., Any] | None:
    """Return the constructor of a collection of this type, which may be abstract; None for other types."""
    if issubclass(kind, (list, deque, set, frozenset)):
        return cast("Callable[..., Any]", kind)
    for concrete in (list, set):
        try:
            if issubclass(concrete, kind):
                return concrete
        except TypeError as error:  # a protocol
            raise Unresolved(str(error)) from None
    return None


def key_and_item(arguments: Sequence[Any]) -> tuple[Any, Any]:
    """Return the annotations of a mapping's keys and values. A `Counter` annotates its keys only."""
    return (arguments[0] if arguments else Any), (arguments[1] if len(arguments) == 2 else Any)


def below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def mismatch(kind: Any, plain: Any) -> str:
    """Return the text of an error for data of another type.

    It shows the data if that is text, and the expected type may be written as text.
    """
    tells = isinstance(plain, str) and kind not in PLAIN and (not isinstance(kind, type) or fields_of(kind) is None)
    shown = text_of(plain) if tells else type(plain).__name__
    return f"expected {name_of(kind)}, got {'None' if plain is None else shown}"


def text_of(plain: Any) -> str:
    if not isinstance(plain, SCALARS):
        return type(plain).__name__
    try:
        text = repr(plain)
    except ValueError:  # Python does not write an integer of more than 4,300 digits
        return type(plain).__name__
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."


def name_of(annotation: Any) -> str:
    if annotation is type(None):
        return "None"
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)

"""JSON forms of types that msgspec does not know: one rule each, for writing and for reading.

msgspec itself handles the standard types, dataclasses and structs. It calls this module for pydantic models, subclasses
of JSON types, `deque`, and types that are written as text, such as paths and IP addresses. The module does not import
these types: a program with such a value or annotation has imported them.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

_AS_TEXT = {
    "pathlib": ("PurePath",),
    "ipaddress": (
        "IPv4Address",
        "IPv6Address",
        "IPv4Network",
        "IPv6Network",
        "IPv4Interface",
        "IPv6Interface",
    ),
    "fractions": ("Fraction",),
}
"""Types, by module, whose constructor reads their `str`; subclasses are included."""


def written(value: Any) -> Any:
    """Return a value that msgspec does not know as one that it knows.

    Raises:
        NotImplementedError: its type has no JSON form.
        ValueError: it is a model that could not be read from its JSON form.
    """
    if is_model(type(value)):
        return _data_of(value)
    if isinstance(value, bool):  # msgspec calls this for a bool only if it is a key
        return "true" if value else "false"
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, deque):
        return list(cast("deque[Any]", value))
    if is_text(type(value)):
        # A worker can have another system than its caller. All systems read slashes, and only Windows backslashes.
        return value.as_posix() if hasattr(value, "as_posix") else str(value)
    raise NotImplementedError(f"{type(value).__module__}.{type(value).__qualname__}")


def is_text(kind: Any) -> bool:
    """Return whether values of this type are written as text."""
    if not isinstance(kind, type):
        return False
    for name, classes in _AS_TEXT.items():
        module = sys.modules.get(name)
        if module is not None and issubclass(kind, tuple(vars(module)[each] for each in classes)):
            return True
    return False


def read(kind: Any, plain: Any) -> Any:
    """Return data as a type that msgspec does not know.

    Raises:
        NotImplementedError: this type has no rule.
        Exception: the data does not fit it.
    """
    if isinstance(plain, kind):
        return plain
    if is_model(kind):
        return model_of(kind, plain)
    if is_text(kind) and isinstance(plain, str):
        return kind(plain)
    for base in (str, int, float):
        if issubclass(kind, base) and type(plain) is base:
            return kind(plain)
    raise NotImplementedError(f"{kind.__module__}.{kind.__qualname__}")


def is_model(kind: Any) -> bool:
    """Return whether `kind` is a pydantic model, without loading pydantic."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate_json")


def _data_of(model: Any) -> Any:
    """Return the data of a pydantic model, without its computed fields.

    A model may write other data than it reads: it can mask a secret, exclude a field, or use a serializer. So the data
    is read again and compared.

    Raises:
        ValueError: the data does not give an equal model.
    """
    data = model.model_dump(mode="json", round_trip=True)
    try:
        back = model_of(type(model), data)
    except Exception as error:
        raise ValueError(f"its JSON form cannot be read again: {type(error).__name__}: {error}") from None
    if (lost := difference(model, back, "")) is not None:
        raise ValueError(
            f"{lost.removeprefix('.') or 'it'} would not come back as it is: it is excluded, masked, or not read as it"
            " is written"
        )
    return data


def difference(one: Any, other: Any, path: str) -> str | None:
    """Return the path of the first part in which two values differ, or None.

    Parts that cannot be compared count as equal.
    """
    if one is other or _equal(one, other):
        return None
    if type(one) is not type(other):
        return path
    for at, mine, its in _pairs(one, other, path):
        if (found := difference(mine, its, at)) is not None:
            return found
    if isinstance(one, dict):
        return None if cast("dict[Any, Any]", one).keys() == other.keys() else path
    if is_model(type(one)) or isinstance(one, (list, tuple, deque)):
        return None if _count(one) == _count(other) else path
    return None if type(one).__eq__ is object.__eq__ or one != one else path  # not-a-number differs from itself


def _pairs(one: Any, other: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the parts that two values of one type have in common, with their paths."""
    if is_model(type(one)):
        kind = cast("Any", type(one))
        names: list[str] = [*kind.model_fields, *(one.model_extra or ())]
        for name in names:
            yield f"{path}.{name}", getattr(one, name), getattr(other, name, None)
    elif isinstance(one, dict):
        for key, item in cast("dict[Any, Any]", one).items():
            if key in other:
                yield f"{path}[{key!r}]", item, other[key]
    elif isinstance(one, (list, tuple, deque)):
        for index, (mine, its) in enumerate(zip(cast("list[Any]", one), other, strict=False)):
            yield f"{path}[{index}]", mine, its


def _count(value: Any) -> int:
    return len(value.model_extra or ()) if is_model(type(value)) else len(value)


def _equal(one: Any, other: Any) -> bool:
    """Return whether two values and their types are equal: 1 does not equal 1.0."""
    try:
        return type(one) is type(other) and not is_model(type(one)) and bool(one == other)
    except Exception:  # raised by a user's `__eq__`, or by that of an array
        return False


def model_of(kind: Any, plain: Any) -> Any:
    """Return the pydantic model that is written as this JSON data.

    Raises:
        pydantic.ValidationError: the data does not fit it.
    """
    import json  # it writes infinities and not-a-number as pydantic reads them

    try:
        return kind.model_validate_json(json.dumps(plain), by_alias=True, by_name=True)
    except ValueError as error:
        fewer = _without_extras(plain, error)
        if fewer is None:
            raise
        model = kind.model_validate_json(json.dumps(fewer), by_alias=True, by_name=True)
        if model.model_dump(mode="json") != plain:
            raise
        return model


def _without_extras(plain: Any, error: Any) -> Any:
    """Return data without the fields that a model forbids, or None if something else is wrong with it.

    Models that earlier versions have stored contain their computed fields.
    """
    try:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
    except Exception:  # the error is not pydantic's: a user's validator has raised it
        return None
    if not isinstance(plain, dict) or any(each["type"] != "extra_forbidden" for each in errors):
        return None
    import copy

    fewer = copy.deepcopy(cast("dict[str, Any]", plain))
    for each in errors:
        *above, name = each["loc"]
        part: Any = fewer
        try:
            for step in above:
                part = part[step]
            del part[name]
        except (LookupError, TypeError):
            return None
    return fewer

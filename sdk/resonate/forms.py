"""The JSON forms of types that msgspec does not know: one rule each, written and read in one place.

msgspec writes and reads the standard types, dataclasses and structs by itself. It asks here about pydantic models,
subclasses of JSON types, `deque`, and types that travel as text, such as paths and IP addresses. Nothing is imported
for a type: whoever holds a value of it, or an annotation, has its module loaded.
"""

from __future__ import annotations

import sys
from collections import deque
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
"""Types whose `str` their constructor reads, with their subclasses, by module."""


def written(value: Any) -> Any:
    """Return a value that msgspec does not know in terms of what it does.

    Raises:
        NotImplementedError: its type has no JSON form.
    """
    if is_model(type(value)):
        return value.model_dump(mode="json")
    if isinstance(value, bool):  # as a key; as a value it is known
        return "true" if value else "false"
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, deque):
        return list(cast("deque[Any]", value))
    if is_text(type(value)):
        return str(value)
    raise NotImplementedError(f"{type(value).__module__}.{type(value).__qualname__}")


def is_text(kind: Any) -> bool:
    """Whether values of this type travel as their text."""
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
        NotImplementedError: there is no rule for this type.
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
    """Whether `kind` is a pydantic model; asked without loading pydantic."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate_json")


def model_of(kind: Any, plain: Any) -> Any:
    """Return the pydantic model that JSON data stands for.

    Raises:
        pydantic.ValidationError: the data does not fit it.
    """
    import json  # only models need it: it writes what is not finite the way that pydantic reads it

    return kind.model_validate_json(json.dumps(plain), by_alias=True, by_name=True)

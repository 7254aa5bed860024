"""Comparison of a response with the expected one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from resonate_infra.conformance.script import Any_, Has, Keep, Number, Text
from resonate_infra.json_types import is_list, is_object

_MISSING = object()


class Mismatch(Struct, frozen=True):
    """First place, such as `data.promise.state`, at which a response differs from the expected one."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path or 'it'}: expected {self.expected}, found {self.found}"


def difference(expected: Any, found: Any, kept: dict[str, Any], path: str = "") -> Mismatch | None:
    """Return the first difference of two values, or None if they match.

    Args:
        expected: a JSON value with the wildcards of `script`.
        found: a JSON value.
        kept: receives the values of `<keep NAME>`.
        path: the path of these values in the response.
    """
    match expected:
        case Any_():
            return None
        case Keep(name):
            kept[name] = found
            return None
        case Text(pattern):
            if isinstance(found, str) and re.search(pattern, found):
                return None
            return Mismatch(path, f"a text with {pattern!r}" if pattern else "a text", shown(found))
        case Number():
            return None if _is_number(found) else Mismatch(path, "a number", shown(found))
        case Has(keys):
            return _object(keys, found, kept, path, others=True)
        case _ if is_object(expected):
            return _object(expected, found, kept, path, others=False)
        case _ if is_list(expected):
            return _list(expected, found, kept, path)
        case _:
            same = type(expected) is type(found) and expected == found
            return None if same else Mismatch(path, shown(expected), shown(found))


def _object(
    expected: Mapping[str, Any], found: Any, kept: dict[str, Any], path: str, *, others: bool
) -> Mismatch | None:
    if not is_object(found):
        return Mismatch(path, "an object", shown(found))
    for key, value in expected.items():
        below = f"{path}.{key}" if path else str(key)
        if key not in found:
            return Mismatch(below, shown(value), "nothing")
        if (first := difference(value, found[key], kept, below)) is not None:
            return first
    surplus = [key for key in found if key not in expected]
    if surplus and not others:
        return Mismatch(f"{path}.{surplus[0]}" if path else surplus[0], "nothing", shown(found[surplus[0]]))
    return None


def _list(expected: list[Any], found: Any, kept: dict[str, Any], path: str) -> Mismatch | None:
    if not is_list(found):
        return Mismatch(path, "a list", shown(found))
    for place, value in enumerate(expected):
        below = f"{path}[{place}]"
        if place >= len(found):
            return Mismatch(below, shown(value), "the end of the list")
        if (first := difference(value, found[place], kept, below)) is not None:
            return first
    if len(found) > len(expected):
        return Mismatch(f"{path}[{len(expected)}]", "the end of the list", shown(found[len(expected)]))
    return None


def _is_number(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)


def shown(value: Any) -> str:
    """Return a value as JSON, cut to 300 characters."""
    text = json.dumps(value, ensure_ascii=False, default=_wildcard)
    return text if len(text) <= 300 else f"{text[:300]}..."


def _wildcard(value: Any) -> Any:
    match value:
        case Has(keys):
            return {**keys, "...": "..."}
        case Text(pattern):
            return f"<text {pattern}>"
        case _:
            return f"<{type(value).__name__.lower().strip('_')}>"

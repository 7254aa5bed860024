"""Ids of executions, made of the values of an event.

A dot or a colon in an id can separate an execution from a call below it. So an event whose order number is `17.1` could
take the place of the first call of the execution `order-17`. For this reason the values are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from string import Formatter
from typing import Any, cast

from resonate_infra.triggers.errors import UnusableEventError
from resonate_store.model.ids import SEPARATORS

MAX_DEFAULT_ID_BYTES = 500
"""The largest size (bytes) of a default id that is not a digest. The ids of the calls below it are longer."""

_FIELD = re.compile(r"(?P<name>[A-Za-z_-]+)(?P<path>(?:\[[^\[\]]+\])*)")
_KEY = re.compile(r"\[([^\[\]]+)\]")
_ESCAPES = str.maketrans({text: f"%{ord(text):02X}" for text in ("%", "\0", *SEPARATORS)})

Lookup = Callable[[str], Any]
"""Returns the value of a field of an event, by its name."""


def escaped(text: str) -> str:
    """Return the text without characters that have a meaning in ids: `.`, `:`, `%` and NUL as in a URL."""
    return text.translate(_ESCAPES)


def default_id(function: str, unique: str) -> str:
    """Return the id of the execution that an event starts by default.

    It has the name of the function, so that two functions can be started by the same event.

    Args:
        function: the name of the function.
        unique: the text that names the event.
    """
    id = f"{escaped(function)}-{escaped(unique)}"
    if len(id.encode(errors="replace")) <= MAX_DEFAULT_ID_BYTES:
        return id
    return f"{escaped(function)}-{sha256(unique.encode(errors='replace')).hexdigest()}"


class IdTemplate:
    """Template of ids, such as `order-{body[orderId]}`.

    Args:
        template: text with fields in braces. A field is a name, with keys of objects or indexes of lists in brackets.
        names: the names that an event has.

    Raises:
        ValueError: the template has no field, a field has another form, or its name is not one of `names`.
    """

    def __init__(self, template: str, names: Collection[str]) -> None:
        self._template = template
        self._parts: list[tuple[str, str, tuple[str, ...]]] = []
        for literal, field, spec, conversion in Formatter().parse(template):
            if field is None:
                self._parts.append((literal, "", ()))
                continue
            found = _FIELD.fullmatch(field)
            if found is None or spec or conversion:
                raise ValueError(
                    f"the id template {template!r} has the field {field!r}: write {{name}} or {{name[key]}}"
                )
            if found["name"] not in names:
                raise ValueError(
                    f"the id template {template!r} has the field {field!r}: its name must be one of"
                    f" {', '.join(sorted(names))}"
                )
            self._parts.append((literal, found["name"], tuple(_KEY.findall(found["path"]))))
        if not any(name for _, name, _ in self._parts):
            raise ValueError(f"the id template {template!r} has no field, so all events would start one execution")

    def id_of(self, lookup: Lookup) -> str:
        """Return the id for an event.

        Raises:
            UnusableEventError: the event lacks a value, or the value is neither a text nor a number.
        """
        return "".join(
            literal + (self._value(name, keys, lookup) if name else "") for literal, name, keys in self._parts
        )

    def _value(self, name: str, keys: Sequence[str], lookup: Lookup) -> str:
        value, path = lookup(name), name
        for key in keys:
            value, path = _member(value, key), f"{path}[{key}]"
        if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)) or value == "":
            shown = "empty" if value == "" else f"of the type {type(value).__name__}"
            shown = "missing" if value is None else shown
            raise UnusableEventError(
                f"the id template {self._template!r} needs a text or a number at {path}, which is {shown}"
            )
        return escaped(str(value))


def _member(value: Any, key: str) -> Any:
    """Return a member of an object or of a list, or None."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(key)
    if isinstance(value, list) and key.isdecimal() and int(key) < len(cast("list[Any]", value)):
        return cast("list[Any]", value)[int(key)]
    return None

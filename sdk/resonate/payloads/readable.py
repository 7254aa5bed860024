"""What people can read of a stored payload, without the functions and types of the program that stored it."""

from __future__ import annotations

import binascii
import json
from typing import Any, cast

from resonate_store.model.records import PromiseView, Value
from resonate_store.model.tags import FUNC, SCOPE, TARGET

ENCRYPTED = "x-encrypted"
"""Header of an encrypted payload; its text is "true"."""


def is_encrypted(value: Value) -> bool:
    """Return whether a payload is encrypted."""
    return (value.headers or {}).get(ENCRYPTED) == "true"


def readable(data: str) -> Any:
    """Decode base64 of JSON. Return other base64 of text as the text, and anything else unchanged.

    JSON can contain half of a surrogate pair, which cannot be written anywhere. It stays text.
    """
    try:
        text = binascii.a2b_base64(data, strict_mode=True).decode()
    except ValueError:
        return data
    try:
        found = json.loads(text, parse_constant=_refuse) if text else None
        if "\\ud" in text or "\\uD" in text:
            one_line(found).encode()
        return found
    except (ValueError, RecursionError):
        return text


def one_line(value: Any) -> str:
    """Return a value as JSON on one line. An empty string stays empty."""
    return value if isinstance(value, str) and not value else json.dumps(value, ensure_ascii=False)


def error_text(value: Value) -> str:
    """Return the error in a payload on one line, or an empty text if there is none."""
    if value.data is None:
        return ""
    if is_encrypted(value):
        return "an encrypted error"
    data = readable(value.data)
    if isinstance(data, dict):
        parts = cast("dict[str, Any]", data)
        if parts.get("__type") == "error":
            return f"{parts.get('name') or 'error'}: {parts.get('message', '')}".removesuffix(": ")
    return one_line(data)


def call_in(promise: PromiseView) -> tuple[str | None, int | None]:
    """Return the function that a promise calls, and its version. None means unknown."""
    name, version = promise.tags.get(FUNC), None
    if TARGET not in promise.tags and promise.tags.get(SCOPE) != "local":
        return name, None
    # The official SDKs name the function in the param only.
    data = None if promise.param.data is None else readable(promise.param.data)
    if isinstance(data, dict):
        call = cast("dict[str, Any]", data)
        name = name or (str(call["func"]) if "func" in call else None)
        version = call.get("version")
    return name, version if isinstance(version, int) else None


def _refuse(name: str) -> None:
    raise ValueError(name)

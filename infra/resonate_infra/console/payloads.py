"""What a page shows of a payload: a value as JSON, an error with its traceback, or why it shows neither."""

from __future__ import annotations

import json
from typing import Any, Literal

from msgspec import Struct

from resonate.payloads.readable import is_encrypted, readable
from resonate_infra.json_types import is_list, is_object
from resonate_store.model.records import PromiseView, Value

LARGE_CHARS = 64 * 1024
"""A longer payload is shown on demand only."""
LISTED_CHARS = 16 * 1024
"""The same for one of many payloads."""
MOST_INDENTATION = 20
"""A value is not indented if that makes it longer by more than this factor."""
KEY_ID = "x-encryption-key-id"
MOST_CAUSES = 8
"""Maximum number of causes of an error that are shown."""

Side = Literal["param", "value"]


class ShownError(Struct, frozen=True):
    """An error, one of its causes, or a member of a group.

    Attributes:
        type: the name of its class.
        message: its message.
        traceback: its traceback, or an empty text.
        relation: "" for the error itself, "caused by" or "member of the group".
    """

    type: str
    message: str
    traceback: str = ""
    relation: str = ""


class ShownPayload(Struct, frozen=True):
    """A payload as a page shows it.

    Attributes:
        kind: "none", "encrypted", "large", "error" or "json".
        text: the value as JSON, the size of a large one, or the name of the key.
        errors: the error with its causes.
        size: the length of the stored text (characters).
    """

    kind: Literal["none", "encrypted", "large", "error", "json"]
    text: str = ""
    errors: tuple[ShownError, ...] = ()
    size: int = 0


NOTHING = ShownPayload("none")


def shown_payload(value: Value, *, most_chars: float = LARGE_CHARS) -> ShownPayload:
    """Return what is shown of a payload. One of more characters is large."""
    if value.data is None or value.data == "":
        return NOTHING
    if is_encrypted(value):
        return ShownPayload("encrypted", (value.headers or {}).get(KEY_ID, ""), size=len(value.data))
    if len(value.data) > most_chars:
        return ShownPayload("large", _size(len(value.data) * 3 // 4), size=len(value.data))
    data = readable(value.data)
    if is_object(data) and data.get("__type") in ("error", "aggregate_error"):
        return ShownPayload("error", errors=tuple(_errors(data, "", 0)), size=len(value.data))
    return ShownPayload("json", pretty(data), size=len(value.data))


def shown_arguments(promise: PromiseView) -> ShownPayload:
    """Return the arguments of a call, or the data of any other promise."""
    shown = shown_payload(promise.param)
    if shown.kind != "json" or promise.param.data is None:
        return shown
    call = readable(promise.param.data)
    if is_object(call) and "func" in call and "args" in call:
        args: Any = call.get("args") or []
        kwargs: Any = call.get("kwargs") or {}
        lines = [pretty(each) for each in args] if is_list(args) else [pretty(args)]
        lines += [f"{name} = {pretty(each)}" for name, each in kwargs.items()] if is_object(kwargs) else []
        return ShownPayload("json", "\n".join(lines), size=shown.size) if lines else NOTHING
    return shown


def pretty(data: Any) -> str:
    """Return a value as JSON for people. A short one is on one line, and one so deep that it is mostly indentation."""
    line = json.dumps(data, ensure_ascii=False)
    if len(line) <= 72:
        return line
    lines = json.dumps(data, ensure_ascii=False, indent=2)
    return lines if len(lines) <= MOST_INDENTATION * len(line) else line


def _errors(data: dict[str, Any], relation: str, depth: int) -> list[ShownError]:
    kind = str(data.get("name") or data.get("type") or "error")
    own = ShownError(kind, str(data.get("message") or ""), str(data.get("traceback") or ""), relation)
    found = [own]
    if depth < MOST_CAUSES:
        members = data.get("errors")
        for member in members if is_list(members) else ():
            if is_object(member):
                found += _errors(member, "member of the group", depth + 1)
        cause = data.get("cause")
        if is_object(cause):
            found += _errors(cause, "caused by", depth + 1)
    return found[: MOST_CAUSES + 1]


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1024:.0f} KB" if size_bytes < 1024 * 1024 else f"{size_bytes / 1024 / 1024:.1f} MB"

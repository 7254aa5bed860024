"""Checks of parts of requests: names, texts, and the messages of an execution."""

from __future__ import annotations

from typing import Final

from resonate_store.model import ids
from resonate_store.model.limits import ADVICE, MAX_WAITING_BYTES

MAX_NAME_BYTES: Final = 200
"""The largest size (bytes) of the name of a message, and of the key of a published value."""


def problem_with_size(size: int) -> str | None:
    """Return why a message of `size` bytes is too large, or None if it is not."""
    if size <= MAX_WAITING_BYTES:
        return None
    return f"the message has {size} bytes, encoded, and {MAX_WAITING_BYTES} is the limit: {ADVICE}"


def problem_with_place(place: str, task: str) -> str | None:
    """Return why `place` is not the id of a command of the task, or None if it is."""
    if problem := ids.problem_with(place, "id of the command"):
        return problem
    return None if ids.is_below(place, task) else f"the command {place!r} is not below the task {task!r}"


def problem_with_name(what: str, text: str, most_bytes: int = MAX_NAME_BYTES) -> str | None:
    """Return why the text is not valid as a name of at most `most_bytes`, or None if it is. `what` is for people."""
    if not text:
        return f"the {what} is empty"
    if not encodable(text) or "\0" in text:
        return f"the {what} {text!r} is not valid Unicode text without NUL"
    size = len(text.encode())
    return f"the {what} has {size} bytes and {most_bytes} is the limit" if size > most_bytes else None


def encodable(text: str) -> bool:
    """Return whether the text is valid Unicode. Half of a surrogate pair cannot be stored."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

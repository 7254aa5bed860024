"""Limit of the size of a value. A stack in memory applies the default limit of a deployment."""

from __future__ import annotations

from typing import Final

from resonate_store.model.records import Value

MAX_VALUE_BYTES: Final = 5 * 1024 * 1024
"""The largest size (bytes) of a value. The response of a Lambda invocation can have at most 6 MB."""
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
"""The largest size (bytes) of all messages of one execution that wait, and so of one message."""
ADVICE: Final = "keep large data elsewhere and pass a reference to it"


def size_of(value: Value) -> int:
    """Return the size of a value in bytes; 0 for a claim."""
    texts = (value.data or "", *(value.headers or {}), *(value.headers or {}).values())
    return sum(len(text) if text.isascii() else len(text.encode(errors="surrogatepass")) for text in texts)


def excess(id: str, role: str, value: Value, limit_bytes: int = MAX_VALUE_BYTES) -> str | None:
    """Return why a value of the promise `id` is too large, or None if it is not.

    Args:
        id: the id of the promise.
        role: which value it is, "param" or "value".
        value: the value to check.
        limit_bytes: the largest size (bytes) that is allowed.
    """
    size = size_of(value)
    if size <= limit_bytes:
        return None
    what = f"the {role} of promise {id!r} has {size} bytes, encoded"
    return f"{what}, and {limit_bytes} is the limit (RESONATE_PAYLOAD_LIMIT): {ADVICE}"


def problem_with_size(size: int) -> str | None:
    """Return why a message of `size` bytes is too large, or None if it is not."""
    if size <= MAX_WAITING_BYTES:
        return None
    return f"the message has {size} bytes, encoded, and {MAX_WAITING_BYTES} is the limit: {ADVICE}"

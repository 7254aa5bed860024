"""How large a value may be, wherever it is kept: a deployment says so, and a stack in memory stands for one."""

from __future__ import annotations

from typing import Final

from resonate_store.model.records import Value

MAX_VALUE_BYTES: Final = 5 * 1024 * 1024
"""Values above this many bytes are refused: an invocation of Lambda answers with 6 MB at most."""
ADVICE: Final = "keep large data elsewhere and pass a reference to it"


def size_of(value: Value) -> int:
    """The size of a value in bytes, 0 for a claim."""
    texts = (value.data or "", *(value.headers or {}), *(value.headers or {}).values())
    return sum(len(text) if text.isascii() else len(text.encode(errors="surrogatepass")) for text in texts)


def excess(id: str, role: str, value: Value, limit_bytes: int = MAX_VALUE_BYTES) -> str | None:
    """Say that a value of the promise `id`, its param or its value, is too large, or None when it is not."""
    size = size_of(value)
    if size <= limit_bytes:
        return None
    what = f"the {role} of promise {id!r} has {size} bytes, encoded"
    return f"{what}, and {limit_bytes} is the limit (RESONATE_PAYLOAD_LIMIT): {ADVICE}"

"""Several requests at the same time, in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def each(function: Callable[[A], B], items: Sequence[A], width: int) -> list[B]:
    """Apply `function` to all items, at most `width` at the same time. The results have the order of the items."""
    if len(items) < 2 or width < 2:
        return [function(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor  # rarely needed, so imported here

    with ThreadPoolExecutor(min(width, len(items)), thread_name_prefix="resonate-request") as pool:
        return list(pool.map(function, items))

"""Promise ids: what is a legal one, and what an id alone tells.

An id is a path. `{parent}.{n}` names the n-th command of its parent, so the first segment is the origin (the partition
that a whole execution lives in) and the number of separators is the depth. Both keys of the table follow from the id
alone (docs/rules.md D1). The official SDKs separate the first level below an execution by a colon: `{root}:{n}` and
`{root}:d{hash}`, then `{root}:{n}.{n}`. A colon before anything else is an ordinary character.

Random ids - process ids, operation tokens - come from an injected source so that tests repeat.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable

MAX_ID_BYTES = 1000
SEPARATORS = (".", ":")
"""What may stand between an id and the number of its child."""

_LINEAGE = r":(?=(?:[0-9]+|d[0-9a-f]{16})(?:\.|$))"

Identify = Callable[[], str]
"""Makes a fresh random identifier on every call."""


def random_id() -> str:
    """A random 32-character hexadecimal identifier."""
    return os.urandom(16).hex()


def random_bytes(count: int) -> bytes:
    """Random bytes, fit for cryptography."""
    return os.urandom(count)


def origin(id: str) -> str:
    """The id up to its first separator: the execution tree's partition."""
    first = id.partition(".")[0]
    if ":" in id and (colon := re.search(_LINEAGE, id)) is not None:
        return first[: colon.start()]
    return first


def depth(id: str) -> int:
    """The number of separators in the id."""
    return id.count(".") + (1 if ":" in id and re.search(_LINEAGE, id) else 0)


def parent(id: str) -> str:
    """The id without its last segment; empty if there is none above it."""
    above, _, last = id.rpartition(".")
    if ":" in last and (colon := re.search(_LINEAGE, id)) is not None and colon.start() > len(above):
        return id[: colon.start()]
    return above


def is_below(id: str, top: str) -> bool:
    """Whether the id lies in the tree of ids below `top`."""
    if not top or len(id) <= len(top) or not id.startswith(top):
        return False
    if id[len(top)] == ".":
        return True
    return id[len(top)] == ":" and (colon := re.search(_LINEAGE, id)) is not None and colon.start() == len(top)


def shard(id: str, shards: int) -> int:
    """A stable number in `0..shards-1` for the origin of `id`; a tree stays in one shard."""
    return zlib.crc32(origin(id).encode()) % shards


def problem_with(id: str, what: str = "id") -> str | None:
    """Say why `id` cannot be a promise id, or None when it can.

    Args:
        id: the candidate.
        what: how the message names it, e.g. "awaited id".
    """
    if id.isascii() and 0 < len(id) <= MAX_ID_BYTES and "\0" not in id:
        return None  # nearly every id
    if not id:
        return f"the {what} is empty: give 1 to {MAX_ID_BYTES} bytes of UTF-8"
    try:
        size = len(id.encode())
    except UnicodeEncodeError:
        return f"the {what} {id!r} is not valid Unicode text"
    if size > MAX_ID_BYTES:
        return (
            f"the {what} is {size} bytes long and {MAX_ID_BYTES} is the limit: {id[:60]!r}...; in deep recursion choose"
            " a short one with .options(id=...)"
        )
    if "\0" in id:
        return f"the {what} {id!r} contains a NUL character"
    return None

"""Promise ids: which ids are valid, and what an id says about the place of its promise.

An id is a path: `{parent}.{n}` is the n-th command of its parent. The first segment is the origin, which names the
partition of the whole execution. The number of separators is the depth. Origin and depth give the keys of the table, so
no read is needed to find an item (docs/rules.md D1, D2).

The official SDKs separate the first level below an execution by a colon: `{root}:{n}` and `{root}:d{hash}`, then
`{root}:{n}.{n}`. A colon before any other text is an ordinary character.

A workflow that continues as a new generation numbers the commands of generation g > 1 `{id}.{g}+{n}`. That is one
segment, so the depth stays the same. `{id}.{g}+0` holds the arguments of the generation.

Random ids, such as ids of processes and tokens of operations, come from an injected source, so that tests repeat.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable

MAX_ID_BYTES = 1000
MAX_NAME_BYTES = 200
"""The largest size (bytes) of the name of a message, and of the key of a published value."""
SEPARATORS = (".", ":")
"""The characters that can separate an id from the number of its child."""

_LINEAGE = r":(?=(?:[0-9]+|d[0-9a-f]{16})(?:\.|$))"

Identify = Callable[[], str]
"""Returns a new random identifier on each call."""


def random_id() -> str:
    """Return a random identifier of 32 hexadecimal characters."""
    return os.urandom(16).hex()


def random_bytes(count: int) -> bytes:
    """Return random bytes that are safe for cryptography."""
    return os.urandom(count)


def origin(id: str) -> str:
    """Return the id up to its first separator. It names the partition of the execution."""
    first = id.partition(".")[0]
    if ":" in id and (colon := re.search(_LINEAGE, id)) is not None:
        return first[: colon.start()]
    return first


def depth(id: str) -> int:
    """Return the number of separators in the id."""
    return id.count(".") + (1 if ":" in id and re.search(_LINEAGE, id) else 0)


def parent(id: str) -> str:
    """Return the id without its last segment, or an empty text if the id has one segment."""
    above, _, last = id.rpartition(".")
    if ":" in last and (colon := re.search(_LINEAGE, id)) is not None and colon.start() > len(above):
        return id[: colon.start()]
    return above


def below(generation: int | None) -> str:
    """Return the text between an id and the number of its command in this generation. None is the first one."""
    return "." if generation is None else f".{generation}+"


def family(id: str) -> str:
    """Return the id without the number of the command: `parent`, and the generation of the command if it has one."""
    above, _, last = id.rpartition(".")
    if "+" in last and above and (number := last.partition("+")[0]).isdecimal():
        return f"{above}.{number}+"
    return parent(id) if ":" in last else above


def family_of(id: str, generation: int | None) -> str:
    """Return the `family` of the commands of this generation of `id`. None is the first generation."""
    return id if generation in (None, 1) else f"{id}.{generation}+"


def generation_of(id: str, top: str) -> int | None:
    """Return the generation of `top` with the command that `id` belongs to, or None if it belongs to none.

    Args:
        id: an id below `top`.
        top: the id of an execution.
    """
    segment = id[len(top) + 1 :].partition(".")[0]
    generation, plus, number = segment.partition("+")
    if plus:
        return int(generation) if generation.isdecimal() and number.partition("~")[0].isdecimal() else None
    return 1 if segment.partition("~")[0].isdecimal() else None


def is_below(id: str, top: str) -> bool:
    """Return whether the id is a descendant of `top` by its path."""
    if not top or len(id) <= len(top) or not id.startswith(top):
        return False
    if id[len(top)] == ".":
        return True
    return id[len(top)] == ":" and (colon := re.search(_LINEAGE, id)) is not None and colon.start() == len(top)


def is_retry_timer(id: str) -> bool:
    """Return whether the id is that of a retry timer, `{step}~{attempt}`."""
    step, _, attempt = id.rpartition("~")
    return bool(step) and attempt.isdecimal()


INBOX = ".message-"
"""The text between the id of an execution and the rest of the ids of its messages."""


def message_id(execution: str, key: str) -> str:
    """Return the id of a message to an execution. It follows from the message's idempotency key.

    Its last segment is neither a number nor a retry timer, and has no separator.
    """
    return f"{execution}{INBOX}{_digest(key)}"


def state_id(execution: str, key: str = "") -> str:
    """Return the id of the item with the value that an execution publishes under a key.

    Without a key, return the beginning of the ids of all such items.
    """
    return f"{execution}.state-{_digest(key) if key else ''}"


def _digest(key: str) -> str:
    """Return 32 hexadecimal characters that depend on the key only."""
    from hashlib import sha256  # here, because most processes do not need it

    return sha256(key.encode()).hexdigest()[:32]


def shard(id: str, shards: int) -> int:
    """Return a number from 0 to `shards - 1` that depends only on the origin of `id`. One tree is in one shard."""
    return zlib.crc32(origin(id).encode()) % shards


def problem_with(id: str, what: str = "id") -> str | None:
    """Return why `id` is not valid as a promise id, or None if it is valid.

    Args:
        id: the text to check.
        what: the name of the id in the message, for example "awaited id".
    """
    if id.isascii() and 0 < len(id) <= MAX_ID_BYTES and "\0" not in id:
        return None  # most ids take this fast path
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


def problem_with_place(place: str, task: str) -> str | None:
    """Return why `place` is not the id of a command of the task, or None if it is."""
    if problem := problem_with(place, "id of the command"):
        return problem
    return None if is_below(place, task) else f"the command {place!r} is not below the task {task!r}"


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

"""Checks of single fields. Each returns what is wrong, or None."""

from __future__ import annotations

from resonate_store.model.ids import encodable
from resonate_store.model.records import END_OF_TIME, Value

MAX_LIMIT = 1000
"""The largest `limit` of one page of a search."""
SETTLED_STATES = ("resolved", "rejected", "rejected_canceled")


def timeout(timeout_at: int) -> str | None:
    if 0 <= timeout_at <= END_OF_TIME:
        return None
    return (
        f"the timeout is an instant in milliseconds since the epoch and cannot be {timeout_at}: the last is"
        f" {END_OF_TIME}"
    )


def value(what: str, value: Value) -> str | None:
    if value.headers and (problem := names(f"header of the {what}", value.headers)):
        return problem
    if value.data is not None and not (value.data.isascii() or encodable(value.data)):
        return f"the data of the {what} is not valid Unicode text"
    return None


def names(what: str, texts: dict[str, str]) -> str | None:
    for name, text in texts.items():
        if name and name.isascii() and text.isascii():
            continue  # nearly all tags: this saves two calls
        if not name:  # DynamoDB refuses entries with an empty name
            return f"the {what} with the value {text!r} has an empty name"
        if not (encodable(name) and encodable(text)):
            return f"the {what} {name!r} is not valid Unicode text"
    return None


def state(state: str) -> str | None:
    if state in SETTLED_STATES:
        return None
    return f"a promise is settled to one of {', '.join(SETTLED_STATES)}, not {state!r}"


def version(version: int) -> str | None:
    return f"a task version is not negative, got {version}" if version < 0 else None


def limit(limit: int) -> str | None:
    if 1 <= limit <= MAX_LIMIT:
        return None
    return f"the limit of a page is 1 to {MAX_LIMIT}, not {limit}"


def lease(pid: str, ttl_ms: int) -> str | None:
    if not pid:
        return "the pid is empty: name the process that acquires the task"
    if 1 <= ttl_ms <= END_OF_TIME:
        return None
    return f"the ttl is a lease in milliseconds of at least 1 and at most {END_OF_TIME}, got {ttl_ms}"

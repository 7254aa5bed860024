"""Where a message can go.

An address is a URL of one of four schemes (docs/protocol.md 2.4): `http(s)://...` for a push, `lambda://name` for
an asynchronous invoke, `poll://any@group[/pid]` or `poll://uni@group/pid` for a worker that polls. A group may be
mapped to a push address by configuration; where nobody can poll, a group that maps to nothing is an address that no
message can ever reach, and a promise that targets it is refused instead of left to hang.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, cast

from msgspec import Struct

# What would begin a query or a fragment of the URL belongs to neither: a group or id that has it is percent-encoded.
_POLL = r"poll://(?P<cast>any|uni)@(?P<group>[^/\s@?#]+)(?:/(?P<id>[^/\s?#]+))?\Z"
_LAMBDA = (
    r"lambda://(?:[A-Za-z0-9-_]+|arn:[^\s:]+:lambda:[^\s:]+:[^\s:]+:function:[A-Za-z0-9-_]+)(?::[A-Za-z0-9$_-]+)?\Z"
)
_HTTP = r"https?://[^\s/?#]+\S*\Z"


class Poll(Struct, frozen=True):
    """A poll address, taken apart."""

    cast: Literal["any", "uni"]
    group: str
    id: str | None


def expand(target: str) -> str:
    """A bare group name `g` means `poll://any@g`; an address stays as it is."""
    return target if "://" in target else f"poll://any@{target}"


def problem_with(address: str) -> str | None:
    """Say why `address` is not one, or None when it is."""
    if re.match(_POLL, address):
        if address.startswith("poll://uni@") and "/" not in address.removeprefix("poll://"):
            return f"{address!r} names no process: poll://uni@group/pid"
        return None
    if re.match(_LAMBDA, address) or (re.match(_HTTP, address) and _is_url(address)):
        return None
    return (
        f"{address!r} is not an address:"
        " use poll://any@group, poll://uni@group/pid, lambda://function or an http(s) URL"
    )


def _is_url(address: str) -> bool:
    from urllib.parse import urlsplit  # only a push address pays for loading it

    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def poll_of(address: str) -> Poll | None:
    """A poll address taken apart, its group and id without percent-encoding; None for any other address."""
    match = re.match(_POLL, address)
    if match is None:
        return None
    from urllib.parse import unquote

    id = match["id"]
    return Poll(cast("Literal['any', 'uni']", match["cast"]), unquote(match["group"]), unquote(id) if id else None)


def group_of(address: str) -> str | None:
    """The worker group of a poll address, or None for any other address."""
    match = re.match(_POLL, address)
    return match["group"] if match else None


def wait_for(address: str, workers: int | None) -> str:
    """Say what a task that is offered at `address` waits for, when so many workers poll for it (None: unknown)."""
    poll = poll_of(address)
    if poll is None:
        return f"waiting for {address} to take it"
    if poll.cast == "uni":
        return f"waiting for the worker {poll.id} of {poll.group}" + ("" if workers != 0 else "; it is not connected")
    return f"waiting for a worker of {poll.group}" + ("" if workers != 0 else "; none is connected")


def route(address: str, groups: Mapping[str, str]) -> str | None:
    """The push address that `address` leads to, or None when it has to be polled for."""
    group = group_of(address)
    return address if group is None else groups.get(group)


def unserved(target: str, groups: Mapping[str, str]) -> str | None:
    """Return what is wrong with a target that no worker of these groups serves; None if one does."""
    if route(target, groups) is not None:
        return None
    known = ", ".join(sorted(groups)) or "none"
    return f"nobody serves the group {group_of(target)!r} of the target {target!r}: RESONATE_GROUPS maps {known}"

"""Addresses of messages (docs/protocol.md 2.4).

An address has one of these forms:

- `http://...` or `https://...`: the server pushes messages to this URL.
- `lambda://name`: the server invokes this Lambda function asynchronously. `lambda://name:version` is one version of it.
- `poll://any@group` or `poll://any@group/pid`: any worker of the group polls for messages.
- `poll://uni@group/pid`: only the worker `pid` polls for messages.

Settings can map a group to a push address. In a deployment without polling workers, a group that is not mapped cannot
receive messages. The store then refuses a promise with this target, because its task would never run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, cast

from msgspec import Struct

# A question mark or number sign would begin a query or fragment, so a group or id must percent-encode it.
_POLL = r"poll://(?P<cast>any|uni)@(?P<group>[^/\s@?#]+)(?:/(?P<id>[^/\s?#]+))?\Z"
_LAMBDA = (
    r"lambda://(?:[A-Za-z0-9-_]+|arn:[^\s:]+:lambda:[^\s:]+:[^\s:]+:function:[A-Za-z0-9-_]+)(?::[A-Za-z0-9$_-]+)?\Z"
)
_PINNED = r"lambda://(?P<function>[A-Za-z0-9-_]+):(?P<version>[1-9][0-9]*)\Z"
_HTTP = r"https?://[^\s/?#]+\S*\Z"


class FunctionVersion(Struct, frozen=True):
    """A version of a Lambda function, which its address names."""

    function: str
    version: str

    @property
    def address(self) -> str:
        return f"lambda://{self.function}:{self.version}"


class Poll(Struct, frozen=True):
    """A poll address, split into its parts."""

    cast: Literal["any", "uni"]
    group: str
    id: str | None


def expand(target: str) -> str:
    """Return the address of a target: a bare group name `g` becomes `poll://any@g`, an address is unchanged."""
    return target if "://" in target else f"poll://any@{target}"


def problem_with(address: str) -> str | None:
    """Return why `address` is not a valid address, or None if it is valid."""
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
    from urllib.parse import urlsplit  # imported here because only push addresses need it

    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def poll_of(address: str) -> Poll | None:
    """Return the parts of a poll address with percent-encoding removed, or None for another address."""
    match = re.match(_POLL, address)
    if match is None:
        return None
    from urllib.parse import unquote

    id = match["id"]
    return Poll(cast("Literal['any', 'uni']", match["cast"]), unquote(match["group"]), unquote(id) if id else None)


def pinned_of(address: str) -> FunctionVersion | None:
    """Return the function and the version of `lambda://name:version`, or None for another address."""
    match = re.match(_PINNED, address)
    return None if match is None else FunctionVersion(match["function"], match["version"])


def function_of(address: str) -> str:
    """Return the function's name in `lambda://...`, without account, alias or version."""
    name = address.removeprefix("lambda://")
    return name.split(":")[6] if name.startswith("arn:") else name.split(":")[0]


def problem_with_pin(address: str | None) -> str | None:
    """Return why a task cannot be pinned to `address`, or None if it can or `address` is empty."""
    if not address or pinned_of(address) is not None:
        return None
    return f"{address!r} is not a version of a function: use lambda://name:number, such as lambda://resonate-worker:7"


def group_of(address: str) -> str | None:
    """Return the worker group of a poll address as it is written, or None for another address."""
    match = re.match(_POLL, address)
    return match["group"] if match else None


def wait_for(address: str, workers: int | None) -> str:
    """Return a text that says what a task offered at `address` waits for.

    Args:
        address: where the task is offered.
        workers: how many workers poll for it now; None if unknown.
    """
    poll = poll_of(address)
    if poll is None:
        return f"waiting for {address} to take it"
    if poll.cast == "uni":
        return f"waiting for the worker {poll.id} of {poll.group}" + ("" if workers != 0 else "; it is not connected")
    return f"waiting for a worker of {poll.group}" + ("" if workers != 0 else "; none is connected")


def route(address: str, groups: Mapping[str, str]) -> str | None:
    """Return the push address that serves `address`, or None if a worker has to poll for its messages."""
    group = group_of(address)
    return address if group is None else groups.get(group)


def unserved(target: str, groups: Mapping[str, str]) -> str | None:
    """Return why no worker of the mapped groups serves a target, or None if one does."""
    if route(target, groups) is not None:
        return None
    known = ", ".join(sorted(groups)) or "none"
    return f"nobody serves the group {group_of(target)!r} of the target {target!r}: RESONATE_GROUPS maps {known}"

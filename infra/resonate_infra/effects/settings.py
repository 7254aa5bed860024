"""Settings of the deployed functions, read from environment variables.

`template.yaml` sets these variables. They are read once and checked at their first use. A missing or malformed
variable raises an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from resonate_store.settings import SettingsError, groups_of, is_by_stream

__all__ = ["Settings", "SettingsError"]

SWEEP_INTERVAL_MS = 60_000
"""Milliseconds between two sweeps of a table in AWS. `template.yaml` has the same value."""


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of the dispatch and tick functions.

    Attributes:
        table: the name of the DynamoDB table.
        groups: the push address of each worker group.
        timer_queue_url, push_queue_url: the SQS queues of timers and of HTTP pushes.
        schedule_group: the group of all our schedules in EventBridge Scheduler, one-time and recurring.
        schedule_role_arn: the role with which Scheduler invokes the tick function.
        tick_arn: the ARN of the tick function.
        retention_s: how long a settled execution is kept, in seconds.
        push_private: whether HTTP pushes may go to addresses outside the internet. Tests need it, and a dispatcher
            that runs in a private network.
        debug_requests: whether debug requests may stop the deployment.
        by_stream: whether all effects are left to the dispatcher.
    """

    table: str
    groups: dict[str, str]
    timer_queue_url: str
    push_queue_url: str
    schedule_group: str
    schedule_role_arn: str
    tick_arn: str
    retention_s: int
    push_private: bool = False
    debug_requests: bool = False
    by_stream: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Return the settings that environment variables contain.

        Raises:
            SettingsError: a variable is missing or malformed.
        """
        missing = [name for name in _VARIABLES if not environment.get(name)]
        if missing:
            raise SettingsError(f"the environment lacks {', '.join(missing)}: template.yaml sets them")
        return cls(
            table=environment["RESONATE_TABLE"],
            groups=groups_of(environment) or {},
            timer_queue_url=environment["RESONATE_TIMER_QUEUE_URL"],
            push_queue_url=environment["RESONATE_PUSH_QUEUE_URL"],
            schedule_group=environment["RESONATE_SCHEDULE_GROUP"],
            schedule_role_arn=environment["RESONATE_SCHEDULE_ROLE_ARN"],
            tick_arn=environment["RESONATE_TICK_ARN"],
            retention_s=retention_of(environment),
            push_private=is_on(environment, "RESONATE_PUSH_PRIVATE"),
            debug_requests=is_on(environment, "RESONATE_DEBUG_REQUESTS"),
            by_stream=is_by_stream(environment),
        )


def is_on(environment: Mapping[str, str], name: str) -> bool:
    """Return whether the variable `name` is `on`. A missing or empty variable is off.

    Raises:
        SettingsError: the value is neither `on` nor `off`.
    """
    text = environment.get(name) or "off"
    if text not in ("on", "off"):
        raise SettingsError(f"{name} must be on or off, got {text!r}")
    return text == "on"


def retention_of(environment: Mapping[str, str]) -> int:
    """Return `RESONATE_RETENTION_SECONDS`: how long a settled execution is kept, in seconds.

    Raises:
        SettingsError: the variable is missing or not a whole number.
    """
    seconds = environment.get("RESONATE_RETENTION_SECONDS", "")
    if not (seconds.isascii() and seconds.isdigit()):
        raise SettingsError(f"RESONATE_RETENTION_SECONDS must be a number of seconds, got {seconds!r}")
    return int(seconds)


def origins_of(listed: Iterable[str], name: str) -> tuple[str, ...]:
    """Return web origins in the form that browsers send. Pages of these origins may call the API.

    Args:
        listed: origins such as `https://example.com`, or `*` for every origin. Empty strings are dropped.
        name: the variable or option that lists them, for the error text.

    Raises:
        SettingsError: a string is not an origin.
    """
    origins: list[str] = []
    for text in filter(None, map(str.strip, listed)):
        origin = text if text == "*" else origin_of(text)
        if origin is None:
            raise SettingsError(
                f"{name} names {text!r}: an origin is such as https://example.com or http://localhost:3000, without a"
                " path, or * for any"
            )
        origins.append(origin)
    return tuple(origins)


def origin_of(text: str) -> str | None:
    """Return an origin in the form that browsers send, or None if `text` is not an origin.

    The form is lower case, without a final slash and without the default port of the scheme. A host name with other
    characters than ASCII is refused, because browsers send it in Punycode.
    """
    found = _ORIGIN.fullmatch(text.lower())
    if found is None:
        return None
    scheme, host, port = found.groups()
    number = int(port or _PORTS[scheme])
    if number > 65_535:
        return None
    return f"{scheme}://{host}" if number == _PORTS[scheme] else f"{scheme}://{host}:{number}"


_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?", re.ASCII)
_PORTS = {"http": 80, "https": 443}

_VARIABLES = (
    "RESONATE_TABLE",
    "RESONATE_GROUPS",
    "RESONATE_TIMER_QUEUE_URL",
    "RESONATE_PUSH_QUEUE_URL",
    "RESONATE_SCHEDULE_GROUP",
    "RESONATE_SCHEDULE_ROLE_ARN",
    "RESONATE_TICK_ARN",
    "RESONATE_RETENTION_SECONDS",
)

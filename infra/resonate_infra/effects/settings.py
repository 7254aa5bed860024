"""What a deployed function is told by its environment, read once and checked.

A missing or malformed variable is an error that names it, at the first use and not in the middle of a workflow. The
variables are those that `template.yaml` sets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from resonate_store.settings import SettingsError, groups_of

__all__ = ["Settings", "SettingsError"]

SWEEP_INTERVAL_MS = 60_000
"""The pause between two sweeps of a table in AWS, as the template says."""


class Settings(Struct, frozen=True, kw_only=True):
    """The environment of the dispatch and tick functions.

    Attributes:
        table: the DynamoDB table.
        groups: which push address serves a worker group.
        timer_queue_url, push_queue_url: the SQS queues of timers and of HTTP pushes.
        schedule_group: the EventBridge Scheduler group of our one-time schedules.
        schedule_role_arn: the role with which Scheduler invokes the tick function.
        tick_arn: the tick function.
        retention_s: how long a settled execution is kept.
        push_private: whether HTTP pushes may go to addresses that do not belong to the internet: for tests, and for a
            dispatcher that runs in a network of its own.
        debug_requests: whether debug requests may stop the deployment.
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

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings.

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
        )


def is_on(environment: Mapping[str, str], name: str) -> bool:
    """Whether the variable `name` is on; it is off if it is not set.

    Raises:
        SettingsError: it is neither.
    """
    text = environment.get(name) or "off"
    if text not in ("on", "off"):
        raise SettingsError(f"{name} must be on or off, got {text!r}")
    return text == "on"


def retention_of(environment: Mapping[str, str]) -> int:
    """`RESONATE_RETENTION_SECONDS`: how long a settled execution is kept.

    Raises:
        SettingsError: it is no number of seconds.
    """
    seconds = environment.get("RESONATE_RETENTION_SECONDS", "")
    if not (seconds.isascii() and seconds.isdigit()):
        raise SettingsError(f"RESONATE_RETENTION_SECONDS must be a number of seconds, got {seconds!r}")
    return int(seconds)


def origins_of(listed: Iterable[str], name: str) -> tuple[str, ...]:
    """Origins whose pages may call the API, as browsers write them, without the empty ones.

    Args:
        listed: such as `https://example.com`, or `*` for any.
        name: of what lists them, for the error.

    Raises:
        SettingsError: one is not an origin.
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
    """Return an origin as browsers write it: in lower case, without a slash or its scheme's port; None if it is none.

    A name that is not ASCII is not an origin, because browsers write its punycode.
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

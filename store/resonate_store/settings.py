"""Environment variables that workers and servers share.

This module loads nothing heavy, because each module makes the cold start of a worker longer.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from resonate_store.documented import Documented
from resonate_store.model import addresses


class SettingsError(Documented, ValueError):
    """Raised when an environment variable is missing or malformed. The message names it."""


def groups_of(environment: Mapping[str, str]) -> dict[str, str] | None:
    """Return the push addresses of worker groups, from `RESONATE_GROUPS`.

    Args:
        environment: the environment variables.

    Returns:
        The push address of each group, or None if the variable is not set or empty.

    Raises:
        SettingsError: the value is not a JSON object whose values are push addresses.
    """
    text = environment.get("RESONATE_GROUPS")
    if not text:
        return None
    try:
        groups = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SettingsError(
            f'RESONATE_GROUPS must be a JSON object such as {{"default": "lambda://my-worker"}}: {error}'
        ) from None
    for group, address in groups.items():
        if problem := addresses.problem_with(address):
            raise SettingsError(f"RESONATE_GROUPS maps {group!r} to something that is no address: {problem}")
        if addresses.group_of(address) is not None:
            raise SettingsError(f"RESONATE_GROUPS maps {group!r} to {address!r}: a group is served by a push address")
    return groups


def push_token_of(environment: Mapping[str, str]) -> str | None:
    """Return the secret that servers and workers share for pushes, from `RESONATE_PUSH_TOKEN`.

    Args:
        environment: the environment variables.

    Returns:
        The secret, or None if the variable is not set or empty.

    Raises:
        SettingsError: the value is not printable ASCII without spaces, so a header cannot contain it.
    """
    token = environment.get("RESONATE_PUSH_TOKEN")
    if not token:
        return None
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise SettingsError("RESONATE_PUSH_TOKEN must be printable ASCII without spaces")
    return token


def pin_alias_of(environment: Mapping[str, str]) -> str | None:
    """Return the alias that new executions take, from `RESONATE_PIN_ALIAS`. An execution then stays with its version.

    Args:
        environment: the environment variables.

    Returns:
        The alias of the function, or None if the variable is not set or empty: executions are not pinned.

    Raises:
        SettingsError: the value is not the name of an alias.
    """
    alias = environment.get("RESONATE_PIN_ALIAS")
    if alias and (alias.isdecimal() or addresses.problem_with(f"lambda://f:{alias}")):
        raise SettingsError(f"RESONATE_PIN_ALIAS must be the name of an alias, such as live, got {alias!r}")
    return alias or None


def number_of(environment: Mapping[str, str], name: str, default: int) -> int:
    """Return a setting that is a whole number, such as a limit in bytes.

    Args:
        environment: the environment variables.
        name: the name of the variable.
        default: the number if the variable is not set or empty.

    Returns:
        The number, at least 1.

    Raises:
        SettingsError: the value is not a whole number of at least 1.
    """
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise SettingsError(f"{name} must be a whole number of at least 1, got {text!r}")
    return int(text)


def is_by_stream(environment: Mapping[str, str]) -> bool:
    """Return whether a deployment leaves all effects to the dispatcher, from `RESONATE_DELIVERY`.

    Args:
        environment: the environment variables.

    Returns:
        True for `stream`. False for `writer`, or if the variable is not set or empty.

    Raises:
        SettingsError: the value is another one.
    """
    mode = environment.get("RESONATE_DELIVERY") or "writer"
    if mode not in ("writer", "stream"):
        raise SettingsError(f"RESONATE_DELIVERY must be writer or stream, got {mode!r}")
    return mode == "stream"

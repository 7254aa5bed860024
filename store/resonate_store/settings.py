"""The environment variables that a worker needs.

They are read here because the worker's cold start pays for every module it loads: this one imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from resonate_store.model import addresses


class SettingsError(ValueError):
    """An environment variable is missing or malformed; the message names it."""


def groups_of(environment: Mapping[str, str]) -> dict[str, str] | None:
    """`RESONATE_GROUPS`: which push address serves a worker group, or None where it is not set.

    Raises:
        SettingsError: it is no JSON object of addresses.
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
    """`RESONATE_PUSH_TOKEN`: the secret that those who push share with the workers, or None where it is not set.

    Raises:
        SettingsError: it cannot be written into a header.
    """
    token = environment.get("RESONATE_PUSH_TOKEN")
    if not token:
        return None
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise SettingsError("RESONATE_PUSH_TOKEN must be printable ASCII without spaces")
    return token


def number_of(environment: Mapping[str, str], name: str, default: int) -> int:
    """Return a setting that is a whole number: how many run at the same time, or a limit in bytes.

    Raises:
        SettingsError: it is not a number of at least 1.
    """
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise SettingsError(f"{name} must be a whole number of at least 1, got {text!r}")
    return int(text)

"""Parsers of command line arguments: JSON, `NAME=TEXT` pairs, durations and instants.

An error names the option, with its number if it is repeated, and shows a valid form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

from resonate_infra.inspection.exits import USAGE, Failure

_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?)(ms|s|m|h|d)?")
_UNITS = {"ms": 1, None: 1_000, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def json_of(text: str, option: str) -> Any:
    """Parse JSON.

    Args:
        text: the text on the command line.
        option: the option's name in an error, such as `--arg 2`.

    Raises:
        Failure: the text is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        hint = f"; a text has to be quoted: '{json.dumps(text)}'" if re.fullmatch(r"[\w .:/@+-]+", text) else ""
        raise Failure(f"{option} is no JSON: {text!r} ({error}){hint}", USAGE) from None


def arguments_of(args: Sequence[str], kwargs: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call, positional and named, from all `--arg JSON` and `--kwarg NAME=JSON`.

    Raises:
        Failure: an argument is malformed, or a name is given twice.
    """
    positional = tuple(json_of(text, f"--arg {number}") for number, text in enumerate(args, 1))
    named = {name: json_of(text, f"--kwarg {name}") for name, text in pairs_of(kwargs, "--kwarg", "JSON").items()}
    return positional, named


def pairs_of(texts: Sequence[str], option: str, what: str = "TEXT") -> dict[str, str]:
    """Return the pairs of a repeated option, each `NAME=TEXT`.

    Args:
        texts: the texts on the command line.
        option: the option's name in an error.
        what: the name of the second part in an error.

    Raises:
        Failure: a text is not a pair, or a name is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise Failure(f"{option} must be NAME={what}, got {text!r}", USAGE)
        if name in pairs:
            raise Failure(f"{option} gives {name!r} twice", USAGE)
        pairs[name] = value
    return pairs


def milliseconds_of(text: str, option: str) -> int:
    """Parse a duration and return milliseconds. It is a number with the unit ms, s, m, h or d; seconds without a unit.

    Raises:
        Failure: the text is not a duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise Failure(
            f"{option} must be a duration such as 30, 1.5h or 7d (seconds without a unit), got {text!r}", USAGE
        )
    return round(float(match[1]) * _UNITS[match[2]])


def instant_of(text: str | None, option: str, now: int) -> int | None:
    """Parse an instant and return milliseconds since the epoch. None stays None.

    Args:
        text: a duration before now, such as `24h`, or an instant in ISO 8601, in UTC if it names no zone.
        option: the option's name in an error.
        now: the present instant (ms).

    Raises:
        Failure: the text is neither.
    """
    if text is None:
        return None
    if _DURATION.fullmatch(text.strip()):
        return max(0, now - milliseconds_of(text, option))
    from datetime import UTC

    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Failure(
            f"{option} must be a duration before now such as 24h, or an instant such as 2026-12-01T09:00Z, got"
            f" {text!r}",
            USAGE,
        ) from None
    return round((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

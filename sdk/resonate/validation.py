"""Checks of arguments. An argument of the wrong type is refused where it is given, with an error that names it.

Type checkers find most of these mistakes. Users without a type checker get an error that names the argument.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast

from resonate.errors.mistakes import ArgumentTypeError, ArgumentValueError
from resonate_store.model.records import END_OF_TIME

Seconds = float | timedelta
"""A duration: a number of seconds, or a `timedelta`."""
YEAR_S = 31_557_600
_HOUR_MS = 3_600_000


def seconds_of(duration: Any) -> Any:
    """Return a `timedelta` in seconds; anything else is returned as it is."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def warn_of_milliseconds(name: str, seconds: float) -> None:
    """Warn of a number of seconds that looks like milliseconds.

    A number looks like milliseconds if it is more than ten years. A number of more than one year does too if, read as
    milliseconds, it is a whole number of hours. A number beyond the protocol's last instant means "never" and causes no
    warning.
    """
    many = seconds > 10 * YEAR_S or (seconds > YEAR_S and seconds % _HOUR_MS == 0)
    if many and seconds < END_OF_TIME / 1000:
        warnings.warn(
            f"{name} is in seconds, and {seconds:,.0f} are {seconds / YEAR_S:,.1f} years: if they are milliseconds,"
            f" give {seconds / 1000:,.0f}; if not, timedelta(seconds={seconds:.0f}) says so",
            stacklevel=_depth(),
        )


def duration_s(name: str, duration: Seconds) -> float:
    """Return a duration in seconds.

    Args:
        name: the name of the argument.
        duration: a number of seconds, or a `timedelta`.

    Raises:
        TypeError: it is neither.
        ValueError: it is negative or not finite.
    """
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif not isinstance(duration, (int, float)) or isinstance(duration, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"{name} must be `float`, got {type(duration).__name__}: give seconds, or a timedelta")
    else:
        seconds = duration
        if seconds > YEAR_S:
            warn_of_milliseconds(name, seconds)
    if not math.isfinite(seconds) or seconds < 0:
        raise ArgumentValueError(f"{name} must be a finite number of seconds, zero or more, got {seconds}")
    return seconds


def _depth() -> int:
    """Return the `stacklevel` with which a warning shows the user's line."""
    depth = 1
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - `inspect` would take long to load
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("resonate."):
        frame = frame.f_back
        depth += 1
    return depth


def users_line() -> str:
    """Return the file and line of the user's code that is running now."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - `inspect` would take long to load
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("resonate."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def similar(name: str, known: Iterable[str]) -> str:
    """Return the question whether a known name was meant, or an empty text if none is similar."""
    from difflib import get_close_matches  # here, because only errors need it

    found = get_close_matches(name, list(known), 1)
    return f", did you mean {found[0]!r}?" if found else ""


def require(name: str, value: Any, types: type | tuple[type, ...], what: str = "") -> None:
    """Raise an error if an argument does not have one of the types. A bool does not count as a number.

    Args:
        name: the name of the argument.
        value: its value.
        types: the accepted types; `type(None)` among them for one that may be left out.
        what: what it means, if the type alone does not show it.

    Raises:
        TypeError: it has another type.
    """
    accepted = types if isinstance(types, tuple) else (types,)
    if isinstance(value, accepted) and not (isinstance(value, bool) and bool not in accepted):
        return
    expected = " or ".join(kind.__name__ for kind in accepted if kind is not type(None))
    raise ArgumentTypeError(f"{name} must be `{expected}`{what and f', {what}'}, got {type(value).__name__}")


def require_text(name: str, value: Any, what: str = "") -> None:
    """Raise a `TypeError` if an argument is neither a `str` nor None; see `require`."""
    require(name, value, (str, type(None)), what)


def require_texts(name: str, value: Any) -> None:
    """Raise a `TypeError` if an argument is neither a `dict` of `str` by `str` nor None; see `require`."""
    require(name, value, (dict, type(None)))
    for key, text in cast("dict[Any, Any]", value or {}).items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise ArgumentTypeError(f"{name} must map `str` to `str`, got {key!r:.80}: {text!r:.80}")


def within_time(milliseconds: int) -> int:
    """Return an instant or duration (ms), limited to the protocol's last instant: `sys.maxsize` means "never"."""
    return min(milliseconds, END_OF_TIME)

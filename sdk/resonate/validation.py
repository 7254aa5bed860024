"""Arguments that have the wrong type are refused where they are given, by name.

Type checkers find most of them before; whoever has none should not have to read a traceback of our inner life.
"""

from __future__ import annotations

import sys
import warnings
from datetime import timedelta
from typing import Any, cast

from resonate_store.model.records import END_OF_TIME

Seconds = float | timedelta
"""A duration: a number of seconds, or a `timedelta`."""
YEAR_S = 31_557_600
_HOUR_MS = 3_600_000


def seconds_of(duration: Any) -> Any:
    """Return a duration in seconds, and as it is what is no `timedelta`."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def warn_of_milliseconds(name: str, seconds: float) -> None:
    """Warn of a number of seconds that looks like milliseconds; one beyond all time is meant as never.

    It does above ten years. It also does above one, where it would be a whole number of hours in milliseconds.
    """
    many = seconds > 10 * YEAR_S or (seconds > YEAR_S and seconds % _HOUR_MS == 0)
    if many and seconds < END_OF_TIME / 1000:
        warnings.warn(
            f"{name} is in seconds, and {seconds:,.0f} are {seconds / YEAR_S:,.1f} years: if they are milliseconds,"
            f" give {seconds / 1000:,.0f}; if not, timedelta(seconds={seconds:.0f}) says so",
            stacklevel=_depth(),
        )


def _depth() -> int:
    """Return the `stacklevel` that makes a warning show the line of the user."""
    depth = 1
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - `inspect` would take long to load
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("resonate."):
        frame = frame.f_back
        depth += 1
    return depth


def require(name: str, value: Any, types: type | tuple[type, ...], what: str = "") -> None:
    """Refuse an argument that is of none of the types; a bool is no number.

    Args:
        name: the argument's.
        value: what was given.
        types: what it may be; `type(None)` among them for one that may be left out.
        what: what it is, for one whose type alone does not say how it is meant.

    Raises:
        TypeError: it is something else.
    """
    accepted = types if isinstance(types, tuple) else (types,)
    if isinstance(value, accepted) and not (isinstance(value, bool) and bool not in accepted):
        return
    expected = " or ".join(kind.__name__ for kind in accepted if kind is not type(None))
    raise TypeError(f"{name} must be `{expected}`{what and f', {what}'}, got {type(value).__name__}")


def require_text(name: str, value: Any, what: str = "") -> None:
    """Refuse what is neither text nor left out; see `require`."""
    require(name, value, (str, type(None)), what)


def require_texts(name: str, value: Any) -> None:
    """Refuse what is neither a dictionary of texts by texts nor left out; see `require`."""
    require(name, value, (dict, type(None)))
    for key, text in cast("dict[Any, Any]", value or {}).items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise TypeError(f"{name} must map `str` to `str`, got {key!r:.80}: {text!r:.80}")


def within_time(milliseconds: int) -> int:
    """An instant or a duration that the protocol knows; one beyond its last, say `sys.maxsize`, is meant as "never"."""
    return min(milliseconds, END_OF_TIME)

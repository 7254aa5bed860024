"""Occurrences of cron expressions, and their translation for EventBridge.

An expression has five fields with Unix weekdays (0 and 7 are Sunday). Names of months and weekdays are allowed, and
names of expressions such as `@hourly`. If day-of-month and day-of-week are both restricted, either one matches
(docs/rules.md S12). croniter computes the calendar. It is imported when the first expression is evaluated, so workers
without schedules do not load it.

An expression is evaluated on the wall clock of its time zone. The default is UTC. Where that clock is changed, two
kinds of expressions differ, as in Vixie's cron and the Open Cron Pattern Specification (docs/rules.md S13):

- Fixed hour (`30 2 * * *`): each time on the clock occurs once. A time that the clock skips in spring occurs at the
  instant of the change. A time that the clock shows twice in autumn occurs when it is shown first.
- Any hour (`*` or `*/n`): the expression follows real time. It occurs whenever the clock shows one of its times, also
  in the repeated hour. A time that the clock skips does not occur.

This module handles these changes itself, because croniter has other rules for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import replace

_MONTHS = [(year, month) for year in range(2025, 2038) for month in range(1, 13)]
_LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# Patterns are compiled when they are first used: a worker without schedules does not need them.
_PART = r"(?:\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?"
_ANY = r"\*(/[0-9]{1,2})?"
_DAY_S = 86_400
"""The largest change (s) of a clock."""
_ZONE = r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*\Z"


class _Field(Struct, frozen=True):
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day-of-month", 1, 31),
    _Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    _Field("day-of-week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_Values = tuple[tuple[int, ...] | None, ...]
"""The values of each field in ascending order, or None for a field that is not restricted."""


def problem_with(expression: str, timezone: str | None = None) -> str | None:
    """Return why a schedule cannot use this expression or time zone, or None if it can."""
    try:
        _values(expression)
    except ValueError as error:
        return f"Invalid cron expression {expression!r}: {error}"
    try:
        next_occurrence(expression, 0)
    except ValueError:
        # This happens only if none of the months has any of the days.
        _, _, day, month, _ = expression.split()
        reason = f"the day-of-month field {day!r} has no day of the months of the month field {month!r}"
        return f"Invalid cron expression {expression!r}: {reason}"
    return None if timezone is None else problem_with_timezone(timezone)


def problem_with_timezone(timezone: str) -> str | None:
    """Return why this is not a time zone, or None if it is one."""
    if re.match(_ZONE, timezone):
        try:
            _zone(timezone)
        except (OSError, ValueError, LookupError):
            pass
        else:
            return None
    return f"unknown time zone {timezone!r}: name one of the IANA database, such as 'Europe/Berlin'"


def next_occurrence(expression: str, after: int, timezone: str | None = None) -> int:
    """Return the first occurrence strictly after the instant `after`. Both are in milliseconds since the epoch.

    Raises:
        ValueError: the expression is not valid, or it does not occur.
    """
    seconds = after // 1000
    if timezone is None:
        return int(_neighbour(expression, seconds, "get_next")) * 1000
    zone = _zone(timezone)
    if _goes_on(expression):
        return _next_shown(expression, seconds, zone) * 1000
    local = _wall(seconds, zone)
    while True:
        local = int(_neighbour(expression, local, "get_next"))
        occurrence = _instant(local, zone)
        if occurrence > seconds:  # else the clock shows this time for the second time
            return occurrence * 1000


def last_occurrence(expression: str, until: int, timezone: str | None = None) -> int:
    """Return the last occurrence not later than the instant `until`. Both are in milliseconds since the epoch."""
    seconds = until // 1000
    if timezone is None:
        return int(_neighbour(expression, seconds + 1, "get_prev")) * 1000
    zone = _zone(timezone)
    if _goes_on(expression):
        return _last_shown(expression, seconds, zone) * 1000
    # While the clock repeats an hour, all occurrences of that hour are already in the past.
    local = max(_wall(seconds, zone), seconds + _offset(datetime.fromtimestamp(seconds, zone).replace(fold=0))) + 1
    while True:
        local = int(_neighbour(expression, local, "get_prev"))
        occurrence = _instant(local, zone)
        if occurrence <= seconds:
            return occurrence * 1000


def _next_shown(expression: str, after: int, zone: tzinfo) -> int:
    """Return the first instant (s) after `after` at which the clock shows a time of the expression."""
    wall = _wall(after, zone)
    found = _shown_from(expression, wall, zone, lambda at: at > after)
    change = _change(after, after + _DAY_S, zone)
    if change is not None and (again := _wall(change, zone)) <= wall:
        # The clock is set back within a day, and then repeats times that it has shown before.
        return min(found, _shown_from(expression, again - 1, zone, lambda at: at >= change))
    return found


def _last_shown(expression: str, until: int, zone: tzinfo) -> int:
    """Return the last instant (s), not later than `until`, at which the clock shows a time of the expression."""
    wall = _wall(until, zone)
    found = _shown_from(expression, wall + 1, zone, lambda at: at <= until, back=True)
    change = _change(until - _DAY_S, until, zone)
    if change is not None and (before := _wall(change - 1, zone) + 1) > wall:
        # The clock was set back within the last day. It has shown times before the change that it has not repeated yet.
        return max(found, _shown_from(expression, before, zone, lambda at: at < change, back=True))
    return found


def _shown_from(expression: str, wall: int, zone: tzinfo, suits: Callable[[int], bool], *, back: bool = False) -> int:
    """Return the first instant (s) after the clock time `wall` that matches the expression and that `suits` accepts.

    Args:
        expression: the cron expression.
        wall: the time on the clock at which the search begins, as `_wall` returns it.
        zone: the time zone of the clock.
        suits: returns whether an instant (s) may be the result.
        back: search backwards from `wall` instead. If the clock shows the found time twice, return the later instant.
    """
    while True:
        wall = int(_neighbour(expression, wall, "get_prev" if back else "get_next"))
        showings = [at for at in _showings(wall, zone) if suits(at)]
        if showings:
            return max(showings) if back else min(showings)


def _showings(wall: int, zone: tzinfo) -> list[int]:
    """Return the instants (s) at which the clock shows a time: one, two if it repeats it, none if it skips it."""
    shown = datetime.fromtimestamp(wall, UTC).replace(tzinfo=zone)
    first, second = _offset(shown), _offset(shown.replace(fold=1))
    return [] if first < second else sorted({wall - first, wall - second})


def _change(since: int, until: int, zone: tzinfo) -> int | None:
    """Return the instant (s) after `since`, and not after `until`, at which the clock is changed, or None."""
    before = _wall(since, zone) - since
    if _wall(until, zone) - until == before:
        return None
    while until - since > 1:
        middle = (since + until) // 2
        if _wall(middle, zone) - middle == before:
            since = middle
        else:
            until = middle
    return until


@lru_cache(maxsize=1024)
def _goes_on(expression: str) -> bool:
    """Return whether the hour field is `*` or `*/n`: such an expression follows real time when the clock is changed."""
    hour = _DESCRIPTORS.get(expression, expression).split()[1]
    return _values(expression)[1] is None or re.fullmatch(_ANY, hour) is not None


def next_runs(expression: str, after: int, count: int, timezone: str | None = None) -> list[int]:
    """Return the next `count` occurrences strictly after the instant `after`, in milliseconds since the epoch.

    Raises:
        ValueError: one of them is not within the years 1 to 9999.
    """
    occurrences: list[int] = []
    for _ in range(count):
        try:
            after = next_occurrence(expression, after, timezone)
        except (OverflowError, ValueError, OSError):
            raise ValueError(
                f"{expression!r} has no occurrence within the years 1 to 9999 after the instant {after} ms"
            ) from None
        occurrences.append(after)
    return occurrences


def eventbridge_timezone(expression: str, timezone: str | None) -> str:
    """Return the time zone in which EventBridge has to evaluate the translation of an expression.

    EventBridge fires only once at a time that the clock shows twice. An expression that restricts only its minutes also
    occurs in the repeated hour. In UTC it has the same minutes if the zone's offsets are whole hours. For other
    expressions, such as `0 */2 * * *`, the sweep fires the occurrences in the repeated hour.
    """
    minute, *others = _values(expression)
    if timezone is None or any(values is not None for values in others):
        return timezone or "UTC"
    zone = _zone(timezone)
    offsets = {_offset(datetime(year, month, 1, tzinfo=zone)) for year, month in _MONTHS}
    same = minute is None or all(offset % 3600 == 0 for offset in offsets)
    return "UTC" if len(offsets) > 1 and same else timezone


def eventbridge(expression: str) -> list[str]:
    """Return the expression in EventBridge's format: `cron(minutes hours day month weekday year)`.

    One of the two day fields must be `?`. An expression that restricts both therefore becomes two, which together fire
    at least once at each occurrence. Weekdays count from 1, which is Sunday. EventBridge evaluates the result in the
    time zone of the expression and skips the times that the clock skips. The sweep fires those occurrences.
    """
    minute, hour, day, month, weekday = _values(expression)
    times = f"{_listed(minute, _FIELDS[0])} {_listed(hour, _FIELDS[1])}"
    months = _listed(month, _FIELDS[3])
    expressions: list[str] = []
    # EventBridge refuses a day that no month of the expression has. In that case only the weekday counts.
    possible = day is None or any(min(day) <= _LONGEST_MONTHS.get(each, 31) for each in month or range(1, 13))
    if possible and (day is not None or weekday is None):
        expressions.append(f"cron({times} {_listed(day, _FIELDS[2])} {months} ? *)")
    if weekday is not None:
        weekdays = _listed([each + 1 for each in weekday], replace(_FIELDS[4], last=0))
        expressions.append(f"cron({times} ? {months} {weekdays} *)")
    return expressions


@lru_cache(maxsize=1024)
def _values(expression: str) -> _Values:
    """Return the values of the fields of an expression.

    This module reads the fields itself: croniter reads `3-3` as every month, and `0-7` but not `0-6` as every weekday.

    Raises:
        ValueError: this is not a cron expression. The text names the wrong field.
    """
    if expression.startswith("@") and expression not in _DESCRIPTORS:
        raise ValueError(f"the names are {', '.join(_DESCRIPTORS)}")
    words = _DESCRIPTORS.get(expression, expression).split()
    if len(words) != len(_FIELDS):
        names = " ".join(field.name for field in _FIELDS)
        raise ValueError(f"it has {len(words)} fields and needs {len(_FIELDS)} ({names})")
    minute, hour, day, month, weekday = map(_values_of, _FIELDS, words)
    if day is not None and weekday is not None and (len(day) == 31 or len(weekday) == 7):
        day = weekday = None  # one of them is every day, and either one matches
    return minute, hour, day, month, weekday


def _values_of(field: _Field, word: str) -> tuple[int, ...] | None:
    weekly = field.name == "day-of-week"
    values: set[int] = set()
    for text in word.split(","):
        part = re.fullmatch(_PART, text.lower())
        if text == "*" or text == "*/1" or (word == "?" and field.name.startswith("day")):
            return None
        try:
            if part is None:
                raise ValueError
            values.update(_span(field, *part.groups()))
        except ValueError:
            names = f", names such as {field.names[0]!r}" if field.names else ""
            last = f"{field.last}{' (7 is 0)' if weekly else ''}"
            accepted = f"values from {field.first} to {last}{names}, ranges a-b, steps */n, and lists"
            raise ValueError(f"the {field.name} field {word!r} is wrong; it takes *, {accepted}") from None
    if len(values) > field.last - field.first and not field.name.startswith("day"):
        return None
    return tuple(sorted(values))


def _span(field: _Field, begin: str | None, end: str | None, step: str | None) -> list[int]:
    """Return the values of `*/step`, `begin`, `begin/step` or `begin-end/step`. A range may wrap around."""
    first = field.first if begin is None else _value(field, begin)
    alone = field.last if begin is None or step is not None else first
    last = alone if end is None else _value(field, end)
    size = field.last - field.first + 1
    if begin is not None and begin != "7" and end == "7" and field.last == 6:
        last = 7  # Sunday at the end of a range
    elif last < first:
        last += size
    stride = 1 if step is None else int(step)
    return [(value - field.first) % size + field.first for value in range(first, last + 1, stride)]


def _value(field: _Field, text: str) -> int:
    if not text.isdigit():
        return field.names.index(text) + field.first
    value = int(text)
    if field.last == 6 and value == 7:
        return 0
    if not field.first <= value <= field.last:
        raise ValueError
    return value


def _listed(values: Sequence[int] | None, field: _Field) -> str:
    """Return the values of a field in EventBridge's format."""
    if values is None:
        return "*"
    first, step = values[0], values[1] - values[0] if len(values) > 2 else 0
    if step > 1 and list(values) == list(range(first, field.last + 1, step)):
        return f"{first}/{step}"
    parts: list[str] = []
    begin = 0
    for position, value in enumerate(values):
        if position + 1 < len(values) and values[position + 1] == value + 1:
            continue
        run = values[begin : position + 1]
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(each) for each in run]
        begin = position + 1
    return ",".join(parts)


@lru_cache(maxsize=1024)
def _calendar(expression: str) -> Any:
    from croniter import croniter

    plain = ("*" if values is None else ",".join(map(str, values)) for values in _values(expression))
    return croniter(" ".join(plain))


def _neighbour(expression: str, seconds: int, which: str) -> float:
    # Parsing is slow, so the parsed expression is cached. It keeps a position, so each search uses a copy.
    ask = cast("Callable[..., float]", getattr(copy(_calendar(expression)), which))
    return ask(float, start_time=float(seconds))


@lru_cache(maxsize=64)
def _zone(timezone: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    return ZoneInfo(timezone)


def _offset(moment: datetime) -> int:
    offset = moment.utcoffset()
    assert offset is not None
    return round(offset.total_seconds())


def _wall(seconds: int, zone: tzinfo) -> int:
    """Return the time that the zone's clock shows at an instant (s), as seconds after it showed 1970-01-01 00:00."""
    return seconds + _offset(datetime.fromtimestamp(seconds, zone))


def _instant(local: int, zone: tzinfo) -> int:
    """Return the instant (s) at which the zone's clock first shows a time, or is changed so that it skips it."""
    shown = datetime.fromtimestamp(local, UTC).replace(tzinfo=zone)
    before, after = _offset(shown), _offset(shown.replace(fold=1))
    if before >= after:
        return local - before
    change = _change(local - after, local - before, zone)
    assert change is not None
    return change

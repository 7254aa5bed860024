"""Instants at which a recurring schedule of EventBridge Scheduler fires.

This module follows AWS's documentation of `cron(minutes hours day-of-month month day-of-week year)` and of time zones.
It shares no code with the module that translates our cron expressions, because it checks that module. It tries one
day of the calendar after the other. It supports `*`, `?`, values, names, ranges, lists and steps. It refuses `L`, `W`
and `#`, which we never write.

AWS and daylight-saving time: a schedule does not fire at a time that the clock skips. It fires once at a time that the
clock shows twice.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LAST_YEAR = 2199


class InvalidExpression(ValueError):
    """EventBridge would refuse the expression, or this module does not support it."""


class Recurrence:
    """Recurring schedule.

    Args:
        expression: `cron(...)` with six fields.
        timezone: the IANA name of a time zone.

    Raises:
        InvalidExpression: the expression is invalid or not supported.
    """

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        match = re.fullmatch(r"cron\(([^()]+)\)", expression)
        fields = match[1].split(" ") if match else []
        if len(fields) != 6 or len(expression) > 256:
            raise InvalidExpression(f"expected cron(minutes hours day-of-month month day-of-week year): {expression!r}")
        minutes, hours, days, months, weekdays, years = fields
        if (days == "?") == (weekdays == "?"):
            raise InvalidExpression(f"one of day-of-month and day-of-week has to be ?, not both: {expression!r}")
        self._zone = ZoneInfo(timezone)
        self._times = [
            time(hour, minute) for hour in sorted(_values(hours, 0, 23)) for minute in sorted(_values(minutes, 0, 59))
        ]
        self._days = None if days == "?" else _values(days, 1, 31)
        self._months = _values(months, 1, 12, _MONTHS)
        self._weekdays = None if weekdays == "?" else _values(weekdays, 1, 7, _WEEKDAYS, steps=False)
        self._years = _values(years, 1970, _LAST_YEAR)

    def next_after(self, instant: int) -> int | None:
        """Return the first firing after `instant`, both in ms since 1970 (UTC). Return None if it never fires again."""
        now = datetime.fromtimestamp(instant / 1000, self._zone)
        day, times = now.date(), self._times[bisect_right(self._times, now.replace(tzinfo=None).time()) :]
        while day.year <= _LAST_YEAR:
            if self._occurs_on(day):
                for at in times:
                    firing = self._instant(datetime.combine(day, at))
                    if firing is not None and firing > instant:
                        return firing
            day, times = day + timedelta(days=1), self._times
        return None

    def _occurs_on(self, day: date) -> bool:
        if day.month not in self._months or day.year not in self._years:
            return False
        if self._days is not None:
            return day.day in self._days
        return self._weekdays is not None and day.isoweekday() % 7 + 1 in self._weekdays

    def _instant(self, wall: datetime) -> int | None:
        instant = wall.replace(tzinfo=self._zone).astimezone(UTC)
        if instant.astimezone(self._zone).replace(tzinfo=None) != wall:
            return None  # Clocks skip this time.
        return round(instant.timestamp() * 1000)


def _values(field: str, first: int, last: int, names: tuple[str, ...] = (), *, steps: bool = True) -> set[int]:
    values: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        if slash and (not steps or not step.isdigit() or int(step) < 1):
            raise InvalidExpression(f"{part!r} is no step")
        begin, dash, end = span.partition("-")
        if span == "*":
            low, high = first, last
        else:
            low = _value(begin, names)
            high = _value(end, names) if dash else (last if slash else low)
        if not first <= low <= high <= last:
            raise InvalidExpression(f"{part!r} is not within {first} and {last}")
        values.update(range(low, high + 1, int(step) if slash else 1))
    return values


def _value(text: str, names: tuple[str, ...]) -> int:
    if text.upper() in names:
        return names.index(text.upper()) + 1
    if not (text.isascii() and text.isdigit()):
        raise InvalidExpression(f"{text!r} is no value")
    return int(text)

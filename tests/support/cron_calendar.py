"""The occurrences of a cron expression, from a calendar that is read minute by minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

NEW_YORK = "America/New_York"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


SPANS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
NAMES = {
    name: number
    for names in ("sun mon tue wed thu fri sat", "- jan feb mar apr may jun jul aug sep oct nov dec")
    for number, name in enumerate(names.split())
}
ZONES = [
    None,
    "UTC",
    NEW_YORK,
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "America/Santiago",
]
"""Changes of an hour and of half an hour, at midnight and by day, and none."""


def number_of(text: str) -> int:
    return NAMES[text] if text in NAMES else int(text)


def values_of(field: str, first: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        begin = first if low == "*" else number_of(low)
        end = last if low == "*" or (step and not high) else number_of(high or low)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def by_the_minute(expression: str, first: date, days: int, zone: str | None) -> set[int]:
    """Return the occurrences of an expression, from each minute that a wall clock shows or skips."""
    minutes, hours, dates, months, weekdays = (
        values_of(field, *span) for field, span in zip(expression.split(), SPANS, strict=True)
    )
    unrestricted = [expression.split()[place] in ("*", "*/1") for place in (2, 4)]
    found: set[int] = set()
    for day in (first + timedelta(days=n) for n in range(days)):
        on_date, on_weekday = day.day in dates, bool({day.isoweekday(), day.isoweekday() % 7} & weekdays)
        right = (on_date and on_weekday) if any(unrestricted) else (on_date or on_weekday)
        if not right or day.month not in months:
            continue
        if any_hour(expression):
            found |= {at for at, wall in minutes_of(day, zone) if wall.minute in minutes and wall.hour in hours}
            continue
        for minute in range(1440):
            if minute % 60 in minutes and minute // 60 in hours:
                found.add(first_shown(datetime(day.year, day.month, day.day, minute // 60, minute % 60), zone))
    return found


def any_hour(expression: str) -> bool:
    """Whether the hour is any: `*`, `*/n`, or each of them by name."""
    hour = expression.split()[1]
    return hour.partition("/")[0] == "*" or len(values_of(hour, 0, 23)) == 24


def minutes_of(day: date, zone: str | None) -> Iterator[tuple[int, datetime]]:
    """Every minute of a day as it passes: the instant, and what a clock on the wall shows."""
    begin = ms(str(day)) - 86_400_000
    for at in range(begin, begin + 3 * 86_400_000, 60_000):
        wall = datetime.fromtimestamp(at / 1000, ZoneInfo(zone or "UTC"))
        if wall.date() == day:
            yield at, wall


def first_shown(wall: datetime, zone: str | None) -> int:
    """When a clock first shows this time or a later one."""
    if zone is None:
        return round(wall.replace(tzinfo=UTC).timestamp() * 1000)
    while True:
        instant = wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        if instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall:
            return round(instant.timestamp() * 1000)
        wall += timedelta(minutes=1)


def field_of(first: int, last: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    value = st.integers(first, last).map(str)
    span = st.tuples(st.integers(first, last), st.integers(first, last)).map(lambda ends: f"{min(ends)}-{max(ends)}")
    part = st.one_of(value, span, *[st.sampled_from(names)] * bool(names))
    step = st.integers(1, last - first)
    stepped = st.tuples(st.one_of(st.just("*"), span, value), step).map("{0[0]}/{0[1]}".format)
    listed = st.lists(part, min_size=1, max_size=4).map(",".join)
    return st.one_of(st.just("*"), st.just("*"), stepped, listed)


EXPRESSIONS = st.tuples(
    field_of(0, 59),
    field_of(0, 23),
    field_of(1, 31),
    field_of(1, 12, ("jan", "feb", "jun", "dec", "jan-mar")),
    field_of(0, 6, ("sun", "mon", "fri", "mon-fri", "7", "5-7", "1-7/3")),
).map(" ".join)
CHANGES = [date(2025, 3, 9), date(2025, 3, 30), date(2025, 10, 5), date(2025, 10, 26), date(2025, 11, 2)]

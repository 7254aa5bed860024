"""When a cron expression occurs next (docs/rules.md S12 and S13)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count, pairwise, takewhile
from zoneinfo import ZoneInfo, available_timezones

import pytest
from croniter import croniter
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resonate_store.model.cron import (
    eventbridge,
    last_occurrence,
    next_occurrence,
    next_runs,
    problem_with,
    problem_with_timezone,
)
from tests.support.hypothesis_settings import examples

START = "2025-06-15 15:06:40"
"""A Sunday."""


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", "2025-06-15 15:07"),
        ("*/15 * * * *", "2025-06-15 15:15"),
        ("5 * * * *", "2025-06-15 16:05"),
        ("0 0 * * *", "2025-06-16 00:00"),
        ("30 9,17 * * *", "2025-06-15 17:30"),
        ("0 0 1 * *", "2025-07-01 00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("0 0 31 * *", "2025-07-31 00:00"),
        ("0 12 * jan *", "2026-01-01 12:00"),
        ("0 12 * 1-3 *", "2026-01-01 12:00"),
        ("@hourly", "2025-06-15 16:00"),
        ("@daily", "2025-06-16 00:00"),
        ("@weekly", "2025-06-22 00:00"),
        ("@monthly", "2025-07-01 00:00"),
        ("@yearly", "2026-01-01 00:00"),
    ],
)
def test_the_next_occurrence(expression: str, expected: str) -> None:
    assert problem_with(expression) is None
    assert next_occurrence(expression, ms(START)) == ms(expected)


@pytest.mark.parametrize(
    ("weekday", "expected"),
    [
        ("0", "2025-06-22"),
        ("7", "2025-06-22"),
        ("sun", "2025-06-22"),
        ("1", "2025-06-16"),
        ("MON", "2025-06-16"),
        ("5", "2025-06-20"),
        ("fri", "2025-06-20"),
        ("6", "2025-06-21"),
        ("1-5", "2025-06-16"),
        ("tue-thu", "2025-06-17"),
    ],
)
def test_weekdays_are_numbered_as_unix_does(weekday: str, expected: str) -> None:
    """docs/rules.md S12: 0 and 7 are Sunday, names are allowed."""
    assert problem_with(f"0 0 * * {weekday}") is None
    assert next_occurrence(f"0 0 * * {weekday}", ms(START)) == ms(expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 * * sat-sun", "0 0 * * 0,6"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 * * 5-0", "0 0 * * 0,5,6"),
        ("0 0 * * 7-2", "0 0 * * 0,1,2"),
        ("0 22-2 * * *", "0 0,1,2,22,23 * * *"),
        ("0 0 * nov-feb *", "0 0 * 1,2,11,12 *"),
        ("50-10/10 * * * *", "0,10,50 * * * *"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("0 0 1 3-3 *", "0 0 1 3 *"),
        ("0 0 * * 7-7", "0 0 * * 0"),
        ("0 0 13 * 0-6", "0 0 * * *"),
        ("0 0 1-31 * 1", "0 0 * * *"),
        ("0 0 13 * */1", "0 0 13 * *"),
        ("0 0 ? * mon", "0 0 * * 1"),
        ("07 01 * * *", "7 1 * * *"),
        ("  0\t0 * *  *", "@daily"),
        ("0-59 0-23 * 1-12 *", "* * * * *"),
    ],
)
def test_two_ways_of_saying_the_same(expression: str, expected: str) -> None:
    assert problem_with(expression) is None
    assert next_runs(expression, ms(START), 50) == next_runs(expected, ms(START), 50)
    assert eventbridge(expression) == eventbridge(expected)


def test_a_day_of_month_or_a_day_of_week() -> None:
    """docs/rules.md S12: when both are restricted, either will do, as Unix cron has it."""
    at, days = ms(START), []
    for _ in range(5):
        at = next_occurrence("0 0 13,20 * mon", at)
        days.append(datetime.fromtimestamp(at / 1000, UTC).strftime("%a %d"))
    assert days == ["Mon 16", "Fri 20", "Mon 23", "Mon 30", "Mon 07"]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2025-06-15 15:06:59.999", "2025-06-15 15:07"),
        ("2025-06-15 15:07:00.000", "2025-06-15 15:08"),
        ("2025-06-15 15:07:00.001", "2025-06-15 15:08"),
        ("2025-06-15 15:06:00.000", "2025-06-15 15:07"),
        ("1970-01-01 00:00:00.000", "1970-01-01 00:01"),
    ],
)
def test_the_next_occurrence_is_strictly_later(after: str, expected: str) -> None:
    assert next_occurrence("* * * * *", ms(after)) == ms(expected)


def test_it_is_evaluated_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    assert next_occurrence("0 3 * * *", ms("2025-03-09 00:00")) == ms("2025-03-09 03:00")
    assert next_occurrence("30 2 * * *", ms("2025-03-09 02:30")) == ms("2025-03-10 02:30")


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * *", "6 fields"),
        ("@every 5m", "@hourly"),
        ("every minute", "2 fields"),
        ("60 * * * *", "the minute field '60'"),
        ("* 24 * * *", "the hour field '24'"),
        ("* * 32 * *", "the day-of-month field '32'"),
        ("* * 0 * *", "the day-of-month field '0'"),
        ("* * * 13 *", "the month field '13'"),
        ("* * * * 8", "the day-of-week field '8'"),
        ("* * * * someday", "the day-of-week field 'someday'"),
        ("* * * mon *", "the month field 'mon'"),
        ("*/0 * * * *", "the minute field '*/0'"),
        ("a * * * *", "the minute field 'a'"),
        ("1,,2 * * * *", "the minute field '1,,2'"),
        ("1-2-3 * * * *", "the minute field '1-2-3'"),
        ("-1 * * * *", "the minute field '-1'"),
        ("* ? * * *", "the hour field '?'"),
        ("* * L * *", "the day-of-month field 'L'"),
        ("* * 15W * *", "the day-of-month field '15W'"),
        ("* * * * mon#1", "the day-of-week field 'mon#1'"),
        ("0 2 30 2 *", "the day-of-month field '30' has no day of the months of the month field '2'"),
        (
            "0 0 31 feb,4-6/2,sep *",
            "the day-of-month field '31' has no day of the months of the month field 'feb,4-6/2,sep'",
        ),
        ("@reboot", "@hourly"),
        ("@sometimes", "@hourly"),
        ("@Hourly", "@hourly"),
        ("H * * * *", "the minute field 'H'"),
        ("0 r(0-5) * * *", "the hour field 'r(0-5)'"),
        ("0,R * * * *", "the minute field '0,R'"),
        ("R/15 * * * *", "the minute field 'R/15'"),
    ],
)
def test_a_refusal_names_what_was_wrong(expression: str, named: str) -> None:
    problem = problem_with(expression)
    assert problem is not None
    assert problem.startswith(f"Invalid cron expression {expression!r}")
    assert named in problem


FIELD = st.one_of(st.just("*"), st.sampled_from(["*/2", "*/5", "1", "3-5", "2,4", "0", "r", "R(1-4)", "h", "l"]))


@given(st.tuples(*[FIELD] * 5), st.integers(0, 4_000_000_000_000))
def test_an_accepted_expression_always_occurs_again_at_a_whole_minute(fields: tuple[str, ...], after: int) -> None:
    """And always at the same instant: a transition that asks twice must be told the same."""
    expression = " ".join(fields)
    if problem_with(expression) is None:
        occurrence = next_occurrence(expression, after)
        assert occurrence > after
        assert occurrence % 60_000 == 0
        assert next_occurrence(expression, after) == occurrence
        assert next_occurrence(expression, occurrence - 1000) == occurrence


# -- time zones ---------------------------------------------------------------------------------------------------

NEW_YORK = "America/New_York"


def runs(expression: str, after: str, count: int, zone: str) -> list[str]:
    """Occurrences after an instant in UTC, as the zone's clock shows them."""
    return [
        datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).strftime("%m-%d %H:%M %z")
        for at in next_runs(expression, ms(after), count, zone)
    ]


def test_an_expression_speaks_of_the_clock_of_its_time_zone() -> None:
    assert runs("0 9 * * *", "2025-06-15 00:00", 2, "Asia/Kolkata") == ["06-15 09:00 +0530", "06-16 09:00 +0530"]
    assert runs("0 0 * * mon", "2025-06-15 23:00", 1, "Pacific/Kiritimati") == ["06-23 00:00 +1400"]
    assert runs("@daily", "2025-12-31 12:00", 1, "Pacific/Pago_Pago") == ["01-01 00:00 -1100"]


def test_a_time_that_the_clock_skips_occurs_when_it_is_set_forward() -> None:
    days = ["03-08 02:30 -0500", "03-09 03:00 -0400", "03-10 02:30 -0400"]
    assert runs("30 2 * * *", "2025-03-08 00:00", 3, NEW_YORK) == days


def test_times_of_fixed_hours_that_the_clock_skips_occur_together_and_once() -> None:
    expected = ["03-09 01:45 -0500", "03-09 03:00 -0400", "03-09 03:15 -0400"]
    assert runs("*/15 1-3 * * *", "2025-03-09 06:31", 3, NEW_YORK) == expected
    assert runs("0 2,3 * * *", "2025-03-09 05:00", 2, NEW_YORK) == ["03-09 03:00 -0400", "03-10 02:00 -0400"]


def test_a_time_that_the_clock_shows_twice_occurs_once() -> None:
    assert runs("30 1 * * *", "2025-11-02 00:00", 2, NEW_YORK) == ["11-02 01:30 -0400", "11-03 01:30 -0500"]
    expected = ["11-02 01:30 -0400", "11-02 02:00 -0500", "11-02 02:30 -0500"]
    assert runs("*/30 1,2 * * *", "2025-11-02 05:00", 3, NEW_YORK) == expected
    assert runs("*/30 1,2 * * *", "2025-11-02 06:10", 1, NEW_YORK) == expected[1:2], "asked while it shows it again"


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/30 * * * *", "2025-11-02 05:00", ["01:30 -0400", "01:00 -0500", "01:30 -0500", "02:00 -0500"]),
        ("@hourly", "2025-11-02 04:30", ["01:00 -0400", "01:00 -0500", "02:00 -0500"]),
        ("59 * * * *", "2025-11-02 05:58", ["01:59 -0400", "01:59 -0500", "02:59 -0500"]),
        ("0 */1 * * *", "2025-11-02 05:30", ["01:00 -0500", "02:00 -0500"]),
        ("30 0-23 * * *", "2025-11-02 05:00", ["01:30 -0400", "01:30 -0500"]),
        ("15 */7 * * *", "2025-11-02 04:00", ["00:15 -0400", "07:15 -0500"]),
        ("*/15 * * * *", "2025-03-09 06:31", ["01:45 -0500", "03:00 -0400", "03:15 -0400"]),
        ("30 * * * *", "2025-03-09 06:00", ["01:30 -0500", "03:30 -0400", "04:30 -0400"]),
        ("30 */2 * * *", "2025-03-09 05:00", ["00:30 -0500", "04:30 -0400"]),
    ],
)
def test_any_hour_goes_on_in_real_time(expression: str, after: str, expected: list[str]) -> None:
    assert [run[6:] for run in runs(expression, after, len(expected), NEW_YORK)] == expected


def test_hourly_schedule_occurs_25_times_on_a_day_of_25_hours() -> None:
    day = runs("0 * * * *", "2025-11-02 03:59", 25, NEW_YORK)
    assert (day[0], day[-1]) == ("11-02 00:00 -0400", "11-02 23:00 -0500")
    assert len(set(runs("* * * * *", "2025-11-02 03:59", 1500, NEW_YORK))) == 1500


def test_last_occurrence_of_any_hour_looks_back_past_the_change() -> None:
    def last(expression: str, until: str) -> str:
        at = last_occurrence(expression, ms(until), NEW_YORK)
        return datetime.fromtimestamp(at / 1000, UTC).strftime("%H:%M")

    assert last("45 * * * *", "2025-11-02 06:10") == "05:45"
    assert last("5 * * * *", "2025-11-02 06:10") == "06:05"
    assert last("15 */2 * * *", "2025-03-09 07:30") == "05:15"


def test_changes_of_half_an_hour_and_of_a_whole_day() -> None:
    lord_howe = ["10-05 02:30 +1100", "10-06 02:15 +1100"]
    assert runs("15 2 * * *", "2025-10-04 15:00", 2, "Australia/Lord_Howe") == lord_howe
    assert runs("0 12 * * *", "2011-12-29 23:00", 2, "Pacific/Apia") == ["12-31 00:00 +1400", "12-31 12:00 +1400"]


@pytest.mark.parametrize(
    "zone", ["Europe/Atlantis", "", "..", "../etc/passwd", "Europe", "/UTC", "localtime", "a b", "\0"]
)
def test_an_unknown_time_zone_is_named(zone: str) -> None:
    problem = problem_with("@daily", zone)
    assert problem is not None
    assert problem.startswith(f"unknown time zone {zone!r}")


# -- against a calendar that is read minute by minute -------------------------------------------------------------

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
    """What an expression means, told from every minute that a clock on the wall shows or skips."""
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
        if goes_on(expression):
            found |= {at for at, wall in minutes_of(day, zone) if wall.minute in minutes and wall.hour in hours}
            continue
        for minute in range(1440):
            if minute % 60 in minutes and minute // 60 in hours:
                found.add(first_shown(datetime(day.year, day.month, day.day, minute // 60, minute % 60), zone))
    return found


def goes_on(expression: str) -> bool:
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
DAYS = st.one_of(st.sampled_from(CHANGES), st.dates(date(2000, 1, 2), date(2036, 1, 1)))


@given(EXPRESSIONS, DAYS, st.sampled_from(ZONES))
@example("*/15 1-3 * * *", date(2025, 3, 9), NEW_YORK)
@example("*/15 1-3 * * *", date(2025, 11, 2), NEW_YORK)
@example("*/15 * * * *", date(2025, 3, 9), NEW_YORK)
@example("*/15 * * * *", date(2025, 11, 2), NEW_YORK)
@example("7 */3 * * *", date(2025, 4, 6), "Australia/Lord_Howe")
@example("0 0 13 * fri", date(2025, 6, 10), None)
@example("0 0 1-31 * fri", date(2025, 6, 10), None)
def test_occurrences_are_those_of_a_calendar_read_minute_by_minute(
    expression: str, first: date, zone: str | None
) -> None:
    if problem_with(expression, zone) is not None:
        return
    expected = sorted(by_the_minute(expression, first - timedelta(days=1), 4, zone))
    begin = first_shown(datetime(first.year, first.month, first.day), zone) - 60_000
    end = begin + 86_400_000
    expected = [at for at in expected if begin < at <= end]

    found: list[int] = []
    at = begin
    while (at := next_occurrence(expression, at, zone)) <= end:
        found.append(at)

    assert found == expected
    for earlier, later in list(pairwise(found))[::10]:
        assert last_occurrence(expression, later, zone) == later
        assert last_occurrence(expression, later - 1000, zone) == earlier


# -- against croniter, which knows time zones by itself -----------------------------------------------------------


def plain_field(first: int, last: int) -> st.SearchStrategy[str]:
    """A field that croniter understands as we do, and every Unix cron."""
    value = st.integers(first, last)
    span = st.tuples(st.integers(first, last - 2), st.integers(1, 2)).map(lambda ends: f"{ends[0]}-{sum(ends)}")
    listed = st.lists(value, min_size=1, max_size=3, unique=True).map(lambda values: ",".join(map(str, values)))
    return st.one_of(st.just("*"), st.integers(2, (last - first) // 2).map("*/{}".format), listed, span)


PLAIN = st.tuples(*(plain_field(*span) for span in SPANS)).map(" ".join)
INSTANTS = st.integers(ms("1990-01-01"), ms("2060-01-01")).map(lambda at: at // 1000)


def before_a_change(after: int, zone: ZoneInfo) -> int:
    """An instant (s) of the day before the clock is next set forward or back; `after` itself if it never is."""
    for day in range(400):
        at = after + day * 86_400
        if offset(at, zone) != offset(at + 86_400, zone):
            return at
    return after


def offset(at: int, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(at, zone).utcoffset()


@settings(max_examples=examples(50))
@given(PLAIN, st.sampled_from(sorted(available_timezones() - {"localtime"})), INSTANTS, st.booleans())
@example("*/20 1,2 * * *", NEW_YORK, ms("2025-03-09") // 1000, False)
@example("*/20 * * * *", NEW_YORK, ms("2025-11-02") // 1000, False)
@example("*/2 */2 */2 * *", "Asia/Magadan", 631_152_000, True)
@example("*/20 * * * *", NEW_YORK, ms("2025-03-09") // 1000, False)
@example("*/20 1-2 * * *", NEW_YORK, ms("2025-11-02") // 1000, False)
def test_occurrences_are_those_of_croniter_but_for_where_the_clock_jumps(
    expression: str, name: str, after: int, near: bool
) -> None:
    """Two differences are deliberate (docs/schedules.md).

    A time of a fixed hour that the clock shows twice occurs when it is shown first. Of an expression for any hour, a
    time that the clock skips does not occur, while croniter has it when the clock is set forward.
    """
    zone = ZoneInfo(name)
    if near:
        after = before_a_change(after, zone)
    assert problem_with_timezone(name) is None
    if problem_with(expression) is not None:
        return
    ours = [at // 1000 for at in next_runs(expression, after * 1000, 40 if near else 10, name)]
    clock = croniter(expression, datetime.fromtimestamp(after, zone))
    theirs = list(takewhile(lambda at: at <= ours[-1], (round(clock.get_next(float)) for _ in count())))

    more = set(theirs) - set(ours)
    skipped = {at for at in more if goes_on(expression) and offset(at - 1, zone) != offset(at, zone)}

    assert sorted(ours) == ours
    assert set(ours) <= set(theirs)
    assert all(datetime.fromtimestamp(at, zone).fold for at in more - skipped), "shown a second time"
    assert more == skipped or not goes_on(expression)


# -- EventBridge's dialect ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", ["cron(* * * * ? *)"]),
        ("*/5 * * * *", ["cron(0/5 * * * ? *)"]),
        ("3/7 * * * *", ["cron(3/7 * * * ? *)"]),
        ("0 9 * * 1-5", ["cron(0 9 ? * 2-6 *)"]),
        ("0 9 * * mon-fri", ["cron(0 9 ? * 2-6 *)"]),
        ("0 0 * * 0", ["cron(0 0 ? * 1 *)"]),
        ("0 0 * * 7", ["cron(0 0 ? * 1 *)"]),
        ("0 0 * * sat,sun", ["cron(0 0 ? * 1,7 *)"]),
        ("0 0 * * */2", ["cron(0 0 ? * 1,3,5,7 *)"]),
        ("0 0 1,15 * *", ["cron(0 0 1,15 * ? *)"]),
        ("0 0 13 * fri", ["cron(0 0 13 * ? *)", "cron(0 0 ? * 6 *)"]),
        ("0 0 30 2 mon", ["cron(0 0 ? 2 2 *)"]),
        ("0 0 31 2,4,5 mon", ["cron(0 0 31 2,4,5 ? *)", "cron(0 0 ? 2,4,5 2 *)"]),
        ("0 0 1-31 * mon", ["cron(0 0 * * ? *)"]),
        ("0-10,30 8-18/2 * jan,jun-aug *", ["cron(0-10,30 8,10,12,14,16,18 * 1,6-8 ? *)"]),
        ("@hourly", ["cron(0 * * * ? *)"]),
        ("@daily", ["cron(0 0 * * ? *)"]),
        ("@midnight", ["cron(0 0 * * ? *)"]),
        ("@weekly", ["cron(0 0 ? * 1 *)"]),
        ("@monthly", ["cron(0 0 1 * ? *)"]),
        ("@yearly", ["cron(0 0 1 1 ? *)"]),
        ("@annually", ["cron(0 0 1 1 ? *)"]),
    ],
)
def test_the_translation(expression: str, expected: list[str]) -> None:
    assert problem_with(expression) is None
    assert eventbridge(expression) == expected


def test_the_longest_translation_is_within_what_scheduler_takes() -> None:
    """Pairs of neighbours are what compresses worst."""
    pairs = [",".join(str(n) for n in range(first, last + 1) if n % 3) for first, last in SPANS]
    assert max(map(len, eventbridge(" ".join(pairs)))) <= 256


@pytest.mark.parametrize("timezone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("after", [253_402_300_799_000, 10**18, -(10**18)])
def test_next_runs_outside_of_the_calendar_say_so(after: int, timezone: str | None) -> None:
    with pytest.raises(ValueError, match="no occurrence within the years 1 to 9999"):
        next_runs("* * * * *", after, 3, timezone)

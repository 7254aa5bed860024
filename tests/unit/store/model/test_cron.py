"""When a cron expression occurs next (docs/rules.md S12 and S13)."""

from __future__ import annotations

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
from tests.support.cron_calendar import (
    CHANGES,
    EXPRESSIONS,
    NEW_YORK,
    SPANS,
    ZONES,
    any_hour,
    by_the_minute,
    first_shown,
    ms,
)
from tests.support.hypothesis_settings import examples

START = "2025-06-15 15:06:40"
"""A Sunday."""


def test_next_occurrence_of_common_expressions(subtests: pytest.Subtests) -> None:
    for expression, expected in [
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
        *((f"0 0 * * {day}", "2025-06-22") for day in ("0", "7", "sun")),
        *((f"0 0 * * {day}", "2025-06-16") for day in ("1", "MON", "1-5")),
        *((f"0 0 * * {day}", "2025-06-20") for day in ("5", "fri")),
        ("0 0 * * 6", "2025-06-21"),
        ("0 0 * * tue-thu", "2025-06-17"),
    ]:
        with subtests.test(expression=expression, expected=expected):
            assert problem_with(expression) is None
            assert next_occurrence(expression, ms(START)) == ms(expected)


def test_next_runs_of_equivalent_expressions_are_equal(subtests: pytest.Subtests) -> None:
    for expression, expected in [
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
    ]:
        with subtests.test(expression=expression, expected=expected):
            assert problem_with(expression) is None
            assert next_runs(expression, ms(START), 50) == next_runs(expected, ms(START), 50)
            assert eventbridge(expression) == eventbridge(expected)


def test_next_occurrence_is_on_a_day_of_month_or_week() -> None:
    """docs/rules.md S12: when both are restricted, either will do, as Unix cron has it."""
    at, days = ms(START), []
    for _ in range(5):
        at = next_occurrence("0 0 13,20 * mon", at)
        days.append(datetime.fromtimestamp(at / 1000, UTC).strftime("%a %d"))
    assert days == ["Mon 16", "Fri 20", "Mon 23", "Mon 30", "Mon 07"]


def test_next_occurrence_is_strictly_later_and_in_utc(
    subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    assert next_occurrence("0 3 * * *", ms("2025-03-09 00:00")) == ms("2025-03-09 03:00")
    assert next_occurrence("30 2 * * *", ms("2025-03-09 02:30")) == ms("2025-03-10 02:30")
    for after, expected in [
        ("2025-06-15 15:06:59.999", "2025-06-15 15:07"),
        ("2025-06-15 15:07:00.000", "2025-06-15 15:08"),
        ("2025-06-15 15:07:00.001", "2025-06-15 15:08"),
        ("2025-06-15 15:06:00.000", "2025-06-15 15:07"),
        ("1970-01-01 00:00:00.000", "1970-01-01 00:01"),
    ]:
        with subtests.test(after=after, expected=expected):
            assert next_occurrence("* * * * *", ms(after)) == ms(expected)


def test_problem_with_an_invalid_expression_names_the_field(subtests: pytest.Subtests) -> None:
    for expression, named in [
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
    ]:
        with subtests.test(expression=expression, named=named):
            problem = problem_with(expression)
            assert problem is not None
            assert problem.startswith(f"Invalid cron expression {expression!r}")
            assert named in problem


FIELD = st.one_of(st.just("*"), st.sampled_from(["*/2", "*/5", "1", "3-5", "2,4", "0", "r", "R(1-4)", "h", "l"]))


@given(st.tuples(*[FIELD] * 5), st.integers(0, 4_000_000_000_000))
def test_next_occurrence_of_a_valid_expression_is_a_whole_minute(fields: tuple[str, ...], after: int) -> None:
    """A transition that asks twice must get the same instant."""
    expression = " ".join(fields)
    if problem_with(expression) is None:
        occurrence = next_occurrence(expression, after)
        assert occurrence > after
        assert occurrence % 60_000 == 0
        assert next_occurrence(expression, after) == occurrence
        assert next_occurrence(expression, occurrence - 1000) == occurrence


# -- time zones -------------------------------------------------------------------------------------------------------


def runs(expression: str, after: str, count: int, zone: str) -> list[str]:
    """Occurrences after an instant in UTC, as the zone's clock shows them."""
    return [
        datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).strftime("%m-%d %H:%M %z")
        for at in next_runs(expression, ms(after), count, zone)
    ]


ZONED = [
    ("0 9 * * *", "2025-06-15 00:00", "Asia/Kolkata", ["06-15 09:00 +0530", "06-16 09:00 +0530"]),
    ("0 0 * * mon", "2025-06-15 23:00", "Pacific/Kiritimati", ["06-23 00:00 +1400"]),
    ("@daily", "2025-12-31 12:00", "Pacific/Pago_Pago", ["01-01 00:00 -1100"]),
    # Changes of 30 minutes and of one day.
    ("15 2 * * *", "2025-10-04 15:00", "Australia/Lord_Howe", ["10-05 02:30 +1100", "10-06 02:15 +1100"]),
    ("0 12 * * *", "2011-12-29 23:00", "Pacific/Apia", ["12-31 00:00 +1400", "12-31 12:00 +1400"]),
    # A skipped time occurs when the clock is set forward, and skipped times of fixed hours occur once together.
    ("30 2 * * *", "2025-03-08 00:00", NEW_YORK, ["03-08 02:30 -0500", "03-09 03:00 -0400", "03-10 02:30 -0400"]),
    ("*/15 1-3 * * *", "2025-03-09 06:31", NEW_YORK, ["03-09 01:45 -0500", "03-09 03:00 -0400", "03-09 03:15 -0400"]),
    ("0 2,3 * * *", "2025-03-09 05:00", NEW_YORK, ["03-09 03:00 -0400", "03-10 02:00 -0400"]),
    # A repeated time of a fixed hour occurs once, also if it is asked for while the clock shows it again.
    ("30 1 * * *", "2025-11-02 00:00", NEW_YORK, ["11-02 01:30 -0400", "11-03 01:30 -0500"]),
    ("*/30 1,2 * * *", "2025-11-02 05:00", NEW_YORK, ["11-02 01:30 -0400", "11-02 02:00 -0500", "11-02 02:30 -0500"]),
    ("*/30 1,2 * * *", "2025-11-02 06:10", NEW_YORK, ["11-02 02:00 -0500"]),
]


def test_next_runs_follow_the_clock_of_the_time_zone(subtests: pytest.Subtests) -> None:
    for expression, after, zone, expected in ZONED:
        with subtests.test(expression=expression, after=after, zone=zone):
            assert runs(expression, after, len(expected), zone) == expected


def test_time_of_any_hour_follows_real_time(subtests: pytest.Subtests) -> None:
    for expression, after, expected in [
        ("*/30 * * * *", "2025-11-02 05:00", ["01:30 -0400", "01:00 -0500", "01:30 -0500", "02:00 -0500"]),
        ("@hourly", "2025-11-02 04:30", ["01:00 -0400", "01:00 -0500", "02:00 -0500"]),
        ("59 * * * *", "2025-11-02 05:58", ["01:59 -0400", "01:59 -0500", "02:59 -0500"]),
        ("0 */1 * * *", "2025-11-02 05:30", ["01:00 -0500", "02:00 -0500"]),
        ("30 0-23 * * *", "2025-11-02 05:00", ["01:30 -0400", "01:30 -0500"]),
        ("15 */7 * * *", "2025-11-02 04:00", ["00:15 -0400", "07:15 -0500"]),
        ("*/15 * * * *", "2025-03-09 06:31", ["01:45 -0500", "03:00 -0400", "03:15 -0400"]),
        ("30 * * * *", "2025-03-09 06:00", ["01:30 -0500", "03:30 -0400", "04:30 -0400"]),
        ("30 */2 * * *", "2025-03-09 05:00", ["00:30 -0500", "04:30 -0400"]),
    ]:
        with subtests.test(expression=expression, after=after, expected=expected):
            assert [run[6:] for run in runs(expression, after, len(expected), NEW_YORK)] == expected


def test_hourly_expression_occurs_25_times_on_a_25_hour_day() -> None:
    day = runs("0 * * * *", "2025-11-02 03:59", 25, NEW_YORK)
    assert (day[0], day[-1]) == ("11-02 00:00 -0400", "11-02 23:00 -0500")
    assert len(set(runs("* * * * *", "2025-11-02 03:59", 1500, NEW_YORK))) == 1500


def test_last_occurrence_of_any_hour_is_before_the_change() -> None:
    def last(expression: str, until: str) -> str:
        at = last_occurrence(expression, ms(until), NEW_YORK)
        return datetime.fromtimestamp(at / 1000, UTC).strftime("%H:%M")

    assert last("45 * * * *", "2025-11-02 06:10") == "05:45"
    assert last("5 * * * *", "2025-11-02 06:10") == "06:05"
    assert last("15 */2 * * *", "2025-03-09 07:30") == "05:15"


def test_problem_with_an_unknown_time_zone_names_it(subtests: pytest.Subtests) -> None:
    for zone in ["Europe/Atlantis", "", "..", "../etc/passwd", "Europe", "/UTC", "localtime", "a b", "\0"]:
        with subtests.test(zone=zone):
            problem = problem_with("@daily", zone)
            assert problem is not None
            assert problem.startswith(f"unknown time zone {zone!r}")


# -- against a calendar that is read minute by minute -----------------------------------------------------------------


DAYS = st.one_of(st.sampled_from(CHANGES), st.dates(date(2000, 1, 2), date(2036, 1, 1)))


@settings(max_examples=examples(30, in_ci=100))
@given(EXPRESSIONS, DAYS, st.sampled_from(ZONES))
@example("*/15 1-3 * * *", date(2025, 3, 9), NEW_YORK)
@example("*/15 1-3 * * *", date(2025, 11, 2), NEW_YORK)
@example("*/15 * * * *", date(2025, 3, 9), NEW_YORK)
@example("*/15 * * * *", date(2025, 11, 2), NEW_YORK)
@example("7 */3 * * *", date(2025, 4, 6), "Australia/Lord_Howe")
@example("0 0 13 * fri", date(2025, 6, 10), None)
@example("0 0 1-31 * fri", date(2025, 6, 10), None)
def test_occurrences_equal_a_calendar_read_by_the_minute(expression: str, first: date, zone: str | None) -> None:
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


# -- against croniter, which knows time zones by itself ---------------------------------------------------------------


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


@settings(max_examples=examples(20, in_ci=150))
@given(PLAIN, st.sampled_from(sorted(available_timezones() - {"localtime"})), INSTANTS, st.booleans())
@example("*/20 1,2 * * *", NEW_YORK, ms("2025-03-09") // 1000, False)
@example("*/20 * * * *", NEW_YORK, ms("2025-11-02") // 1000, False)
@example("*/2 */2 */2 * *", "Asia/Magadan", 631_152_000, True)
@example("*/20 * * * *", NEW_YORK, ms("2025-03-09") // 1000, False)
@example("*/20 1-2 * * *", NEW_YORK, ms("2025-11-02") // 1000, False)
def test_occurrences_equal_those_of_croniter_except_at_changes(
    expression: str, name: str, after: int, near: bool
) -> None:
    """Two differences are deliberate (docs/guide/schedules.md).

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
    skipped = {at for at in more if any_hour(expression) and offset(at - 1, zone) != offset(at, zone)}

    assert sorted(ours) == ours
    assert set(ours) <= set(theirs)
    assert all(datetime.fromtimestamp(at, zone).fold for at in more - skipped), "shown a second time"
    assert more == skipped or not any_hour(expression)


# -- EventBridge's dialect --------------------------------------------------------------------------------------------


def test_eventbridge_translates_an_expression(subtests: pytest.Subtests) -> None:
    for expression, expected in [
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
    ]:
        with subtests.test(expression=expression, expected=expected):
            assert problem_with(expression) is None
            assert eventbridge(expression) == expected


def test_eventbridge_expression_has_at_most_256_characters() -> None:
    """Pairs of neighbours are what compresses worst."""
    pairs = [",".join(str(n) for n in range(first, last + 1) if n % 3) for first, last in SPANS]
    assert max(map(len, eventbridge(" ".join(pairs)))) <= 256


def test_next_runs_outside_the_calendar_raise_an_error(subtests: pytest.Subtests) -> None:
    for after in [253_402_300_799_000, 10**18, -(10**18)]:
        for timezone in [None, "Europe/Berlin"]:
            raises = pytest.raises(ValueError, match="no occurrence within the years 1 to 9999")
            with subtests.test(timezone=timezone, after=after), raises:
                next_runs("* * * * *", after, 3, timezone)

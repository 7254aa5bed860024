"""Recurring schedules: the examples of AWS's documentation, its syntax, and changes of the clock."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from resonate_infra.testing.recurrence import InvalidExpression, Recurrence


def firings(expression: str, after: str, count: int, zone: str = "UTC") -> list[str]:
    recurrence = Recurrence(expression, zone)
    instant = round(datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp() * 1000)
    found: list[str] = []
    for _ in range(count):
        following = recurrence.next_after(instant)
        if following is None:
            break
        instant = following
        found.append(datetime.fromtimestamp(instant / 1000, ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M"))
    return found


FIRINGS = {
    "cron(0 10 * * ? *)": ["Mon 2025-06-16 10:00", "Tue 2025-06-17 10:00"],
    "cron(15 12 * * ? *)": ["Mon 2025-06-16 12:15", "Tue 2025-06-17 12:15"],
    "cron(0 18 ? * MON-FRI *)": ["Mon 2025-06-16 18:00", "Tue 2025-06-17 18:00"],
    "cron(0 8 1 * ? *)": ["Tue 2025-07-01 08:00", "Fri 2025-08-01 08:00"],
    "cron(0/15 * * * ? *)": ["Sun 2025-06-15 15:15", "Sun 2025-06-15 15:30"],
    "cron(0/10 * ? * MON-FRI *)": ["Mon 2025-06-16 00:00", "Mon 2025-06-16 00:10"],
    "cron(0/5 8-17 ? * MON-FRI *)": ["Mon 2025-06-16 08:00", "Mon 2025-06-16 08:05"],
    "cron(0 0 ? * 1 *)": ["Sun 2025-06-22 00:00", "Sun 2025-06-29 00:00"],
    "cron(0 0 ? * 7,SUN *)": ["Sat 2025-06-21 00:00", "Sun 2025-06-22 00:00"],
    "cron(0 0 31 FEB-APR,12 ? *)": ["Wed 2025-12-31 00:00", "Tue 2026-03-31 00:00"],
    "cron(0 0 1 1 ? 2027-2028)": ["Fri 2027-01-01 00:00", "Sat 2028-01-01 00:00"],
    "cron(0 0 1 1 ? 2024)": [],
}
REFUSED = (
    "rate(1 minute)",
    "cron(0 0 * * *)",
    "cron(0 0 * * * *)",
    "cron(0 0 ? * ? *)",
    "cron(60 0 * * ? *)",
    "cron(0 24 * * ? *)",
    "cron(0 0 0 * ? *)",
    "cron(0 0 ? * 0 *)",
    "cron(0 0 ? * 8 *)",
    "cron(0 0 ? * 1/2 *)",
    "cron(*/0 0 * * ? *)",
    "cron(0 0 L * ? *)",
    "cron(0 0 5-2 * ? *)",
    "cron(0  0 * * ? *)",
    f"cron({','.join(['0'] * 150)} 0 * * ? *)",
)


def test_recurrence_fires_as_its_expression_says() -> None:
    assert {expression: firings(expression, "2025-06-15 15:06:40", 2) for expression in FIRINGS} == FIRINGS


def test_recurrence_refuses_what_eventbridge_refuses(subtests: pytest.Subtests) -> None:
    for expression in REFUSED:
        with subtests.test(expression), pytest.raises(InvalidExpression):
            Recurrence(expression)


def test_recurrence_skips_and_does_not_repeat_times_of_clock_changes() -> None:
    skipped = ["Sat 2025-03-08 02:30", "Mon 2025-03-10 02:30"]
    assert firings("cron(30 2 * * ? *)", "2025-03-08 00:00", 2, "America/New_York") == skipped
    shown_twice = ["Sun 2025-11-02 01:30", "Mon 2025-11-03 01:30"]
    assert firings("cron(30 1 * * ? *)", "2025-11-02 00:00", 2, "America/New_York") == shown_twice
    later = firings("cron(0/30 * * * ? *)", "2025-11-02 05:10", 2, "America/New_York")
    assert later == ["Sun 2025-11-02 01:30", "Sun 2025-11-02 02:00"]

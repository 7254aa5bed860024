"""When a cron expression occurs next (REFERENCE 3.2, DESIGN 4)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_store.cron import next_occurrence, problem_with

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
    """DESIGN 4: 0 and 7 are Sunday, names are allowed."""
    assert problem_with(f"0 0 * * {weekday}") is None
    assert next_occurrence(f"0 0 * * {weekday}", ms(START)) == ms(expected)


def test_a_day_of_month_or_a_day_of_week() -> None:
    """DESIGN 4: when both are restricted, either will do, as Unix cron has it."""
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
        ("@every 5m", "2 fields"),
        ("every minute", "2 fields"),
        ("60 * * * *", "60"),
        ("* 24 * * *", "24"),
        ("* * 32 * *", "32"),
        ("* * * 13 *", "13"),
        ("* * * * 8", "8"),
        ("* * * * someday", "someday"),
        ("*/0 * * * *", "0"),
        ("a * * * *", "a"),
        ("0 0 30 2 *", "0 0 30 2 *"),
        ("@reboot", "@reboot"),
        ("@sometimes", "@sometimes"),
        ("H * * * *", "arbitrary"),
        ("R * * * *", "arbitrary"),
        ("0 r(0-5) * * *", "arbitrary"),
        ("0,R * * * *", "arbitrary"),
        ("R/15 * * * *", "arbitrary"),
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

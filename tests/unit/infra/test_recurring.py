"""Schedules of the store and their recurring EventBridge schedules: together they fire at cron's occurrences."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from resonate_infra.testing.recurrence import Recurrence
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.cron import eventbridge, eventbridge_timezone, problem_with
from resonate_store.model.schedule_requests import ScheduleFire
from resonate_store.model.tags import SCHEDULE
from tests.support.build import DAY, MINUTE, schedule
from tests.support.cron_calendar import CHANGES, EXPRESSIONS, NEW_YORK, ZONES, any_hour, by_the_minute, first_shown
from tests.support.hypothesis_settings import examples

LATEST = 59_999
"""Maximum lateness of EventBridge (ms)."""


def firings(expression: str, zone: str | None, begin: int, end: int) -> set[int]:
    """Return the instants in `begin < at <= end` at which EventBridge fires the expression."""
    found: set[int] = set()
    for each in eventbridge(expression):
        recurrence, at = Recurrence(each, eventbridge_timezone(expression, zone)), begin
        while (following := recurrence.next_after(at)) is not None and following <= end:
            found.add(at := following)
    return found


def test_eventbridge_timezone_repeats_the_hour_of_a_clock_change() -> None:
    zones = {
        "* * * * *": "UTC",
        "*/15 * * * *": "UTC",
        "@hourly": "UTC",
        "0 */2 * * *": NEW_YORK,
        "0 0 * * *": NEW_YORK,
    }
    assert {expression: eventbridge_timezone(expression, NEW_YORK) for expression in zones} == zones
    assert eventbridge_timezone("7 * * * *", "Asia/Kathmandu") == "Asia/Kathmandu"
    assert eventbridge_timezone("0 * * * *", "Australia/Lord_Howe") == "Australia/Lord_Howe"
    assert eventbridge_timezone("* * * * *", "Australia/Lord_Howe") == eventbridge_timezone("@daily", None) == "UTC"
    assert eventbridge_timezone("@hourly", "Asia/Tokyo") == "Asia/Tokyo"


@settings(deadline=None, max_examples=examples(8, in_ci=60))
@given(EXPRESSIONS, st.sampled_from(CHANGES), st.sampled_from(ZONES), st.integers(0, LATEST))
@example("*/15 1-3 13 * fri", date(2025, 3, 9), NEW_YORK, 0)
@example("*/15 1-3 * * sun", date(2025, 11, 2), NEW_YORK, 0)
@example("*/15 * * * sun", date(2025, 11, 2), NEW_YORK, 0)
@example("*/15 * * * *", date(2025, 11, 2), NEW_YORK, 0)
def test_recurring_firings_create_exactly_the_occurrences_of_cron(
    expression: str, first: date, zone: str | None, lateness: int
) -> None:
    # Firings are late, repeated and reordered within their lateness. The sweep fires the hours that the clock skips.
    if problem_with(expression, zone) is not None:
        return
    begin = first_shown(datetime(first.year, first.month, first.day), zone)
    end = begin + DAY
    expected = {at for at in by_the_minute(expression, first - timedelta(days=1), 4, zone) if begin < at <= end}
    fired = firings(expression, zone, begin, end)
    assert fired <= expected, "EventBridge fires at occurrences only"
    skipped = expected - fired
    if any_hour(expression):
        assert all(datetime.fromtimestamp(at / 1000, ZoneInfo(zone or "UTC")).fold for at in skipped), "shown again"
    else:
        assert len(skipped) <= 1, "and at all of them but the one that stands for those that the clock skips"

    clock = ManualClock(begin)
    store = MemoryStore(clock)
    assert store.apply(replace(schedule("s", expression, timeout=7 * DAY), timezone=zone)).ok
    late = [at + lateness * at // MINUTE % (lateness + 1) for at in fired]
    for at in sorted([*late, *(at + lateness for at in fired)]):
        clock.advance_to(at)
        store.apply(ScheduleFire("s"))
    clock.advance_to(end + MINUTE)
    for _ in skipped:
        store.apply(ScheduleFire("s"))

    created = {record.id: record for record in store.records()}
    assert {f"s.{at}" for at in expected} == {id for id in created if int(id.rpartition(".")[2]) <= end}
    assert all(record.created_at == int(id.rpartition(".")[2]) for id, record in created.items())
    assert all(record.tags[SCHEDULE] == "s" for record in created.values())

"""Policies of schedules; pause, resume and trigger (docs/protocol.md 3)."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from resonate_store.model.requests import ScheduleFire, ScheduleGet, SchedulePause, ScheduleResume, ScheduleTrigger
from resonate_store.model.tags import BRANCH, ORIGIN, PARENT, PREFIX, SCHEDULE
from tests.support.build import DAY, HOUR, MINUTE, SECOND, TARGETED, execute, schedule, settle
from tests.support.present import present
from tests.support.substrates import T0, World

FIRST = T0 + 20 * SECOND
"""The first whole minute after the start: 15:07."""


def occurrences(store: World, count: int, first: int = FIRST, every: int = MINUTE) -> list[str]:
    """The ids of `count` occurrences of the schedule `s`; they must exist, and the one after them must not."""
    ids = [f"s.{first + n * every}" for n in range(count)]
    assert [store.record(id) is not None for id in [*ids, f"s.{first + count * every}"]] == [True] * count + [False]
    return ids


# -- policies -----------------------------------------------------------------------------------------------------


def test_schedule_policies_are_stored_and_shown(store: World) -> None:
    request = replace(
        schedule("s", "30 2 * * *"),
        timezone="Europe/Berlin",
        catch_up="latest",
        overlap="skip",
        description="Nightly",
        tags={"team": "a"},
    )
    created = present(store.apply(request).schedule)
    assert created == store.apply(ScheduleGet("s")).schedule
    assert created.next_run_at == 1_750_033_800_000, "00:30 UTC in summer"
    assert store.recurring == {"s": ("30 2 * * *", "Europe/Berlin")}
    shown = msgspec.to_builtins(created)
    assert {name: shown[name] for name in ("timezone", "catchUp", "overlap", "description", "tags")} == {
        "timezone": "Europe/Berlin",
        "catchUp": "latest",
        "overlap": "skip",
        "description": "Nightly",
        "tags": {"team": "a"},
    }


def test_catch_up_latest_creates_the_latest_missed_occurrence(store: World) -> None:
    store.apply(replace(schedule("s"), catch_up="latest"))
    store.clock.advance(3 * DAY + 30 * SECOND)
    shown = present(store.apply(ScheduleFire("s")).schedule)
    latest = FIRST + 3 * DAY
    assert (shown.last_run_at, shown.next_run_at) == (latest, latest + MINUTE)
    assert (shown.skipped_at, shown.skip_reason) == (latest - MINUTE, "it was missed")
    assert store.messages() == [execute(f"s.{latest}", 0)]
    assert store.record(f"s.{FIRST}") is None
    store.clock.advance(MINUTE)
    store.apply(ScheduleFire("s"))
    assert store.messages() == [execute(f"s.{latest + MINUTE}", 0)]


def test_catch_up_latest_without_delay_skips_nothing(store: World) -> None:
    store.apply(replace(schedule("s"), catch_up="latest"))
    store.pass_time(20 * SECOND)
    assert present(store.apply(ScheduleGet("s")).schedule).skipped_at is None
    occurrences(store, 1)


def test_catch_up_none_skips_occurrences_two_minutes_late(store: World) -> None:
    """A firing may be two minutes late: that is no more than EventBridge and the sweep may take."""
    store.apply(replace(schedule("s", "*/10 * * * *"), catch_up="none"))
    first = FIRST + 3 * MINUTE
    store.clock.advance(first + 2 * MINUTE - T0)
    store.apply(ScheduleFire("s"))
    assert store.messages() == [execute(f"s.{first}", 0)]
    store.clock.advance(10 * MINUTE + 1)
    shown = present(store.apply(ScheduleFire("s")).schedule)
    assert (shown.last_run_at, shown.next_run_at) == (first, first + 20 * MINUTE)
    assert (shown.skipped_at, shown.skip_reason) == (first + 10 * MINUTE, "it was missed")
    assert store.messages() == []
    assert "s" not in store.due()
    store.clock.advance(8 * MINUTE)
    store.apply(ScheduleFire("s"))
    assert store.messages() == [execute(f"s.{first + 20 * MINUTE}", 0)]


def test_overlap_skip_skips_while_the_previous_occurrence_is_pending(store: World) -> None:
    store.apply(replace(schedule("s"), overlap="skip"))
    store.pass_time(20 * SECOND)
    store.pass_time(MINUTE)
    shown = present(store.apply(ScheduleGet("s")).schedule)
    assert (shown.last_run_at, shown.last_promise) == (FIRST + MINUTE, f"s.{FIRST}")
    assert shown.skipped_at == FIRST + MINUTE
    assert shown.skip_reason == f"the previous occurrence, 's.{FIRST}', has not ended"
    occurrences(store, 1)
    store.apply(settle(f"s.{FIRST}"))
    store.pass_time(MINUTE)
    assert store.record(f"s.{FIRST + 2 * MINUTE}") is not None
    assert store.record(f"s.{FIRST + MINUTE}") is None


def test_overlap_skip_ignores_a_previous_occurrence_past_its_deadline(store: World) -> None:
    store.apply(replace(schedule("s", timeout=MINUTE), overlap="skip"))
    store.clock.advance(20 * SECOND)
    store.apply(ScheduleFire("s"))
    store.clock.advance(MINUTE)
    store.apply(ScheduleFire("s"))
    occurrences(store, 2)


def test_overlap_skip_creates_one_missed_occurrence(store: World) -> None:
    store.apply(replace(schedule("s"), overlap="skip"))
    store.clock.advance(10 * MINUTE)
    store.apply(ScheduleFire("s"))
    occurrences(store, 1)
    shown = present(store.apply(ScheduleGet("s")).schedule)
    assert shown.skipped_at == shown.last_run_at == FIRST + 9 * MINUTE


# -- pause, resume, trigger ---------------------------------------------------------------------------------------


def test_paused_schedule_skips_its_occurrences(store: World) -> None:
    store.apply(schedule("s"))
    store.pass_time(20 * SECOND)
    assert present(store.apply(SchedulePause("s")).schedule).paused
    assert store.recurring == {}
    store.pass_time(HOUR)
    store.apply(ScheduleFire("s"))
    occurrences(store, 1)
    resumed = present(store.apply(ScheduleResume("s")).schedule)
    assert (resumed.paused, resumed.next_run_at) == (False, FIRST + HOUR + MINUTE)
    assert store.recurring == {"s": ("* * * * *", None)}
    store.pass_time(MINUTE)
    occurrences(store, 1, FIRST + HOUR + MINUTE)
    occurrences(store, 1)


def test_pause_or_resume_repeated_changes_nothing(store: World) -> None:
    created = store.apply(schedule("s")).schedule
    assert store.apply(ScheduleResume("s")).schedule == created
    paused = store.apply(SchedulePause("s")).schedule
    store.clock.advance(HOUR)
    assert store.apply(SchedulePause("s")).schedule == paused
    resumed = store.apply(ScheduleResume("s")).schedule
    store.clock.advance(1)
    assert store.apply(ScheduleResume("s")).schedule == resumed


def test_trigger_of_a_paused_schedule_creates_an_occurrence_now(store: World) -> None:
    store.apply(schedule("s"))
    store.apply(SchedulePause("s"))
    store.clock.advance(5 * SECOND)
    response = store.apply(ScheduleTrigger("s"))
    id, at = f"s.{T0 + 5 * SECOND}", T0 + 5 * SECOND
    assert response.promise == store.stored(id).promise()
    assert (present(response.promise).created_at, present(response.promise).timeout_at) == (at, at + HOUR)
    assert present(response.promise).tags == {
        **TARGETED,
        SCHEDULE: "s",
        **dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id),
    }
    assert store.messages() == [execute(id, 0)]
    shown = present(store.apply(ScheduleGet("s")).schedule)
    assert (shown.last_promise, shown.last_run_at, shown.next_run_at) == (id, None, FIRST)


def test_trigger_does_not_change_the_occurrences_of_cron(store: World) -> None:
    store.apply(schedule("s"))
    store.apply(ScheduleTrigger("s"))
    store.pass_time(MINUTE + 20 * SECOND)
    occurrences(store, 2)

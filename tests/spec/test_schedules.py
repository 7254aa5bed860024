"""What the schedule requests store and arm, and what firings create (docs/protocol.md 3).

The corpus has most of their answers.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from resonate_store.model.records import Schedule, SettledState
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.schedule_requests import (
    ScheduleBackfill,
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
    ScheduleUpdate,
)
from resonate_store.model.tags import BRANCH, DELAY, ORIGIN, PARENT, PREFIX, SCHEDULE, TARGET, TIMER
from tests.support.build import DAY, HOUR, MINUTE, SECOND, TARGETED, create, execute, schedule, settle, value
from tests.support.present import present
from tests.support.substrates import T0, NewStore, World

FIRST = T0 + 20 * SECOND
"""The first whole minute after the start: 15:07."""


def guess(tags: dict[str, str], *, at: int = FIRST + HOUR, param: str = "input") -> PromiseCreate:
    """Take the id of the first occurrence of the schedule `s`, whose calls last an hour."""
    return create(f"s.{FIRST}", tags, at=at, param=param)


def occurrences(store: World, count: int, first: int = FIRST, every: int = MINUTE) -> list[str]:
    """The ids of `count` occurrences of the schedule `s`; they must exist, and the one after them must not."""
    ids = [f"s.{first + n * every}" for n in range(count)]
    assert [store.record(id) is not None for id in [*ids, f"s.{first + count * every}"]] == [True] * count + [False]
    return ids


def lineage(id: str) -> dict[str, str]:
    """Return the tags of an occurrence of the schedule `s`."""
    return {**TARGETED, SCHEDULE: "s", **dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id)}


def test_schedule_create_stores_and_arms_it(store: World) -> None:
    response = store.apply(schedule("s", tags={**TARGETED, "kind": "report"}))
    assert response.status == 200
    assert response.schedule == Schedule(
        id="s",
        cron="* * * * *",
        promise_id="{{.id}}.{{.timestamp}}",
        promise_timeout=HOUR,
        promise_param=value("input"),
        promise_tags={**TARGETED, "kind": "report"},
        created_at=T0,
        next_run_at=FIRST,
    )
    assert store.apply(ScheduleGet("s")).schedule == response.schedule
    assert store.recurring == {"s": ("* * * * *", None)}
    assert (store.fired, store.armed, store.messages()) == ([("s", FIRST)], [], [])


def test_schedule_fire_of_an_unknown_schedule_is_404(store: World) -> None:
    response = store.apply(ScheduleFire("s"))
    assert (response.status, response.error) == (404, "Schedule not found")


def test_deleted_schedule_is_disarmed_and_can_be_created_again(store: World) -> None:
    store.apply(schedule("s"))
    assert store.apply(ScheduleDelete("s")).status == 200
    assert store.recurring == {}
    store.pass_time(HOUR)
    occurrences(store, 0)
    renewed = present(store.apply(schedule("s", "0 * * * *")).schedule)
    assert (renewed.cron, renewed.created_at, renewed.last_run_at) == ("0 * * * *", T0 + HOUR, None)
    store.pass_time(HOUR)
    occurrences(store, 1, renewed.next_run_at, HOUR)


def test_schedule_and_promise_can_have_the_same_id(store: World) -> None:
    store.apply(create("s"))
    store.apply(schedule("s"))
    store.apply(settle("s"))
    assert store.apply(ScheduleGet("s")).ok
    assert store.apply(ScheduleDelete("s")).ok
    assert store.stored("s").state == "resolved"


# -- firing -----------------------------------------------------------------------------------------------------------


def test_firing_creates_the_occurrence(store: World) -> None:
    """docs/protocol.md 3.3: created at the occurrence; tags name the schedule and make it the root of its own tree."""
    store.apply(schedule("s", tags={**TARGETED, "kind": "report", ORIGIN: "elsewhere"}))
    store.pass_time(20 * SECOND + 500)
    (id,) = occurrences(store, 1)
    promise = store.stored(id).promise()
    assert (promise.state, promise.created_at, promise.timeout_at) == ("pending", FIRST, FIRST + HOUR)
    assert promise.param == value("input")
    assert promise.tags == {**lineage(id), "kind": "report"}
    assert store.stored(id).root
    assert store.messages() == [execute(id, 0)]
    fired = present(store.apply(ScheduleGet("s")).schedule)
    assert (fired.last_run_at, fired.next_run_at) == (FIRST, FIRST + MINUTE)
    assert store.recurring == {"s": ("* * * * *", None)}
    assert store.fired == [("s", FIRST)], "what recurs needs no arming"


def test_firing_repeated_creates_one_occurrence(store: World) -> None:
    store.apply(schedule("s"))
    store.clock.advance(20 * SECOND)
    for _ in range(3):
        assert store.apply(ScheduleFire("s")).ok
    (id,) = occurrences(store, 1)
    assert store.messages() == [execute(id, 0)]


def test_occurrence_id_taken_by_another_call_is_skipped(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """The promise stays as it is. The schedule shows the reason, and its next occurrence is created."""
    cases: list[tuple[PromiseCreate, SettledState | None, str]] = [
        (guess({"mine": "yes"}), None, "does something else"),
        (guess(TARGETED, param="something else"), None, "does something else"),
        (guess({TARGET: "poll://any@others"}), None, "does something else"),
        (guess({**TARGETED, DELAY: str(FIRST + 1)}), None, "does not begin with the occurrence"),
        (guess({**TARGETED, TIMER: "true"}), None, "does not begin with the occurrence"),
        (guess({**TARGETED, SCHEDULE: "s"}, at=FIRST + HOUR - 1), None, "has another deadline"),
        (guess(TARGETED, at=T0 + SECOND), None, "has another deadline"),
        (guess(TARGETED, at=FIRST + 2 * HOUR + 1), None, "has another deadline"),
        *(
            (guess(tags), state, "is settled by somebody else")
            for state in get_args(SettledState)
            for tags in (TARGETED, {**TARGETED, SCHEDULE: "s"})
        ),
    ]
    for taken, settled, difference in cases:
        with subtests.test(taken=taken, settled=settled):
            store = new_store()
            assert store.apply(taken).ok
            if settled:
                store.apply(settle(f"s.{FIRST}", settled))
            store.apply(schedule("s"))
            before = store.stored(f"s.{FIRST}")
            store.messages()
            store.pass_time(20 * SECOND)
            shown = present(store.apply(ScheduleGet("s")).schedule)
            assert (shown.skipped_at, shown.last_promise) == (FIRST, None)
            assert shown.skip_reason == f"promise 's.{FIRST}' exists already and {difference}"
            store.pass_time(MINUTE)
            occurrences(store, 2)
            assert present(store.apply(ScheduleGet("s")).schedule).last_promise == f"s.{FIRST + MINUTE}"
            assert execute(f"s.{FIRST + MINUTE}", 0) in store.messages()
            after, kept = store.stored(f"s.{FIRST}"), ("param", "tags", "timeout_at", "created_at")
            assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]


def test_occurrence_started_early_by_the_same_call_counts(new_store: NewStore, subtests: pytest.Subtests) -> None:
    for at in (FIRST + HOUR, FIRST + 2 * HOUR):
        with subtests.test(at=at):
            store = new_store()
            store.apply(guess(TARGETED, at=at))
            store.apply(schedule("s"))
            store.pass_time(20 * SECOND)
            shown = present(store.apply(ScheduleGet("s")).schedule)
            assert (shown.skipped_at, shown.last_promise, shown.last_run_at) == (None, f"s.{FIRST}", FIRST)
            assert SCHEDULE not in store.stored(f"s.{FIRST}").tags


def test_schedule_created_again_adopts_its_earlier_occurrence(store: World) -> None:
    """All occurrences have one id, so only the first one runs."""
    for began in (FIRST, FIRST + MINUTE):
        store.apply(schedule("s", promise_id="{{.id}}-only"))
        store.pass_time(20 * SECOND if began == FIRST else MINUTE)
        shown = present(store.apply(ScheduleGet("s")).schedule)
        assert (shown.last_run_at, shown.last_promise, shown.skipped_at) == (began, "s-only", None)
        store.apply(settle("s-only"))
        store.apply(ScheduleDelete("s"))
    assert store.stored("s-only").created_at == FIRST


def test_firing_creates_a_bounded_number_of_occurrences(store: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule stays due, and the next firing creates the next ones."""
    monkeypatch.setattr("resonate_store.machine.schedules.MAX_OCCURRENCES", 4)
    store.apply(schedule("s", timeout=DAY))
    store.clock.advance(9 * MINUTE + 20 * SECOND)
    for done in (4, 8, 10, 10):
        store.fired.clear()
        store.apply(ScheduleFire("s"))
        occurrences(store, done)
        assert store.due() == ([] if done == 10 else ["s"])
        assert store.fired == ([] if done == 10 else [("s", FIRST + done * MINUTE)]), "the next firing is asked for"
    assert len(store.messages()) == 10


def test_firing_with_large_params_fits_into_a_transaction(store: World) -> None:
    """DynamoDB takes 4 MB at once. The next firing creates the other occurrences."""
    request = schedule("s")
    store.apply(replace(request, promise_param=value("x" * 300_000)))
    with store.holding() as backlog:
        store.clock.advance(HOUR)
        assert store.apply(ScheduleFire("s")).ok
        backlog.clear()
    assert len(occurrences(store, 6)) == 6
    store.tick()
    occurrences(store, 12)


def test_firing_after_an_outage_fits_into_transactions(store: World) -> None:
    """The bound of a firing, plus the schedule, is within what one transaction takes."""
    store.apply(schedule("s", timeout=DAY))
    store.clock.advance(2 * HOUR)
    while store.due():
        store.tick()
    occurrences(store, 120)


def test_occurrence_id_is_built_from_the_template(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """docs/rules.md S3: every literal {{.id}} and {{.timestamp}}, exactly as written, is replaced."""
    for template, first, second in [
        ("{{.id}}.{{.timestamp}}", f"s.{FIRST}", f"s.{FIRST + MINUTE}"),
        ("daily/{{.timestamp}}/{{.id}}/{{.timestamp}}", f"daily/{FIRST}/s/{FIRST}", None),
        ("{{ .id }}-{{.timestamp}}", f"{{{{ .id }}}}-{FIRST}", None),
        ("x.{{.timestamp}}", f"x.{FIRST}", f"x.{FIRST + MINUTE}"),
    ]:
        with subtests.test(template=template, first=first, second=second):
            store = new_store()
            store.apply(schedule("s", promise_id=template))
            store.pass_time(MINUTE + 20 * SECOND)
            assert store.stored(first).tags[SCHEDULE] == "s"
            assert second is None or store.record(second) is not None


def test_template_without_timestamp_advances_after_an_outage(store: World) -> None:
    store.apply(schedule("s", promise_id="once"))
    store.clock.advance(3 * HOUR)
    while store.due():
        store.tick()
    assert present(store.apply(ScheduleGet("s")).schedule).next_run_at == FIRST + 3 * HOUR


def test_occurrence_with_timeout_0_is_stored_settled(store: World) -> None:
    store.apply(schedule("s", timeout=0))
    store.pass_time(20 * SECOND)
    (id,) = occurrences(store, 1)
    assert (store.stored(id).state, store.stored(id).settled_at) == ("rejected_timedout", FIRST)
    assert store.messages() == []


def test_slow_clock_does_not_fire_twice(store: World) -> None:
    """Rule 1 for schedules: a neighbour two seconds behind sees what the faster one has advanced."""
    store.apply(schedule("s"))
    behind = store.neighbour(-2 * SECOND)
    store.pass_time(20 * SECOND)
    behind.apply(ScheduleFire("s"))
    occurrences(store, 1)
    assert behind.messages() == []


# -- policies ---------------------------------------------------------------------------------------------------------


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


def test_overlap_skip_ignores_a_previous_occurrence_past_its_deadline(store: World) -> None:
    store.apply(replace(schedule("s", timeout=MINUTE), overlap="skip"))
    store.clock.advance(20 * SECOND)
    store.apply(ScheduleFire("s"))
    store.clock.advance(MINUTE)
    store.apply(ScheduleFire("s"))
    occurrences(store, 2)


# -- pause, resume, trigger -------------------------------------------------------------------------------------------


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
    assert present(response.promise).tags == lineage(id)
    assert store.messages() == [execute(id, 0)]
    shown = present(store.apply(ScheduleGet("s")).schedule)
    assert (shown.last_promise, shown.last_run_at, shown.next_run_at) == (id, None, FIRST)


def update(cron: str = "* * * * *", **fields: Any) -> ScheduleUpdate:
    """Return an update of the schedule `s`; without arguments it changes nothing."""
    before = schedule("s", cron)
    names = before.__struct_fields__
    return ScheduleUpdate(**{**{name: getattr(before, name) for name in names}, **fields})


def test_update_arms_a_schedule_again_only_for_another_expression(store: World) -> None:
    store.apply(schedule("s"))
    store.recurring.clear()
    store.fired.clear()
    assert store.apply(update()).schedule == store.apply(ScheduleGet("s")).schedule
    assert present(store.apply(update(promise_timeout=7)).schedule).promise_timeout == 7
    assert (store.recurring, store.fired) == ({}, [])
    assert present(store.apply(update("0 12 * * *", timezone="Europe/Berlin")).schedule).next_run_at == T0 + 68_000_000
    assert (store.recurring, store.fired) == ({"s": ("0 12 * * *", "Europe/Berlin")}, [])


def test_update_first_creates_what_the_definition_before_has_due(store: World) -> None:
    store.apply(schedule("s", timeout=DAY))
    with store.holding() as backlog:
        store.clock.advance(2 * MINUTE + 20 * SECOND)
        updated = present(store.apply(update("@hourly", promise_tags={**TARGETED, "new": "yes"})).schedule)
        backlog.clear()
    for id in occurrences(store, 3):
        assert "new" not in present(store.record(id)).tags
    assert (updated.last_run_at, updated.next_run_at) == (FIRST + 2 * MINUTE, FIRST + 53 * MINUTE)


def test_update_waits_until_many_missed_occurrences_are_created(store: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_store.machine.schedules.MAX_OCCURRENCES", 2)
    store.apply(schedule("s", timeout=DAY))
    with store.holding() as backlog:
        store.clock.advance(HOUR)
        refused = store.apply(update("@hourly"))
        backlog.clear()
    assert (refused.status, refused.error) == (
        409,
        "occurrences of schedule 's' were missed and are being created: update it again later",
    )
    assert store.apply(ScheduleGet("s")).schedule == present(store.apply(ScheduleGet("s")).schedule)


def test_backfill_creates_a_bounded_number_in_one_request(store: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_store.machine.schedules.MAX_OCCURRENCES", 4)
    store.apply(schedule("s", timeout=HOUR))
    begin, end = FIRST - 10 * MINUTE, FIRST - MINUTE
    counts: list[tuple[int, int]] = []
    at: str | None = str(begin)
    while at is not None:
        response = store.apply(ScheduleBackfill("s", int(at), end))
        backfilled = present(response.backfill)
        counts.append((backfilled.created, backfilled.existing))
        at = response.cursor
    assert counts == [(4, 0), (4, 0), (2, 0)]
    assert present(store.apply(ScheduleBackfill("s", begin, begin + HOUR)).backfill).existing == 4
    for id in (f"s.{begin + n * MINUTE}" for n in range(10)):
        record = present(store.record(id))
        assert (record.created_at, record.timeout_at) == (T0, T0 + HOUR)
        assert record.tags == lineage(id)
    assert len(store.messages()) == 10
    assert store.record(f"s.{FIRST}") is None, "it is still to come"


def test_backfill_that_skips_creates_the_next_one_after_the_last(store: World) -> None:
    store.apply(
        schedule("s", timeout=HOUR, overlap="skip") if False else replace(schedule("s", timeout=HOUR), overlap="skip")
    )
    request = ScheduleBackfill("s", FIRST - 3 * MINUTE, FIRST - MINUTE)
    for number in range(3):
        backfilled = present(store.apply(request).backfill)
        assert (backfilled.created, backfilled.existing, backfilled.skipped) == (1, number, 2 - number)
        last = f"s.{FIRST + (number - 3) * MINUTE}"
        assert present(store.apply(ScheduleGet("s")).schedule).last_promise == last
        assert store.apply(settle(last)).ok
    assert present(store.apply(replace(request, overlap="allow")).backfill).existing == 3


def test_backfill_of_a_paused_schedule_reaches_until_now(store: World) -> None:
    store.apply(schedule("s", timeout=HOUR))
    store.apply(SchedulePause("s"))
    store.clock.advance(2 * MINUTE)
    assert present(store.apply(ScheduleBackfill("s", FIRST, FIRST + HOUR)).backfill).created == 2
    store.apply(ScheduleResume("s"))
    occurrences(store, 2)

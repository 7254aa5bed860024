"""What the schedule requests answer, and what their firings create (docs/protocol.md 3), on every substrate."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from resonate_store.model.records import EMPTY, Schedule, SettledState
from resonate_store.model.requests import (
    PromiseCreate,
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
)
from resonate_store.model.tags import BRANCH, DELAY, ORIGIN, PARENT, PREFIX, SCHEDULE, TARGET, TIMER
from tests.support.build import DAY, HOUR, MINUTE, SECOND, TARGETED, WORKERS, create, execute, schedule, settle, value
from tests.support.substrates import T0, World, any_store, dynamo_client, manual_clock  # noqa: F401

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


def test_create_stores_a_schedule(store: World) -> None:
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


def test_a_schedule_travels_in_the_protocols_words(store: World) -> None:
    shown: dict[str, Any] = {
        "id": "s",
        "cron": "* * * * *",
        "promiseId": "{{.id}}.{{.timestamp}}",
        "promiseTimeout": HOUR,
        "promiseParam": msgspec.to_builtins(value("input")),
        "promiseTags": TARGETED,
        "createdAt": T0,
        "nextRunAt": FIRST,
    }
    assert msgspec.to_builtins(store.apply(schedule("s")).schedule) == shown
    store.pass_time(20 * SECOND)
    ran = {"lastRunAt": FIRST, "nextRunAt": FIRST + MINUTE, "lastPromise": f"s.{FIRST}"}
    assert msgspec.to_builtins(store.apply(ScheduleGet("s")).schedule) == {**shown, **ran}


def test_create_again_answers_the_stored_schedule_untouched(store: World) -> None:
    first = store.apply(schedule("s")).schedule
    store.clock.advance(SECOND)
    response = store.apply(schedule("s", "0 0 * * *", promise_id="other", timeout=1))
    assert (response.status, response.schedule) == (200, first)
    assert store.fired == [("s", FIRST)]


@pytest.mark.parametrize(
    "request_",
    [kind("s") for kind in (ScheduleGet, ScheduleDelete, ScheduleFire, SchedulePause, ScheduleResume, ScheduleTrigger)],
)
def test_an_unknown_schedule_is_404(store: World, request_: Any) -> None:
    response = store.apply(request_)
    assert (response.status, response.error) == (404, "Schedule not found")


def test_delete_ends_it_and_keeps_its_promises(store: World) -> None:
    store.apply(schedule("s"))
    store.pass_time(20 * SECOND)
    (id,) = occurrences(store, 1)
    assert store.apply(ScheduleDelete("s")).status == 200
    assert store.recurring == {}
    assert store.apply(ScheduleGet("s")).status == 404
    assert store.apply(ScheduleDelete("s")).status == 404
    store.clock.advance(10 * MINUTE)
    assert store.apply(ScheduleFire("s")).status == 404
    store.tick()
    assert occurrences(store, 1) == [id]


def test_a_deleted_schedule_can_be_created_anew(store: World) -> None:
    store.apply(schedule("s"))
    store.apply(ScheduleDelete("s"))
    store.clock.advance(HOUR)
    renewed = store.apply(schedule("s", "0 * * * *")).schedule
    assert (renewed.cron, renewed.created_at, renewed.last_run_at) == ("0 * * * *", T0 + HOUR, None)
    store.pass_time(HOUR)
    occurrences(store, 1, renewed.next_run_at, HOUR)


def test_a_schedule_and_a_promise_may_have_the_same_id(store: World) -> None:
    store.apply(create("s"))
    store.apply(schedule("s"))
    store.apply(settle("s"))
    assert store.apply(ScheduleGet("s")).ok
    assert store.apply(ScheduleDelete("s")).ok
    assert store.stored("s").state == "resolved"


# -- firing -------------------------------------------------------------------------------------------------------


def test_a_firing_creates_the_occurrence(store: World) -> None:
    """docs/protocol.md 3.3: created at the occurrence; tags name the schedule and make it the root of its own tree."""
    store.apply(schedule("s", tags={**TARGETED, "kind": "report", ORIGIN: "elsewhere"}))
    store.pass_time(20 * SECOND + 500)
    (id,) = occurrences(store, 1)
    promise = store.stored(id).promise()
    assert (promise.state, promise.created_at, promise.timeout_at) == ("pending", FIRST, FIRST + HOUR)
    assert promise.param == value("input")
    assert promise.tags == {
        **TARGETED,
        "kind": "report",
        SCHEDULE: "s",
        **dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id),
    }
    assert store.stored(id).root
    assert store.messages() == [execute(id, 0)]
    fired = store.apply(ScheduleGet("s")).schedule
    assert (fired.last_run_at, fired.next_run_at) == (FIRST, FIRST + MINUTE)
    assert store.recurring == {"s": ("* * * * *", None)}
    assert store.fired == [("s", FIRST)], "what recurs needs no arming"


def test_an_early_firing_creates_nothing(store: World) -> None:
    created = store.apply(schedule("s")).schedule
    store.clock.advance(20 * SECOND - 1)
    assert store.apply(ScheduleFire("s")).schedule == created
    occurrences(store, 0)
    assert store.fired == [("s", FIRST)]


def test_a_repeated_firing_creates_nothing_more(store: World) -> None:
    store.apply(schedule("s"))
    store.clock.advance(20 * SECOND)
    for _ in range(3):
        assert store.apply(ScheduleFire("s")).ok
    (id,) = occurrences(store, 1)
    assert store.messages() == [execute(id, 0)]


@pytest.mark.parametrize(
    ("taken", "difference"),
    [
        (guess({"mine": "yes"}), "does something else"),
        (guess(TARGETED, param="something else"), "does something else"),
        (guess({TARGET: "poll://any@others"}), "does something else"),
        (guess({**TARGETED, DELAY: str(FIRST + 1)}), "does not begin with the occurrence"),
        (guess({**TARGETED, TIMER: "true"}), "does not begin with the occurrence"),
        (guess({**TARGETED, SCHEDULE: "s"}, at=FIRST + HOUR - 1), "has another deadline"),
        (guess(TARGETED, at=T0 + SECOND), "has another deadline"),
        (guess(TARGETED, at=FIRST + 2 * HOUR + 1), "has another deadline"),
    ],
)
def test_a_promise_under_a_guessed_id_does_not_pass_for_the_occurrence(
    store: World, taken: PromiseCreate, difference: str
) -> None:
    """It is left alone, and the schedule shows what happened and goes on."""
    assert store.apply(taken).ok
    store.apply(schedule("s"))
    before = store.stored(f"s.{FIRST}")
    store.messages()
    store.pass_time(20 * SECOND)
    shown = store.apply(ScheduleGet("s")).schedule
    assert (shown.skipped_at, shown.last_promise) == (FIRST, None)
    assert shown.skip_reason == f"promise 's.{FIRST}' exists already and {difference}"
    store.pass_time(MINUTE)
    occurrences(store, 2)
    assert store.apply(ScheduleGet("s")).schedule.last_promise == f"s.{FIRST + MINUTE}"
    assert execute(f"s.{FIRST + MINUTE}", 0) in store.messages()
    after = store.stored(f"s.{FIRST}")
    assert (after.param, after.tags, after.timeout_at, after.created_at) == (
        before.param,
        before.tags,
        before.timeout_at,
        before.created_at,
    )


@pytest.mark.parametrize("tags", [TARGETED, {**TARGETED, SCHEDULE: "s"}])
@pytest.mark.parametrize("state", get_args(SettledState))
def test_what_somebody_has_settled_is_not_the_occurrence(
    store: World, tags: dict[str, str], state: SettledState
) -> None:
    """Whatever it is tagged: it was created before its time."""
    store.apply(guess(tags))
    store.apply(settle(f"s.{FIRST}", state))
    store.apply(schedule("s"))
    store.pass_time(20 * SECOND)
    shown = store.apply(ScheduleGet("s")).schedule
    assert (shown.skipped_at, shown.last_promise) == (FIRST, None)
    assert shown.skip_reason == f"promise 's.{FIRST}' exists already and is settled by somebody else"


def test_a_schedule_made_anew_knows_the_promises_of_its_earlier_life(store: World) -> None:
    """All occurrences may have one id; then the first of them is the only one that runs."""
    for began in (FIRST, FIRST + MINUTE):
        store.apply(schedule("s", promise_id="{{.id}}-only"))
        store.pass_time(20 * SECOND if began == FIRST else MINUTE)
        shown = store.apply(ScheduleGet("s")).schedule
        assert (shown.last_run_at, shown.last_promise, shown.skipped_at) == (began, "s-only", None)
        store.apply(settle("s-only"))
        store.apply(ScheduleDelete("s"))
    assert store.stored("s-only").created_at == FIRST


@pytest.mark.parametrize("at", [FIRST + HOUR, FIRST + 2 * HOUR])
def test_who_guesses_an_id_for_the_same_call_has_only_started_it(store: World, at: int) -> None:
    store.apply(guess(TARGETED, at=at))
    store.apply(schedule("s"))
    store.pass_time(20 * SECOND)
    shown = store.apply(ScheduleGet("s")).schedule
    assert (shown.skipped_at, shown.last_promise, shown.last_run_at) == (None, f"s.{FIRST}", FIRST)
    assert SCHEDULE not in store.stored(f"s.{FIRST}").tags


def test_an_outage_is_caught_up_in_order(store: World) -> None:
    """docs/rules.md S2: one firing creates every occurrence due since the last, and advances."""
    store.apply(schedule("s"))
    store.clock.advance(5 * MINUTE + 30 * SECOND)
    response = store.apply(ScheduleFire("s"))
    ids = occurrences(store, 6)
    assert (response.schedule.last_run_at, response.schedule.next_run_at) == (
        FIRST + 5 * MINUTE,
        FIRST + 6 * MINUTE,
    )
    assert store.messages() == [execute(id, 0) for id in ids]
    assert [store.stored(id).created_at for id in ids] == [FIRST + n * MINUTE for n in range(6)]


def test_an_occurrence_that_is_over_when_it_is_caught_up_is_stored_settled(store: World) -> None:
    store.apply(schedule("s", timeout=MINUTE))
    store.pass_time(MINUTE + 30 * SECOND)
    missed, current = occurrences(store, 2)
    over = store.stored(missed)
    assert (over.state, over.created_at, over.settled_at, over.timeout_at, over.value) == (
        "rejected_timedout",
        FIRST,
        FIRST + MINUTE,
        FIRST + MINUTE,
        EMPTY,
    )
    assert (store.task(missed).state, store.task(missed).version) == ("fulfilled", 0)
    assert store.stored(current).pending
    assert store.messages() == [execute(current, 0)]


def test_catching_up_is_bounded(store: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One firing creates a bounded number of occurrences; it stays due, and the next firing goes on."""
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


def test_a_firing_with_large_params_fits_into_a_transaction(store: World) -> None:
    """DynamoDB takes 4 MB at once: the rest of the occurrences is left to the next firing, none is lost."""
    request = schedule("s")
    store.apply(replace(request, promise_param=value("x" * 300_000)))
    with store.holding() as backlog:
        store.clock.advance(HOUR)
        assert store.apply(ScheduleFire("s")).ok
        backlog.clear()
    assert len(occurrences(store, 6)) == 6
    store.tick()
    occurrences(store, 12)


def test_a_whole_days_outage_fits_into_transactions(store: World) -> None:
    """The real bound, with the schedule itself, is within what one transaction takes."""
    store.apply(schedule("s", timeout=DAY))
    store.clock.advance(2 * HOUR)
    while store.due():
        store.tick()
    occurrences(store, 120)


@pytest.mark.parametrize(
    ("template", "first", "second"),
    [
        ("{{.id}}.{{.timestamp}}", f"s.{FIRST}", f"s.{FIRST + MINUTE}"),
        ("daily/{{.timestamp}}/{{.id}}/{{.timestamp}}", f"daily/{FIRST}/s/{FIRST}", None),
        ("{{ .id }}-{{.timestamp}}", f"{{{{ .id }}}}-{FIRST}", None),
        ("x.{{.timestamp}}", f"x.{FIRST}", f"x.{FIRST + MINUTE}"),
    ],
)
def test_promise_ids_come_from_the_template(store: World, template: str, first: str, second: str | None) -> None:
    """docs/rules.md S3: every literal {{.id}} and {{.timestamp}}, exactly as written, is replaced."""
    store.apply(schedule("s", promise_id=template))
    store.pass_time(MINUTE + 20 * SECOND)
    assert store.stored(first).tags[SCHEDULE] == "s"
    assert second is None or store.record(second) is not None


def test_a_template_without_a_timestamp_creates_one_promise(store: World) -> None:
    store.apply(schedule("s", promise_id="once"))
    store.pass_time(5 * MINUTE)
    store.pass_time(5 * MINUTE)
    assert (store.stored("once").created_at, store.messages()[0]) == (FIRST, execute("once", 0))
    assert store.apply(ScheduleGet("s")).schedule.last_run_at == FIRST + 9 * MINUTE


def test_a_long_outage_with_one_id_advances_too(store: World) -> None:
    store.apply(schedule("s", promise_id="once"))
    store.clock.advance(3 * HOUR)
    while store.due():
        store.tick()
    assert store.apply(ScheduleGet("s")).schedule.next_run_at == FIRST + 3 * HOUR


def test_a_lost_firing_is_made_up_by_the_sweep(store: World) -> None:
    store.apply(schedule("s", "0 * * * *"))
    with store.holding() as changes:
        changes.clear()
    store.pass_time(HOUR)
    assert [address for address, _ in store.messages()] == [WORKERS]


def test_a_timeout_of_zero_is_over_at_once(store: World) -> None:
    store.apply(schedule("s", timeout=0))
    store.pass_time(20 * SECOND)
    (id,) = occurrences(store, 1)
    assert (store.stored(id).state, store.stored(id).settled_at) == ("rejected_timedout", FIRST)
    assert store.messages() == []


def test_a_slow_clock_does_not_fire_twice(store: World) -> None:
    """Rule 1 for schedules: a neighbour two seconds behind sees what the faster one has advanced."""
    store.apply(schedule("s"))
    behind = store.neighbour(-2 * SECOND)
    store.pass_time(20 * SECOND)
    behind.apply(ScheduleFire("s"))
    occurrences(store, 1)
    assert behind.messages() == []


def test_schedules_are_independent(store: World) -> None:
    store.apply(schedule("s"))
    store.apply(schedule("t", "*/5 * * * *"))
    store.apply(replace(schedule("s 2"), promise_id="{{.id}}#{{.timestamp}}"))
    store.pass_time(3 * MINUTE + 30 * SECOND)
    occurrences(store, 4)
    assert store.record(f"t.{FIRST + 3 * MINUTE}") is not None
    assert store.record(f"s 2#{FIRST}") is not None


# -- policies -----------------------------------------------------------------------------------------------------


def test_what_is_ours_is_stored_and_shown(store: World) -> None:
    request = replace(
        schedule("s", "30 2 * * *"),
        timezone="Europe/Berlin",
        catch_up="latest",
        overlap="skip",
        description="Nightly",
        tags={"team": "a"},
    )
    created = store.apply(request).schedule
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


def test_catching_up_with_the_latest_only(store: World) -> None:
    store.apply(replace(schedule("s"), catch_up="latest"))
    store.clock.advance(3 * DAY + 30 * SECOND)
    shown = store.apply(ScheduleFire("s")).schedule
    latest = FIRST + 3 * DAY
    assert (shown.last_run_at, shown.next_run_at) == (latest, latest + MINUTE)
    assert (shown.skipped_at, shown.skip_reason) == (latest - MINUTE, "it was missed")
    assert store.messages() == [execute(f"s.{latest}", 0)]
    assert store.record(f"s.{FIRST}") is None
    store.clock.advance(MINUTE)
    store.apply(ScheduleFire("s"))
    assert store.messages() == [execute(f"s.{latest + MINUTE}", 0)]


def test_a_punctual_firing_with_the_latest_only_skips_nothing(store: World) -> None:
    store.apply(replace(schedule("s"), catch_up="latest"))
    store.pass_time(20 * SECOND)
    assert store.apply(ScheduleGet("s")).schedule.skipped_at is None
    occurrences(store, 1)


def test_not_catching_up_at_all(store: World) -> None:
    """A firing may be two minutes late: that is no more than EventBridge and the sweep may take."""
    store.apply(replace(schedule("s", "*/10 * * * *"), catch_up="none"))
    first = FIRST + 3 * MINUTE
    store.clock.advance(first + 2 * MINUTE - T0)
    store.apply(ScheduleFire("s"))
    assert store.messages() == [execute(f"s.{first}", 0)]
    store.clock.advance(10 * MINUTE + 1)
    shown = store.apply(ScheduleFire("s")).schedule
    assert (shown.last_run_at, shown.next_run_at) == (first, first + 20 * MINUTE)
    assert (shown.skipped_at, shown.skip_reason) == (first + 10 * MINUTE, "it was missed")
    assert store.messages() == []
    assert "s" not in store.due()
    store.clock.advance(8 * MINUTE)
    store.apply(ScheduleFire("s"))
    assert store.messages() == [execute(f"s.{first + 20 * MINUTE}", 0)]


def test_an_occurrence_does_not_overlap_with_the_previous_one(store: World) -> None:
    store.apply(replace(schedule("s"), overlap="skip"))
    store.pass_time(20 * SECOND)
    store.pass_time(MINUTE)
    shown = store.apply(ScheduleGet("s")).schedule
    assert (shown.last_run_at, shown.last_promise) == (FIRST + MINUTE, f"s.{FIRST}")
    assert shown.skipped_at == FIRST + MINUTE
    assert shown.skip_reason == f"the previous occurrence, 's.{FIRST}', has not ended"
    occurrences(store, 1)
    store.apply(settle(f"s.{FIRST}"))
    store.pass_time(MINUTE)
    assert store.record(f"s.{FIRST + 2 * MINUTE}") is not None
    assert store.record(f"s.{FIRST + MINUTE}") is None


def test_one_that_is_past_its_deadline_is_not_in_the_way(store: World) -> None:
    """Nobody has read it since; it is over all the same."""
    store.apply(replace(schedule("s", timeout=MINUTE), overlap="skip"))
    store.clock.advance(20 * SECOND)
    store.apply(ScheduleFire("s"))
    store.clock.advance(MINUTE)
    store.apply(ScheduleFire("s"))
    occurrences(store, 2)


def test_catching_up_without_overlap_creates_one(store: World) -> None:
    store.apply(replace(schedule("s"), overlap="skip"))
    store.clock.advance(10 * MINUTE)
    store.apply(ScheduleFire("s"))
    occurrences(store, 1)
    shown = store.apply(ScheduleGet("s")).schedule
    assert shown.skipped_at == shown.last_run_at == FIRST + 9 * MINUTE


# -- pause, resume, trigger ---------------------------------------------------------------------------------------


def test_a_paused_schedule_does_not_fire_and_what_it_misses_is_gone(store: World) -> None:
    store.apply(schedule("s"))
    store.pass_time(20 * SECOND)
    assert store.apply(SchedulePause("s")).schedule.paused
    assert store.recurring == {}
    store.pass_time(HOUR)
    store.apply(ScheduleFire("s"))
    occurrences(store, 1)
    resumed = store.apply(ScheduleResume("s")).schedule
    assert (resumed.paused, resumed.next_run_at) == (False, FIRST + HOUR + MINUTE)
    assert store.recurring == {"s": ("* * * * *", None)}
    store.pass_time(MINUTE)
    occurrences(store, 1, FIRST + HOUR + MINUTE)
    occurrences(store, 1)


def test_pausing_and_resuming_twice_changes_nothing(store: World) -> None:
    created = store.apply(schedule("s")).schedule
    assert store.apply(ScheduleResume("s")).schedule == created
    paused = store.apply(SchedulePause("s")).schedule
    store.clock.advance(HOUR)
    assert store.apply(SchedulePause("s")).schedule == paused
    resumed = store.apply(ScheduleResume("s")).schedule
    store.clock.advance(1)
    assert store.apply(ScheduleResume("s")).schedule == resumed


def test_trigger_creates_an_occurrence_now(store: World) -> None:
    store.apply(schedule("s"))
    store.apply(SchedulePause("s"))
    store.clock.advance(5 * SECOND)
    response = store.apply(ScheduleTrigger("s"))
    id, at = f"s.{T0 + 5 * SECOND}", T0 + 5 * SECOND
    assert response.promise == store.stored(id).promise()
    assert (response.promise.created_at, response.promise.timeout_at) == (at, at + HOUR)
    assert response.promise.tags == {**TARGETED, SCHEDULE: "s", **dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id)}
    assert store.messages() == [execute(id, 0)]
    shown = store.apply(ScheduleGet("s")).schedule
    assert (shown.last_promise, shown.last_run_at, shown.next_run_at) == (id, None, FIRST)


def test_trigger_leaves_the_occurrences_of_cron_as_they_are(store: World) -> None:
    store.apply(schedule("s"))
    store.apply(ScheduleTrigger("s"))
    store.pass_time(MINUTE + 20 * SECOND)
    occurrences(store, 2)


def test_trigger_is_refused_while_the_previous_occurrence_must_not_overlap(store: World) -> None:
    store.apply(replace(schedule("s"), overlap="skip"))
    first = store.apply(ScheduleTrigger("s")).promise
    store.clock.advance(1)
    refused = store.apply(ScheduleTrigger("s"))
    assert (refused.status, refused.error) == (409, f"the previous occurrence, {first.id!r}, has not ended")
    store.apply(settle(first.id))
    assert store.apply(ScheduleTrigger("s")).ok


def test_trigger_is_refused_where_its_promise_exists(store: World) -> None:
    store.apply(schedule("s", promise_id="once"))
    assert store.apply(ScheduleTrigger("s")).ok
    store.clock.advance(1)
    refused = store.apply(ScheduleTrigger("s"))
    assert (refused.status, refused.error) == (409, "promise 'once' exists already")

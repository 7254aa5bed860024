"""`resonate.schedule` and `resonate.schedules` on a store in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from resonate import Resonate
from resonate.errors import ResonateStoreError
from resonate.schedules import upcoming
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import END_OF_TIME
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleGet
from resonate_store.model.tags import ORIGIN, SCHEDULE, SCOPE, TARGET
from tests.support.present import present

T0 = 1_750_000_000_000
FIRST = T0 + 20_000
MINUTE = 60_000


class World:
    """A client with a manual clock. `pass_time` fires what is due, and `offered` keeps the ids of the sent tasks."""

    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.store = MemoryStore(self.clock)
        self.resonate = Resonate(store=self.store, group="g")
        self.offered: list[str] = []
        self.store.subscribe(on_wake=lambda _: None)
        self.store.subscribe(send=lambda _, message: self.offered.append(message["data"]["task"]["id"]))

        self.report: Any = self.resonate.register(lambda _, user_id: f"report for {user_id}", name="report")
        self.resonate.register(lambda _, user_id: f"new report for {user_id}", name="report", version=2)

    def pass_time(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds)
        self.store.tick()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    # No thread may do what is due before the test says so.
    monkeypatch.setattr("resonate.process.runtime.Runtime.start", lambda _: None)
    yield world
    world.resonate.stop()


def refused(code: float, call: Any, *arguments: Any, **options: Any) -> ResonateStoreError:
    with pytest.raises(ResonateStoreError) as caught:
        call(*arguments, **options)
    assert caught.value.code == code
    return caught.value


# resonate.schedule


def test_schedule_calls_its_function_at_each_occurrence(world: World) -> None:
    schedule = world.resonate.schedule("daily", world.report, "* * * * *", user_id=123)
    assert (schedule.id, schedule.cron, schedule.next_run_time) == ("daily", "* * * * *", FIRST)

    world.pass_time(20_000)

    record = present(world.store.record(f"daily.{FIRST}"))
    assert world.offered == [record.id]
    assert (record.tags[SCHEDULE], record.tags[TARGET], record.tags[SCOPE]) == ("daily", "poll://any@g", "global")
    assert record.tags[ORIGIN] == record.id
    assert world.resonate.promises.get(record.id).param.data == (
        '{"func":"report","args":[],"kwargs":{"user_id":123},"version":1}'
    )
    again = world.resonate.schedule("daily", world.report, "* * * * *", user_id=123)
    assert (again.created_on, again.last_run_time) == (schedule.created_on, FIRST)


def test_schedule_uses_the_options_of_its_client(world: World) -> None:
    when: dict[str, Any] = {"timezone": "Asia/Tokyo", "catch_up": "latest", "overlap": "skip"}
    options = world.resonate.options(version=1, target="elsewhere", timeout=90, tags={"team": "a"}, **when)
    schedule = options.schedule("daily", "report", "0 9 * * *", 7)

    own = {TARGET: "poll://any@elsewhere", SCOPE: "global", "resonate:func": "report"}
    assert schedule.promise_tags == {"team": "a", **own}
    assert schedule.promise_param.data == '{"func":"report","args":[7],"kwargs":{},"version":1}'
    assert (schedule.promise_timeout, schedule.timezone) == (90_000, "Asia/Tokyo")
    assert (schedule.catch_up, schedule.overlap) == ("latest", "skip")
    assert schedule.next_run_time % 86_400_000 == 0, "nine in Tokyo is midnight in UTC"


def test_schedule_with_another_definition_is_refused_with_the_differences(
    world: World, subtests: pytest.Subtests
) -> None:
    """Two versions of a program that are deployed side by side must not overwrite each other's schedules in turn."""
    cases: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
        ("@daily", {"user_id": 123}, {}, ["cron"]),
        ("* * * * *", {"user_id": 4}, {}, ["promise_param"]),
        ("* * * * *", {"user_id": 123}, {"version": 1}, ["promise_param"]),
        ("* * * * *", {"user_id": 123}, {"target": "other", "timezone": "UTC"}, ["timezone", "promise_tags"]),
        ("* * * * *", {"user_id": 123}, {"timeout": 1, "overlap": "skip"}, ["promise_timeout", "overlap"]),
    ]
    for cron, arguments, options, differs in cases:
        with subtests.test(differs=differs):
            before = world.resonate.schedule("daily", "report", "* * * * *", user_id=123)
            error = refused(100.40901, world.resonate.options(**options).schedule, "daily", "report", cron, **arguments)
            assert error.mesg.startswith("Schedule already exists")
            assert error.details == {"id": "daily", "differs": differs}
            assert world.resonate.schedules.get("daily") == before


def test_invalid_schedule_is_refused_with_its_reason(world: World, subtests: pytest.Subtests) -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("61 * * * *", {}, "the minute field '61'"),
        ("@daily", {"timezone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'"),
        ("@daily", {"catch_up": "some"}, "catch-up policy"),
        ("@daily", {"overlap": "queue"}, "overlap policy"),
    ]
    for cron, options, named in cases:
        with subtests.test(named=named):
            error = refused(100.40000, world.resonate.options(**options).schedule, "daily", "report", cron)
            assert named in error.mesg
            refused(100.40401, world.resonate.schedules.get, "daily")
    with pytest.raises(ValueError, match="not found in registry"):
        world.resonate.schedule("daily", print, "@daily")
    with pytest.raises(TypeError, match="func must be"):
        world.resonate.schedule("daily", 7, "@daily")  # type: ignore[arg-type]
    assert TARGET in refused(100.40000, world.resonate.schedules.create, "s", "@daily").mesg


def test_schedule_equals_that_of_the_protocols_request(world: World) -> None:
    world.resonate.schedule("daily", "report", "@daily", user_id=1)
    made = present(world.store.apply(ScheduleGet("daily")).schedule)
    world.resonate.schedules.delete("daily")
    request = ScheduleCreate(
        "daily", "@daily", "{{.id}}.{{.timestamp}}", made.promise_timeout, made.promise_param, made.promise_tags
    )
    assert world.store.apply(request).schedule == made


def test_run_with_the_id_of_an_occurrence_gets_its_outcome(world: World) -> None:
    """The id can be guessed; what runs under it is what the schedule says."""
    intruder = world.resonate.register(lambda _: "mine", name="intruder")
    world.resonate.schedule("daily", "report", "* * * * *", user_id=123)
    world.pass_time(20_000)

    assert world.resonate.run(f"daily.{FIRST}", intruder) == "new report for 123"


# resonate.schedules


def test_schedule_by_hand_is_created_read_and_deleted(world: World) -> None:
    schedules = world.resonate.schedules
    param: dict[str, Any] = {"promise_headers": {"h": "x"}, "promise_data": "7"}
    keywords: dict[str, Any] = {"ikey": "k", "description": "Hourly", "tags": {"team": "a"}, **param}
    tags = {TARGET: "poll://any@g", "kind": "report"}
    created = schedules.create("s", "0 * * * *", "{{.id}}/{{.timestamp}}", 5000, promise_tags=tags, **keywords)
    assert created == schedules.get("s")
    assert (created.description, created.tags, created.ikey) == ("Hourly", {"team": "a"}, "k")
    assert (created.promise_param.headers, created.promise_param.data) == ({"h": "x"}, "7")
    assert (created.promise_id, created.promise_timeout) == ("{{.id}}/{{.timestamp}}", 5000)
    assert (created.created_on, created.last_run_time) == (T0, None)
    world.clock.advance_to(created.next_run_time)
    world.store.tick()
    promise = world.resonate.promises.get(f"s/{created.next_run_time}")
    assert (promise.param.data, promise.tags["kind"], promise.timeout) == ("7", "report", created.next_run_time + 5000)

    schedules.delete("s")
    refused(100.40401, schedules.get, "s")
    refused(100.40401, schedules.delete, "s")


def test_schedule_created_twice_needs_an_equal_key(world: World) -> None:
    """docs/protocol.md 4.3: two absent keys do not match."""
    create = world.resonate.schedules.create
    tags = {TARGET: "poll://any@g"}
    create("s", "@daily", promise_tags=tags)
    first = create("t", "@daily", ikey="k", promise_tags=tags)

    assert create("t", "@hourly", ikey="k", promise_tags=tags) == first
    for id, ikey in (("s", None), ("s", "other"), ("t", "other")):
        refused(100.40901, create, id, "@daily", ikey=ikey, promise_tags=tags)


def test_schedule_is_paused_triggered_and_resumed(world: World) -> None:
    schedules = world.resonate.schedules
    world.resonate.options(overlap="skip").schedule("s", "report", "* * * * *", user_id=1)
    assert schedules.pause("s").paused
    world.pass_time(10 * MINUTE)
    assert world.offered == []
    promise = schedules.trigger("s")
    assert (promise.id, world.offered) == (f"s.{world.clock.now()}", [promise.id])
    world.clock.advance(1)
    assert "has not ended" in refused(100.40900, schedules.trigger, "s").mesg
    resumed = schedules.resume("s")
    assert (resumed.paused, resumed.next_run_time, resumed.last_promise) == (False, FIRST + 10 * MINUTE, promise.id)
    for call in (schedules.pause, schedules.resume, schedules.trigger, schedules.next_runs):
        refused(100.40401, call, "other")


def test_schedule_lists_its_next_runs(world: World) -> None:
    schedules = world.resonate.schedules
    world.resonate.schedule("s", "report", "*/10 * * * *", user_id=1)
    first = FIRST + 3 * MINUTE
    assert schedules.next_runs("s", 3) == [first, first + 10 * MINUTE, first + 20 * MINUTE]
    schedules.pause("s")
    world.clock.advance(15 * MINUTE)
    assert schedules.next_runs("s", 1) == [first + 20 * MINUTE], "if it were resumed now"
    assert upcoming("*/10 * * * *", T0, 2) == [first, first + 10 * MINUTE]
    with pytest.raises(ValueError, match="the minute field 'x'"):
        upcoming("x * * * *", T0)


def test_occurrence_without_timeout_has_the_last_instant(world: World) -> None:
    never = world.resonate.options(timeout=sys.maxsize).schedule("daily", world.report, "* * * * *", user_id=123)
    tags = {TARGET: "poll://any@g"}
    by_hand = world.resonate.schedules.create("s", "* * * * *", "s.{{.timestamp}}", sys.maxsize, promise_tags=tags)
    world.pass_time(MINUTE)

    assert never.promise_timeout == by_hand.promise_timeout == END_OF_TIME
    assert world.resonate.promises.get(f"s.{FIRST}").timeout == END_OF_TIME
    again = world.resonate.options(timeout=sys.maxsize).schedule("daily", world.report, "* * * * *", user_id=123)
    assert again.id == never.id


def test_schedule_update_changes_what_is_given(world: World) -> None:
    schedules = world.resonate.schedules
    tags = {TARGET: "poll://any@g"}
    created = schedules.create("s", "@daily", ikey="k", tags={"a": "b"}, promise_data="1", promise_tags=tags)

    updated = schedules.update("s", cron="@hourly", promise_data="2", tags={"c": "d"}, overlap="skip")
    assert (updated.cron, updated.promise_param.data, updated.overlap) == ("@hourly", "2", "skip")
    assert (updated.tags, updated.ikey) == ({"c": "d"}, "k")
    assert (updated.promise_tags, updated.promise_timeout) == (tags, created.promise_timeout)
    assert schedules.update("s", timezone="Europe/Berlin").timezone == "Europe/Berlin"
    assert schedules.update("s", timezone="UTC").timezone is None
    refused(100.40401, schedules.update, "none", cron="@daily")
    refused(100.4, schedules.update, "s", cron="often")
    wrong: Any = 7
    with pytest.raises(TypeError, match="cron"):
        schedules.update("s", cron=wrong)


def test_schedule_of_a_function_is_replaced_by_another_call(world: World) -> None:
    world.resonate.schedule("daily", world.report, "@daily", 1)
    updated = world.resonate.options(timeout=60).update_schedule("daily", world.report, "* * * * *", 2)
    assert (updated.cron, updated.promise_timeout) == ("* * * * *", 60_000)
    world.pass_time(20_000)
    assert '"args":[2]' in present(world.resonate.promises.get(f"daily.{FIRST}").param.data)
    assert world.resonate.options(timeout=60).schedule("daily", world.report, "* * * * *", 2).cron == "* * * * *"
    refused(100.40401, world.resonate.update_schedule, "none", world.report, "@daily", 1)


def test_backfill_is_bounded_and_can_be_repeated(world: World) -> None:
    world.resonate.schedule("s", world.report, "* * * * *", 1)
    seen: list[int] = []
    begin = FIRST - 200 * MINUTE
    done = world.resonate.schedules.backfill("s", begin, FIRST, progress=lambda each: seen.append(each.created))
    assert (done.created, done.existing, done.skipped) == (200, 0, 0)
    assert seen == [90, 180, 200]
    assert world.resonate.schedules.backfill("s", begin, FIRST).existing == 200
    with pytest.raises(ValueError, match="more than 1000 occurrences"):
        world.resonate.schedules.backfill("s", FIRST - 1001 * MINUTE, FIRST)
    refused(100.40401, world.resonate.schedules.backfill, "none", 1, 2)

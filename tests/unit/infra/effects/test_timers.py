from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resonate_infra.effects.tick import Tick, message_of
from resonate_infra.effects.timers import EARLY_MS, Timers
from resonate_store.delivery.timers import QUEUE_HORIZON_MS
from resonate_store.model.clock import ManualClock
from resonate_store.model.requests import PromiseWake, Response
from tests.support.aws_doubles import SETTINGS, Scheduler, Sqs, refusal

DAY = 86_400_000
YEAR = 365 * DAY


class World:
    """Timers over doubles of SQS and Scheduler."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sqs = Sqs()
        self.scheduler = Scheduler()
        self.timers = Timers(self.sqs, self.scheduler, SETTINGS, self.clock)

    def arm(self, delay: int, id: str = "p", kind: Literal["timer", "schedule"] = "timer") -> int:
        at = self.clock.now() + delay
        self.timers.arm(kind, id, at)
        return at

    def scheduled(self) -> list[tuple[int, Any]]:
        """Return the instant (ms) and the message of each schedule."""
        found: list[tuple[int, Any]] = []
        for schedule in self.scheduler.schedules.values():
            instant = datetime.fromisoformat(schedule["ScheduleExpression"][3:-1]).replace(tzinfo=UTC)
            found.append((int(instant.timestamp()) * 1000, json.loads(schedule["Target"]["Input"])))
        return found


@pytest.fixture
def world() -> World:
    return World()


# Within fifteen minutes: the queue


DELAYS = {-5000: 0, 0: 0, 1: 1, 999: 1, 1000: 1, 1001: 2, 59_999: 60, 898_001: 899, 899_001: 900, 900_000: 900}


def test_near_timer_is_a_message_with_delay_rounded_up(world: World) -> None:
    messages = [({"kind": "timer", "id": "p", "at": world.arm(delay)}, seconds) for delay, seconds in DELAYS.items()]

    assert world.sqs.sent == [(SETTINGS.timer_queue_url, message, seconds) for message, seconds in messages]
    assert world.scheduler.schedules == {}


# Beyond: a one-time schedule


def test_distant_timer_is_a_schedule_two_minutes_early(subtests: pytest.Subtests) -> None:
    for delay in (QUEUE_HORIZON_MS + 1, 3_600_000, 30 * DAY, 10 * YEAR):
        with subtests.test(delay=delay):
            world = World()
            at = world.arm(delay)
            assert world.sqs.sent == []
            ((fires, message),) = world.scheduled()
            assert message == {"kind": "timer", "id": "p", "at": at}
            assert at - EARLY_MS - 1000 < fires <= at - EARLY_MS
            assert fires > world.clock.now()


def test_distant_timer_invokes_the_tick_function_with_its_role(world: World) -> None:
    world.arm(DAY)

    (schedule,) = world.scheduler.schedules.values()
    assert schedule["GroupName"] == "timers"
    assert (schedule["Target"]["Arn"], schedule["Target"]["RoleArn"]) == (SETTINGS.tick_arn, SETTINGS.schedule_role_arn)


def test_timer_beyond_the_calendar_is_scheduled_a_century_ahead(subtests: pytest.Subtests) -> None:
    for delay in (2**53, 10**18, 9_000 * YEAR):
        with subtests.test(delay=delay):
            world = World()
            at = world.arm(delay)
            ((fires, message),) = world.scheduled()
            assert message["at"] == at
            assert 99 * YEAR < fires - world.clock.now() < 101 * YEAR


def test_timer_armed_again_replaces_its_schedule(world: World) -> None:
    world.arm(DAY)
    at = world.arm(2 * DAY)

    ((fires, message),) = world.scheduled()
    assert world.scheduler.updates == 1
    assert message["at"] == at
    assert fires > world.clock.now() + DAY


def test_scheduler_failure_is_raised(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = Mock(side_effect=refusal("AccessDeniedException", "CreateSchedule"))
    monkeypatch.setattr(world.scheduler, "create_schedule", refuse)
    monkeypatch.setattr(world.scheduler, "delete_schedule", refuse)

    with pytest.raises(Exception, match="AccessDenied"):
        world.arm(DAY)
    with pytest.raises(Exception, match="AccessDenied"):
        world.timers.recur("s", "@daily", None)
    with pytest.raises(Exception, match="AccessDenied"):
        world.timers.cease("s")


# Recurring schedules


def recurring(world: World) -> list[tuple[str, str]]:
    return sorted(
        (schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"])
        for schedule in world.scheduler.schedules.values()
    )


def test_recur_creates_a_recurring_schedule(world: World) -> None:
    world.timers.recur("daily", "30 9 * * mon-fri", "Europe/Berlin")

    assert recurring(world) == [("cron(30 9 ? * 2-6 *)", "Europe/Berlin")]
    (schedule,) = world.scheduler.schedules.values()
    assert json.loads(schedule["Target"]["Input"]) == {"kind": "schedule", "id": "daily"}
    assert (schedule["Target"]["Arn"], schedule["Target"]["RoleArn"]) == (SETTINGS.tick_arn, SETTINGS.schedule_role_arn)
    assert schedule["GroupName"] == "timers"


def test_recur_with_two_kinds_of_day_creates_two_schedules(world: World) -> None:
    world.timers.recur("s", "0 0 13 * fri", None)

    assert recurring(world) == [("cron(0 0 13 * ? *)", "UTC"), ("cron(0 0 ? * 6 *)", "UTC")]


def test_recur_again_replaces_both_schedules(world: World) -> None:
    world.timers.recur("s", "0 0 13 * fri", None)
    world.timers.recur("s", "0 0 13 * fri", None)
    assert (len(world.scheduler.schedules), world.scheduler.updates) == (2, 2)

    world.timers.recur("s", "@hourly", "Asia/Tokyo")
    assert recurring(world) == [("cron(0 * * * ? *)", "Asia/Tokyo")]


def test_cease_deletes_both_schedules_if_they_exist(world: World) -> None:
    world.timers.recur("s", "0 0 13 * fri", None)
    world.timers.recur("t", "@hourly", None)
    world.timers.cease("s")
    world.timers.cease("s")

    assert recurring(world) == [("cron(0 * * * ? *)", "UTC")]


# Names


@given(st.text(min_size=1), st.text(min_size=1))
def test_schedule_names_are_valid_and_distinct_for_each_id(one: str, other: str) -> None:
    world = World()
    for id in {one, other}:
        if not any("\ud800" <= character <= "\udfff" for character in id):
            world.arm(DAY, id)
            world.arm(DAY, id, "schedule")
            world.timers.recur(id, "0 0 13 * fri", None)

    assert world.scheduler.updates == 0


def test_schedule_names_are_distinct_for_each_table() -> None:
    from msgspec.structs import replace

    clock = ManualClock()
    names = {
        Timers(Sqs(), Scheduler(), replace(SETTINGS, table=table), clock).name("timer", "p") for table in ("a", "b")
    }
    assert len(names) == 2


# From arming to firing


class Woken:
    """Double of a store and its outlets that notes when a promise is woken."""

    def __init__(self, world: World) -> None:
        self.timers = world.timers
        self.store = self
        self.transports = None
        self.retention_s = 0
        self.count = lambda _: None
        self.at: list[int] = []
        self._clock = world.clock

    def delivered_by(self, _: object) -> Woken:
        return self

    def apply(self, request: PromiseWake) -> Response:
        assert request.id == "p"
        self.at.append(self._clock.now())
        return Response()


DURATIONS = st.one_of(
    st.integers(0, 2_000),
    st.integers(0, 3_600_000),
    st.integers(QUEUE_HORIZON_MS - 2_000, QUEUE_HORIZON_MS + EARLY_MS + 2_000),
    st.integers(0, 50 * YEAR),
)


@given(
    offset=st.integers(0, 999),
    duration=DURATIONS,
    late=st.lists(st.integers(0, 59_999), min_size=3, max_size=3),
    repeated=st.booleans(),
)
@example(offset=999, duration=QUEUE_HORIZON_MS, late=[0, 0, 0], repeated=False)
@example(offset=999, duration=QUEUE_HORIZON_MS + 1, late=[59_999, 0, 0], repeated=True)
@example(offset=1, duration=QUEUE_HORIZON_MS + EARLY_MS, late=[0, 0, 0], repeated=True)
def test_timer_fires_within_a_second_after_it_is_due(
    offset: int, duration: int, late: list[int], repeated: bool
) -> None:
    """Scheduler fires up to a minute late, SQS is punctual, and each message can be delivered twice."""
    world = World()
    world.clock.advance(offset)
    woken = Woken(world)
    tick = Tick(woken, world.clock)  # pyright: ignore[reportArgumentType]
    at = world.arm(duration)
    lateness = iter(late)
    while world.sqs.sent or world.scheduler.schedules:
        messages = [(world.clock.now() + seconds * 1000, message) for _, message, seconds in world.sqs.sent]
        messages += [(fires + next(lateness), message) for fires, message in world.scheduled()]
        world.sqs.sent.clear()
        world.scheduler.schedules.clear()
        for due, message in sorted(messages, key=lambda each: each[0]):
            world.clock.advance_to(due)
            for _ in range(2 if repeated and len(messages) < 4 else 1):
                tick.act(message_of(message))

    assert all(at <= instant < at + 1000 for instant in woken.at), (at, woken.at)
    assert len(woken.at) >= 1


def test_timer_that_fires_early_is_armed_for_the_rest(world: World) -> None:
    woken = Woken(world)
    tick = Tick(woken, world.clock)  # pyright: ignore[reportArgumentType]
    at = world.clock.now() + 90_500

    assert tick.act(message_of({"kind": "timer", "id": "p", "at": at})) == {"kind": "timer", "id": "p", "rearmed": at}
    assert woken.at == []
    assert world.sqs.sent == [(SETTINGS.timer_queue_url, {"kind": "timer", "id": "p", "at": at}, 91)]

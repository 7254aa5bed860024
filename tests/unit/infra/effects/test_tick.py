import itertools
from typing import Any

import pytest

from resonate_infra.effects.settings import SWEEP_INTERVAL_MS
from resonate_infra.effects.tick import MalformedTick, ScheduleDue, Sweep, Tick, Timer, message_of
from resonate_store.model.ids import shard
from resonate_store.model.requests import (
    PromiseSettle,
    PromiseWake,
    ScheduleCreate,
    ScheduleGet,
    SchedulePause,
    TaskContinue,
    TaskHalt,
)
from resonate_store.model.tags import TARGET
from tests.support.aws_doubles import SETTINGS
from tests.support.infra_world import HOUR, InfraWorld


def every_minute() -> ScheduleCreate:
    tags = {TARGET: "poll://any@default"}
    return ScheduleCreate("every", "* * * * *", "{{.id}}.{{.timestamp}}", HOUR, promise_tags=tags)


# Messages


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "sweep"}, Sweep()),
        ({"kind": "sweep", "shard": 3}, Sweep(3)),
        ('{"kind":"sweep"}', Sweep()),
        ({"kind": "timer", "id": "w1.1", "at": 5}, Timer("w1.1", 5)),
        ('{"kind":"timer","id":"w1.1","at":5}', Timer("w1.1", 5)),
        ({"kind": "schedule", "id": "daily"}, ScheduleDue("daily")),
        ({"kind": "schedule", "id": "daily", "at": 5}, ScheduleDue("daily", 5)),
    ],
)
def test_messages_are_read_from_events_and_from_text(content: Any, message: Any) -> None:
    assert message_of(content) == message


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        7,
        "",
        "text",
        "{}",
        {},
        {"kind": "other"},
        {"kind": "timer"},
        {"kind": "timer", "id": "w1"},
        {"kind": "timer", "id": "w1", "at": "soon"},
        {"kind": "timer", "id": 7, "at": 5},
        {"kind": "schedule"},
        {"source": "aws.events", "detail": {}},
    ],
    ids=str,
)
def test_anything_else_is_refused_with_what_is_expected(content: Any) -> None:
    with pytest.raises(MalformedTick, match=r'expected {"kind": "sweep"}, {"kind": "timer"'):
        message_of(content)


# Timers and schedules that fire


def test_a_due_timer_settles_its_promise(surroundings: InfraWorld) -> None:
    surroundings.create("t1", timer=True, after=5000)
    at = surroundings.record("t1").timeout_at
    surroundings.clock.advance(5000)

    assert surroundings.tick.act(Timer("t1", at)) == {"kind": "timer", "id": "t1", "status": 200}
    assert (surroundings.record("t1").state, surroundings.record("t1").settled_at) == ("resolved", at)


def test_a_timer_that_fires_early_is_armed_again_and_settles_nothing(surroundings: InfraWorld) -> None:
    surroundings.create("t1", timer=True, after=5000)
    at = surroundings.record("t1").timeout_at
    surroundings.clock.advance(4999)

    assert surroundings.tick.act(Timer("t1", at))["rearmed"] == at
    assert surroundings.record("t1").state == "pending"
    assert surroundings.sqs.sent == [(SETTINGS.timer_queue_url, {"kind": "timer", "id": "t1", "at": at}, 1)]


def test_a_message_that_is_early_for_the_promise_itself_changes_nothing(surroundings: InfraWorld) -> None:
    """Whatever the message says, the record says when it is due."""
    surroundings.create("t1", timer=True, after=5000)

    assert surroundings.tick.act(Timer("t1", surroundings.clock.now() - 1))["status"] == 200
    assert surroundings.record("t1").state == "pending"


def test_timers_fire_twice_and_late_without_harm(surroundings: InfraWorld) -> None:
    surroundings.create("t1", timer=True, after=5000)
    at = surroundings.record("t1").timeout_at
    surroundings.clock.advance(50_000)
    surroundings.tick.act(Timer("t1", at))
    settled = surroundings.record("t1")
    surroundings.tick.act(Timer("t1", at))

    assert surroundings.record("t1") == settled


def test_a_timer_of_something_that_is_gone_is_no_failure(surroundings: InfraWorld) -> None:
    assert surroundings.tick.act(Timer("gone", 0))["status"] == 404
    assert surroundings.tick.act(ScheduleDue("gone"))["status"] == 404


def test_a_due_schedule_creates_its_occurrences(surroundings: InfraWorld) -> None:
    surroundings.store.apply(every_minute())
    first = surroundings.store.apply(ScheduleGet("every")).schedule
    assert first is not None
    surroundings.clock.advance_to(first.next_run_at)

    assert surroundings.tick.act(ScheduleDue("every", first.next_run_at))["status"] == 200
    assert surroundings.record(f"every.{first.next_run_at}").pending
    after = surroundings.store.apply(ScheduleGet("every")).schedule
    assert after is not None
    assert (after.last_run_at, after.next_run_at) == (first.next_run_at, first.next_run_at + 60_000)


# The sweep


def counts(result: dict[str, Any]) -> tuple[int, int]:
    return result["woken"], result["failed"]


def timers(surroundings: InfraWorld, count: int) -> list[str]:
    ids = [f"t{n}" for n in range(count)]
    for id in ids:
        surroundings.create(id, timer=True, after=1000)
    surroundings.clock.advance(1000)
    return ids


def test_the_sweep_wakes_what_is_due_in_every_shard_and_nothing_else(surroundings: InfraWorld) -> None:
    ids = timers(surroundings, 40)
    surroundings.create("later", timer=True)
    assert {shard(id, surroundings.store.shards) for id in ids} == set(range(surroundings.store.shards))

    surroundings.clock.advance(250)

    assert surroundings.tick.act(Sweep()) == {"kind": "sweep", "woken": 40, "failed": 0, "lag": 250, "finished": True}
    assert {surroundings.record(id).state for id in ids} == {"resolved"}
    assert surroundings.record("later").pending
    assert surroundings.tick.act(Sweep()) == {"kind": "sweep", "woken": 0, "failed": 0, "lag": 0, "finished": True}


def test_the_sweep_begins_nothing_after_its_deadline(surroundings: InfraWorld) -> None:
    timers(surroundings, 10)

    assert surroundings.tick.sweep(surroundings.clock.now())["woken"] == 0
    assert surroundings.tick.sweep(surroundings.clock.now() + 1)["woken"] == 10


def test_sweeps_that_run_out_of_time_begin_in_another_shard_each(
    surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With time for one entry a sweep, no shard is left out for ever, whatever comes in in the others."""
    ids = timers(surroundings, 40)
    woken: list[str] = []
    store = surroundings.outlets.store
    transact = store.transact

    def slow(request: Any, *, announce: bool) -> Any:
        if isinstance(request, PromiseWake):
            woken.append(request.id)
            surroundings.clock.advance(1000)
        return transact(request, announce=announce)

    monkeypatch.setattr(store, "transact", slow)
    for _ in range(surroundings.store.shards):
        surroundings.tick.sweep(surroundings.clock.now() + 1)
        surroundings.clock.advance(SWEEP_INTERVAL_MS - 1000)

    assert len(woken) == surroundings.store.shards
    assert {shard(id, surroundings.store.shards) for id in woken} == {
        shard(id, surroundings.store.shards) for id in ids
    }


def test_the_longest_overdue_comes_first(surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    same = [f"w.{n}" for n in range(5)]
    for delay, id in zip([3, 1, 5, 2, 4], same, strict=True):
        surroundings.create(id, timer=True, after=delay * 100)
    surroundings.clock.advance(1000)
    woken: list[str] = []
    store = surroundings.outlets.store
    monkeypatch.setattr(store, "transact", lambda request, **_: woken.append(request.id) or (None, []))
    surroundings.tick.sweep()

    assert woken == ["w.1", "w.3", "w.0", "w.4", "w.2"]


def test_one_bad_entry_does_not_stop_the_sweep(
    surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ids = timers(surroundings, 10)
    store = surroundings.outlets.store
    transact, numbers = store.transact, itertools.count()

    def fragile(request: Any, *, announce: bool) -> Any:
        if isinstance(request, PromiseWake) and next(numbers) in (0, 5):
            raise RuntimeError("broken")
        return transact(request, announce=announce)

    monkeypatch.setattr(store, "transact", fragile)

    assert counts(surroundings.tick.sweep()) == (8, 2)
    assert caplog.text.count("failed") >= 2
    monkeypatch.undo()
    assert counts(surroundings.tick.sweep()) == (2, 0)
    assert {surroundings.record(id).state for id in ids} == {"resolved"}


def test_the_sweep_repeats_a_settlement_that_reached_nobody(surroundings: InfraWorld) -> None:
    """The stream record of the settlement was lost."""
    surroundings.create("awaited")
    surroundings.suspended("awaiter", "awaited")
    surroundings.store.apply(PromiseSettle("awaited", "resolved"))
    surroundings.clock.advance(59_999)
    surroundings.tick.sweep()
    assert not surroundings.record("awaited").delivered, "the stream has a minute"
    surroundings.clock.advance(1)
    surroundings.tick.sweep()

    task = surroundings.record("awaiter").task
    assert task is not None
    assert (task.state, task.resumes) == ("pending", ("awaited",))
    assert surroundings.record("awaited").delivered
    assert len(surroundings.functions.invoked) == 1
    assert surroundings.markers() == ["expiry#awaited"]


def test_the_sweep_leaves_schedules_to_eventbridge_for_their_minute(surroundings: InfraWorld) -> None:
    surroundings.store.apply(every_minute())
    schedule = surroundings.store.apply(ScheduleGet("every")).schedule
    assert schedule is not None
    surroundings.clock.advance_to(schedule.next_run_at + 59_999)

    assert surroundings.tick.sweep() == {"kind": "sweep", "woken": 0, "failed": 0, "lag": 0, "finished": True}
    assert surroundings.store.apply(ScheduleGet("every")).schedule == schedule


def test_the_sweep_fires_and_arms_a_schedule_that_nothing_else_fires(surroundings: InfraWorld) -> None:
    surroundings.store.apply(every_minute())
    schedule = surroundings.store.apply(ScheduleGet("every")).schedule
    assert schedule is not None
    surroundings.clock.advance_to(schedule.next_run_at + 60_000)

    assert counts(surroundings.tick.sweep()) == (1, 0)
    assert surroundings.record(f"every.{schedule.next_run_at}").pending
    (armed,) = surroundings.scheduler.schedules.values()
    assert armed["ScheduleExpression"] == "cron(* * * * ? *)"


def test_idle_sweep_of_a_deployment_is_logged_as_info(
    surroundings: InfraWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "resonate.tick")
    surroundings.tick.sweep()

    assert [record.levelname for record in caplog.records if record.name == "resonate.tick"] == ["INFO"]


def test_the_sweep_is_bounded(surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    timers(surroundings, 40)
    monkeypatch.setattr("resonate_infra.effects.tick.MAX_WAKES", 25)

    first, second = surroundings.tick.sweep(), surroundings.tick.sweep()

    assert (counts(first), first["finished"]) == ((25, 0), False)
    assert (counts(second), second["finished"]) == ((15, 0), True)


def test_no_shard_waits_for_another_that_has_more_to_do(
    surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate_infra.effects.tick.BATCH", 2)
    ids = ["w", *(f"w.{n}" for n in range(20)), "t0", "t1", "t2", "t3"]
    for id in ids:
        surroundings.create(id, timer=True, after=1000)
    surroundings.clock.advance(1000)
    shards = {shard(id, surroundings.store.shards) for id in ids}
    woken: list[str] = []
    store = surroundings.outlets.store
    monkeypatch.setattr(store, "transact", lambda request, **_: woken.append(request.id) or (None, []))

    surroundings.tick.sweep()

    assert sorted(woken) == sorted(ids)
    assert {shard(id, surroundings.store.shards) for id in woken[: 2 * len(shards)]} == shards


def test_one_shard_can_be_swept_by_itself(surroundings: InfraWorld) -> None:
    ids = timers(surroundings, 40)
    mine = [id for id in ids if shard(id, surroundings.store.shards) == 1]

    assert counts(surroundings.tick.act(Sweep(1))) == (len(mine), 0)
    assert {id for id in ids if not surroundings.record(id).pending} == set(mine)
    for unknown in (-1, surroundings.store.shards):
        with pytest.raises(MalformedTick, match=f"there is no shard {unknown}"):
            surroundings.tick.act(Sweep(unknown))


def test_a_sweep_that_stops_early_hands_over_the_shards_that_have_more(
    surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = timers(surroundings, 40)
    monkeypatch.setattr("resonate_infra.effects.tick.MAX_WAKES", 5)
    monkeypatch.setattr("resonate_infra.effects.tick.BATCH", 2)
    handed: list[Sweep] = []
    tick = Tick(surroundings.outlets, surroundings.clock, hand_over=handed.append)

    assert counts(tick.sweep()) == (5, 0)

    pending = {shard(id, surroundings.store.shards) for id in ids if surroundings.record(id).pending}
    assert pending <= {sweep.shard for sweep in handed}
    assert len(handed) == len({sweep.shard for sweep in handed})


def test_what_a_sweep_of_a_shard_leaves_is_the_next_minutes(
    surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers(surroundings, 40)
    monkeypatch.setattr("resonate_infra.effects.tick.MAX_WAKES", 1)
    handed: list[Sweep] = []
    tick = Tick(surroundings.outlets, surroundings.clock, hand_over=handed.append)

    assert not tick.act(Sweep(1))["finished"]
    assert handed == []


def test_a_sweep_that_has_seen_everything_hands_nothing_over(surroundings: InfraWorld) -> None:
    timers(surroundings, 40)
    handed: list[Sweep] = []

    assert Tick(surroundings.outlets, surroundings.clock, hand_over=handed.append).sweep()["finished"]
    assert handed == []


def test_the_lag_is_that_of_the_longest_overdue(surroundings: InfraWorld) -> None:
    for delay in (9000, 2000, 5000):
        surroundings.create(f"t{delay}", timer=True, after=delay)
    surroundings.clock.advance(7000)

    assert surroundings.tick.sweep()["lag"] == 5000


# What fires a schedule lasts as long as the schedule


def armed(surroundings: InfraWorld) -> int:
    return len(surroundings.scheduler.schedules)


def test_a_firing_of_a_schedule_that_is_gone_or_paused_deletes_what_fired_it(surroundings: InfraWorld) -> None:
    surroundings.outlets.arm_schedule("gone", "@hourly", None)
    surroundings.store.apply(every_minute())
    surroundings.outlets.arm_schedule("every", "* * * * *", None)
    surroundings.tick.act(ScheduleDue("gone"))
    assert armed(surroundings) == 1
    surroundings.tick.act(ScheduleDue("every"))
    assert armed(surroundings) == 1

    surroundings.store.apply(SchedulePause("every"))
    surroundings.tick.act(ScheduleDue("every"))
    assert armed(surroundings) == 0


def test_a_schedule_that_came_back_meanwhile_keeps_what_fires_it(
    surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is created and armed between the firing that found nothing and the deletion that follows."""
    disarm = surroundings.outlets.disarm_schedule

    def late(id: str) -> None:
        surroundings.store.apply(every_minute())
        surroundings.outlets.arm_schedule(id, "* * * * *", None)
        disarm(id)

    monkeypatch.setattr(surroundings.outlets, "disarm_schedule", late)
    surroundings.tick.act(ScheduleDue("every"))

    assert armed(surroundings) == 1


def test_a_firing_that_is_early_by_the_clocks_of_two_machines_comes_again(surroundings: InfraWorld) -> None:
    surroundings.store.apply(every_minute())
    schedule = surroundings.store.apply(ScheduleGet("every")).schedule
    assert schedule is not None
    surroundings.clock.advance_to(schedule.next_run_at - 1200)
    surroundings.tick.act(ScheduleDue("every"))

    message = {"kind": "schedule", "id": "every", "at": schedule.next_run_at}
    assert surroundings.sqs.sent == [(SETTINGS.timer_queue_url, message, 2)]
    surroundings.clock.advance_to(schedule.next_run_at)
    surroundings.sqs.sent.clear()
    surroundings.tick.act(ScheduleDue("every", schedule.next_run_at))
    assert surroundings.record(f"every.{schedule.next_run_at}").pending
    assert surroundings.sqs.sent == []


def test_sweep_counts_the_tasks_that_are_halted(surroundings: InfraWorld) -> None:
    observed: list[tuple[str, int]] = []
    tick = Tick(surroundings.outlets, surroundings.clock, lambda name, value: observed.append((name, value)))
    for number in range(20):
        surroundings.create(f"w{number}", target="poll://any@default")
        assert surroundings.store.apply(TaskHalt(f"w{number}")).ok
    surroundings.create("running", target="poll://any@default")
    tick.sweep()
    assert dict(observed)["HaltedNow"] == 20

    assert surroundings.store.apply(TaskContinue("w7")).ok
    surroundings.store.apply(PromiseSettle("w8", "rejected"))
    tick.sweep()
    assert dict(observed)["HaltedNow"] == 18

    surroundings.clock.advance(2 * HOUR)
    tick.sweep()  # their promises time out all the same
    tick.sweep()
    assert dict(observed)["HaltedNow"] == 0
    assert surroundings.record("w0").state == "rejected_timedout"


def test_sweep_of_one_shard_does_not_count_halted_tasks(surroundings: InfraWorld) -> None:
    observed: list[str] = []
    Tick(surroundings.outlets, surroundings.clock, lambda name, _: observed.append(name)).sweep(shard=3)
    assert observed == ["SweepLag"]


def test_halted_tasks_are_among_what_is_due(surroundings: InfraWorld) -> None:
    surroundings.create("w1", target="poll://any@default")
    assert surroundings.store.apply(TaskHalt("w1")).ok
    surroundings.clock.advance(2 * HOUR)
    assert surroundings.store.due(surroundings.clock.now()) == [("promise", "w1")]


@pytest.mark.parametrize(
    "target", ["lambda://tick", "lambda://tick:live", "lambda://arn:aws:lambda:us-east-1:1:function:tick:3"]
)
def test_task_that_targets_the_tick_function_is_halted(surroundings: InfraWorld, target: str) -> None:
    surroundings.create("w1", target=target)
    surroundings.create("w2", target="lambda://tick-worker")
    surroundings.clock.advance(HOUR // 2)
    surroundings.tick.sweep()

    assert [name for name, _, _ in surroundings.functions.invoked] == ["tick-worker"]
    task = surroundings.record("w1").task
    assert task is not None
    assert (task.state, task.error) == (
        "halted",
        f"its target {target} is a function of the deployment and not a worker",
    )

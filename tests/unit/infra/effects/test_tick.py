import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from resonate_infra.effects.settings import SWEEP_INTERVAL_MS
from resonate_infra.effects.tick import MalformedTick, ScheduleDue, Sweep, Tick, Timer, message_of, queued_message_of
from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.ids import shard
from resonate_store.model.records import Schedule
from resonate_store.model.requests import PromiseSettle, PromiseWake, TaskContinue, TaskHalt
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleGet, SchedulePause
from resonate_store.model.tags import TARGET
from tests.support.aws_doubles import SETTINGS
from tests.support.infra_world import HOUR, InfraWorld
from tests.support.present import present


def every_minute() -> ScheduleCreate:
    tags = {TARGET: "poll://any@default"}
    return ScheduleCreate("every", "* * * * *", "{{.id}}.{{.timestamp}}", HOUR, promise_tags=tags)


def schedule(world: InfraWorld) -> Schedule:
    return present(world.store.apply(ScheduleGet("every")).schedule)


# Messages


MESSAGES: list[tuple[Any, Any]] = [
    ({"kind": "sweep"}, Sweep()),
    ({"kind": "sweep", "shard": 3}, Sweep(3)),
    ('{"kind":"sweep"}', Sweep()),
    ({"kind": "timer", "id": "w1.1", "at": 5}, Timer("w1.1", 5)),
    ('{"kind":"timer","id":"w1.1","at":5}', Timer("w1.1", 5)),
    ({"kind": "schedule", "id": "daily"}, ScheduleDue("daily")),
    ({"kind": "schedule", "id": "daily", "at": 5}, ScheduleDue("daily", 5)),
]
MALFORMED: tuple[Any, ...] = (
    *(None, [], 7, "", "text", "{}", {}),
    {"kind": "other"},
    {"kind": "timer"},
    {"kind": "timer", "id": "w1"},
    {"kind": "timer", "id": "w1", "at": "soon"},
    {"kind": "timer", "id": 7, "at": 5},
    {"kind": "schedule"},
    {"source": "aws.events", "detail": {}},
)


def test_messages_are_read_from_events_and_from_text() -> None:
    assert [message_of(content) for content, _ in MESSAGES] == [message for _, message in MESSAGES]


def test_malformed_messages_are_refused(subtests: pytest.Subtests) -> None:
    for content in MALFORMED:
        with (
            subtests.test(content=content),
            pytest.raises(MalformedTick, match=r'expected {"kind": "sweep"}, {"kind": "timer"'),
        ):
            message_of(content)


def test_timer_queue_has_near_timers_only() -> None:
    """Workers may send to the queue. A stolen role must not start sweeps, or use up schedules of EventBridge."""
    now = 1_750_000_000_000
    near = {"kind": "timer", "id": "t", "at": now + 900_000}
    assert queued_message_of(json.dumps(near), now) == Timer("t", near["at"])
    assert queued_message_of('{"kind": "schedule", "id": "s"}', now) == ScheduleDue("s")
    with pytest.raises(MalformedTick, match="no sweeps"):
        queued_message_of('{"kind": "sweep"}', now)
    with pytest.raises(MalformedTick, match="is due within 900000 ms"):
        queued_message_of(json.dumps({**near, "at": now + 900_001}), now)


# Timers and schedules that fire


def test_timer_settles_its_promise_once_it_is_due(world: InfraWorld) -> None:
    world.create("t1", timer=True, after=5000)
    at = world.record("t1").timeout_at

    assert world.tick.act(Timer("t1", world.clock.now() - 1))["status"] == 200
    assert world.record("t1").pending, "the record says when it is due"
    world.clock.advance(4999)
    assert world.tick.act(Timer("t1", at))["rearmed"] == at
    assert world.record("t1").pending
    assert world.sqs.sent == [(SETTINGS.timer_queue_url, {"kind": "timer", "id": "t1", "at": at}, 1)]
    world.clock.advance(1)
    assert world.tick.act(Timer("t1", at)) == {"kind": "timer", "id": "t1", "status": 200}
    settled = world.record("t1")
    assert (settled.state, settled.settled_at) == ("resolved", at)
    world.clock.advance(45_000)
    world.tick.act(Timer("t1", at))
    again = world.record("t1")
    assert (again.state, again.settled_at) == (settled.state, settled.settled_at)


def test_timer_of_a_missing_record_answers_404(world: InfraWorld) -> None:
    assert world.tick.act(Timer("gone", 0))["status"] == 404
    assert world.tick.act(ScheduleDue("gone"))["status"] == 404


def test_due_schedule_creates_its_occurrence(world: InfraWorld) -> None:
    world.store.apply(every_minute())
    first = schedule(world).next_run_at
    world.clock.advance_to(first)

    assert world.tick.act(ScheduleDue("every", first))["status"] == 200
    assert world.record(f"every.{first}").pending
    assert (schedule(world).last_run_at, schedule(world).next_run_at) == (first, first + 60_000)


# The sweep


def counts(result: dict[str, Any]) -> tuple[int, int]:
    return result["woken"], result["failed"]


def timers(world: InfraWorld, count: int) -> list[str]:
    ids = [f"t{n}" for n in range(count)]
    for id in ids:
        world.create(id, timer=True, after=1000)
    world.clock.advance(1000)
    return ids


def before_waking(monkeypatch: pytest.MonkeyPatch, watch: Callable[[str], None]) -> None:
    """Call `watch` with the id of each promise before it is woken."""
    transact = DynamoStore.transact

    def watching(store: DynamoStore, request: Any, **options: Any) -> Any:
        if isinstance(request, PromiseWake):
            watch(request.id)
        return transact(store, request, **options)

    monkeypatch.setattr(DynamoStore, "transact", watching)


def test_sweep_wakes_due_records_of_every_shard(world: InfraWorld) -> None:
    ids = timers(world, 40)
    world.create("later", timer=True)
    assert {shard(id, world.store.shards) for id in ids} == set(range(world.store.shards))

    world.clock.advance(250)

    assert world.tick.act(Sweep()) == {"kind": "sweep", "woken": 40, "failed": 0, "lag": 250, "finished": True}
    assert {world.record(id).state for id in ids} == {"resolved"}
    assert world.record("later").pending
    assert world.tick.act(Sweep()) == {"kind": "sweep", "woken": 0, "failed": 0, "lag": 0, "finished": True}


def test_sweep_wakes_nothing_after_its_deadline(world: InfraWorld) -> None:
    timers(world, 10)

    assert world.tick.sweep(world.clock.now())["woken"] == 0
    assert world.tick.sweep(world.clock.now() + 1)["woken"] == 10


def test_sweep_without_time_begins_in_another_shard_each_minute(
    world: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = timers(world, 40)
    woken: list[str] = []

    def slow(id: str) -> None:
        woken.append(id)
        world.clock.advance(1000)

    before_waking(monkeypatch, slow)
    for _ in range(world.store.shards):
        world.tick.sweep(world.clock.now() + 1)
        world.clock.advance(SWEEP_INTERVAL_MS - 1000)

    assert len(woken) == world.store.shards
    assert {shard(id, world.store.shards) for id in woken} == {shard(id, world.store.shards) for id in ids}


def test_sweep_wakes_the_longest_overdue_first(world: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    same = [f"w.{n}" for n in range(5)]
    for delay, id in zip([3, 1, 5, 2, 4], same, strict=True):
        world.create(id, timer=True, after=delay * 100)
    world.clock.advance(1000)
    woken: list[str] = []
    before_waking(monkeypatch, woken.append)
    world.tick.sweep()

    assert woken == ["w.1", "w.3", "w.0", "w.4", "w.2"]


def test_sweep_continues_after_a_failing_entry(
    world: InfraWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ids = timers(world, 10)
    numbers = itertools.count()

    def fragile(_: str) -> None:
        if next(numbers) in (0, 5):
            raise RuntimeError("broken")

    before_waking(monkeypatch, fragile)

    assert counts(world.tick.sweep()) == (8, 2)
    assert caplog.text.count("failed") >= 2
    monkeypatch.undo()
    assert counts(world.tick.sweep()) == (2, 0)
    assert {world.record(id).state for id in ids} == {"resolved"}


def test_sweep_repeats_lost_effects_of_a_settlement_after_a_minute(world: InfraWorld) -> None:
    world.create("awaited")
    world.suspended("awaiter", "awaited")
    world.store.apply(PromiseSettle("awaited", "resolved"))
    world.clock.advance(59_999)
    world.tick.sweep()
    assert not world.record("awaited").delivered, "the stream has a minute"
    world.clock.advance(1)
    world.tick.sweep()

    task = present(world.record("awaiter").task)
    assert (task.state, task.resumes) == ("pending", ("awaited",))
    assert world.record("awaited").delivered
    assert len(world.functions.invoked) == 1
    assert world.markers() == ["expiry#awaited"]


def test_sweep_fires_and_arms_a_schedule_after_its_minute(world: InfraWorld) -> None:
    world.store.apply(every_minute())
    before = schedule(world)
    world.clock.advance_to(before.next_run_at + 59_999)
    assert world.tick.sweep() == {"kind": "sweep", "woken": 0, "failed": 0, "lag": 0, "finished": True}
    assert schedule(world) == before
    world.clock.advance(1)

    assert counts(world.tick.sweep()) == (1, 0)
    assert world.record(f"every.{before.next_run_at}").pending
    (armed,) = world.scheduler.schedules.values()
    assert armed["ScheduleExpression"] == "cron(* * * * ? *)"


def test_idle_sweep_of_a_deployment_is_logged_as_info(world: InfraWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "resonate.tick")
    world.tick.sweep()

    assert [record.levelname for record in caplog.records if record.name == "resonate.tick"] == ["INFO"]


def test_sweep_ends_after_max_wakes(world: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    timers(world, 40)
    monkeypatch.setattr("resonate_infra.effects.tick.MAX_WAKES", 25)

    first, second = world.tick.sweep(), world.tick.sweep()

    assert (counts(first), first["finished"]) == ((25, 0), False)
    assert (counts(second), second["finished"]) == ((15, 0), True)


def test_sweep_takes_one_batch_of_each_shard_in_turn(world: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_infra.effects.tick.BATCH", 2)
    ids = ["w", *(f"w.{n}" for n in range(20)), "t0", "t1", "t2", "t3"]
    for id in ids:
        world.create(id, timer=True, after=1000)
    world.clock.advance(1000)
    shards = {shard(id, world.store.shards) for id in ids}
    woken: list[str] = []
    before_waking(monkeypatch, woken.append)

    world.tick.sweep()

    assert sorted(woken) == sorted(ids)
    assert {shard(id, world.store.shards) for id in woken[: 2 * len(shards)]} == shards


def test_sweep_of_one_shard_wakes_that_shard_only(world: InfraWorld) -> None:
    ids = timers(world, 40)
    mine = [id for id in ids if shard(id, world.store.shards) == 1]

    assert counts(world.tick.act(Sweep(1))) == (len(mine), 0)
    assert {id for id in ids if not world.record(id).pending} == set(mine)
    for unknown in (-1, world.store.shards):
        with pytest.raises(MalformedTick, match=f"there is no shard {unknown}"):
            world.tick.act(Sweep(unknown))


def test_unfinished_sweep_starts_sweeps_of_the_shards_with_more(
    world: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = timers(world, 40)
    started: list[Sweep] = []
    tick = Tick(world.outlets, world.clock, hand_over=started.append)
    with monkeypatch.context() as limits:
        limits.setattr("resonate_infra.effects.tick.MAX_WAKES", 1)
        assert not tick.act(Sweep(1))["finished"]
        assert started == [], "a sweep of one shard starts no other"
        limits.setattr("resonate_infra.effects.tick.MAX_WAKES", 5)
        limits.setattr("resonate_infra.effects.tick.BATCH", 2)
        assert counts(tick.sweep()) == (5, 0)

    pending = {shard(id, world.store.shards) for id in ids if world.record(id).pending}
    assert pending <= {sweep.shard for sweep in started}
    assert len(started) == len({sweep.shard for sweep in started})
    started.clear()
    assert tick.sweep()["finished"]
    assert started == []


def test_sweep_lag_is_that_of_the_longest_overdue(world: InfraWorld) -> None:
    for delay in (9000, 2000, 5000):
        world.create(f"t{delay}", timer=True, after=delay)
    world.clock.advance(7000)

    assert world.tick.sweep()["lag"] == 5000


# Recurring timers of schedules


def armed(world: InfraWorld) -> int:
    return len(world.scheduler.schedules)


def test_firing_of_a_missing_or_paused_schedule_deletes_its_timer(world: InfraWorld) -> None:
    world.outlets.arm_schedule("gone", "@hourly", None)
    world.store.apply(every_minute())
    world.outlets.arm_schedule("every", "* * * * *", None)
    world.tick.act(ScheduleDue("gone"))
    assert armed(world) == 1
    world.tick.act(ScheduleDue("every"))
    assert armed(world) == 1

    world.store.apply(SchedulePause("every"))
    world.tick.act(ScheduleDue("every"))
    assert armed(world) == 0


def test_schedule_that_is_created_again_meanwhile_keeps_its_timer(
    world: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    disarm = world.outlets.disarm_schedule

    def late(id: str) -> None:
        world.store.apply(every_minute())
        world.outlets.arm_schedule(id, "* * * * *", None)
        disarm(id)

    monkeypatch.setattr(world.outlets, "disarm_schedule", late)
    world.tick.act(ScheduleDue("every"))

    assert armed(world) == 1


def test_schedule_firing_that_is_slightly_early_is_repeated(world: InfraWorld) -> None:
    world.store.apply(every_minute())
    at = schedule(world).next_run_at
    world.clock.advance_to(at - 1200)
    world.tick.act(ScheduleDue("every"))

    assert world.sqs.sent == [(SETTINGS.timer_queue_url, {"kind": "schedule", "id": "every", "at": at}, 2)]
    world.clock.advance_to(at)
    world.sqs.sent.clear()
    world.tick.act(ScheduleDue("every", at))
    assert world.record(f"every.{at}").pending
    assert world.sqs.sent == []


def test_sweep_counts_the_tasks_that_are_halted(world: InfraWorld) -> None:
    observed: list[tuple[str, int]] = []
    tick = Tick(world.outlets, world.clock, lambda name, value: observed.append((name, value)))
    for number in range(20):
        world.create(f"w{number}", target="poll://any@default")
        assert world.store.apply(TaskHalt(f"w{number}")).ok
    world.create("running", target="poll://any@default")
    tick.sweep()
    assert dict(observed)["HaltedNow"] == 20

    assert world.store.apply(TaskContinue("w7")).ok
    world.store.apply(PromiseSettle("w8", "rejected"))
    tick.sweep()
    assert dict(observed)["HaltedNow"] == 18

    world.clock.advance(2 * HOUR)
    assert ("promise", "w1") in world.store.due(world.clock.now())
    tick.sweep()  # The promises of halted tasks time out too.
    tick.sweep()
    assert dict(observed)["HaltedNow"] == 0
    assert world.record("w0").state == "rejected_timedout"


def test_sweep_of_one_shard_does_not_count_halted_tasks(world: InfraWorld) -> None:
    observed: list[str] = []
    Tick(world.outlets, world.clock, lambda name, _: observed.append(name)).sweep(shard=3)
    assert observed == ["SweepLag"]


def test_task_that_targets_the_tick_function_is_halted(world: InfraWorld) -> None:
    function = "arn:aws:lambda:us-east-1:1:function:tick:3"
    targets = {"w1": "lambda://tick", "w2": "lambda://tick:live", "w3": f"lambda://{function}"}
    for id, target in {**targets, "other": "lambda://tick-worker"}.items():
        world.create(id, target=target)
    world.clock.advance(HOUR // 2)
    world.tick.sweep()

    assert [name for name, _, _ in world.functions.invoked] == ["tick-worker"]
    tasks = {id: present(world.record(id).task) for id in targets}
    assert {id: (task.state, task.error) for id, task in tasks.items()} == {
        id: ("halted", f"its target {target} is a function of the deployment and not a worker")
        for id, target in targets.items()
    }

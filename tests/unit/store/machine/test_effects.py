"""What follows a write, told from two images of one record and nothing else (docs/rules.md W8)."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace

from resonate_store.interface import Outlets, StoreError, deliver
from resonate_store.machine.effects import (
    ARMING_HORIZON_MS,
    LATE_MS,
    SETTLING_MS,
    Arm,
    ArmSchedule,
    Change,
    Disarm,
    DisarmSchedule,
    Execute,
    FireSchedule,
    Resume,
    Retain,
    Unblock,
    effects,
    message_of,
    repeated,
)
from resonate_store.model.records import Record, ScheduleRecord, TaskRecord, Value
from resonate_store.model.requests import PromiseDelivered, Request, Response, TaskResume
from resonate_store.model.tags import DELAY, EXTERNAL, ORIGIN, TARGET, TIMER

NOW = 1_000_000
HOUR = 3_600_000
WORKERS = "poll://any@workers"

PLAIN = Record("root.p", "pending", NOW + HOUR, NOW, tags={ORIGIN: "root"}, written_at=NOW, rev=1)
TIMER_RECORD = replace(PLAIN, tags={ORIGIN: "root", TIMER: "true"})
NEAR = replace(TIMER_RECORD, timeout_at=NOW + ARMING_HORIZON_MS)
DISTANT = replace(TIMER_RECORD, timeout_at=NOW + ARMING_HORIZON_MS + 1)
DELAYED = replace(
    PLAIN,
    timeout_at=NOW + 2 * HOUR,
    tags={ORIGIN: "root", TARGET: "poll://any@workers", DELAY: str(NOW + HOUR)},
    task=TaskRecord("pending", 0, retry_at=NOW + HOUR),
)
OFFERED = TaskRecord("pending", 3, retry_at=NOW + 30_000, offers=1)
HELD = TaskRecord("acquired", 3, pid="p1", ttl=1000, acquired_at=NOW, expires_at=NOW + 1000)
TASKED = replace(PLAIN, tags={ORIGIN: "root", TARGET: WORKERS}, task=OFFERED)
WAITED = replace(PLAIN, callbacks={"w": 2, "v": 0}, listeners={"poll://uni@g/1": NOW, "https://x/y": NOW})
SCHEDULE = ScheduleRecord("s", "* * * * *", "{{.id}}", HOUR, NOW, NOW + 60_000, wake_at=NOW + 60_000, rev=1)


def settled(record: Record, **more: Any) -> Record:
    task = None if record.task is None else TaskRecord("fulfilled", record.task.version)
    return replace(record, state="resolved", settled_at=NOW + 5, value=Value(data="v"), task=task, **more)


# -- nothing follows --------------------------------------------------------------------------------------------------


def test_nothing_follows_a_write_that_concerns_nobody(subtests: pytest.Subtests) -> None:
    for before, after in [
        (None, PLAIN),
        (None, replace(PLAIN, tags={EXTERNAL: "true", ORIGIN: "root"})),
        (PLAIN, settled(PLAIN)),
        (None, settled(PLAIN)),
        (TIMER_RECORD, replace(TIMER_RECORD, rev=2)),
        (NEAR, settled(NEAR)),
        (NEAR, None),
        (DISTANT, replace(settled(DISTANT), settled_at=DISTANT.timeout_at)),
        (settled(DISTANT), None),
        (settled(DISTANT), settled(DISTANT, wake_at=NOW + 7)),
        (DELAYED, replace(settled(DELAYED), settled_at=NOW + HOUR)),
        (TASKED, replace(TASKED, task=HELD)),
        (None, replace(TASKED, task=HELD)),
        (replace(TASKED, task=HELD), replace(TASKED, task=TaskRecord("suspended", 3))),
        (TASKED, replace(TASKED, task=TaskRecord("halted", 3))),
        (TASKED, replace(TASKED, task=replace(OFFERED, resumes=("a",)))),
        (TASKED, replace(TASKED, wake_at=NOW + 7, rev=2)),
        (TASKED, settled(TASKED)),
        (settled(WAITED), replace(settled(WAITED), callbacks={}, listeners={}, delivered=True)),
        (settled(WAITED), settled(WAITED, wake_at=NOW + 7)),
        (WAITED, settled(WAITED, delivered=True)),
        (PLAIN, None),
        (None, None),
        (SCHEDULE, replace(SCHEDULE, rev=2)),
    ]:
        with subtests.test(before=before, after=after):
            assert effects(before, after) == []


# -- promises ---------------------------------------------------------------------------------------------------------


def test_a_settlement_reaches_everybody_who_waits(subtests: pytest.Subtests) -> None:
    for before in [WAITED, None]:
        with subtests.test(before=before):
            after = settled(WAITED)
            assert effects(before, after) == [
                Resume("w", 2, "root.p"),
                Resume("v", 0, "root.p"),
                Unblock("poll://uni@g/1", after.promise()),
                Unblock("https://x/y", after.promise()),
            ]


def test_a_settled_root_may_expire(subtests: pytest.Subtests) -> None:
    for tags, root in [({}, True), ({ORIGIN: "root.p"}, True), ({ORIGIN: "q"}, True), ({ORIGIN: "root"}, False)]:
        with subtests.test(tags=tags, root=root):
            before = replace(PLAIN, tags=tags)
            assert effects(before, settled(before)) == ([Retain("root.p", NOW, NOW + 5)] if root else [])


def test_a_new_timer_is_armed_however_far_away() -> None:
    for away in (0, ARMING_HORIZON_MS, ARMING_HORIZON_MS + 1, 365 * 24 * HOUR):
        timer = replace(TIMER_RECORD, timeout_at=NOW + away)
        assert effects(None, timer) == [Arm("root.p", NOW + away)]


def test_what_would_wake_a_promise_far_from_now_goes_with_its_end_or_its_record(subtests: pytest.Subtests) -> None:
    for record in [DISTANT, replace(DISTANT, timeout_at=NOW + 10**13), DELAYED]:
        with subtests.test(record=record):
            assert effects(record, settled(record)) == [Disarm("root.p")]
            assert effects(record, None) == [Disarm("root.p")]


def test_the_distant_timer_of_a_root_goes_with_its_end() -> None:
    before = replace(DISTANT, tags={TIMER: "true"}, callbacks={"w": 1})
    after = settled(before)
    expected = [Resume("w", 1, "root.p"), Retain("root.p", NOW, NOW + 5), Disarm("root.p")]
    assert effects(before, after) == expected
    assert effects(None, after) == expected, "as a sweep repeats it"


def test_an_awaited_timer_is_not_armed_again() -> None:
    assert effects(TIMER_RECORD, replace(TIMER_RECORD, callbacks={"w": 1}, timeout_at=NOW + 1)) == []


def test_the_arming_horizon_is_15_minutes() -> None:
    assert ARMING_HORIZON_MS == 15 * 60 * 1000


def test_the_first_waiter_arms_a_near_deadline(subtests: pytest.Subtests) -> None:
    for away, armed in [(1, True), (ARMING_HORIZON_MS, True), (ARMING_HORIZON_MS + 1, False)]:
        for waiters in [{"callbacks": {"w": 1}}, {"listeners": {WORKERS: NOW}}]:
            with subtests.test(waiters=waiters, away=away, armed=armed):
                before = replace(PLAIN, timeout_at=NOW + HOUR + away)
                after = replace(before, **waiters, written_at=NOW + HOUR)
                assert effects(before, after) == ([Arm("root.p", NOW + HOUR + away)] if armed else [])
                assert effects(after, replace(after, callbacks={"w": 2, "v": 1}, listeners={"x": 1})) == []


# -- tasks ------------------------------------------------------------------------------------------------------------


def test_a_task_that_became_pending_or_is_offered_again_is_executed(subtests: pytest.Subtests) -> None:
    for before in [
        None,
        replace(TASKED, task=HELD),
        replace(TASKED, task=TaskRecord("suspended", 3)),
        replace(TASKED, task=TaskRecord("halted", 3)),
        replace(TASKED, task=replace(OFFERED, offers=0)),
        replace(TASKED, task=replace(OFFERED, offers=7)),
    ]:
        with subtests.test(before=before):
            assert effects(before, TASKED) == [Execute(WORKERS, "root.p", 3)]


def test_a_task_that_is_held_back_is_armed_instead() -> None:
    held_back = replace(TASKED, task=TaskRecord("pending", 0, retry_at=NOW + 9))
    assert effects(None, held_back) == [Arm("root.p", NOW + 9)]
    assert effects(replace(TASKED, task=HELD), held_back) == [Arm("root.p", NOW + 9)]
    assert effects(held_back, replace(held_back, callbacks={"w": 1})) == []


def test_a_task_that_is_awaited_and_offered_has_both_effects() -> None:
    awaited = replace(TASKED, callbacks={"w": 1}, timeout_at=NOW + 1)
    assert effects(None, awaited) == [Arm("root.p", NOW + 1), Execute(WORKERS, "root.p", 3)]


# -- schedules --------------------------------------------------------------------------------------------------------


def test_a_schedule_is_armed_once_and_fires_by_itself_from_then_on() -> None:
    distant = replace(SCHEDULE, timezone="Europe/Berlin", next_run_at=NOW + HOUR, written_at=NOW)
    assert effects(None, distant) == [ArmSchedule("s", "* * * * *", "Europe/Berlin")]
    assert effects(distant, replace(distant, next_run_at=NOW + 2 * HOUR, last_run_at=NOW + HOUR)) == []


def test_an_occurrence_too_soon_for_what_was_just_armed_is_fired_by_hand() -> None:
    for soon in (1, SETTLING_MS):
        new = replace(SCHEDULE, next_run_at=NOW + soon, written_at=NOW)
        assert effects(None, new) == [ArmSchedule("s", "* * * * *", None), FireSchedule("s", NOW + soon)]


def test_a_firing_that_stopped_at_its_bound_is_followed_by_another() -> None:
    fired = replace(SCHEDULE, next_run_at=NOW, written_at=NOW)
    assert effects(replace(SCHEDULE, next_run_at=NOW - HOUR), fired) == [FireSchedule("s", NOW)]


def test_a_pause_disarms_and_its_end_arms() -> None:
    distant = replace(SCHEDULE, next_run_at=NOW + HOUR, written_at=NOW)
    paused = replace(distant, paused=True)
    assert effects(distant, paused) == [DisarmSchedule("s")]
    assert effects(paused, replace(paused, last_promise="s.1")) == []
    assert effects(paused, distant) == [ArmSchedule("s", "* * * * *", None)]
    assert effects(None, paused) == [DisarmSchedule("s")]


def test_a_schedule_that_the_sweep_finds_late_is_armed_anew() -> None:
    for late, armed in ((LATE_MS - 1, []), (LATE_MS, [ArmSchedule("s", "* * * * *", None)])):
        after = replace(SCHEDULE, next_run_at=NOW + HOUR, written_at=SCHEDULE.next_run_at + late)
        after = replace(after, next_run_at=after.written_at + HOUR)
        assert effects(*repeated(Change(SCHEDULE, after))) == armed


def test_a_deleted_schedule_is_disarmed() -> None:
    assert effects(SCHEDULE, None) == [DisarmSchedule("s")]


# -- messages, repetition, delivery -----------------------------------------------------------------------------------


def test_messages_have_the_protocols_shape() -> None:
    """See docs/protocol.md 2.1."""
    assert message_of(Execute(WORKERS, "root.p", 3)) == {
        "kind": "execute",
        "head": {},
        "data": {"task": {"id": "root.p", "version": 3}},
    }
    promise = settled(PLAIN).promise()
    assert message_of(Unblock(WORKERS, promise)) == {
        "kind": "unblock",
        "head": {},
        "data": {
            "promise": {
                "id": "root.p",
                "state": "resolved",
                "param": {},
                "value": {"data": "v"},
                "tags": {ORIGIN: "root"},
                "timeoutAt": NOW + HOUR,
                "createdAt": NOW,
                "settledAt": NOW + 5,
            }
        },
    }
    msgspec.json.encode(message_of(Unblock(WORKERS, promise)))


def test_a_wakeup_repeats_a_settlement_that_is_owed_whole() -> None:
    owed, rearmed = settled(WAITED), settled(WAITED, wake_at=NOW + 7)
    assert repeated(Change(owed, rearmed)) == Change(None, rearmed)
    for change in (
        Change(WAITED, owed),  # settled by this very wake-up
        Change(None, owed),
        Change(owed, replace(owed, delivered=True)),
        Change(TASKED, replace(TASKED, task=replace(OFFERED, offers=2))),
        Change(SCHEDULE, replace(SCHEDULE, next_run_at=NOW)),
        Change(SCHEDULE, None),
    ):
        assert repeated(change) == change


class Recorder:
    """Surroundings that note what they are asked for, and answer requests with `status`."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.calls: list[tuple[Any, ...]] = []

    def apply(self, request: Request) -> Response:
        self.calls.append(("apply", request))
        return Response(status=self.status, error="busy" if self.status >= 500 else None)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))


def test_a_delivery_ends_with_its_mark() -> None:
    before = replace(WAITED, tags={})
    after = settled(before)
    outlets = Recorder()
    deliver(Change(before, after), cast("Outlets", outlets))
    assert outlets.calls == [
        ("apply", TaskResume("w", 2, "root.p")),
        ("apply", TaskResume("v", 0, "root.p")),
        ("retain", "root.p", NOW, NOW + 5),
        ("notify", "poll://uni@g/1", after.promise()),
        ("notify", "https://x/y", after.promise()),
        ("apply", PromiseDelivered("root.p")),
    ]


def test_other_effects_go_where_they_belong(subtests: pytest.Subtests) -> None:
    for change, call in [
        (Change(None, TASKED), ("send", WORKERS, message_of(Execute(WORKERS, "root.p", 3)))),
        (Change(None, TIMER_RECORD), ("arm", "root.p", NOW + HOUR)),
        (Change(DISTANT, None), ("disarm", "root.p")),
        (Change(None, replace(SCHEDULE, written_at=-HOUR)), ("arm_schedule", "s", "* * * * *", None)),
        (Change(SCHEDULE, replace(SCHEDULE, written_at=NOW + 60_000)), ("fire_schedule", "s", NOW + 60_000)),
        (Change(SCHEDULE, None), ("disarm_schedule", "s")),
    ]:
        with subtests.test(change=change, call=call):
            outlets = Recorder()
            deliver(change, cast("Outlets", outlets))
            assert outlets.calls == [call]


def test_a_busy_store_fails_the_delivery_before_its_mark() -> None:
    """A resume that the store could not take must be repeated, so it must not be marked delivered."""
    outlets = Recorder(status=503)
    with pytest.raises(StoreError, match=r"task\.resume of 'w': busy"):
        deliver(Change(WAITED, settled(WAITED)), cast("Outlets", outlets))
    assert outlets.calls == [("apply", TaskResume("w", 2, "root.p"))]


def test_a_write_without_effects_marks_nothing_delivered() -> None:
    outlets = Recorder()
    deliver(Change(settled(WAITED), settled(WAITED, wake_at=NOW + 7)), cast("Outlets", outlets))
    assert outlets.calls == []

"""The effects of a write. They depend on two images of one record only (docs/rules.md W8)."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

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
from resonate_store.model.records import TaskRecord
from resonate_store.model.tags import EXTERNAL, ORIGIN, TIMER
from tests.support.images import (
    DELAYED,
    DISTANT,
    HELD,
    HOUR,
    NEAR,
    NOW,
    OFFERED,
    PLAIN,
    SCHEDULE,
    TASKED,
    TIMER_RECORD,
    WAITED,
    WORKERS,
    settled,
)

# -- writes without effects -------------------------------------------------------------------------------------------


def test_effects_of_most_writes_are_none(subtests: pytest.Subtests) -> None:
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


def test_effects_of_a_settlement_are_its_resumes_and_messages(subtests: pytest.Subtests) -> None:
    for before in [WAITED, None]:
        with subtests.test(before=before):
            after = settled(WAITED)
            assert effects(before, after) == [
                Resume("w", 2, "root.p"),
                Resume("v", 0, "root.p"),
                Unblock("poll://uni@g/1", after.promise()),
                Unblock("https://x/y", after.promise()),
            ]


def test_effects_of_a_settled_root_include_its_retention(subtests: pytest.Subtests) -> None:
    for tags, root in [({}, True), ({ORIGIN: "root.p"}, True), ({ORIGIN: "q"}, True), ({ORIGIN: "root"}, False)]:
        with subtests.test(tags=tags, root=root):
            before = replace(PLAIN, tags=tags)
            assert effects(before, settled(before)) == ([Retain("root.p", NOW, NOW + 5)] if root else [])


def test_effects_of_a_new_timer_arm_it() -> None:
    for away in (0, ARMING_HORIZON_MS, ARMING_HORIZON_MS + 1, 365 * 24 * HOUR):
        timer = replace(TIMER_RECORD, timeout_at=NOW + away)
        assert effects(None, timer) == [Arm("root.p", NOW + away)]


def test_effects_of_the_end_of_a_distant_timer_disarm_it(subtests: pytest.Subtests) -> None:
    for record in [DISTANT, replace(DISTANT, timeout_at=NOW + 10**13), DELAYED]:
        with subtests.test(record=record):
            assert effects(record, settled(record)) == [Disarm("root.p")]
            assert effects(record, None) == [Disarm("root.p")]


def test_effects_of_the_end_of_a_root_timer_disarm_it() -> None:
    before = replace(DISTANT, tags={TIMER: "true"}, callbacks={"w": 1})
    after = settled(before)
    expected = [Resume("w", 1, "root.p"), Retain("root.p", NOW, NOW + 5), Disarm("root.p")]
    assert effects(before, after) == expected
    assert effects(None, after) == expected, "as a sweep repeats it"


def test_effects_of_an_awaited_timer_do_not_arm_it_again() -> None:
    assert effects(TIMER_RECORD, replace(TIMER_RECORD, callbacks={"w": 1}, timeout_at=NOW + 1)) == []


def test_arming_horizon_is_15_minutes() -> None:
    assert ARMING_HORIZON_MS == 15 * 60 * 1000


def test_effects_of_the_first_waiter_arm_a_near_deadline(subtests: pytest.Subtests) -> None:
    for away, armed in [(1, True), (ARMING_HORIZON_MS, True), (ARMING_HORIZON_MS + 1, False)]:
        for waiters in [{"callbacks": {"w": 1}}, {"listeners": {WORKERS: NOW}}]:
            with subtests.test(waiters=waiters, away=away, armed=armed):
                before = replace(PLAIN, timeout_at=NOW + HOUR + away)
                after = replace(before, **waiters, written_at=NOW + HOUR)
                assert effects(before, after) == ([Arm("root.p", NOW + HOUR + away)] if armed else [])
                assert effects(after, replace(after, callbacks={"w": 2, "v": 1}, listeners={"x": 1})) == []


# -- tasks ------------------------------------------------------------------------------------------------------------


def test_effects_of_a_pending_task_offer_it(subtests: pytest.Subtests) -> None:
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


def test_effects_of_a_postponed_offer_arm_it() -> None:
    held_back = replace(TASKED, task=TaskRecord("pending", 0, retry_at=NOW + 9))
    assert effects(None, held_back) == [Arm("root.p", NOW + 9)]
    assert effects(replace(TASKED, task=HELD), held_back) == [Arm("root.p", NOW + 9)]
    assert effects(held_back, replace(held_back, callbacks={"w": 1})) == []


def test_effects_of_an_awaited_offered_task_are_both() -> None:
    awaited = replace(TASKED, callbacks={"w": 1}, timeout_at=NOW + 1)
    assert effects(None, awaited) == [Arm("root.p", NOW + 1), Execute(WORKERS, "root.p", 3)]


# -- schedules --------------------------------------------------------------------------------------------------------


def test_effects_of_a_new_schedule_arm_it_once() -> None:
    distant = replace(SCHEDULE, timezone="Europe/Berlin", next_run_at=NOW + HOUR, written_at=NOW)
    assert effects(None, distant) == [ArmSchedule("s", "* * * * *", "Europe/Berlin")]
    assert effects(distant, replace(distant, next_run_at=NOW + 2 * HOUR, last_run_at=NOW + HOUR)) == []


def test_effects_of_a_schedule_with_a_near_occurrence_fire_it() -> None:
    for soon in (1, SETTLING_MS):
        new = replace(SCHEDULE, next_run_at=NOW + soon, written_at=NOW)
        assert effects(None, new) == [ArmSchedule("s", "* * * * *", None), FireSchedule("s", NOW + soon)]


def test_effects_of_a_bounded_firing_fire_again() -> None:
    fired = replace(SCHEDULE, next_run_at=NOW, written_at=NOW)
    assert effects(replace(SCHEDULE, next_run_at=NOW - HOUR), fired) == [FireSchedule("s", NOW)]


def test_effects_of_a_pause_disarm_and_of_a_resume_arm() -> None:
    distant = replace(SCHEDULE, next_run_at=NOW + HOUR, written_at=NOW)
    paused = replace(distant, paused=True)
    assert effects(distant, paused) == [DisarmSchedule("s")]
    assert effects(paused, replace(paused, last_promise="s.1")) == []
    assert effects(paused, distant) == [ArmSchedule("s", "* * * * *", None)]
    assert effects(None, paused) == [DisarmSchedule("s")]


def test_effects_of_a_late_schedule_arm_it_again() -> None:
    for late, armed in ((LATE_MS - 1, []), (LATE_MS, [ArmSchedule("s", "* * * * *", None)])):
        after = replace(SCHEDULE, next_run_at=NOW + HOUR, written_at=SCHEDULE.next_run_at + late)
        after = replace(after, next_run_at=after.written_at + HOUR)
        assert effects(*repeated(Change(SCHEDULE, after))) == armed


def test_effects_of_a_deleted_schedule_disarm_it() -> None:
    assert effects(SCHEDULE, None) == [DisarmSchedule("s")]


# -- messages and repetition ------------------------------------------------------------------------------------------


def test_message_has_the_form_of_the_protocol() -> None:
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


def test_repeated_change_of_an_undelivered_settlement_is_whole() -> None:
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

"""The rules 4, 5, 6 and 10 at the end of docs/rules.md, each under its own number: versions, suspensions and resumes.

The corpus has what answers show. These tests are about stored records, effects and time.
"""

from __future__ import annotations

import pytest

from resonate_store.machine import MAX_AWAITED
from resonate_store.model.requests import (
    TaskContinue,
    TaskGet,
    TaskHalt,
    TaskRegister,
    TaskResume,
    TaskSuspendRegistered,
)
from tests.support.build import (
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TTL,
    acquire,
    callback,
    crash,
    create,
    execute,
    fulfill,
    heartbeat,
    held,
    release,
    settle,
    suspend,
    suspended,
)
from tests.support.present import present
from tests.support.substrates import T0, NewStore, World

DEADLINE = T0 + MINUTE


# -- rule 4: only acquisition increments the version ------------------------------------------------------------------


def test_rule_04_only_an_acquisition_increments_the_version(store: World) -> None:
    """Rule 4: suspend, resume, release, expiry, redispatch, halt, continue and fulfil keep the version."""
    versions: list[tuple[str, int]] = []

    def note() -> None:
        versions.append((store.task("w").state, store.task("w").version))

    store.apply(create("other", OUTSIDE))
    store.apply(create("w", TARGETED))
    note()
    for request in (acquire("w", 0), suspend("w", "other"), settle("other"), acquire("w", 1)):
        store.apply(request)
        note()
    store.apply(release("w", 2, handover=True))
    note()
    store.pass_time(30 * SECOND)  # offered again
    note()
    store.apply(acquire("w", 2))
    store.pass_time(TTL)  # lease expiry
    note()
    for request in (TaskHalt("w"), TaskContinue("w"), acquire("w", 3), heartbeat(("w", 4)), fulfill("w", 4)):
        store.apply(request)
        note()
    assert versions == [
        ("pending", 0),
        ("acquired", 1),
        ("suspended", 1),
        ("pending", 1),
        ("acquired", 2),
        ("pending", 2),
        ("pending", 2),
        ("pending", 3),
        ("halted", 3),
        ("pending", 3),
        ("acquired", 4),
        ("acquired", 4),
        ("fulfilled", 4),
    ]


# -- rule 5: suspend is atomic ----------------------------------------------------------------------------------------


def test_rule_05_suspend_registers_its_callbacks_in_one_write(store: World) -> None:
    """Rule 5: callbacks on all awaited promises and the suspension are one transaction."""
    held(store, "w")
    for id in ("a", "b", "c"):
        store.apply(create(id, OUTSIDE))
    with store.holding() as changes:
        assert store.apply(suspend("w", "a", "b", "c")).status == 200
        assert {present(change.after).id for change in changes} == {"w", "a", "b", "c"}
    assert [store.stored(id).callbacks for id in ("a", "b", "c")] == [{"w": 1}] * 3
    task = store.task("w")
    assert (task.state, task.version, task.pid, task.ttl, task.expires_at) == ("suspended", 1, None, None, None)


def many(store: World, count: int) -> tuple[str, ...]:
    ids = tuple(f"x{n}" for n in range(count))
    for id in ids:
        store.apply(create(id, OUTSIDE))
    return ids


@pytest.fixture
def chunks_of_five(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller chunks: moto copies the whole table for every item of a transaction."""
    monkeypatch.setattr("resonate_store.machine.MAX_AWAITED", 5)


@pytest.mark.usefixtures("chunks_of_five")
def test_rule_05_any_number_of_promises_is_awaited_in_chunks(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 5: more ids than a transaction takes are registered in chunks, then the task suspends in one write."""
    assert MAX_AWAITED == 99
    for count in (5, 6, 10, 13):
        with subtests.test(count=count):
            store = new_store()
            held(store, "w")
            ids = many(store, count)
            assert store.apply(suspend("w", *ids)).status == 200
            assert store.task("w").state == "suspended"
            assert all(store.stored(id).callbacks == {"w": 1} for id in ids)
            store.apply(settle(ids[-1]))
            assert (store.task("w").state, store.messages()) == ("pending", [execute("w", 1)])


@pytest.mark.usefixtures("chunks_of_five")
def test_rule_05_settled_promise_in_the_last_chunk_answers_300(store: World) -> None:
    """Rule 5: in chunks, too, any settled promise answers 300 and leaves the task acquired."""
    held(store, "w")
    ids = many(store, 12)
    store.apply(settle(ids[-1]))
    response = store.apply(suspend("w", *ids))
    assert (response.status, [promise.id for promise in response.preload]) == (300, [ids[-1]])
    assert store.task("w").state == "acquired"


@pytest.mark.usefixtures("chunks_of_five")
def test_rule_05_callbacks_of_a_refused_suspension_do_not_resume(store: World) -> None:
    """Rule 5: what a refused suspension registered in its first chunks does not wake a later version."""
    held(store, "w")
    ids = many(store, 12)
    store.apply(settle(ids[-1]))
    store.apply(suspend("w", *ids))
    assert store.stored(ids[0]).callbacks == {"w": 1}
    store.apply(release("w", handover=True))
    store.apply(acquire("w", 1))
    store.apply(create("other", OUTSIDE))
    store.apply(suspend("w", "other", version=2))
    store.messages()
    store.apply(settle(ids[0]))
    assert (store.task("w").state, store.messages()) == ("suspended", [])


def test_rule_05_resume_between_chunks_makes_the_suspension_answer_300(store: World) -> None:
    """Rule 5: a promise that settles between its chunk and the suspension makes that answer 300, once."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(create("b", OUTSIDE))
    assert store.apply(TaskRegister("w", 1, ("a", "b"))).status == 200
    assert store.task("w").state == "acquired"
    store.apply(settle("a"))
    assert store.task("w").resumes == ("a",)
    assert store.apply(TaskSuspendRegistered("w", 1)).status == 300
    assert (store.task("w").state, store.task("w").resumes) == ("acquired", ())
    assert store.apply(TaskSuspendRegistered("w", 1)).status == 200
    assert store.task("w").state == "suspended"


@pytest.mark.usefixtures("chunks_of_five")
def test_rule_05_refused_suspension_registers_only_full_chunks(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 5: what one transaction holds is all or nothing; beyond it a refusal may leave inert callbacks."""
    for count, left_behind in [(5, 0), (6, 5)]:
        with subtests.test(count=count, left_behind=left_behind):
            store = new_store()
            held(store, "w")
            ids = many(store, count)
            store.apply(settle(ids[-1]))
            assert store.apply(suspend("w", *ids)).status == 300
            assert sum(store.stored(id).callbacks == {"w": 1} for id in ids) == left_behind


# -- rule 6: resume is exactly once -----------------------------------------------------------------------------------


def test_rule_06_settlement_resumes_a_suspended_task(store: World) -> None:
    """Rule 6: the task becomes pending at its version, resumes is {awaited}, one execute message leaves."""
    suspended(store, "w", "a", "b")
    rev = store.stored("w").rev
    store.apply(settle("a"))
    task = store.task("w")
    assert (task.state, task.version, task.resumes, task.retry_at) == ("pending", 1, ("a",), T0 + 30 * SECOND)
    assert store.messages() == [execute("w", 1)]
    assert store.stored("w").rev == rev + 1
    assert present(store.apply(TaskGet("w")).task).resumes == 1
    assert present(store.apply(acquire("w", 1)).task).resumes == 0


def test_rule_06_repeated_delivery_changes_nothing(store: World) -> None:
    """Rule 6: at-least-once delivery of one settlement is one resume."""
    suspended(store, "w", "a")
    with store.holding() as changes:
        store.apply(settle("a"))
        changes.extend([*changes, *changes])
    assert store.messages() == [execute("w", 1)]
    resumed = store.stored("w")
    store.apply(TaskResume("w", 1, "a"))
    assert store.stored("w") == resumed


def test_rule_06_late_delivery_does_not_resume_a_later_version(store: World) -> None:
    """Rule 6: a resume that arrives after the task was acquired and suspended again is stale."""
    suspended(store, "w", "a", "b")
    store.apply(settle("a"))
    store.apply(acquire("w", 1))
    store.apply(create("c", OUTSIDE))
    store.apply(suspend("w", "c", version=2))
    store.messages()
    before = store.stored("w")
    store.apply(TaskResume("w", 1, "a"))  # again, and late
    store.apply(settle("b"))  # registered at version 1
    assert store.stored("w") == before
    assert store.messages() == []


def test_rule_06_stale_resume_is_not_buffered(store: World) -> None:
    """Rule 6: a running task buffers the resumes of its own version only."""
    suspended(store, "w", "a", "b")
    store.apply(settle("a"))
    store.apply(acquire("w", 1))
    store.apply(settle("b"))
    assert (store.task("w").state, store.task("w").resumes) == ("acquired", ())


def test_rule_06_buffered_resume_makes_a_suspension_answer_300_once(store: World) -> None:
    """Rule 6: a running task buffers a resume of its version without a message. Its suspension then answers 300."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(create("b", OUTSIDE))
    store.apply(callback("a", "w"))
    store.apply(settle("a"))
    assert (store.task("w").state, store.task("w").resumes, store.messages()) == ("acquired", ("a",), [])

    refused = store.apply(suspend("w", "b"))
    assert (refused.status, store.task("w").state, store.stored("b").callbacks) == (300, "acquired", {})
    assert store.apply(suspend("w", "b")).status == 200


def test_rule_06_repeated_suspension_updates_the_callback_version(store: World) -> None:
    """Rule 6: a callback remembers the version of its last registration, so the later wait is honoured."""
    suspended(store, "w", "a", "b")
    store.apply(settle("a"))
    store.apply(acquire("w", 1))
    assert store.stored("b").callbacks == {"w": 1}
    store.apply(suspend("w", "b", version=2))
    assert store.stored("b").callbacks == {"w": 2}
    store.messages()
    store.apply(settle("b"))
    assert (store.task("w").state, store.messages()) == ("pending", [execute("w", 2)])


def test_rule_06_unchanged_registration_writes_nothing(store: World) -> None:
    """Rule 6: registering again at the same version changes nothing."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(callback("a", "w"))
    before = store.stored("a")
    assert present(store.apply(callback("a", "w")).promise).state == "pending"
    assert store.stored("a") == before


def test_rule_06_fulfilled_or_halted_task_is_not_resumed(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 6: a task whose promise is settled or due ignores a resume. A halted one stays halted and counts it."""
    for end in ["halt", "fulfill", "deadline", "settle"]:
        with subtests.test(end=end):
            store = new_store()
            suspended(store, "w", "a", at=DEADLINE)
            if end == "halt":
                store.apply(TaskHalt("w"))
            elif end == "deadline":
                store.clock.advance(MINUTE)
            elif end == "settle":
                store.apply(settle("w"))
            else:
                store.apply(TaskResume("w", 1, "x"))
                store.apply(acquire("w", 1))
                store.apply(fulfill("w", 2))
            store.messages()
            store.apply(settle("a"))
            assert store.messages() == []
            assert store.task("w").state == ("halted" if end == "halt" else "fulfilled")
            assert store.task("w").resumes == (("a",) if end == "halt" else ())


def test_rule_06_resumes_are_counted_until_the_next_acquisition(new_store: NewStore, subtests: pytest.Subtests) -> None:
    """Rule 6: a resume that no attempt has seen stays counted, however the attempt ends."""
    for end in ["release", "handover", "second release", "expiry", "last attempt", "halt", "continue"]:
        with subtests.test(end=end):
            store = new_store()
            store.apply(create("w", TARGETED))
            for _ in range({"second release": 1, "last attempt": 9}.get(end, 0)):
                crash(store, "w")
            version = store.task("w").version + 1
            store.apply(acquire("w", version - 1))
            store.apply(create("a", OUTSIDE))
            store.apply(callback("a", "w"))
            store.apply(settle("a"))
            if end == "expiry":
                store.pass_time(TTL)
            elif end in ("halt", "continue"):
                store.apply(TaskHalt("w"))
            else:
                store.apply(release("w", version, handover=end == "handover"))
            if end == "continue":
                store.apply(TaskContinue("w"))

            assert store.task("w").state == ("halted" if end in ("halt", "last attempt") else "pending")
            assert present(store.apply(TaskGet("w")).task).resumes == 1
            store.apply(TaskContinue("w"))
            assert present(store.apply(acquire("w", version)).task).resumes == 0


def test_rule_06_resume_without_a_task_is_ignored(store: World) -> None:
    """Rule 6: the delivery does not fail if the awaiter or its task is missing."""
    store.apply(create("plain"))
    before = store.stored("plain")
    assert store.apply(TaskResume("plain", 0, "a")).status == 200
    assert store.apply(TaskResume("nowhere", 0, "a")).status == 200
    assert (store.stored("plain"), store.record("nowhere")) == (before, None)


# -- rule 10: timers have no task, duplicates are merged- -------------------------------------------------------------


def test_rule_10_settled_duplicate_is_named_once(store: World) -> None:
    """Rule 10: the 300 that answers a suspension names each settled promise once."""
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(settle("a"))
    assert [promise.id for promise in store.apply(suspend("w", "a", "a")).preload] == ["a"]


def test_rule_10_duplicates_do_not_count_towards_the_chunks(store: World) -> None:
    """Rule 10: hundreds of mentions of two promises are two callbacks in one transaction."""
    held(store, "w")
    for id in ("a", "b"):
        store.apply(create(id, OUTSIDE))
    revs = [store.stored(id).rev for id in ("a", "b", "w")]
    assert store.apply(suspend("w", *["a", "b"] * 100)).status == 200
    assert [store.stored(id).rev for id in ("a", "b", "w")] == [rev + 1 for rev in revs]

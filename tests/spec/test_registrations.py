"""Callbacks that are registered explicitly: they count for every version of the awaiter, and are delivered once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from resonate_store.machine import decide
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import STANDING, Record, TaskRecord
from resonate_store.model.requests import TaskContinue, TaskHalt, TaskResume
from tests.support.build import (
    OUTSIDE,
    TTL,
    acquire,
    callback,
    create,
    execute,
    held,
    registered,
    release,
    settle,
    suspend,
    suspended,
)
from tests.support.substrates import T0, NewStore, World, in_memory


def moved_on(store: World, how: str) -> None:
    """A task that registered for `a` at version 1 and is suspended on `b` at version 2."""
    held(store, "w")
    for id in ("a", "b"):
        store.apply(create(id, OUTSIDE))
    store.apply(callback("a", "w"))
    store.pass_time(TTL) if how == "lease" else store.apply(release("w", handover=how == "handover"))
    store.apply(acquire("w", 1))
    store.apply(suspend("w", "b", version=2))
    store.messages()


def test_registration_resumes_a_later_version(new_store: NewStore, subtests: pytest.Subtests) -> None:
    for how in ["lease", "release", "handover"]:
        with subtests.test(how=how):
            store = new_store()
            moved_on(store, how)
            store.apply(settle("a"))

            assert (store.task("w").state, store.task("w").resumes) == ("pending", ("a",))
            assert store.messages() == [execute("w", 2)]


def test_registration_repeated_is_delivered_once(store: World) -> None:
    moved_on(store, "lease")
    with store.holding() as changes:
        store.apply(settle("a"))
        late = list(changes)
    store.apply(acquire("w", 2))
    store.apply(suspend("w", "b", version=3))
    store.messages()
    before = store.stored("w")
    store.backlog.extend(late)
    store.deliver()
    store.apply(TaskResume("w", None, "a"))

    assert (store.stored("w"), store.messages()) == (before, [])
    assert store.stored("a").callbacks == {}


def test_registration_is_delivered_beside_other_waits(store: World) -> None:
    moved_on(store, "lease")
    suspended(store, "v", "a2")
    store.apply(suspend("v", "a2"))
    held(store, "u")
    store.apply(suspend("u", "a"))
    store.messages()
    store.apply(settle("a"))

    assert sorted(store.messages(), key=str) == [execute("u", 1), execute("w", 2)]
    assert (store.task("v").state, store.stored("a").delivered) == ("suspended", True)


def test_registration_and_suspension_on_one_promise_resume_once(store: World) -> None:
    held(store, "w")
    store.apply(create("a", OUTSIDE))
    store.apply(callback("a", "w"))
    store.apply(suspend("w", "a"))
    assert store.stored("a").callbacks == registered("w")
    store.apply(settle("a"))

    assert store.messages() == [execute("w", 1)]


def test_registration_keeps_the_entry_that_older_code_reads(store: World) -> None:
    moved_on(store, "lease")
    callbacks = store.stored("a").callbacks

    assert {id: version for id, version in callbacks.items() if not id.startswith(STANDING)} == {"w": 1}
    # What older code makes of the other entry finds nothing and fails nothing.
    assert store.apply(TaskResume(STANDING + "w", T0, "a")).status < 500


WAITING = Record("w", "pending", T0 + 1, T0, task=TaskRecord("suspended", 1))
SETTLED = Record("a", "resolved", T0 + 1, T0, settled_at=T0)


def test_registration_of_an_earlier_life_does_not_resume(subtests: pytest.Subtests) -> None:
    for callbacks, resumed in [
        ({"w": 1, STANDING + "w": T0 - 1}, True),
        ({"w": 2, STANDING + "w": T0 - 1}, False),
        ({"w": 2, STANDING + "w": T0}, True),
        ({}, False),
    ]:
        with subtests.test(callbacks=callbacks, resumed=resumed):
            records: dict[str, Any] = {"w": WAITING, "a": replace(SETTLED, callbacks=callbacks)}

            def fetch(need: Any, records: dict[str, Any] = records) -> Any:
                return tuple(records[id] for id in need.ids)

            outcome = decide(TaskResume("w", None, "a"), T0, fetch)

            assert bool(outcome.changes) is resumed


STEPS = ["acquire", "release", "expire", "suspend", "halt", "continue", "register"]


@given(before=st.lists(st.sampled_from(STEPS), max_size=12), after=st.lists(st.sampled_from(STEPS), max_size=8))
def test_registration_resumes_its_awaiter_after_any_history(before: list[str], after: list[str]) -> None:
    store = in_memory(ManualClock(T0))
    held(store, "w", ttl=1)
    for id in ("a", "b"):
        store.apply(create(id, OUTSIDE))
    store.apply(callback("a", "w"))

    def do(step: str) -> None:
        version = store.task("w").version
        match step:
            case "acquire":
                store.apply(acquire("w", version, ttl=1))
            case "release":
                store.apply(release("w", version, handover=True))
            case "expire":
                store.pass_time(1)
            case "suspend":
                store.apply(suspend("w", "b", version=version))
            case "halt":
                store.apply(TaskHalt("w"))
            case "continue":
                store.apply(TaskContinue("w"))
            case _:
                store.apply(callback("a", "w"))

    for step in before:
        do(step)
    with store.holding() as changes:
        store.apply(settle("a"))
        late = list(changes)

    task = store.task("w")
    assert task.state in ("halted", "pending") or "a" in task.resumes
    for step in after:
        do(step)
    stored = store.stored("w")
    store.backlog.extend(late)
    store.deliver()
    assert store.stored("w") == stored

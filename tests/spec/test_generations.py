"""What `task.continue_as` stores, and which records the next generation leaves (docs/rules.md G1 to G6)."""

from __future__ import annotations

import pytest

from resonate_store.machine.effects import Prune
from resonate_store.machine.generations import KEPT_TAKEN_MS
from resonate_store.model.execution_requests import TaskContinueAs
from resonate_store.model.ids import below, family, generation_of, message_id
from resonate_store.model.records import Record
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import ORIGIN, SCOPE
from tests.support.build import (
    DAY,
    LISTENER,
    SECOND,
    TARGETED,
    TTL,
    acquire,
    callback,
    create,
    fulfill,
    held,
    listen,
    message,
    receive,
    recorded,
    release,
    settle,
)
from tests.support.present import present
from tests.support.substrates import T0, World

OF_W = {ORIGIN: "w", SCOPE: "local"}


def continued(store: World, generation: int, version: int = 1) -> int:
    return store.apply(TaskContinueAs("w", version, generation)).status


def stored(store: World, *ids: str) -> set[str]:
    return {id for id in ids if store.record(id) is not None}


def test_next_generation_changes_nothing_else_of_its_record(store: World) -> None:
    held(store, "w")
    store.apply(create("c", TARGETED))
    store.apply(callback("w", "c"))
    store.apply(listen("w"))
    before = store.stored("w")
    store.sent.clear()

    assert continued(store, 2) == 200
    after = store.stored("w")
    assert after.generation == 2
    assert {name for name in Record.__struct_fields__ if getattr(after, name) != getattr(before, name)} == {
        *("generation", "rev")
    }
    assert continued(store, 2) == 200
    assert store.stored("w") == after
    assert [continued(store, generation) for generation in (4, 5)] == [409, 409]
    assert (store.sent, store.pruned) == ([], [Prune("w", T0, 2)])

    store.apply(fulfill("w"))
    assert [address for address, _ in store.sent] == [LISTENER]
    assert store.stored("w").generation == 2
    assert continued(store, 3) == 409


def test_generation_stays_through_release_lease_and_acquisition(store: World) -> None:
    held(store, "w")
    assert continued(store, 2) == 200
    store.apply(release("w"))
    response = store.apply(acquire("w", 1))
    assert response.task is not None
    assert response.task.generation == 2
    assert continued(store, 3, version=1) == 409, "the version of another holder"
    assert continued(store, 3, version=2) == 200
    store.pass_time(TTL)
    assert (store.task("w").state, store.stored("w").generation) == ("pending", 3)


def test_deadline_passes_before_the_next_generation(store: World) -> None:
    held(store, "w", at=T0 + SECOND)
    store.clock.advance(SECOND)
    assert continued(store, 2) == 409
    assert (store.stored("w").state, store.stored("w").generation) == ("rejected_timedout", None)


def test_earlier_generation_is_deleted_with_what_is_below_it(store: World) -> None:
    held(store, "w")
    gone: list[PromiseCreate] = [create(id, OF_W) for id in ("w.1", "w.1.1", "w.1.1.1", "w.1~1", "w.0~1")]
    kept: list[PromiseCreate] = [
        create("w.note", OF_W),  # no command has such an id
        create("w.2", TARGETED),  # a detached call: the root of a tree of its own
        create("w.2.1", {ORIGIN: "w.2"}),
        create("w.3", {**TARGETED, ORIGIN: "w"}),  # a task that runs
        create("w.3.1", OF_W),
        create("w.2+0", OF_W),
        create("w.2+1", OF_W),
        create("w.2+1.1", OF_W),
        create("w1.1", {ORIGIN: "w1"}),
    ]
    for request in (*gone, *kept):
        store.apply(request)
    ids = [request.id for request in (*gone, *kept)]
    store.children("w")

    assert continued(store, 2) == 200
    assert stored(store, *ids) == {request.id for request in kept}
    assert store.children("w", below(2)).keys() == {"w.2+0", "w.2+1"}

    store.apply(settle("w.3"))
    for id in ("w.3+0", "w.12", "w.2+9~1"):
        store.apply(create(id, OF_W))
    assert continued(store, 3) == 200
    assert stored(store, *ids, "w.2+9~1", "w.3+0") >= {"w.note", "w.2", "w.2.1", "w1.1", "w.3+0"}
    assert stored(store, "w.2+0", "w.2+1", "w.2+1.1", "w.2+9~1") == set()


def test_generations_of_a_call_are_deleted_with_it(store: World) -> None:
    held(store, "w")
    store.apply(create("w.1", {**TARGETED, ORIGIN: "w"}))
    store.apply(acquire("w.1", 0))
    for id in ("w.1.1", "w.1.2+0", "w.1.2+1"):
        store.apply(create(id, OF_W))
    assert store.apply(TaskContinueAs("w.1", 1, 2)).ok
    assert stored(store, "w.1.1", "w.1.2+0", "w.1.2+1") == {"w.1.2+0", "w.1.2+1"}
    store.apply(fulfill("w.1"))

    assert continued(store, 2) == 200
    assert stored(store, "w.1", "w.1.1", "w.1.2+0", "w.1.2+1") == set()


def test_children_are_those_of_one_generation(store: World) -> None:
    held(store, "w")
    store.apply(recorded("w.1"))
    store.apply(recorded("w.2+0"))

    assert store.children("w").keys() == {"w.1"}
    assert store.children("w", ".2+").keys() == {"w.2+0"}


def test_messages_that_earlier_generations_took_are_deleted_in_time(store: World) -> None:
    held(store, "w", ttl=DAY)
    ids = {key: message_id("w", key) for key in ("taken", "nested", "late", "waits")}
    for key in ids:
        store.apply(message("w", key=key))
    store.apply(receive("w", "taken"))
    store.apply(receive("w", "nested", place="w.2.1"))
    assert continued(store, 2) == 200
    assert stored(store, *ids.values()) == {*ids.values()}, "their senders may repeat them"
    assert present(store.apply(message("w", key="taken")).promise).state == "resolved"

    store.clock.advance(KEPT_TAKEN_MS)
    store.apply(receive("w", "late", place="w.2+1"))
    assert continued(store, 3) == 200
    assert stored(store, *ids.values()) == {ids["late"], ids["waits"]}

    store.clock.advance(KEPT_TAKEN_MS)
    store.apply(receive("w", "waits", place="w.3+1"))
    store.clock.advance(KEPT_TAKEN_MS)
    assert continued(store, 4) == 200
    assert stored(store, *ids.values()) == set()


def test_message_of_the_present_generation_stays(store: World) -> None:
    held(store, "w", ttl=DAY)
    assert continued(store, 2) == 200
    store.apply(message("w"))
    store.apply(receive("w", place="w.2+1"))
    store.clock.advance(2 * KEPT_TAKEN_MS)
    assert continued(store, 2) == 200
    assert stored(store, message_id("w", "k")) == {message_id("w", "k")}


def test_progress_is_a_record_of_the_present_generation(store: World) -> None:
    held(store, "w")
    store.clock.advance(SECOND)
    store.apply(recorded("w.2+0", at=T0 + DAY))
    assert continued(store, 2) == 200
    store.apply(release("w", error="it broke"))
    assert store.task("w").attempts == 0

    store.clock.advance(SECOND)
    store.apply(acquire("w", 1))
    store.apply(recorded("w.1"))  # by a worker that has lost the task
    store.apply(release("w", 2, error="it broke"))
    assert store.task("w").attempts == 1


@pytest.mark.parametrize(
    ("id", "at", "generation"),
    [
        ("w.1", "w", 1),
        ("w.1.2", "w.1", 1),
        ("w.1~3", "w", 1),
        ("w.2+0", "w.2+", 2),
        ("w.2+0~1", "w.2+", 2),
        ("w.10+4.1", "w.10+4", 10),
        ("w.note", "w", None),
        ("w.a+1", "w", None),
        ("w.2+a", "w.2+", None),
        ("w.+1", "w", None),
    ],
)
def test_id_shows_its_generation(id: str, at: str, generation: int | None) -> None:
    assert (family(id), generation_of(id, "w")) == (at, generation)


def test_id_without_a_parent_has_no_family() -> None:
    assert [family(id) for id in ("w", "2+1", "a+b")] == ["", "", ""]

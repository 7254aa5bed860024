"""`resonate.executions`: lists, counts and operations of programs, in memory and over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from resonate.encryption import AESGCMEncryptor, EncryptedStore
from resonate.errors import ResonateStoreError
from resonate.executions import Executions, StatusCounts
from resonate.payloads.codec import encode, encode_error
from resonate_store.interface import Store
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.execution_requests import MAX_SHOWN_CHARS, ExecutionDelete
from resonate_store.model.records import Value
from resonate_store.model.tags import FUNC, ORIGIN, TIMER
from resonate_store.protocol.service import Service
from resonate_store.remote.store import HttpStore
from tests.support.build import DAY, HOUR, MINUTE, TARGETED, create, create_task, settle, suspend
from tests.support.substrates import T0
from tests.support.wire import URL, posted_to


def ids(found: Executions, **conditions: Any) -> list[str]:
    return [each.id for each in found.iterate(**conditions)]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock(T0))


@pytest.fixture(params=["memory", "http"])
def executions(request: pytest.FixtureRequest, store: MemoryStore) -> Executions:
    served: Store = store if request.param == "memory" else HttpStore(URL, clock=store.clock, post=posted_to(store))
    return Executions(served, store.clock)


def test_executions_are_found_by_age_and_shown_with_their_error(store: MemoryStore, executions: Executions) -> None:
    clock = store.clock
    assert isinstance(clock, ManualClock)
    call = encode({"func": "order", "args": [1], "kwargs": {}, "version": 3}, "param")
    store.apply(create("old", TARGETED))
    clock.advance(HOUR)
    store.apply(replace(create("new", {**TARGETED, "resonate:func": "order"}), param=call))
    clock.advance(MINUTE)
    store.apply(replace(settle("new", "rejected"), value=encode_error(ValueError("no stock"))))

    (failed,) = executions.list(state="failed", since=timedelta(minutes=30)).items
    assert (failed.id, failed.function, failed.version, failed.error) == ("new", "order", 3, "ValueError: no stock")
    assert (failed.duration_ms, failed.failed, failed.pending, failed.waits) == (MINUTE, True, False, "")
    at = datetime.fromtimestamp((T0 + HOUR) / 1000, UTC)
    assert (ids(executions, until=at), ids(executions, since=at), ids(executions, since=T0)) == (
        *(["old"], ["new"], ["new", "old"]),
    )
    assert executions.counts(until=at) == StatusCounts(
        pending=1,
        running=1,
        waiting=0,
        retrying=0,
        halted=0,
        resolved=0,
        rejected=0,
        rejected_canceled=0,
        rejected_timedout=0,
    )
    assert executions.counts().failed == 1
    with pytest.raises(ValueError, match="must have a time zone"):
        executions.list(since=datetime(2026, 1, 1))
    with pytest.raises(TypeError, match="function must be `str`"):
        executions.list(function=5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ResonateStoreError, match="limit of a page"):
        executions.list(limit=0)


def test_execution_says_what_it_waits_for(store: MemoryStore, executions: Executions) -> None:
    for id, awaited, tags in (
        ("call", "call.1", TARGETED),
        ("sleep", "sleep.1", {"resonate:timer": "true"}),
        ("answer", "answer.1", {"resonate:external": "true"}),
        ("several", "several.1~4", {"resonate:timer": "true"}),
    ):
        store.apply(create_task(id))
        timer = replace(create(awaited, tags, at=T0 + DAY), param=encode_error(ValueError("no")))
        store.apply(timer)
        store.apply(create(f"{id}.9"))
        store.apply(suspend(id, f"{id}.9", awaited))

    waits = {each.id: (each.status, each.waits) for each in executions.iterate()}
    assert waits["call"] == ("waiting", "call.1: waiting for a worker of workers")
    assert waits["answer"] == ("waiting", "waiting for answer.9")
    assert waits["sleep"] == ("waiting", "waiting for sleep.9")
    status, words = waits["several"]
    assert (status, words.startswith("several.1: attempt 4 failed: ValueError: no; next at ")) == ("retrying", True)
    several = executions.get("several")
    assert (several.attempts, several.error, several.next_attempt_at) == (4, "ValueError: no", T0 + DAY)


def test_retry_now_ends_pauses_of_nested_steps_once(store: MemoryStore, executions: Executions) -> None:
    store.apply(create_task("a"))
    timed = {"resonate:timer": "true"}
    for id, tags in (("a.1~2", timed), ("a.2", {}), ("a.2.1~1", timed), ("a.3", timed)):
        store.apply(create(id, {**tags, "resonate:origin": "a"}))
    store.apply(suspend("a", "a.1~2", "a.2.1~1", "a.3"))

    assert (executions.retry_now("a"), executions.retry_now("a")) == ("retried", "nothing")
    ended = [record.id for record in store.records() if record.state == "resolved"]
    assert ended == ["a.1~2", "a.2.1~1"]
    with pytest.raises(ResonateStoreError) as refused:
        executions.retry_now("b")
    assert refused.value.code == 100.40400


def test_deletion_spares_other_trees_and_running_calls(store: MemoryStore, executions: Executions) -> None:
    below = {"resonate:origin": "a"}
    for request in (
        create("a", TARGETED),
        create("a.1", below),
        create("a.1.1", below),
        create("a.2", {**TARGETED, "resonate:origin": "a.2"}),
        create("a.2.1", {"resonate:origin": "a.2"}),
        create("a.3", {**TARGETED, **below}),
        settle("a"),
    ):
        assert store.apply(request).ok
    with pytest.raises(ResonateStoreError, match=r"the task 'a\.3' in the execution 'a' is running"):
        executions.delete("a")
    store.apply(settle("a.3"))
    for id, reason in (("a.1", "is part of the execution 'a'"), ("a.2", "is pending"), ("b", "was not found")):
        with pytest.raises(ResonateStoreError, match=reason):
            executions.delete(id)

    assert executions.delete("a") == 4
    assert [record.id for record in store.records()] == ["a.2", "a.2.1"]
    assert ids(executions) == ["a.2"]


def test_long_payloads_are_left_out_of_a_list(store: MemoryStore, executions: Executions) -> None:
    store.apply(replace(create("a", TARGETED), param=Value(data="x" * (MAX_SHOWN_CHARS + 1))))
    store.apply(replace(settle("a", "rejected"), value=Value(data="x" * (MAX_SHOWN_CHARS + 1))))

    assert executions.get("a").error == "an error that is too long for a list"


def test_encrypted_executions_are_readable_with_the_key_only(store: MemoryStore) -> None:
    key, other = AESGCMEncryptor({"k": b"k" * 32}), AESGCMEncryptor({"other": b"o" * 32})
    sealed = EncryptedStore(store, key)
    call = encode({"func": "order", "args": [], "kwargs": {}, "version": 3}, "param")
    creation = replace(create_task("a"), promise=replace(create("a", {**TARGETED, FUNC: "order"}), param=call))
    timer = create("a.1~2", {TIMER: "true", ORIGIN: "a"}, at=T0 + DAY)
    for request in (creation, replace(timer, param=encode_error(ValueError("no money"))), suspend("a", "a.1~2")):
        assert sealed.apply(request).ok

    for view, error, version in (
        (sealed, "ValueError: no money", 3),
        (EncryptedStore(store, other), "an encrypted error", None),
        (store, "an encrypted error", None),
    ):
        (seen,) = Executions(view, store.clock).list().items
        assert (seen.status, seen.error, seen.function, seen.version) == ("retrying", error, "order", version)


def test_server_without_the_requests_refuses_instead_of_an_unfiltered_list(store: MemoryStore) -> None:
    store.apply(create("a", TARGETED))
    old = Executions(HttpStore(URL, clock=store.clock, post=posted_to(store, old=True)), store.clock)
    for call in (lambda: old.list(state="failed"), lambda: old.get("a"), old.counts, lambda: old.retry_now("a")):
        with pytest.raises(ResonateStoreError, match="does not know execution"):
            call()


def test_deployed_api_refuses_deletion_and_does_not_advertise_it(store: MemoryStore) -> None:
    service = Service(store, refused=(ExecutionDelete.kind,))
    status, answer = service.answer(
        b'{"kind":"execution.delete","head":{"corrId":"1","version":"2026-04-01"},"data":{"id":"a"}}'
    )
    assert (status, b"Unknown operation: execution.delete" in answer) == (400, True)
    assert b'"execution.search"' in answer
    assert b'"execution.delete"' not in answer.partition(b'"resonate:kinds"')[2].partition(b"]")[0]

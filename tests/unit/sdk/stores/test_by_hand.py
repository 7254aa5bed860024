"""Promises and tasks by hand, as SDK 0.6.7 has them (docs/protocol.md 4.3, 4.4)."""

from __future__ import annotations

import sys
from itertools import product
from typing import Any

import pytest

from resonate.errors import ResonateCanceledError, ResonateTimedoutError
from resonate.message_sources import LocalMessageSource
from resonate.promises import DurablePromise, DurableValue
from resonate.stores import LocalStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import END_OF_TIME
from tests.support.low_level import INVOKE, JSON, SOON, TTL, refused
from tests.support.present import present

STATES = {"resolve": "RESOLVED", "reject": "REJECTED", "cancel": "REJECTED_CANCELED"}
CODES = {"resolve": 40301, "reject": 40302, "cancel": 40303}


def create(store: LocalStore, clock: ManualClock, existing: str, key: str | None = None) -> str:
    """Create a promise in a state, settled with the key if it is settled, and return its id."""
    id = f"p{clock.now()}"
    tags = {"resonate:timeout": "true"} if existing == "timer" else {}
    store.promises.create(id, clock.now() + SOON, ikey="k", tags=tags)
    if existing in ("due", "timer", "timedout"):
        clock.advance(SOON)
        assert existing != "timedout" or store.promises.get(id).timedout
    elif existing != "pending":
        getattr(store.promises, existing)(id, ikey=key)
    return id


@pytest.mark.parametrize("with_task", [False, True])
def test_created_promise_is_what_is_read(store: LocalStore, clock: ManualClock, with_task: bool) -> None:
    for id, strict in (("p", False), ("q", True)):
        deadline = clock.now() + SOON
        options: dict[str, Any] = {"ikey": "k", "strict": strict, "headers": {"a": "b"}, "data": "x", "tags": INVOKE}
        if with_task:
            promise, task = store.promises.create_with_task(id, deadline, "pid", TTL, **options)
            assert (present(task).id, present(task).counter) == (f"__invoke:{id}", 1)
        else:
            promise = store.promises.create(id, deadline, **options)
        assert promise == store.promises.get(id)
        assert promise == DurablePromise(
            id=id,
            state="PENDING",
            timeout=deadline,
            ikey_for_create="k",
            ikey_for_complete=None,
            param=DurableValue({"a": "b"}, "x"),
            value=DurableValue({}, None),
            tags={"resonate:invoke": "poll://any@workers"},
            created_on=clock.now(),
            completed_on=None,
            store=store,
        )
        assert (promise.abs_timeout, promise.rel_timeout) == (deadline / 1000, 60.0)


@pytest.mark.parametrize("with_task", [False, True])
def test_creation_of_an_existing_promise_needs_its_key(
    store: LocalStore, clock: ManualClock, with_task: bool, subtests: pytest.Subtests
) -> None:
    def again(id: str, ikey: str | None, strict: bool) -> DurablePromise:
        if not with_task:
            return store.promises.create(id, clock.now() + SOON, ikey=ikey, strict=strict, data="other")
        promise, task = store.promises.create_with_task(
            id, clock.now() + SOON, "pid", TTL, ikey=ikey, strict=strict, tags=INVOKE
        )
        assert task is None
        return promise

    states = ("pending", "due", *STATES, "timedout")
    for existing, strict, matches in product(states, (False, True), (False, True)):
        with subtests.test(existing, strict=strict, matches=matches):
            clock.advance(1)
            id = create(store, clock, existing)
            if matches and (existing == "pending" or not strict):
                assert again(id, "k", strict) == store.promises.get(id)
                assert store.promises.get(id).param.data is None
            else:
                for key in ("k",) if matches else ("other", None):
                    assert refused(again, id, key, strict, match="already exists") == 40900


def test_promise_is_settled_once(store: LocalStore, clock: ManualClock, subtests: pytest.Subtests) -> None:
    for call, strict in product(STATES, (False, True)):
        with subtests.test(call, strict=strict):
            settle = getattr(store.promises, call)
            assert refused(store.promises.get, "missing") == refused(settle, "missing", strict=strict) == 40400
            id = create(store, clock, "pending")
            clock.advance(SOON - 1)
            settled = settle(id, ikey="c", strict=strict, headers={"a": "b"}, data="1")
            assert settled == store.promises.get(id)
            assert (settled.state, settled.ikey_for_complete, settled.completed_on) == (STATES[call], "c", clock.now())
            assert settled.value == DurableValue({"a": "b"}, "1")
            assert [settled.resolved, settled.rejected, settled.canceled] == [call == each for each in STATES]

    for existing, call, matches, strict in product(STATES, STATES, (False, True), (False, True)):
        with subtests.test(call, existing=existing, matches=matches, strict=strict):
            clock.advance(1)
            id = create(store, clock, existing, "c")
            before, settle = store.promises.get(id), getattr(store.promises, call)
            if matches and (not strict or existing == call):
                assert settle(id, ikey="c", strict=strict, data="2") == before
            else:
                for key in ("c",) if matches else ("other", None):
                    assert refused(settle, id, ikey=key, strict=strict, match="already") == CODES[existing]
            assert store.promises.get(id) == before


def test_promise_is_settled_too_late(store: LocalStore, clock: ManualClock, subtests: pytest.Subtests) -> None:
    for existing, call in product(("due", "timedout"), STATES):
        with subtests.test(call, existing=existing):
            id, settle = create(store, clock, existing), getattr(store.promises, call)
            assert refused(settle, id, ikey="c", strict=True, match="already timedout") == 40304
            assert settle(id, ikey="c").timedout
            assert store.promises.get(id).ikey_for_complete is None
    for call, strict in product(STATES, (False, True)):
        with subtests.test(call, existing="timer", strict=strict):
            id, settle = create(store, clock, "timer"), getattr(store.promises, call)
            assert refused(settle, id, ikey="c", strict=strict, match="already resolved") == 40301
            assert store.promises.get(id).tags == {"resonate:timeout": "true"}


def test_promise_settles_itself_and_restores_its_result(
    store: LocalStore, clock: ManualClock, subtests: pytest.Subtests
) -> None:
    for call in STATES:
        with subtests.test(call):
            promise = store.promises.create(call, clock.now() + SOON)
            with pytest.raises(ValueError, match=f"{call} is pending and has no result"):
                promise.result(JSON)
            getattr(promise, call)('{"a": 1}', ikey="c")
            assert promise == store.promises.get(call)
            if call == "resolve":
                assert promise.result(JSON) == {"a": 1}
                continue
            with pytest.raises(ResonateCanceledError if call == "cancel" else Exception) as caught:
                promise.result(JSON)
            assert str(caught.value) == ("{'a': 1}" if call == "reject" else "[200.00000] Promise cancel canceled")

    promise = store.promises.create("late", clock.now() + SOON)
    clock.advance(SOON)
    promise.resolve(None)
    with pytest.raises(ResonateTimedoutError, match=r"Promise late timedout at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"):
        promise.result(JSON)

    promise = store.promises.create("headers", clock.now() + SOON)
    promise.reject(None, headers={"k": '{"__error__": "bad"}'})
    assert promise.value.to_tuple() == ({"k": '{"__error__": "bad"}'}, None)


def test_task_by_hand_from_invocation_to_resumption(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    root = store.promises.create("root", clock.now() + SOON, data="call", tags=INVOKE)
    leaf = store.promises.create("leaf", clock.now() + SOON)
    assert source.next() == {"type": "invoke", "task": {"id": "__invoke:root", "counter": 1}}

    assert store.tasks.claim("__invoke:root", 1, "pid", TTL) == (root, None)
    callback = present(leaf.callback("ignored", "root", "workers"))
    assert (callback.id, callback.promise_id) == ("__resume:root:leaf", "leaf")
    assert (callback.timeout, callback.created_on) == (leaf.timeout, clock.now())
    assert leaf.callback("ignored", "root", "workers") is None
    assert store.tasks.complete("__invoke:root", 1) is True
    assert store.tasks.complete("__invoke:root", 1) is True

    store.promises.resolve("leaf", data="1")
    assert source.next() == {"type": "resume", "task": {"id": "__resume:root:leaf", "counter": 2}}
    resumed, by = store.tasks.claim("__resume:root:leaf", 2, "pid", TTL)
    assert (resumed, by) == (root, store.promises.get("leaf"))
    store.promises.resolve("root")
    assert store.tasks.complete("__resume:root:leaf", 2) is True
    assert leaf.callback("ignored", "root", "workers") is None
    assert leaf.resolved


def test_promise_settled_before_completion_offers_the_task_again(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    promise, task = store.promises.create_with_task("root", clock.now() + SOON, "pid", TTL, tags=INVOKE)
    leaf = store.promises.create("leaf", clock.now() + SOON)
    leaf.callback("ignored", "root", "workers")
    leaf.resolve(None)

    present(task).complete()
    message = present(source.next())
    assert message["task"]["counter"] == 2
    assert store.tasks.claim(message["task"]["id"], 2, "pid", TTL)[0] == promise


def test_claim_and_completion_of_a_wrong_task_are_refused(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    store.promises.create("p", clock.now() + SOON, tags=INVOKE)
    store.promises.create("bare", clock.now() + SOON)
    source.next()

    tasks = store.tasks
    assert refused(tasks.claim, "__invoke:missing", 1, "pid", TTL) == 40403
    assert refused(tasks.claim, "__invoke:bare", 1, "pid", TTL) == 40403
    assert refused(tasks.complete, "__invoke:missing", 1) == 40403
    assert refused(tasks.claim, "__invoke:p", 2, "pid", TTL) == 40308
    assert refused(tasks.complete, "__invoke:p", 1) == 40309
    tasks.claim("__invoke:p", 1, "pid", TTL)
    assert refused(tasks.claim, "__invoke:p", 1, "other", TTL) == 40306
    assert refused(tasks.complete, "__invoke:p", 2) == 40308
    clock.advance(TTL)
    store.tick()
    assert refused(tasks.complete, "__invoke:p", 1) in (40308, 40309)
    assert present(source.next())["task"] == {"id": "__invoke:p", "counter": 2}
    tasks.claim("__invoke:p", 2, "pid", TTL)
    store.promises.callback("bare", "p", "workers", clock.now() + SOON)
    tasks.complete("__invoke:p", 2)
    assert refused(tasks.claim, "__invoke:p", 2, "pid", TTL) == 40307
    store.promises.resolve("p")
    assert refused(tasks.claim, "__invoke:p", 2, "pid", TTL) == 40307
    assert tasks.complete("__invoke:p", 2) is True


def test_claim_without_duration_ends_at_once(store: LocalStore, clock: ManualClock, source: LocalMessageSource) -> None:
    store.promises.create("p", clock.now() + SOON, tags=INVOKE)
    source.next()
    root, _ = store.tasks.claim("__invoke:p", 1, "pid", 0)
    assert root == store.promises.get("p")
    assert store.tasks.heartbeat("pid") == 1
    clock.advance(1)
    if not isinstance(store, LocalStore):
        store.tick()  # as its server does

    assert refused(store.tasks.complete, "__invoke:p", 1) in (40308, 40309)
    assert refused(store.tasks.claim, "__invoke:p", 1, "pid", 0) in (40308, 40309)
    assert store.tasks.claim("__invoke:p", 2, "pid", 0)[0] == root
    refused(store.tasks.claim, "__invoke:p", 2, "pid", -1, match="ttl is a lease in milliseconds")
    _, task = store.promises.create_with_task("q", clock.now() + SOON, "pid", 0, tags=INVOKE)
    assert task is not None


def test_heartbeat_extends_all_claims_of_a_process(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    for id, pid in (("a", "me"), ("b", "me"), ("c", "other")):
        store.promises.create_with_task(id, clock.now() + SOON, pid, TTL, tags=INVOKE)
    clock.advance(TTL - 1)

    assert [store.tasks.heartbeat(pid) for pid in ("me", "other", "another")] == [2, 1, 0]
    clock.advance(TTL - 1)
    assert store.tasks.heartbeat("me") == 2
    clock.advance(1)
    store.tick()
    assert source.next() == {"type": "invoke", "task": {"id": "__invoke:c", "counter": 2}}


def test_callback_of_a_root_without_a_task_is_refused(store: LocalStore, clock: ManualClock) -> None:
    for id in ("root", "leaf"):
        store.promises.create(id, clock.now() + SOON)
    callback, deadline = store.promises.callback, clock.now() + SOON

    assert refused(callback, "leaf", "root", "workers", deadline, match="no resonate:target tag") == 42200
    for call in (callback, store.promises.subscribe):
        assert refused(call, "missing", "missing", "workers", 1) == 40400


def test_subscriber_is_sent_the_settled_promise(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource, subtests: pytest.Subtests
) -> None:
    receivers = ["workers", "poll://workers/me", "local://any@workers", "local://uni@workers/me"]
    for id, recv in zip("abcd", receivers, strict=True):
        with subtests.test(recv):
            promise = store.promises.create(id, clock.now() + SOON, ikey="k", data="x", tags={"t": "1"})
            subscription = present(promise.subscribe("s", recv))
            assert (subscription.id, subscription.promise_id) == (f"__notify:{id}:s", id)
            assert promise.subscribe("s", recv) is None

            store.promises.resolve(id, ikey="c", headers={"h": "1"}, data="y")
            assert source.next() == {
                "type": "notify",
                "promise": {
                    "id": id,
                    "state": "RESOLVED",
                    "timeout": promise.timeout,
                    "idempotencyKeyForCreate": "k",
                    "idempotencyKeyForComplete": "c",
                    "param": {"data": "eA=="},
                    "value": {"headers": {"h": "1", "resonate:idempotency-key": "c"}, "data": "eQ=="},
                    "tags": {"t": "1"},
                    "createdOn": promise.created_on,
                    "completedOn": clock.now(),
                },
            }
            assert promise.subscribe("s", recv) is None
            assert promise.resolved


def test_deadline_beyond_time_is_the_last_instant(store: LocalStore, kept: LocalStore, clock: ManualClock) -> None:
    with_task, task = store.promises.create_with_task("p", sys.maxsize, "pid", sys.maxsize, tags=INVOKE)
    schedule = store.schedules.create("s", "* * * * *", "s.{{.timestamp}}", sys.maxsize, promise_tags=INVOKE)
    clock.advance(60_000)
    store.tick()

    assert task is not None
    occurrences = [record for record in kept.records() if record.id.startswith("s.")]
    assert occurrences
    assert {with_task.timeout, schedule.promise_timeout, *(each.timeout_at for each in occurrences)} == {END_OF_TIME}
    assert store.promises.create("q", sys.maxsize).timeout == END_OF_TIME

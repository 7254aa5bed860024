"""The low-level interface of SDK 0.6.7 (docs/protocol.md 4.2 to 4.5): promises, tasks by hand, schedules, messages."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from resonate import Context, Resonate
from resonate.encoders import JsonEncoder, NoopEncoder, PairEncoder
from resonate.errors import ResonateCanceledError, ResonateStoreError, ResonateTimedoutError
from resonate.message_sources import LocalMessageSource, MessageSource
from resonate.promises import DurablePromise, DurableValue
from resonate.stores import LocalStore, RemoteStore
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import END_OF_TIME
from tests.support.driver import Flow
from tests.support.wire import URL, posted_to

SOON = 60_000
TTL = 5_000
STATES = {"resolve": "RESOLVED", "reject": "REJECTED", "cancel": "REJECTED_CANCELED"}
CODES = {"RESOLVED": 40301, "REJECTED": 40302, "REJECTED_CANCELED": 40303, "REJECTED_TIMEDOUT": 40304}
INVOKE = {"resonate:invoke": "workers"}
JSON = PairEncoder(NoopEncoder(), JsonEncoder())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def kept(clock: ManualClock) -> LocalStore:
    """Where the records are."""
    return LocalStore(clock=clock)


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, kept: LocalStore) -> Any:
    """The store itself, or a client of a server that has it."""
    if request.param == "local":
        return kept
    remote: Any = RemoteStore(URL, clock=kept.clock, post=posted_to(kept))
    remote.tick = kept.tick
    return remote


@pytest.fixture
def source(kept: LocalStore) -> LocalMessageSource:
    return kept.message_source("workers", "me")


def code_of(error: pytest.ExceptionInfo[ResonateStoreError]) -> int:
    return int(str(error.value).split("]")[0].partition(".")[2])


def state_of(store: LocalStore, clock: ManualClock, existing: str, key: str | None) -> None:
    """Put the promise `p` into a state, settled with the key if there is anything to settle."""
    tags = {"resonate:timeout": "true"} if existing == "timer" else {}
    store.promises.create("p", clock.now() + SOON, ikey="k", tags=tags)
    if existing in ("due", "timer"):
        clock.advance(SOON)
    elif existing == "timedout":
        clock.advance(SOON)
        assert store.promises.get("p").timedout
    elif existing != "pending":
        getattr(store.promises, existing)("p", ikey=key)


# What a promise becomes

CREATIONS = [
    # existing, strict, key matches, code of the refusal
    ("pending", False, True, None),
    ("pending", False, False, 40900),
    ("pending", True, True, None),
    ("pending", True, False, 40900),
    ("due", False, True, None),
    ("due", False, False, 40900),
    ("due", True, True, 40900),
    ("due", True, False, 40900),
    *((done, False, True, None) for done in ("resolve", "reject", "cancel", "timedout")),
    *((done, False, False, 40900) for done in ("resolve", "reject", "cancel", "timedout")),
    *((done, True, True, 40900) for done in ("resolve", "reject", "cancel", "timedout")),
    *((done, True, False, 40900) for done in ("resolve", "reject", "cancel", "timedout")),
]


@pytest.mark.parametrize("with_task", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_creating_what_does_not_exist(store: LocalStore, clock: ManualClock, strict: bool, with_task: bool) -> None:
    if with_task:
        promise, task = store.promises.create_with_task(
            "p", clock.now() + SOON, "pid", TTL, ikey="k", strict=strict, headers={"a": "b"}, data="x", tags=INVOKE
        )
        assert task is not None
        assert (task.id, task.counter) == ("__invoke:p", 1)
    else:
        promise = store.promises.create(
            "p", clock.now() + SOON, ikey="k", strict=strict, headers={"a": "b"}, data="x", tags=INVOKE
        )
    assert promise == store.promises.get("p")
    assert promise == DurablePromise(
        id="p",
        state="PENDING",
        timeout=clock.now() + SOON,
        ikey_for_create="k",
        ikey_for_complete=None,
        param=DurableValue({"a": "b"}, "x"),
        value=DurableValue({}, None),
        tags={"resonate:invoke": "poll://any@workers"},
        created_on=clock.now(),
        completed_on=None,
        store=store,
    )
    assert (promise.abs_timeout, promise.rel_timeout) == ((clock.now() + SOON) / 1000, 60.0)


@pytest.mark.parametrize("with_task", [False, True])
@pytest.mark.parametrize(("existing", "strict", "matches", "code"), CREATIONS)
def test_creating_what_exists(
    store: LocalStore, clock: ManualClock, existing: str, strict: bool, matches: bool, code: int | None, with_task: bool
) -> None:
    state_of(store, clock, existing, None)

    def create() -> DurablePromise:
        ikey = "k" if matches else "other"
        if with_task:
            promise, task = store.promises.create_with_task(
                "p", clock.now() + SOON, "pid", TTL, ikey=ikey, strict=strict, tags=INVOKE
            )
            assert task is None
            return promise
        return store.promises.create("p", clock.now() + SOON, ikey=ikey, strict=strict, data="other")

    if code is None:
        assert create() == store.promises.get("p")
        assert store.promises.get("p").param.data is None
    else:
        with pytest.raises(ResonateStoreError, match="already exists") as caught:
            create()
        assert code_of(caught) == code


@pytest.mark.parametrize("keys", [(None, None), ("k", None), (None, "k")])
def test_absent_keys_do_not_match(store: LocalStore, clock: ManualClock, keys: tuple[str | None, str | None]) -> None:
    first, second = keys
    store.promises.create("p", clock.now() + SOON, ikey=first)

    with pytest.raises(ResonateStoreError) as caught:
        store.promises.create("p", clock.now() + SOON, ikey=second)
    assert code_of(caught) == 40900
    store.promises.resolve("p", ikey=first)
    with pytest.raises(ResonateStoreError) as caught:
        store.promises.resolve("p", ikey=second)
    assert code_of(caught) == 40301


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("call", STATES)
def test_settling(store: LocalStore, clock: ManualClock, call: str, strict: bool) -> None:
    with pytest.raises(ResonateStoreError) as caught:
        getattr(store.promises, call)("p", strict=strict)
    assert code_of(caught) == 40400
    state_of(store, clock, "pending", None)
    clock.advance(SOON - 1)

    settled = getattr(store.promises, call)("p", ikey="c", strict=strict, data="1")
    assert settled == store.promises.get("p")
    assert (settled.state, settled.ikey_for_complete, settled.completed_on) == (STATES[call], "c", clock.now())


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("call", STATES)
@pytest.mark.parametrize("existing", ["due", "timedout"])
def test_settling_too_late(store: LocalStore, clock: ManualClock, existing: str, call: str, strict: bool) -> None:
    state_of(store, clock, existing, None)

    if strict:
        with pytest.raises(ResonateStoreError, match="already timedout") as caught:
            getattr(store.promises, call)("p", ikey="c", strict=True)
        assert code_of(caught) == 40304
    else:
        assert getattr(store.promises, call)("p", ikey="c").timedout
    assert store.promises.get("p").ikey_for_complete is None


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("call", STATES)
def test_settling_a_timer_that_is_due(store: LocalStore, clock: ManualClock, call: str, strict: bool) -> None:
    state_of(store, clock, "timer", None)

    with pytest.raises(ResonateStoreError, match="already resolved") as caught:
        getattr(store.promises, call)("p", ikey="c", strict=strict)
    assert code_of(caught) == 40301
    assert store.promises.get("p").tags == {"resonate:timeout": "true"}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("matches", [False, True])
@pytest.mark.parametrize("call", STATES)
@pytest.mark.parametrize("existing", STATES)
def test_settling_what_is_settled(
    store: LocalStore, clock: ManualClock, existing: str, call: str, matches: bool, strict: bool
) -> None:
    state_of(store, clock, existing, "c")
    before = store.promises.get("p")

    if matches and (not strict or existing == call):
        assert getattr(store.promises, call)("p", ikey="c", strict=strict, data="2") == before
    else:
        with pytest.raises(ResonateStoreError, match="already") as caught:
            getattr(store.promises, call)("p", ikey="c" if matches else "other", strict=strict)
        assert code_of(caught) == CODES[STATES[existing]]
    assert store.promises.get("p") == before


# The promise as an object


@pytest.mark.parametrize("call", STATES)
def test_a_promise_settles_itself(store: LocalStore, clock: ManualClock, call: str) -> None:
    promise = store.promises.create("p", clock.now() + SOON)
    with pytest.raises(ValueError, match="p is pending and has no result"):
        promise.result(JSON)

    getattr(promise, call)('{"a": 1}', ikey="c")

    assert promise == store.promises.get("p")
    if call == "resolve":
        assert promise.result(JSON) == {"a": 1}
    else:
        with pytest.raises(ResonateCanceledError if call == "cancel" else Exception) as caught:
            promise.result(JSON)
        assert str(caught.value) == ("{'a': 1}" if call == "reject" else "[200.00000] Promise p canceled")


def test_the_result_of_a_promise_whose_time_is_up(store: LocalStore, clock: ManualClock) -> None:
    promise = store.promises.create("p", clock.now() + SOON)
    clock.advance(SOON)

    promise.resolve(None)
    with pytest.raises(ResonateTimedoutError, match=r"Promise p timedout at \d+"):
        promise.result(JSON)


def test_the_headers_of_a_promise_may_hold_its_result(store: LocalStore, clock: ManualClock) -> None:
    promise = store.promises.create("p", clock.now() + SOON)
    promise.reject(None, headers={"k": '{"__error__": "bad"}'})

    assert promise.value.to_tuple() == ({"k": '{"__error__": "bad"}'}, None)


# Waiting and tasks


def test_a_task_by_hand_from_invocation_to_resumption(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    root = store.promises.create("root", clock.now() + SOON, data="call", tags=INVOKE)
    leaf = store.promises.create("leaf", clock.now() + SOON)
    assert source.next() == {"type": "invoke", "task": {"id": "__invoke:root", "counter": 1}}

    assert store.tasks.claim("__invoke:root", 1, "pid", TTL) == (root, None)
    callback = leaf.callback("ignored", "root", "workers")
    assert callback is not None
    assert (callback.id, callback.promise_id, callback.timeout, callback.created_on) == (
        "__resume:root:leaf",
        "leaf",
        leaf.timeout,
        clock.now(),
    )
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


def test_what_settles_before_the_task_is_completed_brings_it_back_at_once(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    promise, task = store.promises.create_with_task("root", clock.now() + SOON, "pid", TTL, tags=INVOKE)
    assert task is not None
    leaf = store.promises.create("leaf", clock.now() + SOON)
    leaf.callback("ignored", "root", "workers")
    leaf.resolve(None)

    task.complete()
    message = source.next()
    assert message is not None
    assert message["task"]["counter"] == 2
    assert store.tasks.claim(message["task"]["id"], 2, "pid", TTL)[0] == promise


def test_claims_and_completions_that_are_refused(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    store.promises.create("p", clock.now() + SOON, tags=INVOKE)
    store.promises.create("bare", clock.now() + SOON)
    source.next()

    def refused(call: Any, *args: Any) -> int:
        with pytest.raises(ResonateStoreError) as caught:
            call(*args)
        return code_of(caught)

    tasks = store.tasks
    assert refused(tasks.claim, "__invoke:nothing", 1, "pid", TTL) == 40403
    assert refused(tasks.claim, "__invoke:bare", 1, "pid", TTL) == 40403
    assert refused(tasks.complete, "__invoke:nothing", 1) == 40403
    assert refused(tasks.claim, "__invoke:p", 2, "pid", TTL) == 40308
    assert refused(tasks.complete, "__invoke:p", 1) == 40309
    tasks.claim("__invoke:p", 1, "pid", TTL)
    assert refused(tasks.claim, "__invoke:p", 1, "other", TTL) == 40306
    assert refused(tasks.complete, "__invoke:p", 2) == 40308
    clock.advance(TTL)
    store.tick()
    assert refused(tasks.complete, "__invoke:p", 1) in (40308, 40309)
    message = source.next()
    assert message is not None
    assert message["task"] == {"id": "__invoke:p", "counter": 2}
    tasks.claim("__invoke:p", 2, "pid", TTL)
    store.promises.callback("bare", "p", "workers", clock.now() + SOON)
    tasks.complete("__invoke:p", 2)
    assert refused(tasks.claim, "__invoke:p", 2, "pid", TTL) == 40307
    store.promises.resolve("p")
    assert refused(tasks.claim, "__invoke:p", 2, "pid", TTL) == 40307
    assert tasks.complete("__invoke:p", 2) is True


def test_remote_store_takes_host_and_port_in_the_order_of_0_6_7() -> None:
    store = RemoteStore("http://promises.test", "8123", ("user", "secret"), JSON, 5)
    assert (store.server.url, store.server.auth, store.encoder) == (
        "http://promises.test:8123",
        ("user", "secret"),
        JSON,
    )
    assert RemoteStore("http://promises.test").server.url == "http://promises.test"


def test_remote_task_without_a_callback_cannot_be_completed(kept: LocalStore, clock: ManualClock) -> None:
    store = RemoteStore(URL, clock=clock, post=posted_to(kept))
    _, task = store.promises.create_with_task("p", clock.now() + SOON, "pid", TTL, tags=INVOKE)
    assert task is not None

    with pytest.raises(ResonateStoreError, match="name at least one awaited promise") as caught:
        task.complete()
    assert code_of(caught) == 40000
    store.promises.resolve("p")
    task.complete()


def test_claim_without_duration_ends_at_once(store: LocalStore, clock: ManualClock, source: LocalMessageSource) -> None:
    store.promises.create("p", clock.now() + SOON, tags=INVOKE)
    source.next()
    root, _ = store.tasks.claim("__invoke:p", 1, "pid", 0)
    assert root == store.promises.get("p")
    assert store.tasks.heartbeat("pid") == 1
    clock.advance(1)
    if not isinstance(store, LocalStore):
        store.tick()  # as its server does

    for call in (lambda: store.tasks.complete("__invoke:p", 1), lambda: store.tasks.claim("__invoke:p", 1, "pid", 0)):
        with pytest.raises(ResonateStoreError) as caught:
            call()
        assert code_of(caught) in (40308, 40309)
    assert store.tasks.claim("__invoke:p", 2, "pid", 0)[0] == root
    with pytest.raises(ResonateStoreError, match="ttl is a lease in milliseconds"):
        store.tasks.claim("__invoke:p", 2, "pid", -1)
    _, task = store.promises.create_with_task("q", clock.now() + SOON, "pid", 0, tags=INVOKE)
    assert task is not None


def test_a_heartbeat_keeps_all_claims_of_a_process(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    for id, pid in (("a", "me"), ("b", "me"), ("c", "other")):
        store.promises.create_with_task(id, clock.now() + SOON, pid, TTL, tags=INVOKE)
    clock.advance(TTL - 1)

    assert [store.tasks.heartbeat(pid) for pid in ("me", "other", "nobody")] == [2, 1, 0]
    clock.advance(TTL - 1)
    assert store.tasks.heartbeat("me") == 2
    clock.advance(1)
    store.tick()
    message = source.next()
    assert message == {"type": "invoke", "task": {"id": "__invoke:c", "counter": 2}}


def test_a_root_without_a_task_cannot_be_resumed(store: LocalStore, clock: ManualClock) -> None:
    for id in ("root", "leaf"):
        store.promises.create(id, clock.now() + SOON)

    with pytest.raises(ResonateStoreError, match="no resonate:target tag") as caught:
        store.promises.callback("leaf", "root", "workers", clock.now() + SOON)
    assert code_of(caught) == 42200
    for call in (store.promises.callback, store.promises.subscribe):
        with pytest.raises(ResonateStoreError) as caught:
            call("nothing", "nothing", "workers", 1)
        assert code_of(caught) == 40400


@pytest.mark.parametrize("recv", ["workers", "poll://workers/me", "local://any@workers", "local://uni@workers/me"])
def test_a_subscriber_is_sent_the_settled_promise(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource, recv: str
) -> None:
    promise = store.promises.create("p", clock.now() + SOON, ikey="k", data="x", tags={"t": "1"})
    subscription = promise.subscribe("s", recv)
    assert subscription is not None
    assert (subscription.id, subscription.promise_id) == ("__notify:p:s", "p")
    assert promise.subscribe("s", recv) is None

    store.promises.resolve("p", ikey="c", headers={"h": "1"}, data="y")
    assert source.next() == {
        "type": "notify",
        "promise": {
            "id": "p",
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


def test_messages_for_others_do_not_arrive_and_time_passes_while_one_waits(
    store: LocalStore, clock: ManualClock, source: LocalMessageSource
) -> None:
    assert isinstance(source, MessageSource)
    store.promises.create("a", clock.now() + 1, tags={"resonate:invoke": "others"})
    late = store.promises.create("b", clock.now() + SOON)
    late.subscribe("s", source.unicast)
    clock.advance(SOON)

    message = source.next()
    assert message is not None
    assert (message["promise"]["id"], message["promise"]["state"]) == ("b", "REJECTED_TIMEDOUT")
    source.stop()
    assert source.next() is None
    late.subscribe("s", source.unicast)


# Schedules


def test_a_schedule_by_hand(store: LocalStore, clock: ManualClock, source: LocalMessageSource) -> None:
    created = store.schedules.create(
        "s",
        "* * * * *",
        "{{.id}}.{{.timestamp}}",
        SOON,
        ikey="k",
        description="each minute",
        tags={"t": "1"},
        promise_headers={"h": "1"},
        promise_data="x",
        promise_tags=INVOKE,
    )
    assert created == store.schedules.get("s")
    assert (created.description, created.tags, created.ikey) == ("each minute", {"t": "1"}, "k")
    assert created.promise_param == DurableValue({"h": "1"}, "x")
    assert created.promise_tags == {"resonate:invoke": "poll://any@workers"}
    again = store.schedules.create("s", "0 0 * * *", "x", SOON, ikey="k", promise_tags=INVOKE)
    assert again == created
    for ikey in (None, "other"):
        with pytest.raises(ResonateStoreError) as caught:
            store.schedules.create("s", "* * * * *", "x", SOON, ikey=ikey, promise_tags=INVOKE)
        assert code_of(caught) == 40901

    clock.advance(created.next_runtime - clock.now())
    store.tick()
    assert store.promises.get(f"s.{created.next_runtime}").param.data == "x"
    assert store.schedules.get("s").last_runtime == created.next_runtime
    assert source.next() == {"type": "invoke", "task": {"id": f"__invoke:s.{created.next_runtime}", "counter": 1}}
    created.delete()
    for call in (store.schedules.get, store.schedules.delete):
        with pytest.raises(ResonateStoreError) as caught:
            call("s")
        assert code_of(caught) == 40401


def test_a_schedule_that_cannot_be_is_refused(store: LocalStore) -> None:
    with pytest.raises(ResonateStoreError) as caught:
        store.schedules.create("s", "never", "x", SOON, promise_tags=INVOKE)
    assert code_of(caught) == 40000


# Under a connection


@pytest.fixture
def connected() -> Iterator[Resonate]:
    store = LocalStore()
    resonate = Resonate(store=store, message_source=LocalMessageSource(store, "mine", "me"))
    yield resonate
    resonate.stop()


def test_a_connection_runs_on_it(connected: Resonate) -> None:
    @connected.register
    def double(_: Context, n: int) -> int:
        return 2 * n

    @connected.register
    def workflow(ctx: Context, n: int) -> Flow:
        return (yield ctx.rpc("double", n)) + (yield (yield ctx.promise(id="answer")))

    handle = connected.begin_run("w", workflow, 20)
    store = connected.store
    assert isinstance(store, LocalStore)
    store.promises.create("answer", 2**50, ikey="answer")
    store.promises.resolve("answer", data="2")

    assert handle.result(10) == 42
    assert store.promises.get("w.1").tags["resonate:invoke"] == "poll://any@mine"
    assert store.promises.get("w").ikey_for_create == "w"
    assert store.promises.resolve("w", ikey="w").resolved


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda store: {"store": store}, TypeError, "message_source must be a `LocalMessageSource` when store"),
        (lambda store: {"store": store, "message_source": 5}, TypeError, "must be a `MessageSource`, got int"),
        (lambda store: {"message_source": LocalMessageSource(store, "g", "i")}, ValueError, "give both or neither"),
        (
            lambda store: {"store": MemoryStore(), "message_source": LocalMessageSource(store, "g", "i")},
            TypeError,
            "must not be a `LocalMessageSource` when store is MemoryStore",
        ),
        (lambda _: {"store": {}}, TypeError, "store must be a `Store`, got dict"),
        (lambda _: {"registry": {}}, TypeError, "registry must be `Registry`, got dict"),
        (lambda _: {"dependencies": []}, TypeError, "dependencies must be `dict`, got list"),
    ],
)
def test_stores_and_sources_that_do_not_fit_are_refused(
    kept: LocalStore, make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Resonate(**make(kept))


def test_a_schedule_of_the_clients_keeps_its_key_here_too(kept: LocalStore) -> None:
    client = Resonate(store=kept, message_source=kept.message_source("default", "p"))
    tags = {"resonate:target": "poll://any@workers"}
    client.schedules.create("s", "0 0 * * *", "x", SOON, ikey="k", tags={"team": "a"}, promise_tags=tags)

    found = kept.schedules.create("s", "0 0 * * *", "x", SOON, ikey="k", promise_tags=INVOKE)
    with pytest.raises(ResonateStoreError) as caught:
        kept.schedules.create("s", "0 0 * * *", "x", SOON, ikey="another", promise_tags=INVOKE)

    assert (found.ikey, found.tags) == ("k", {"team": "a"})
    assert code_of(caught) == 40901


def test_what_never_times_out_has_the_last_instant_there_is(
    store: LocalStore, kept: LocalStore, clock: ManualClock
) -> None:
    with_task, task = store.promises.create_with_task("p", sys.maxsize, "pid", sys.maxsize, tags=INVOKE)
    schedule = store.schedules.create("s", "* * * * *", "s.{{.timestamp}}", sys.maxsize, promise_tags=INVOKE)
    clock.advance(60_000)
    store.tick()

    assert task is not None
    occurrences = [record for record in kept.records() if record.id.startswith("s.")]
    assert occurrences
    assert {with_task.timeout, schedule.promise_timeout, *(each.timeout_at for each in occurrences)} == {END_OF_TIME}
    assert store.promises.create("q", sys.maxsize).timeout == END_OF_TIME


def test_a_source_can_wait_for_what_is_never_due(kept: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    source = kept.message_source("workers", "me")
    kept.promises.create("p", sys.maxsize, tags=INVOKE)
    waits: list[float] = []

    class Messages:
        def get(self, timeout: float) -> Any:
            waits.append(timeout)
            raise queue.Empty if len(waits) < 3 else EndOfTest

    monkeypatch.setattr(kept, "next_wake_at", lambda: END_OF_TIME)
    monkeypatch.setattr(source, "_messages", Messages())
    with pytest.raises(EndOfTest):
        source.next()
    assert max(waits) <= threading.TIMEOUT_MAX


class EndOfTest(Exception):
    pass

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from resonate_store.dynamo.items import expiry_of
from resonate_store.dynamo.store import DynamoStore
from resonate_store.dynamo.writes import MAX_ITEM_BYTES, size_of
from resonate_store.interface import StoreClosed, StoreError
from resonate_store.machine.effects import Change
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseDelivered,
    PromiseRegisterListener,
    PromiseWake,
    Request,
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
    TaskGet,
    TaskHalt,
    TaskResume,
    TaskVerify,
)
from resonate_store.model.tags import ORIGIN, TIMER
from tests.support.build import (
    DAY,
    LISTENER,
    MINUTE,
    OUTSIDE,
    SECOND,
    TARGETED,
    TIMED,
    acquire,
    create,
    create_task,
    delayed,
    fence,
    fulfill,
    get,
    heartbeat,
    listen,
    recorded,
    release,
    schedule,
    settle,
    suspend,
    value,
)
from tests.support.dynamo import Table, Wire, after, answering, cancelling, lost, make_client, refusing
from tests.support.present import present
from tests.support.substrates import T0, Skewed

GET, BATCH, QUERY = "GetItem", "BatchGetItem", "Query"
PUT, UPDATE, DELETE, TRANSACT = "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0)


@pytest.fixture
def store(table: Table, clock: ManualClock) -> DynamoStore:
    return table.store(clock)


def done(store: DynamoStore, *requests: Request) -> None:
    for request in requests:
        response = store.apply(request)
        assert response.ok, response


def large(id: str, size: int) -> PromiseCreate:
    return replace(create(id), param=Value(data="x" * size))


# What requests cost.


def test_recording_a_new_step_is_one_write(store: DynamoStore, wire: Wire) -> None:
    done(store, recorded("a.1"))
    assert wire.taken() == [PUT]


def test_creating_is_one_write(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a.1"), create("a.2", TIMED), create_task("a"))
    assert wire.taken() == [PUT, PUT, PUT]


def test_finding_what_exists_is_one_refused_write_or_one_read(table: Table, store: DynamoStore, wire: Wire) -> None:
    done(store, create("a", OUTSIDE))
    wire.taken()
    found = table.store(store.clock).apply(create("a")).promise
    assert found is not None
    assert found.tags == OUTSIDE
    assert wire.taken() == [PUT]
    assert store.apply(create("a")).promise == found
    assert wire.taken() == [GET]


@pytest.mark.parametrize("consistent", [False, True])
def test_verifying_a_task_is_one_projected_read(store: DynamoStore, wire: Wire, dynamo: Any, consistent: bool) -> None:
    done(store, create_task("a"))
    wire.taken()
    read: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        read.append(params)

    dynamo.meta.events.register("provide-client-params.dynamodb.GetItem", note)
    assert store.apply(TaskVerify("a", 1, consistent)).status == 200
    assert store.apply(TaskVerify("a", 2, consistent)).status == 409
    assert store.apply(TaskVerify("b", 1, consistent)).status == 404
    assert wire.taken() == [GET] * 3
    dynamo.meta.events.unregister("provide-client-params.dynamodb.GetItem", note)
    assert {arguments["ConsistentRead"] for arguments in read} == {consistent}
    assert not {"param", "value"} & set(read[0]["ExpressionAttributeNames"].values())


def test_acquiring_is_one_read_and_one_write(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a", TARGETED))
    wire.taken()
    done(store, acquire("a"))
    assert wire.taken() == [GET, PUT]


def test_suspending_on_a_timer_of_ones_own_is_one_transaction(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a", TARGETED), acquire("a"), create("a.1", TIMED))
    wire.taken()
    done(store, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT]


def test_suspending_on_what_others_made_reads_that_and_no_more(table: Table, store: DynamoStore, wire: Wire) -> None:
    done(table.store(store.clock), create("b"), create("c"))
    done(store, create_task("a"))
    wire.taken()
    done(store, suspend("a", "b", "c"))
    assert wire.taken() == [BATCH, TRANSACT]


def test_suspending_on_what_the_preload_brought_reads_nothing(table: Table, store: DynamoStore, wire: Wire) -> None:
    done(table.store(store.clock), create("a.1", OUTSIDE))
    done(store, create_task("a"))
    store.children("a")
    wire.taken()
    done(store, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT]


def test_a_redirected_suspension_writes_nothing(store: DynamoStore, wire: Wire) -> None:
    done(store, create_task("a"), create("b"), settle("b"))
    wire.taken()
    assert store.apply(suspend("a", "b")).status == 300
    assert wire.taken() == [BATCH]


@pytest.mark.parametrize(
    ("end", "sent"),
    [
        (fulfill("a"), [PUT]),
        (release("a", handover=True), [PUT]),
        (release("a"), [QUERY, QUERY, PUT]),
        (heartbeat(("a", 1)), [PUT]),
    ],
    ids=["fulfill", "handover", "failed attempt", "heartbeat"],
)
def test_the_holder_of_a_task_need_not_read_it(store: DynamoStore, wire: Wire, end: Request, sent: list[str]) -> None:
    done(store, create("a", TARGETED), acquire("a"))
    wire.taken()
    done(store, end)
    assert wire.taken() == sent


def test_a_fence_is_one_transaction(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a", TARGETED), acquire("a"))
    wire.taken()
    done(store, fence("a", create("a.1")), fence("a", settle("a.1")))
    assert wire.taken() == [TRANSACT, TRANSACT]


def test_resuming_is_one_read_and_one_write(store: DynamoStore, wire: Wire) -> None:
    done(store, create_task("a"), create("a.1", OUTSIDE), suspend("a", "a.1"))
    wire.taken()
    done(store, TaskResume("a", 1, "a.1"))
    assert wire.taken() == [GET, PUT]


def test_a_late_delivery_is_one_read(store: DynamoStore, wire: Wire) -> None:
    done(store, create_task("a"), fulfill("a"))
    wire.taken()
    done(store, TaskResume("a", 1, "a.1"))
    assert wire.taken() == [GET]


def test_marking_a_settlement_delivered_is_one_write_for_who_saw_it(
    table: Table, store: DynamoStore, wire: Wire
) -> None:
    done(table.store(store.clock), create("a"), settle("a"))
    record = store.record("a")
    assert record is not None
    dispatch = store.open()
    dispatch.remember(record)
    wire.taken()
    done(dispatch, PromiseDelivered("a"))
    assert wire.taken() == [PUT]


def test_registering_a_listener_is_one_read_and_one_update(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a"))
    wire.taken()
    done(store, listen("a"))
    assert wire.taken() == [GET, UPDATE]


def test_a_preload_is_one_query_of_direct_children(store: DynamoStore, wire: Wire) -> None:
    ids = ("a.1", "a.2", "a.1.1", "a.1.1.1", "a.10.1", "ab.1", "a2", "b.1")
    done(store, *(recorded(id) for id in ids), create("a.3", at=T0 + 1))
    store.clock.sleep(1)
    wire.taken()
    assert [promise.id for promise in store.children("a")] == ["a.1", "a.2"]
    assert [promise.id for promise in store.children("a.1")] == ["a.1.1"]
    assert wire.taken() == [QUERY, QUERY]


def test_more_awaited_than_one_transaction_holds_are_registered_in_chunks(store: DynamoStore, wire: Wire) -> None:
    awaited = [f"a.{n}" for n in range(100)]
    done(store, create_task("a"), *(create(id) for id in awaited))
    wire.taken()
    done(store, suspend("a", *awaited))
    assert wire.taken() == [TRANSACT, TRANSACT, PUT]
    task = store.apply(TaskGet("a")).task
    assert task is not None
    assert task.state == "suspended"
    assert all(store.record(id).callbacks == {"a": 1} for id in awaited)  # type: ignore[union-attr]


def test_everything_awaited_is_read_in_one_batch(table: Table, store: DynamoStore, wire: Wire) -> None:
    awaited = [f"a.{n}" for n in range(99)]
    done(table.store(store.clock), *(create(id) for id in awaited), create_task("a"))
    wire.taken()
    done(store, suspend("a", *awaited))
    assert wire.taken() == [BATCH, TRANSACT]


# Assumptions.


def test_an_error_is_only_answered_to_what_has_been_read(table: Table, store: DynamoStore, wire: Wire) -> None:
    worker = store.open()
    done(worker, create_task("a"))
    done(table.store(store.clock), release("a", handover=True), acquire("a", 1))
    wire.taken()
    assert worker.apply(fulfill("a")).error == "Version mismatch"
    assert wire.taken() == [PUT]
    assert worker.apply(fulfill("a")).error == "Version mismatch"
    assert wire.taken() == [GET]


def test_a_task_that_others_hold_again_by_now_is_not_refused_unread(table: Table, store: DynamoStore) -> None:
    worker = store.open()
    done(worker, create_task("a"), release("a", handover=True))
    done(table.store(store.clock), acquire("a", 1))
    assert worker.apply(fulfill("a", 2)).ok


def test_a_stale_image_of_an_awaited_promise_does_no_harm(table: Table, store: DynamoStore, wire: Wire) -> None:
    worker = store.open()
    done(worker, create_task("a"), create("a.1"))
    done(table.store(store.clock), listen("a.1"))
    wire.taken()
    done(worker, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT]
    record = store.record("a.1")
    assert record is not None
    assert (record.callbacks, list(record.listeners), record.rev) == ({"a": 1}, [LISTENER], 3)


def test_wait_registered_again_takes_the_version_of_the_task(store: DynamoStore) -> None:
    done(store, create_task("a"), create("a.1"), create("a.2"), suspend("a", "a.1", "a.2"), settle("a.1"))
    done(store, TaskResume("a", 1, "a.1"), acquire("a", 1), suspend("a", "a.2", version=2))
    assert present(store.record("a.2")).callbacks == {"a": 2}


def test_an_awaited_promise_that_has_settled_meanwhile_redirects(table: Table, store: DynamoStore, wire: Wire) -> None:
    worker = store.open()
    done(worker, create_task("a"), create("a.1"), create("a.2"))
    done(table.store(store.clock), settle("a.1"))
    wire.taken()
    response = worker.apply(suspend("a", "a.1", "a.2"))
    assert (response.status, [promise.id for promise in response.preload]) == (300, ["a.1"])
    # The transaction told about a.1 only; what a redirection says of the others is read.
    assert wire.taken() == [TRANSACT, BATCH]


def test_what_was_read_before_a_conflict_is_read_again_for_an_answer(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    rival = table.store(clock, client=make_client())
    done(rival, create("b"), create("c"))
    done(store, create_task("a"))
    wire.taken()
    wire.faults.extend([None, after(lambda: done(rival, settle("b")))])
    assert store.apply(suspend("a", "b", "c")).status == 300
    assert wire.taken() == [BATCH, TRANSACT, BATCH]


def test_a_fence_of_a_task_that_another_holds_by_now_writes_nothing(table: Table, store: DynamoStore) -> None:
    worker = store.open()
    done(worker, create_task("a"))
    done(table.store(store.clock), release("a", handover=True), acquire("a", 1))
    assert worker.apply(fence("a", create("a.1"))).status == 409
    assert store.record("a.1") is None


def test_a_new_life_of_an_id_is_not_overwritten_from_the_old_one(table: Table, store: DynamoStore) -> None:
    worker = store.open()
    done(worker, create_task("a"))
    key = {name: table.item("a")[name] for name in ("pk", "sk")}
    table.client.delete_item(TableName=table.name, Key=key)
    store.clock.sleep(1)
    done(table.store(store.clock), create("a", OUTSIDE))
    assert worker.apply(fulfill("a")).status == 404
    assert store.apply(get("a")).promise.state == "pending"  # type: ignore[union-attr]


@pytest.mark.parametrize("offset", [-SECOND, SECOND])
def test_wait_on_a_promise_created_again_takes_its_new_deadline(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock, offset: int
) -> None:
    done(store, create("a", at=T0 + MINUTE))
    rival = table.store(clock, client=make_client())

    def create_again() -> None:
        key = {name: table.item("a")[name] for name in ("pk", "sk")}
        make_client().delete_item(TableName=table.name, Key=key)
        done(rival, create("a", at=T0 + MINUTE + offset))

    wire.taken()
    wire.faults.extend([None, after(create_again)])
    done(store, listen("a"))
    assert wire.taken() == [GET, UPDATE, UPDATE]
    assert present(store.record("a")).wake_at == T0 + MINUTE + offset


def test_only_so_many_images_are_remembered(store: DynamoStore, monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setattr("resonate_store.dynamo.known.MAX_REMEMBERED", 1)
    done(store, create("a"), create("b"))
    wire.taken()
    done(store, settle("b"), settle("a"))
    assert wire.taken() == [PUT, GET, PUT]


def test_image_used_last_is_remembered_longest(store: DynamoStore, monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setattr("resonate_store.dynamo.known.MAX_REMEMBERED", 2)
    done(store, create("a"), create("b"), listen("a"), create("c"))
    wire.taken()
    done(store, settle("a"))
    assert wire.taken() == [PUT]


def test_settled_promise_is_read_before_it_is_settled_again(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a.1", {ORIGIN: "a"}), settle("a.1"))
    wire.taken()
    done(store, settle("a.1"))
    assert wire.taken() == [GET]


# Lost answers, competitors, and a DynamoDB that cannot.


@pytest.mark.parametrize(
    ("before", "request_", "rev"),
    [
        ([], create("a"), 1),
        ([create("a")], settle("a"), 2),
        ([create("a")], listen("a"), 2),
        ([create_task("b"), create("a")], suspend("b", "a"), 2),
        ([create_task("b")], fence("b", create("a")), 1),
    ],
    ids=["put new", "put", "update", "transaction", "transaction with a check"],
)
@pytest.mark.parametrize("tries", [1, 2], ids=["sent again by us", "sent again by botocore"])
def test_a_write_whose_answer_was_lost_is_done_once(
    table: Table,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    before: list[Request],
    request_: Request,
    rev: int,
    tries: int,
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    client = make_client(tries=tries)
    store = table.store(clock, client=client)
    done(store, *before)
    with Wire().tapping(client) as wire:
        wire.faults.extend([None, lost] if isinstance(request_, PromiseRegisterListener) else [lost])
        done(store, request_)
    first, again = (operation for operation in wire.taken() if operation != GET)
    assert first == again
    record = store.record("a")
    assert record is not None
    assert record.rev == rev


def test_an_answer_lost_to_us_is_told_from_what_others_wrote_next(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create("a", TARGETED))
    other = table.store(clock, client=make_client())
    wire.faults.extend([None, lost, after(lambda: done(other, listen("a")))])
    # The listener's update bears another token, so the acquisition finds its own task held.
    assert store.apply(acquire("a")).status == 409
    assert store.apply(fulfill("a")).ok


def test_a_deletion_whose_answer_was_lost_is_a_success(store: DynamoStore, wire: Wire) -> None:
    done(store, schedule("s"))
    wire.faults.extend([None, lost])
    assert store.apply(ScheduleDelete("s")).ok
    assert store.apply(ScheduleGet("s")).status == 404


def test_a_competitor_is_met_on_the_image_he_left(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create("a"))
    rival = table.store(clock, client=make_client())
    wire.taken()
    wire.faults.append(after(lambda: done(rival, settle("a", data="theirs"))))
    response = store.apply(settle("a", data="ours"))
    assert response.promise is not None
    assert response.promise.value == value("theirs")
    assert wire.taken() == [PUT]


def test_a_competitor_who_leaves_room_is_overtaken(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create("a"))
    rival = table.store(clock, client=make_client())
    wire.taken()
    wire.faults.append(after(lambda: done(rival, listen("a"))))
    response = store.apply(settle("a"))
    assert response.promise is not None
    assert response.promise.state == "resolved"
    assert wire.taken() == [PUT, PUT]
    assert list(table.item("a")["listeners"]["M"]) == [LISTENER]
    assert clock.now() == T0


def test_a_competitor_in_a_transaction_is_met_on_the_images_he_left(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create_task("a"), create("a.1"))
    rival = table.store(clock, client=make_client())
    wire.taken()
    wire.faults.append(after(lambda: done(rival, heartbeat(("a", 1)))))
    done(store, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT, TRANSACT]


def test_many_wait_on_one_promise_without_competing(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create("a", OUTSIDE))
    rival = table.store(clock, client=make_client())
    wire.taken()
    for n in range(3):
        wire.faults.extend([None, after(lambda n=n: done(rival, listen("a", f"{LISTENER}-rival{n}")))])
        done(store, listen("a", f"{LISTENER}{n}"))
    assert wire.taken() == [GET, UPDATE] * 3
    record = store.record("a")
    assert record is not None
    assert (len(record.listeners), record.rev) == (6, 7)


def ignoring_images(_event_name: str, request: Any) -> None:
    """The endpoint does not know `ReturnValuesOnConditionCheckFailure`."""
    request.body = re.sub(rb', "ReturnValuesOnConditionCheckFailure": "ALL_OLD"', b"", request.body)


def test_endpoint_that_sends_no_images_is_read_once(
    table: Table, store: DynamoStore, wire: Wire, clock: ManualClock
) -> None:
    done(store, create_task("a"), create("a.1"))
    rival = table.store(clock, client=make_client())
    wire.taken()
    wire.faults.append(after(lambda: (clock.advance(1), done(rival, heartbeat(("a", 1)))), ignoring_images))
    done(store, suspend("a", "a.1"))
    assert wire.taken() == [TRANSACT, GET, TRANSACT]

    wire.faults.append(after(lambda: done(rival, settle("a.1")), ignoring_images))
    assert store.apply(create("a.1")).promise == rival.apply(get("a.1")).promise
    assert wire.taken().count(GET) <= 1


def test_endpoint_without_images_recognises_a_write_of_ours(table: Table, clock: ManualClock) -> None:
    client = make_client(tries=2)
    store = table.store(clock, client=client)
    with Wire().tapping(client) as wire:
        wire.faults.extend([lost, ignoring_images])
        assert store.apply(create("a")).status == 200
        assert wire.taken() == [PUT, PUT, GET]


def test_endless_competition_is_given_up(table: Table, wire: Wire, clock: ManualClock) -> None:
    store = table.store(clock, max_attempts=3)
    rival = table.store(clock, client=make_client())
    done(store, create_task("a"))
    wire.taken()
    wire.faults.extend([after(lambda: (clock.advance(1), done(rival, heartbeat(("a", 1)))))] * 3)
    response = store.apply(release("a", handover=True))
    assert response.status == 503
    assert response.error == "given up after 3 tries: others keep writing to the same records"
    assert wire.taken() == [PUT] * 3


PASSING: list[tuple[str, Any]] = [
    ("throttled", refusing("ProvisionedThroughputExceededException")),
    ("throttled account", refusing("ThrottlingException")),
    ("request limit", refusing("RequestLimitExceeded")),
    ("conflict", refusing("TransactionConflictException")),
    ("server error", refusing("InternalServerError", 500)),
    ("unknown server error", refusing("Whatever", 503)),
]
PASSING_TRANSACTIONS: list[tuple[str, Any]] = [
    ("conflict", cancelling("None", "TransactionConflict")),
    ("throttled", cancelling("ThrottlingError", "None")),
    ("in progress", refusing("TransactionInProgressException")),
]


@pytest.mark.parametrize("fault", [fault for _, fault in PASSING], ids=[name for name, _ in PASSING])
def test_what_passes_is_tried_again(store: DynamoStore, wire: Wire, clock: ManualClock, fault: Any) -> None:
    wire.faults.extend([fault, fault])
    done(store, create("a"))
    assert wire.taken() == [PUT] * 3
    assert clock.now() > T0


@pytest.mark.parametrize(
    "fault", [fault for _, fault in PASSING_TRANSACTIONS], ids=[name for name, _ in PASSING_TRANSACTIONS]
)
def test_what_passes_is_tried_again_in_a_transaction(store: DynamoStore, wire: Wire, fault: Any) -> None:
    done(store, create_task("a"))
    wire.taken()
    wire.faults.extend([fault, fault])
    done(store, fence("a", create("a.1")))
    assert wire.taken() == [TRANSACT] * 3


def test_what_does_not_pass_in_time_is_a_503(table: Table, clock: ManualClock, wire: Wire) -> None:
    store = table.store(clock, max_attempts=3)
    wire.faults.extend([refusing("ThrottlingException", message="slow down")] * 6)
    response = store.apply(create("a"))
    assert (response.status, response.error) == (503, "DynamoDB is busy: ThrottlingException: slow down")
    assert wire.taken() == [PUT] * 3
    with pytest.raises(StoreError, match="slow down"):
        store.children("a")


def test_pauses_double_and_are_spread(table: Table, wire: Wire) -> None:
    clock, pauses = ManualClock(T0), list[int]()
    clock.sleep = pauses.append  # type: ignore[method-assign]
    store = DynamoStore(table.name, client=table.client, clock=clock, jitter=lambda: 0.5, max_attempts=9)
    wire.faults.extend([refusing("ThrottlingException")] * 8)
    done(store, create("a"))
    assert pauses == [12, 25, 50, 100, 200, 400, 500, 500]


def test_a_batch_answered_in_part_is_asked_for_the_rest(store: DynamoStore, wire: Wire, table: Table) -> None:
    done(table.store(store.clock), create("b"), create("c"), create_task("a"))
    left = {table.name: {"Keys": [{name: table.item("c")[name] for name in ("pk", "sk")}]}}
    body = {"Responses": {table.name: [table.item("a"), table.item("b")]}, "UnprocessedKeys": left}
    wire.taken()
    wire.faults.append(answering(body))
    done(store, suspend("a", "b", "c"))
    assert wire.taken() == [BATCH, BATCH, TRANSACT]


def test_a_batch_that_is_never_answered_is_given_up(clock: ManualClock, wire: Wire, table: Table) -> None:
    store = table.store(clock, max_attempts=3)
    done(table.store(clock), create("b"), create_task("a"))
    keys = [{name: table.item(id)[name] for name in ("pk", "sk")} for id in ("a", "b")]
    body = {"Responses": {}, "UnprocessedKeys": {table.name: {"Keys": keys}}}
    wire.faults.extend([answering(body)] * 3)
    assert store.apply(suspend("a", "b")).status == 503


# What DynamoDB does not take.


def test_an_item_that_is_too_large_is_refused_before_it_is_sent(store: DynamoStore, wire: Wire) -> None:
    response = store.apply(large("a", MAX_ITEM_BYTES))
    assert response.status == 413
    assert response.error is not None
    assert response.error.startswith("promise 'a' would be an item of 4")
    assert str(MAX_ITEM_BYTES) in response.error
    assert wire.taken() == []


def test_waiters_that_make_an_item_too_large_are_refused(store: DynamoStore) -> None:
    done(store, large("a", 404_000))  # moto takes less than DynamoDB
    assert store.apply(listen("a", f"http://localhost/{'y' * 6_000}")).status == 413
    done(store, listen("a"))


def test_a_transaction_that_is_too_large_is_refused(store: DynamoStore) -> None:
    awaited = [f"a.{n}" for n in range(11)]
    done(store, create_task("a"), *(large(id, 390_000) for id in awaited))
    response = store.apply(suspend("a", *awaited))
    assert response.status == 413
    assert response.error is not None
    assert "12 records" in response.error


@pytest.mark.parametrize(
    ("message", "status"),
    [("Item size to update has exceeded the maximum allowed size", 413), ("An attribute name is empty", 400)],
)
def test_what_dynamodb_refuses_for_its_contents_is_the_requests_fault(
    store: DynamoStore, wire: Wire, message: str, status: int
) -> None:
    wire.faults.append(refusing("ValidationException", message=message))
    response = store.apply(create("a"))
    assert (response.status, response.error) == (status, f"DynamoDB does not take this: {message}")
    done(store, create_task("b"))
    wire.faults.append(
        refusing(
            "TransactionCanceledException",
            CancellationReasons=[{"Code": "None"}, {"Code": "ValidationError", "Message": message}],
        )
    )
    assert store.apply(fence("b", create("b.1"))).status == status


def test_the_size_of_an_item_is_dynamodbs() -> None:
    item = {
        "text": {"S": "\u00e9\U0001f600"},
        "map": {"M": {"k": {"S": "v"}}},
        "list": {"L": [{"S": "ab"}]},
        "flag": {"BOOL": True},
        "n": {"N": "12"},
    }
    assert size_of(item) == (4 + 6) + (3 + 3 + 1 + 1 + 1) + (4 + 3 + 1 + 2) + (4 + 1) + (1 + 3)


@pytest.mark.parametrize(
    "id", ["a#b", "a/b c", "\U0001f600.\u00e9", "#", "a.", ".", "a..b", "x" * 1000, "schedule", "expiry#a"]
)
def test_any_id_is_an_id(store: DynamoStore, id: str) -> None:
    child = f"{id[:990]}.1"
    done(store, create_task(id), create(child, TIMED), suspend(id, child), settle(child))
    done(store, TaskResume(id, 1, child), schedule(id, promise_id="{{.timestamp}}"))
    assert store.apply(get(id)).promise.id == id  # type: ignore[union-attr]
    assert store.apply(ScheduleGet(id)).schedule.id == id  # type: ignore[union-attr]
    assert ("promise", id) in store.due(T0 + DAY)
    assert ("schedule", id) in store.due(T0 + DAY)
    if len(id) < 990:
        assert [promise.id for promise in store.children(id)] == [child]


# What the stream is told.


@pytest.mark.parametrize(
    ("before", "request_", "id", "effects"),
    [
        ([], create("a", TARGETED), "a", 1),
        ([], create("a", delayed(T0 + MINUTE)), "a", 1),
        ([], create("a"), "a", None),
        ([], recorded("a.1"), "a.1", 1),
        ([create_task("a")], heartbeat(("a", 1)), "a", None),
        ([create("a"), listen("a")], settle("a"), "a", 2),
        ([create("a", at=T0 + SECOND)], listen("a"), "a", 1),
        ([create("a", at=T0 + SECOND), listen("a")], listen("a", "http://x"), "a", None),
        ([create("a"), settle("a")], PromiseDelivered("a"), "a", None),
        ([create("a", TARGETED)], acquire("a"), "a", None),
    ],
    ids=[
        "offered",
        "held back",
        "nothing yet",
        "a root settled",
        "nothing new",
        "a listener to tell",
        "awaited",
        "awaited already",
        "delivered",
        "no longer offered",
    ],
)
def test_a_write_announces_its_effects(
    table: Table, store: DynamoStore, before: list[Request], request_: Request, id: str, effects: int | None
) -> None:
    done(store, *before, request_)
    assert table.item(id).get("effects") == (None if effects is None else {"N": str(effects)})


def test_a_write_can_leave_its_effects_to_the_caller(table: Table, store: DynamoStore) -> None:
    response, changes = store.transact(create("a", TARGETED), announce=False)
    assert response.ok
    assert "effects" not in table.item("a")
    assert changes == [Change(None, store.record("a"))]
    store.transact(listen("a"), announce=False)
    assert "effects" not in table.item("a")


def test_every_write_bears_a_token_of_its_own(table: Table, clock: ManualClock) -> None:
    numbers = itertools.count()
    store = table.store(clock, identify=lambda: f"write {next(numbers)}")
    tokens: list[str] = []
    for request in (create("a"), listen("a"), settle("a")):
        done(store, request)
        tokens.append(table.item("a")["token"]["S"])
    assert tokens == ["write 0", "write 1", "write 2"]


# What is due.


def test_what_is_due_is_found_in_every_shard_in_order(store: DynamoStore) -> None:
    ids = [f"t{n}" for n in range(20)]
    for n, id in enumerate(reversed(ids)):
        done(store, create(id, TIMED, at=T0 + SECOND * (n // 2)))
    done(store, schedule("s"))
    assert store.due(T0 - 1) == []
    assert len(store.due(T0 + SECOND * 3)) == 6  # two are born settled, and owe nothing sooner
    keys = store.due(T0 + DAY)
    assert len(keys) == 21
    assert keys[:2] == [("promise", "t16"), ("promise", "t17")]


def test_a_shard_is_read_in_pages(store: DynamoStore) -> None:
    done(store, *(create(f"a.{n}", TIMED, at=T0 + SECOND * (n + 1)) for n in range(5)))
    found: list[str] = []
    pages = 0
    for shard in range(store.shards):
        start = None
        while True:
            entries, start = store.due_in_shard(shard, T0 + SECOND * 4, 2, start)
            found += [id for (_, id), _ in entries]
            assert [at for _, at in entries] == sorted(at for _, at in entries)
            assert all(T0 + SECOND <= at <= T0 + SECOND * 4 for _, at in entries)
            pages += bool(entries)
            if start is None:
                break
    assert (found, pages) == (["a.0", "a.1", "a.2", "a.3"], 2)


def test_halted_task_is_counted_apart_and_times_out(store: DynamoStore) -> None:
    done(store, create_task("a", at=T0 + MINUTE), TaskHalt("a"))
    shards = range(store.shards)
    assert [key for shard in shards for key, _ in store.halted_in_shard(shard, 10)] == [("promise", "a")]
    assert [store.due_in_shard(shard, T0 + DAY, 10) for shard in shards] == [([], None)] * store.shards
    assert store.due(T0 + DAY) == [("promise", "a")]


def test_a_woken_schedule_creates_its_occurrences(store: DynamoStore, clock: ManualClock) -> None:
    done(store, schedule("s"))
    clock.advance(2 * MINUTE)
    assert store.due(clock.now()) == [("schedule", "s")]
    done(store, ScheduleFire("s"))
    assert len(store.children("s")) == 2
    assert ("schedule", "s") not in store.due(clock.now())


def test_a_settled_root_leaves_a_marker(table: Table, store: DynamoStore) -> None:
    store.retain("a.b", T0, T0 + 5, seconds=60)
    (item,) = table.items()
    assert expiry_of(item) == ("a.b", T0)
    assert item["expire_at"] == {"N": str((T0 + 60_000) // 1000 + 1)}


# Clocks that differ (docs/rules.md P6).


@pytest.mark.parametrize("offset", [-2 * SECOND, 2 * SECOND])
def test_what_one_clock_has_settled_stays_settled_for_the_other(table: Table, clock: ManualClock, offset: int) -> None:
    ahead, behind = (table.store(Skewed(clock, n)) for n in (max(0, offset), min(0, offset)))
    done(behind, create("a", {TIMER: "true"}, at=T0 + SECOND), create("b", at=T0 + SECOND))
    clock.advance(SECOND if offset < 0 else 0)
    for id, state in (("a", "resolved"), ("b", "rejected_timedout")):
        seen = ahead.apply(get(id)).promise
        assert seen is not None
        assert (seen.state, seen.settled_at) == (state, T0 + SECOND)
        assert behind.apply(get(id)).promise == seen
        assert behind.apply(settle(id)).promise == seen
        assert behind.record(id).promise() == seen  # type: ignore[union-attr]


def test_a_clock_that_lags_does_not_undo_what_the_other_has_acted_on(table: Table, clock: ManualClock) -> None:
    ahead, behind = table.store(Skewed(clock, 2 * SECOND)), table.store(clock)
    done(ahead, create_task("a", at=T0 + 10 * SECOND, ttl=SECOND))
    clock.advance(SECOND)
    done(behind, heartbeat(("a", 1)))
    record = behind.record("a")
    assert record is not None
    assert record.task is not None
    assert record.written_at == T0 + 2 * SECOND
    assert record.task.expires_at == T0 + 3 * SECOND


def test_a_preload_leaves_out_what_is_due(table: Table, clock: ManualClock) -> None:
    ahead, behind = table.store(Skewed(clock, 2 * SECOND)), table.store(clock)
    done(behind, create("a.1", TIMED, at=T0 + SECOND))
    assert [promise.state for promise in behind.children("a")] == ["pending"]
    assert ahead.children("a") == []
    done(ahead, PromiseWake("a.1"))
    assert [promise.state for promise in behind.children("a")] == ["resolved"]


# Who may use it, and where it is.


def test_a_closed_store_does_nothing(store: DynamoStore, wire: Wire) -> None:
    invocation = store.open()
    invocation.close()
    calls: list[Callable[[], object]] = [
        lambda: invocation.apply(create("a")),
        lambda: invocation.transact(create("a")),
        lambda: invocation.children("a"),
        lambda: invocation.record("a"),
        lambda: invocation.due(T0),
        lambda: invocation.retain("a", T0, T0, 1),
        invocation.open,
    ]
    for call in calls:
        with pytest.raises(StoreClosed, match="the invocation it belonged to has ended"):
            call()
    assert wire.taken() == []
    done(store, create("a"))


def test_a_store_closed_while_it_retries_writes_no_more(store: DynamoStore, wire: Wire) -> None:
    wire.faults.append(after(store.close, then=refusing("ThrottlingException")))
    with pytest.raises(StoreClosed):
        store.apply(create("a"))
    assert wire.taken() == [PUT]


def test_opened_stores_share_the_client_and_nothing_they_remember(store: DynamoStore, wire: Wire) -> None:
    done(store, create("a"))
    wire.taken()
    done(store.open(), settle("a"))
    assert wire.taken() == [GET, PUT]


GROUPS = {"workers": "lambda://worker"}


@pytest.mark.parametrize(
    "request_",
    [
        create("a", {"resonate:target": "poll://any@nobody"}),
        create_task("a", {"resonate:target": "poll://uni@nobody/1"}),
        fence("b", create("a", {"resonate:target": "poll://any@nobody"})),
        schedule("a", tags={"resonate:target": "poll://any@nobody"}),
    ],
    ids=lambda request: request.kind,
)
def test_a_target_that_nobody_serves_is_refused(
    table: Table, clock: ManualClock, wire: Wire, request_: Request
) -> None:
    response = table.store(clock, groups=GROUPS).apply(request_)
    assert response.status == 400
    assert response.error is not None
    assert "group 'nobody'" in response.error
    assert "RESONATE_GROUPS maps workers" in response.error
    assert wire.taken() == []


@pytest.mark.parametrize("target", ["poll://any@workers", "lambda://f", "https://example.com/x"])
def test_a_target_that_somebody_serves_is_accepted(table: Table, clock: ManualClock, target: str) -> None:
    assert table.store(clock, groups=GROUPS).apply(create("a", {"resonate:target": target})).ok


def test_a_mistake_gets_the_machines_sentence(store: DynamoStore, wire: Wire) -> None:
    assert store.apply(create("")).status == 400
    assert wire.taken() == []


def test_a_missing_table_is_named(dynamo: Any, clock: ManualClock) -> None:
    store = DynamoStore("no-such-table", client=dynamo, clock=clock)
    for call in (lambda: store.apply(create("a")), lambda: store.children("a")):
        with pytest.raises(StoreError, match="no table 'no-such-table': set RESONATE_TABLE"):
            call()


def test_a_refusal_by_iam_names_the_table(store: DynamoStore, wire: Wire, table: Table) -> None:
    wire.faults.append(refusing("AccessDeniedException", message="not authorized"))
    with pytest.raises(StoreError, match=f"refuses table '{table.name}' to us: AccessDeniedException: not authorized"):
        store.apply(create("a"))


def _alone(script: str, **environment: str) -> str:
    """What a process of its own prints: one that has no mock, and no credentials but these."""
    completed = subprocess.run(
        [sys.executable, "-c", script],
        env={"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


TRYING = """
from resonate_store.model.clock import ManualClock
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.requests import PromiseGet
try:
    print(DynamoStore("t", clock=ManualClock()).apply(PromiseGet("a")).error)
except StoreError as error:
    print(error)
"""


def test_a_missing_region_is_said() -> None:
    assert "set AWS_DEFAULT_REGION" in _alone(TRYING)


def test_missing_credentials_are_said() -> None:
    assert "there are no AWS credentials" in _alone(TRYING, AWS_DEFAULT_REGION="us-east-1")


def test_an_endpoint_that_nobody_listens_on_is_said() -> None:
    said = _alone(
        TRYING,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="y",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
    )
    assert "DynamoDB cannot be reached: " in said
    assert "127.0.0.1:9" in said


def test_importing_the_store_does_not_import_boto3() -> None:
    assert _alone("import sys, resonate_store.dynamo; print('boto3' in sys.modules)").strip() == "False"

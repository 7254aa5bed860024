import json
from typing import Any
from unittest.mock import Mock

import pytest

from resonate_infra.deployed.dispatch import REMOVAL_MS, SMALL_TREE, MalformedRecord
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseRegisterListener, PromiseSettle
from resonate_store.model.schedule_requests import ScheduleCreate
from tests.support.aws_doubles import SETTINGS, refusal
from tests.support.dynamo import Wire, after
from tests.support.infra_world import HOUR, InfraWorld
from tests.support.present import present

EXPIRED = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
"""Fields of the stream record of an item whose time to live has ended."""


def change(world: InfraWorld, id: str, before: Any = None) -> dict[str, Any]:
    """Return the stream record of the last write of a promise."""
    after = world.images(id)
    images = {"Keys": {key: after[key] for key in ("pk", "sk")}, "NewImage": after, "SequenceNumber": "1"}
    if before is not None:
        images["OldImage"] = before
    return {"eventName": "MODIFY" if before else "INSERT", "dynamodb": images}


# The stream


def expired(world: InfraWorld, id: str, records: int) -> dict[str, Any]:
    """Create a settled execution with so many records. Return the stream record of its marker's removal."""
    world.create(id, target="poll://any@default")
    for number in range(1, records):
        world.create(f"{id}.{number}", origin=id)
    world.store.apply(PromiseSettle(id, "resolved"))
    root = world.record(id)
    world.store.retain(id, root.created_at, root.settled_at or 0, 1)
    marker = next(item for item in world.table.items() if item["sk"]["S"] == f"expiry#{id}")
    keys = {key: marker[key] for key in ("pk", "sk")}
    return {"eventName": "REMOVE", **EXPIRED, "dynamodb": {"Keys": keys, "OldImage": marker, "SequenceNumber": "1"}}


def records(world: InfraWorld) -> int:
    """Return the number of records in the table without the markers, which DynamoDB removes."""
    return len(world.table.items()) - len(world.markers())


def test_small_tree_is_deleted_at_once(world: InfraWorld) -> None:
    world.dispatch.stream_record(expired(world, "w1", SMALL_TREE))

    assert (records(world), world.sqs.sent) == (0, [])


def test_larger_tree_is_left_to_the_queue(world: InfraWorld, wire: Wire) -> None:
    removal = expired(world, "w1", SMALL_TREE + 1)
    wire.taken()
    world.dispatch.stream_record(removal)

    assert wire.taken() == ["Query"]
    ((url, errand, _),) = world.sqs.sent
    assert url == SETTINGS.push_queue_url
    assert records(world) == SMALL_TREE + 1
    world.dispatch.queue_message(json.dumps(errand))
    assert records(world) == 0


def test_batch_of_removals_ends_within_two_seconds(world: InfraWorld, wire: Wire) -> None:
    removals = [expired(world, f"w{number}", 3) for number in range(40)]
    wire.faults.extend([after(lambda: world.clock.advance(20))] * 1_000)
    begun = world.clock.now()
    for removal in removals:
        world.dispatch.stream_record(removal, begun + REMOVAL_MS)

    assert world.clock.now() - begun <= 2_000
    left = [json.dumps(errand) for _, errand, _ in world.sqs.sent]
    assert 0 < len(left) < 40
    while left:  # A batch of the queue has the same limit.
        begun = world.clock.now()
        world.sqs.sent.clear()
        assert world.dispatch.queue_messages(left[:10]) == [None] * len(left[:10])
        assert world.clock.now() - begun <= 2_000
        left = left[10:] + [json.dumps(errand) for _, errand, _ in world.sqs.sent]
    assert records(world) == 0


def test_large_tree_is_deleted_in_batches_of_two_seconds(world: InfraWorld, wire: Wire) -> None:
    world.dispatch.stream_record(expired(world, "w1", 301))
    batches = 0
    while world.sqs.sent:
        ((_, errand, _),) = world.sqs.sent
        world.sqs.sent.clear()
        wire.faults.extend([after(lambda: world.clock.advance(15))] * 1_000)
        begun = world.clock.now()
        world.dispatch.queue_message(json.dumps(errand))
        assert world.clock.now() - begun <= 2_000
        wire.faults.clear()
        batches += 1

    assert (records(world), batches) == (0, 4)


def test_expired_marker_deletes_its_tree_in_parts(world: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_infra.deployed.dispatch.SMALL_TREE", 6)
    monkeypatch.setattr("resonate_infra.deployed.dispatch.MAX_DELETIONS", 5)
    removed = {**expired(world, "w1", 7), "userIdentity": None}

    world.dispatch.stream_record(removed)
    assert len(world.table.items()) == 8, "a caller removed the marker early"
    world.dispatch.stream_record({**removed, **EXPIRED})

    ((url, errand, _),) = world.sqs.sent
    assert url == SETTINGS.push_queue_url
    world.sqs.sent.clear()
    world.dispatch.queue_message(json.dumps(errand))
    ((_, errand, _),) = world.sqs.sent
    assert world.record("w1"), "the root goes last"
    assert len(world.table.items()) == 3, "the root, its marker, and one more than a message deletes"
    world.dispatch.queue_message(json.dumps(errand))
    assert (world.markers(), records(world)) == (["expiry#w1"], 0)


def test_tree_that_cannot_be_deleted_now_is_queued(world: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    removal = expired(world, "w1", 1)

    def busy(*_: object, **__: object) -> bool:
        raise StoreError("S3 is busy")

    with monkeypatch.context() as patched:
        patched.setattr(DynamoStore, "delete_tree", busy)
        world.dispatch.stream_record(removal)
        ((_, errand, _),) = world.sqs.sent
        with pytest.raises(StoreError):  # SQS delivers the message again.
            world.dispatch.queue_message(json.dumps(errand))

    world.dispatch.queue_message(json.dumps(errand))
    assert records(world) == 0


def test_deleted_schedule_is_disarmed(world: InfraWorld) -> None:
    target = {"resonate:target": "poll://any@default"}
    world.store.apply(ScheduleCreate("s", "0 0 1 1 *", "{{.id}}.{{.timestamp}}", HOUR, promise_tags=target))
    (item,) = world.table.items()
    keys = {key: item[key] for key in ("pk", "sk")}

    world.dispatch.stream_record(
        {"eventName": "INSERT", "dynamodb": {"Keys": keys, "NewImage": item, "SequenceNumber": "1"}}
    )
    assert len(world.scheduler.schedules) == 1
    world.dispatch.stream_record(
        {"eventName": "REMOVE", "dynamodb": {"Keys": keys, "OldImage": item, "SequenceNumber": "2"}}
    )

    assert world.scheduler.schedules == {}


def test_new_task_is_offered_and_new_timer_is_armed(world: InfraWorld) -> None:
    world.create("w1", target="poll://any@default")
    world.create("w2", target="https://worker.example.com/")
    world.create("t1", timer=True, after=5000)
    for id in ("w1", "w2", "t1"):
        world.dispatch.stream_record(change(world, id))

    execute = {"kind": "execute", "head": {}, "data": {"task": {"id": "w1", "version": 0}}}
    assert world.functions.invoked == [("worker", "Event", execute)]
    pushed, timer = world.sqs.sent
    assert pushed[0] == SETTINGS.push_queue_url
    assert (pushed[1]["address"], pushed[1]["message"]["kind"]) == ("https://worker.example.com/", "execute")
    assert world.pusher.pushed == [], "the dispatcher does not wait for a receiver"
    at = world.record("t1").timeout_at
    assert timer == (SETTINGS.timer_queue_url, {"kind": "timer", "id": "t1", "at": at}, 5)


def test_settlement_resumes_and_notifies_and_is_cleared(world: InfraWorld) -> None:
    world.create("awaited")
    world.suspended("awaiter", "awaited")
    world.store.apply(PromiseRegisterListener("awaited", "https://client.example.com/"))
    before = world.images("awaited")
    world.store.apply(PromiseSettle("awaited", "resolved"))
    record = change(world, "awaited", before)
    world.dispatch.stream_record(record)

    task = present(world.record("awaiter").task)
    assert (task.state, task.resumes) == ("pending", ("awaited",))
    ((_, body, _),) = world.sqs.sent
    assert body == {"address": "https://client.example.com/", "settled": "awaited"}
    awaited = world.record("awaited")
    assert (awaited.delivered, awaited.callbacks, awaited.listeners, awaited.wake_at) == (True, {}, {}, None)
    assert world.markers() == ["expiry#awaited"]

    # The same record again.
    revisions = [world.record(id).rev for id in ("awaited", "awaiter")]
    world.dispatch.stream_record(record)
    assert [world.record(id).rev for id in ("awaited", "awaiter")] == revisions


def test_settlement_without_callbacks_is_cleared_without_reading(world: InfraWorld, wire: Wire) -> None:
    world.create("awaited")
    before = world.images("awaited")
    world.store.apply(PromiseSettle("awaited", "resolved"))
    record = change(world, "awaited", before)
    wire.taken()
    world.dispatch.stream_record(record)

    assert wire.taken() == ["PutItem", "PutItem"]


def test_outdated_stream_record_changes_nothing(world: InfraWorld) -> None:
    world.create("awaited")
    before = world.images("awaited")
    world.store.apply(PromiseSettle("awaited", "resolved"))
    record = change(world, "awaited", before)
    world.clock.advance(2 * HOUR)
    world.tick.sweep()
    after = world.record("awaited")
    assert after.delivered
    world.dispatch.stream_record(record)

    assert world.record("awaited") == after


def test_stream_record_without_effects_does_nothing(world: InfraWorld) -> None:
    world.create("p1")
    revision = world.record("p1").rev
    world.dispatch.stream_record(change(world, "p1"))

    assert world.record("p1").rev == revision
    assert (world.sqs.sent, world.functions.invoked) == ([], [])


def test_malformed_stream_record_is_refused(world: InfraWorld, subtests: pytest.Subtests) -> None:
    for record in ({}, {"dynamodb": None}, {"dynamodb": {}}, {"dynamodb": "x"}):
        with subtests.test(record=record), pytest.raises(MalformedRecord, match="expected a DynamoDB stream record"):
            world.dispatch.stream_record(record)


def test_failing_queue_fails_the_record_and_failing_worker_does_not(
    world: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.create("t1", timer=True)
    world.create("w1", target="poll://any@default")
    monkeypatch.setattr(world.scheduler, "create_schedule", Mock(side_effect=refusal("InternalError", "SendMessage")))
    world.functions.refuses = refusal("TooManyRequestsException", "Invoke")

    with pytest.raises(Exception, match="InternalError"):
        world.dispatch.stream_record(change(world, "t1"))
    world.dispatch.stream_record(change(world, "w1"))


# The push queue


def test_message_of_the_push_queue_is_posted(world: InfraWorld) -> None:
    message = {"kind": "execute", "head": {}, "data": {"task": {"id": "w1", "version": 0}}}
    world.dispatch.queue_message(json.dumps({"address": "https://worker.example.com/", "message": message}))

    assert world.pusher.pushed == [("https://worker.example.com/", message)]


def test_listener_receives_the_settled_promise(world: InfraWorld) -> None:
    world.create("p1")
    world.store.apply(PromiseSettle("p1", "resolved", Value(data="Mg==")))
    message = {"address": "https://client.example.com/", "settled": "p1"}
    world.dispatch.queue_message(json.dumps(message))

    ((address, unblock),) = world.pusher.pushed
    assert (address, unblock["kind"]) == ("https://client.example.com/", "unblock")
    assert (unblock["data"]["promise"]["id"], unblock["data"]["promise"]["value"]) == ("p1", {"data": "Mg=="})


def test_listener_of_a_deleted_promise_gets_nothing(world: InfraWorld, caplog: pytest.LogCaptureFixture) -> None:
    message = {"address": "https://client.example.com/", "settled": "p1"}
    world.dispatch.queue_message(json.dumps(message))

    assert world.pusher.pushed == []
    assert "https://client.example.com/ is not notified of p1, which was deleted" in caplog.text


def test_listener_function_is_invoked_through_the_queue(world: InfraWorld) -> None:
    world.create("p1")
    world.store.apply(PromiseRegisterListener("p1", "lambda://client"))
    before = world.images("p1")
    world.store.apply(PromiseSettle("p1", "resolved"))
    world.dispatch.stream_record(change(world, "p1", before))
    ((_, message, _),) = world.sqs.sent
    world.dispatch.queue_message(json.dumps(message))

    ((name, _, unblock),) = world.functions.invoked
    assert (name, unblock["data"]["promise"]["id"]) == ("client", "p1")


def test_retention_marker_is_written_although_notification_fails(
    world: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.create("p1")
    world.store.apply(PromiseRegisterListener("p1", "https://client.example.com/"))
    before = world.images("p1")
    world.store.apply(PromiseSettle("p1", "resolved"))
    monkeypatch.setattr(world.sqs, "send_message", Mock(side_effect=refusal("InvalidMessageContents", "SendMessage")))

    with pytest.raises(Exception, match="InvalidMessageContents"):
        world.dispatch.stream_record(change(world, "p1", before))
    assert world.markers() == ["expiry#p1"]


def test_failed_push_fails_only_its_own_message(world: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ValueError("no such address")
    monkeypatch.setattr(world.pusher, "push_all", lambda _: [True, error, False])
    push = json.dumps({"address": "https://worker.example.com/", "message": {"kind": "execute"}})

    failures = world.dispatch.queue_messages([push, "{}", push, push])
    assert (failures[0], failures[2], failures[3]) == (None, error, None)
    assert isinstance(failures[1], MalformedRecord)


def test_queue_message_without_time_left_is_queued_again(world: InfraWorld) -> None:
    push = json.dumps({"address": "https://worker.example.com/", "message": {"kind": "execute"}})
    deletion = json.dumps({"expired": ["w1", 7]})
    now = world.clock.now()

    assert world.dispatch.queue_messages([push], now + 5_000) == [None]
    assert world.pusher.pushed == []
    ((_, given_back, delay),) = world.sqs.sent
    assert (given_back["address"], given_back["message"], delay) == (
        "https://worker.example.com/",
        {"kind": "execute"},
        0,
    )
    assert world.dispatch.queue_messages([deletion], now - 1) == [None]
    assert world.sqs.sent[1][1]["expired"] == ["w1", 7]


def test_malformed_queue_message_is_refused(world: InfraWorld, subtests: pytest.Subtests) -> None:
    for body in (
        *("", "text", "[]", "{}"),
        '{"address": "https://worker.example.com/"}',
        '{"message": {}}',
        '{"address": 7, "message": {}}',
        '{"address": "https://worker.example.com/", "message": {}, "settled": "p1"}',
        '{"settled": "p1"}',
        '{"address": "nowhere", "message": {}}',
    ):
        with (
            subtests.test(body),
            pytest.raises(MalformedRecord, match=r"expected \{address, message\}, |is not an address"),
        ):
            world.dispatch.queue_message(body)
    assert world.pusher.pushed == []

import json
from typing import Any

import pytest

from resonate_infra.deployed.dispatch import REMOVAL_MS, SMALL_TREE, MalformedRecord
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import StoreError
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseRegisterListener, PromiseSettle, ScheduleCreate
from tests.support.aws_doubles import SETTINGS, refusal
from tests.support.dynamo import Wire, after
from tests.support.infra_world import HOUR, InfraWorld

EXPIRED = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
"""What the stream says of an item whose time to live was over."""


def change(surroundings: InfraWorld, id: str, before: Any = None) -> dict[str, Any]:
    """The stream record of the last write of a promise."""
    after = surroundings.images(id)
    images = {"Keys": {key: after[key] for key in ("pk", "sk")}, "NewImage": after, "SequenceNumber": "1"}
    if before is not None:
        images["OldImage"] = before
    return {"eventName": "MODIFY" if before else "INSERT", "dynamodb": images}


# The stream


def expired(surroundings: InfraWorld, id: str, records: int) -> dict[str, Any]:
    """Create a settled execution with that many records; returns what the stream says of its marker's removal."""
    surroundings.create(id, target="poll://any@default")
    for number in range(1, records):
        surroundings.create(f"{id}.{number}", origin=id)
    surroundings.store.apply(PromiseSettle(id, "resolved"))
    root = surroundings.record(id)
    surroundings.store.retain(id, root.created_at, root.settled_at or 0, 1)
    marker = next(item for item in surroundings.table.items() if item["sk"]["S"] == f"expiry#{id}")
    keys = {key: marker[key] for key in ("pk", "sk")}
    return {"eventName": "REMOVE", **EXPIRED, "dynamodb": {"Keys": keys, "OldImage": marker, "SequenceNumber": "1"}}


def records(surroundings: InfraWorld) -> int:
    """How many records are in the table, without markers: it is DynamoDB that removes these."""
    return len(surroundings.table.items()) - len(surroundings.markers())


def test_small_tree_is_deleted_at_once(surroundings: InfraWorld) -> None:
    surroundings.dispatch.stream_record(expired(surroundings, "w1", SMALL_TREE))

    assert (records(surroundings), surroundings.sqs.sent) == (0, [])


def test_larger_tree_is_left_to_the_queue_as_it_is(surroundings: InfraWorld, wire: Wire) -> None:
    removal = expired(surroundings, "w1", SMALL_TREE + 1)
    wire.taken()
    surroundings.dispatch.stream_record(removal)

    assert wire.taken() == ["Query"]
    ((url, errand, _),) = surroundings.sqs.sent
    assert url == SETTINGS.push_queue_url
    assert records(surroundings) == SMALL_TREE + 1
    surroundings.dispatch.queue_message(json.dumps(errand))
    assert records(surroundings) == 0


def test_batch_of_removals_ends_within_two_seconds(surroundings: InfraWorld, wire: Wire) -> None:
    removals = [expired(surroundings, f"w{number}", 3) for number in range(40)]
    wire.faults.extend([after(lambda: surroundings.clock.advance(20))] * 1_000)
    begun = surroundings.clock.now()
    for removal in removals:
        surroundings.dispatch.stream_record(removal, begun + REMOVAL_MS)

    assert surroundings.clock.now() - begun <= 2_000
    left = [json.dumps(errand) for _, errand, _ in surroundings.sqs.sent]
    assert 0 < len(left) < 40
    while left:  # and so does a batch of the queue
        begun = surroundings.clock.now()
        surroundings.sqs.sent.clear()
        assert surroundings.dispatch.queue_messages(left[:10]) == [None] * len(left[:10])
        assert surroundings.clock.now() - begun <= 2_000
        left = left[10:] + [json.dumps(errand) for _, errand, _ in surroundings.sqs.sent]
    assert records(surroundings) == 0


def test_large_tree_is_deleted_in_batches_of_two_seconds(surroundings: InfraWorld, wire: Wire) -> None:
    surroundings.dispatch.stream_record(expired(surroundings, "w1", 301))
    batches = 0
    while surroundings.sqs.sent:
        ((_, errand, _),) = surroundings.sqs.sent
        surroundings.sqs.sent.clear()
        wire.faults.extend([after(lambda: surroundings.clock.advance(15))] * 1_000)
        begun = surroundings.clock.now()
        surroundings.dispatch.queue_message(json.dumps(errand))
        assert surroundings.clock.now() - begun <= 2_000
        wire.faults.clear()
        batches += 1

    assert (records(surroundings), batches) == (0, 4)


def test_an_expired_marker_deletes_its_tree_part_by_part(
    surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate_infra.deployed.dispatch.SMALL_TREE", 6)
    monkeypatch.setattr("resonate_infra.deployed.dispatch.MAX_DELETIONS", 5)
    removed = {**expired(surroundings, "w1", 7), "userIdentity": None}

    surroundings.dispatch.stream_record(removed)
    assert len(surroundings.table.items()) == 8, "somebody has removed the marker, and its time has not come"
    surroundings.dispatch.stream_record({**removed, **EXPIRED})

    ((url, errand, _),) = surroundings.sqs.sent
    assert url == SETTINGS.push_queue_url
    surroundings.sqs.sent.clear()
    surroundings.dispatch.queue_message(json.dumps(errand))
    ((_, errand, _),) = surroundings.sqs.sent
    assert surroundings.record("w1"), "the root goes last"
    assert len(surroundings.table.items()) == 3, "the root, its marker, and one more than a message deletes"
    surroundings.dispatch.queue_message(json.dumps(errand))
    assert surroundings.markers() == ["expiry#w1"], "only the marker, which DynamoDB removes, is left in this test"
    assert len(surroundings.table.items()) == 1


def test_a_tree_that_cannot_be_deleted_now_is_left_to_a_message(
    surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    removal = expired(surroundings, "w1", 1)

    def busy(*_: object, **__: object) -> bool:
        raise StoreError("S3 is busy")

    with monkeypatch.context() as patched:
        patched.setattr(DynamoStore, "delete_tree", busy)
        surroundings.dispatch.stream_record(removal)
        ((_, errand, _),) = surroundings.sqs.sent
        with pytest.raises(StoreError):  # the message comes again, and is kept among the dead letters in the end
            surroundings.dispatch.queue_message(json.dumps(errand))

    surroundings.dispatch.queue_message(json.dumps(errand))
    assert len(surroundings.table.items()) == 1, "only the marker, which DynamoDB removes, is left in this test"


def test_a_deleted_schedule_is_disarmed(surroundings: InfraWorld) -> None:
    target = {"resonate:target": "poll://any@default"}
    surroundings.store.apply(ScheduleCreate("s", "0 0 1 1 *", "{{.id}}.{{.timestamp}}", HOUR, promise_tags=target))
    (item,) = surroundings.table.items()
    keys = {key: item[key] for key in ("pk", "sk")}

    surroundings.dispatch.stream_record(
        {"eventName": "INSERT", "dynamodb": {"Keys": keys, "NewImage": item, "SequenceNumber": "1"}}
    )
    assert len(surroundings.scheduler.schedules) == 1
    surroundings.dispatch.stream_record(
        {"eventName": "REMOVE", "dynamodb": {"Keys": keys, "OldImage": item, "SequenceNumber": "2"}}
    )

    assert surroundings.scheduler.schedules == {}


def test_a_new_task_is_offered(surroundings: InfraWorld) -> None:
    surroundings.create("w1", target="poll://any@default")
    surroundings.dispatch.stream_record(change(surroundings, "w1"))

    execute = {"kind": "execute", "head": {}, "data": {"task": {"id": "w1", "version": 0}}}
    assert surroundings.functions.invoked == [("worker", "Event", execute)]


def test_a_new_task_with_an_http_target_goes_to_the_push_queue(surroundings: InfraWorld) -> None:
    surroundings.create("w1", target="https://worker.example.com/")
    surroundings.dispatch.stream_record(change(surroundings, "w1"))

    ((url, body, _),) = surroundings.sqs.sent
    assert url == SETTINGS.push_queue_url
    assert (body["address"], body["message"]["kind"]) == ("https://worker.example.com/", "execute")
    assert surroundings.pusher.pushed == [], "the stream never waits for somebody else's server"


def test_a_new_timer_is_armed(surroundings: InfraWorld) -> None:
    surroundings.create("t1", timer=True, after=5000)
    surroundings.dispatch.stream_record(change(surroundings, "t1"))

    at = surroundings.record("t1").timeout_at
    assert surroundings.sqs.sent == [(SETTINGS.timer_queue_url, {"kind": "timer", "id": "t1", "at": at}, 5)]


def test_a_settlement_resumes_unblocks_and_is_cleared(surroundings: InfraWorld) -> None:
    surroundings.create("awaited")
    surroundings.suspended("awaiter", "awaited")
    surroundings.store.apply(PromiseRegisterListener("awaited", "https://client.example.com/"))
    before = surroundings.images("awaited")
    surroundings.store.apply(PromiseSettle("awaited", "resolved"))
    record = change(surroundings, "awaited", before)
    surroundings.dispatch.stream_record(record)

    task = surroundings.record("awaiter").task
    assert task is not None
    assert (task.state, task.resumes) == ("pending", ("awaited",))
    ((_, body, _),) = surroundings.sqs.sent
    assert body == {"address": "https://client.example.com/", "settled": "awaited"}
    awaited = surroundings.record("awaited")
    assert (awaited.delivered, awaited.callbacks, awaited.listeners, awaited.wake_at) == (True, {}, {}, None)
    assert surroundings.markers() == ["expiry#awaited"]

    # The same record again.
    revisions = [surroundings.record(id).rev for id in ("awaited", "awaiter")]
    surroundings.dispatch.stream_record(record)
    assert [surroundings.record(id).rev for id in ("awaited", "awaiter")] == revisions


def test_clearing_a_settlement_reads_nothing(surroundings: InfraWorld, wire: Any) -> None:
    """The stream's image is the record: what it says need not be read again."""
    surroundings.create("awaited")
    before = surroundings.images("awaited")
    surroundings.store.apply(PromiseSettle("awaited", "resolved"))
    record = change(surroundings, "awaited", before)
    wire.taken()
    surroundings.dispatch.stream_record(record)

    assert wire.taken() == ["PutItem", "PutItem"]


def test_an_image_that_is_out_of_date_does_no_harm(surroundings: InfraWorld) -> None:
    """The settlement was cleared by the sweep before its stream record arrived."""
    surroundings.create("awaited")
    before = surroundings.images("awaited")
    surroundings.store.apply(PromiseSettle("awaited", "resolved"))
    record = change(surroundings, "awaited", before)
    surroundings.clock.advance(2 * HOUR)
    surroundings.tick.sweep()
    after = surroundings.record("awaited")
    assert after.delivered
    surroundings.dispatch.stream_record(record)

    assert surroundings.record("awaited") == after


def test_what_asks_for_nothing_does_nothing(surroundings: InfraWorld) -> None:
    surroundings.create("p1")
    revision = surroundings.record("p1").rev
    surroundings.dispatch.stream_record(change(surroundings, "p1"))

    assert surroundings.record("p1").rev == revision
    assert (surroundings.sqs.sent, surroundings.functions.invoked) == ([], [])


@pytest.mark.parametrize("record", [{}, {"dynamodb": None}, {"dynamodb": {}}, {"dynamodb": "x"}], ids=str)
def test_a_record_of_another_shape_is_refused(surroundings: InfraWorld, record: dict[str, Any]) -> None:
    with pytest.raises(MalformedRecord, match="expected a DynamoDB stream record"):
        surroundings.dispatch.stream_record(record)


def test_a_failure_of_our_own_queue_fails_the_record(surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise refusal("InternalError", "SendMessage")

    surroundings.create("t1", timer=True)
    monkeypatch.setattr(surroundings.scheduler, "create_schedule", refuse)

    with pytest.raises(Exception, match="InternalError"):
        surroundings.dispatch.stream_record(change(surroundings, "t1"))


def test_a_failure_of_a_worker_does_not(surroundings: InfraWorld) -> None:
    surroundings.create("w1", target="poll://any@default")
    surroundings.functions.refuses = refusal("TooManyRequestsException", "Invoke")

    surroundings.dispatch.stream_record(change(surroundings, "w1"))


# The push queue


def test_a_message_of_the_push_queue_is_posted(surroundings: InfraWorld) -> None:
    message = {"kind": "execute", "head": {}, "data": {"task": {"id": "w1", "version": 0}}}
    surroundings.dispatch.queue_message(json.dumps({"address": "https://worker.example.com/", "message": message}))

    assert surroundings.pusher.pushed == [("https://worker.example.com/", message)]


def test_listener_gets_the_promise_as_its_message_is_delivered(surroundings: InfraWorld) -> None:
    surroundings.create("p1")
    surroundings.store.apply(PromiseSettle("p1", "resolved", Value(data="Mg==")))
    message = {"address": "https://client.example.com/", "settled": "p1"}
    surroundings.dispatch.queue_message(json.dumps(message))

    ((address, unblock),) = surroundings.pusher.pushed
    assert (address, unblock["kind"]) == ("https://client.example.com/", "unblock")
    assert (unblock["data"]["promise"]["id"], unblock["data"]["promise"]["value"]) == ("p1", {"data": "Mg=="})


def test_listener_of_a_deleted_promise_gets_nothing(surroundings: InfraWorld, caplog: pytest.LogCaptureFixture) -> None:
    message = {"address": "https://client.example.com/", "settled": "p1"}
    surroundings.dispatch.queue_message(json.dumps(message))

    assert surroundings.pusher.pushed == []
    assert "https://client.example.com/ is not notified of p1, which was deleted" in caplog.text


def test_listener_function_is_invoked_through_the_queue(surroundings: InfraWorld) -> None:
    surroundings.create("p1")
    surroundings.store.apply(PromiseRegisterListener("p1", "lambda://client"))
    before = surroundings.images("p1")
    surroundings.store.apply(PromiseSettle("p1", "resolved"))
    surroundings.dispatch.stream_record(change(surroundings, "p1", before))
    ((_, message, _),) = surroundings.sqs.sent
    surroundings.dispatch.queue_message(json.dumps(message))

    ((name, _, unblock),) = surroundings.functions.invoked
    assert (name, unblock["data"]["promise"]["id"]) == ("client", "p1")


def test_retention_does_not_depend_on_a_listener(surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise refusal("InvalidMessageContents", "SendMessage")

    surroundings.create("p1")
    surroundings.store.apply(PromiseRegisterListener("p1", "https://client.example.com/"))
    before = surroundings.images("p1")
    surroundings.store.apply(PromiseSettle("p1", "resolved"))
    monkeypatch.setattr(surroundings.sqs, "send_message", refuse)

    with pytest.raises(Exception, match="InvalidMessageContents"):
        surroundings.dispatch.stream_record(change(surroundings, "p1", before))
    assert surroundings.markers() == ["expiry#p1"]


def test_push_that_fails_leaves_its_batch_alone(surroundings: InfraWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ValueError("no such address")
    monkeypatch.setattr(surroundings.pusher, "push_all", lambda _: [True, error, False])
    push = json.dumps({"address": "https://worker.example.com/", "message": {"kind": "execute"}})

    failures = surroundings.dispatch.queue_messages([push, "{}", push, push])
    assert (failures[0], failures[2], failures[3]) == (None, error, None)
    assert isinstance(failures[1], MalformedRecord)


def test_message_without_time_left_is_given_back(surroundings: InfraWorld) -> None:
    push = json.dumps({"address": "https://worker.example.com/", "message": {"kind": "execute"}})
    deletion = json.dumps({"expired": ["w1", 7]})
    now = surroundings.clock.now()

    assert surroundings.dispatch.queue_messages([push], now + 5_000) == [None]
    assert surroundings.pusher.pushed == []
    ((_, given_back, delay),) = surroundings.sqs.sent
    assert (given_back["address"], given_back["message"], delay) == (
        "https://worker.example.com/",
        {"kind": "execute"},
        0,
    )
    assert surroundings.dispatch.queue_messages([deletion], now - 1) == [None]
    assert surroundings.sqs.sent[1][1]["expired"] == ["w1", 7]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "text",
        "[]",
        "{}",
        '{"address": "https://worker.example.com/"}',
        '{"message": {}}',
        '{"address": 7, "message": {}}',
        '{"address": "https://worker.example.com/", "message": {}, "settled": "p1"}',
        '{"settled": "p1"}',
        '{"address": "nowhere", "message": {}}',
    ],
)
def test_any_other_message_is_refused(surroundings: InfraWorld, body: str) -> None:
    with pytest.raises(MalformedRecord, match=r"expected \{address, message\}, |is not an address"):
        surroundings.dispatch.queue_message(body)
    assert surroundings.pusher.pushed == []

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config

from resonate.testing.faults import Killed
from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.pumps import MAX_STREAM_RETRIES, SCHEDULE_RETRY_MS, QueuePump, SchedulePump, StreamPump
from resonate_infra.testing.stack import OfflineStack


class Function:
    """Function that notes events. It returns `response`, calls it, or raises it."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.response: Any = {"batchItemFailures": []}

    def __call__(self, _: str, event: Any, _trace: str = "", /) -> Any:
        self.events.append(event)
        if isinstance(self.response, Exception):
            raise self.response
        return self.response(event) if callable(self.response) else self.response

    def sizes(self) -> list[int]:
        return [len(event["Records"]) for event in self.events]


@pytest.fixture(scope="module")
def deployed() -> Iterator[OfflineStack]:
    with OfflineStack(name="pumps") as stack:
        yield stack


@pytest.fixture
def stack(deployed: OfflineStack) -> OfflineStack:
    deployed.clear()
    return deployed


@pytest.fixture
def function() -> Function:
    return Function()


# The stream


@pytest.fixture
def stream(stack: OfflineStack, function: Function) -> StreamPump:
    (source,) = (source for source in stack.deployment.event_sources if source.kind == "stream")
    return StreamPump(stack.cloud, source, function, lambda record: "lost" in keys(record))


def put(stack: OfflineStack, sk: str, **attributes: int) -> None:
    item = {"pk": {"S": "p"}, "sk": {"S": sk}, **{name: {"N": str(number)} for name, number in attributes.items()}}
    stack.cloud.client("dynamodb").put_item(TableName=stack.deployment.table_name, Item=item)


def keys(record: dict[str, Any]) -> str:
    return record["dynamodb"]["Keys"]["sk"]["S"]


def failing(*sks: str) -> Any:
    """Return a response that reports the records with these keys as failed."""
    return lambda event: {
        "batchItemFailures": [
            {"itemIdentifier": record["dynamodb"]["SequenceNumber"]}
            for record in event["Records"]
            if keys(record) in sks
        ]
    }


def test_stream_records_have_the_form_of_lambda(stack: OfflineStack, stream: StreamPump, function: Function) -> None:
    put(stack, "a", effects=1)
    put(stack, "a", effects=2)
    stream.pump()

    (event,) = function.events
    first, second = event["Records"]
    assert json.loads(json.dumps(event)) == event
    assert (first["eventName"], second["eventName"]) == ("INSERT", "MODIFY")
    assert first["eventSource"] == "aws:dynamodb"
    assert first["eventSourceARN"] == stack.deployment.stream_arn
    assert first["dynamodb"]["ApproximateCreationDateTime"] == stack.clock.now() // 1000
    assert second["dynamodb"]["OldImage"]["effects"] == {"N": "1"}
    assert second["dynamodb"]["NewImage"]["effects"] == {"N": "2"}
    assert int(first["dynamodb"]["SequenceNumber"]) < int(second["dynamodb"]["SequenceNumber"])


def test_stream_changes_equal_those_of_the_api(stack: OfflineStack) -> None:
    put(stack, "a", effects=1)
    put(stack, "a", effects=2)
    client = stack.cloud.client("dynamodbstreams")
    assert isinstance(client.meta.config, Config)
    arn = stack.deployment.stream_arn
    shard = client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = client.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    shown = client.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    taken = stack.cloud.take_changes(arn)

    assert len(taken) == 2
    for ours, theirs in zip(taken, shown, strict=True):
        assert ours.pop("eventSourceARN") == arn
        assert ours["dynamodb"].pop("ApproximateCreationDateTime") > 0
        del theirs["dynamodb"]["ApproximateCreationDateTime"]
        assert ours == theirs
    assert stack.cloud.take_changes(arn) == []


def test_stream_filter_drops_records(stack: OfflineStack, stream: StreamPump, function: Function) -> None:
    put(stack, "a")
    put(stack, "b", effects=1)
    stack.cloud.client("dynamodb").delete_item(
        TableName=stack.deployment.table_name, Key={"pk": {"S": "p"}, "sk": {"S": "b"}}
    )

    assert stream.pump() == 1
    assert [keys(record) for record in function.events[0]["Records"]] == ["b"]


def test_stream_batches_have_the_size_of_the_template(
    stack: OfflineStack, stream: StreamPump, function: Function
) -> None:
    for n in range(130):
        put(stack, f"{n}", effects=1)
    while stream.pump():
        pass

    assert function.sizes() == [100, 30]


def test_stream_record_can_be_lost(stack: OfflineStack, stream: StreamPump, function: Function) -> None:
    put(stack, "lost", effects=1)
    put(stack, "a", effects=1)
    stream.pump()

    assert [keys(record) for record in function.events[0]["Records"]] == ["a"]


def test_stream_repeats_from_the_first_failed_record(
    stack: OfflineStack, stream: StreamPump, function: Function
) -> None:
    for sk in "abcd":
        put(stack, sk, effects=1)
    function.response = failing("c")
    stream.pump()
    function.response = failing()
    while stream.pump():
        pass

    assert [[keys(record) for record in event["Records"]] for event in function.events] == [list("abcd"), list("cd")]


def test_stream_batch_that_crashes_the_function_is_bisected(
    stack: OfflineStack, stream: StreamPump, function: Function
) -> None:
    for n in range(8):
        put(stack, f"{n}", effects=1)
    seen: list[str] = []

    def crash(event: Any) -> Any:
        batch = [keys(record) for record in event["Records"]]
        if "5" in batch:
            raise RuntimeError
        seen.extend(batch)
        return {"batchItemFailures": []}

    function.response = crash
    while stream.pump():
        pass

    assert seen == ["0", "1", "2", "3", "4", "6", "7"]
    assert [keys(record) for record in stream.abandoned] == ["5"]
    assert function.sizes()[-(MAX_STREAM_RETRIES + 3) :].count(1) >= MAX_STREAM_RETRIES + 1


def test_stream_record_that_keeps_failing_is_abandoned(
    stack: OfflineStack, stream: StreamPump, function: Function
) -> None:
    put(stack, "a", effects=1)
    put(stack, "b", effects=1)
    function.response = failing("b")
    while stream.pump():
        pass

    # Once in the batch, and then with the retries of the template.
    assert len(function.events) == 1 + MAX_STREAM_RETRIES
    assert [keys(record) for record in stream.abandoned] == ["b"]


def test_stream_without_writes_makes_no_request(stack: OfflineStack, stream: StreamPump) -> None:
    stream.pump()
    stack.reset_counts()

    assert stream.pump() == 0
    assert stack.cloud.calls == []


# Queues


@pytest.fixture
def queue(stack: OfflineStack, function: Function) -> QueuePump:
    timers = stack.deployment.queues["TimerQueue"]
    (source,) = (source for source in stack.deployment.event_sources if source.arn == timers.arn)
    return QueuePump(stack.cloud, timers.url, source, function)


def send(stack: OfflineStack, body: str, delay: int = 0) -> None:
    url = stack.deployment.queues["TimerQueue"].url
    stack.cloud.client("sqs").send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay)


def bodies(function: Function) -> list[list[str]]:
    return [[record["body"] for record in event["Records"]] for event in function.events]


def test_queue_messages_have_the_form_of_lambda(stack: OfflineStack, queue: QueuePump, function: Function) -> None:
    send(stack, '{"kind":"sweep"}')
    assert queue.pump() == 1
    assert queue.pump() == 0

    ((record,),) = (event["Records"] for event in function.events)
    assert record.keys() == {
        "messageId",
        "receiptHandle",
        "body",
        "attributes",
        "messageAttributes",
        "md5OfBody",
        "eventSource",
        "eventSourceARN",
        "awsRegion",
    }
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert (record["eventSource"], record["awsRegion"]) == ("aws:sqs", "us-east-1")


def test_queue_delivers_a_delayed_message_on_time(stack: OfflineStack, queue: QueuePump) -> None:
    send(stack, "late", 10)
    assert queue.pump() == 0
    assert stack.next_event_at() == stack.clock.now() + 10_000
    stack.clock.sleep(9_999)
    assert queue.pump() == 0
    stack.clock.sleep(1)
    assert queue.pump() == 1


def test_queue_message_that_failed_becomes_visible_again(
    stack: OfflineStack, queue: QueuePump, function: Function
) -> None:
    send(stack, "good")
    send(stack, "bad")
    function.response = lambda event: {
        "batchItemFailures": [
            {"itemIdentifier": record["messageId"]} for record in event["Records"] if record["body"] == "bad"
        ]
    }
    queue.pump()
    assert queue.pump() == 0
    assert stack.next_event_at() == stack.clock.now() + 360_001
    stack.clock.sleep(360_001)
    queue.pump()

    assert bodies(function) == [["good", "bad"], ["bad"]]


def test_queue_message_that_keeps_failing_becomes_a_dead_letter(
    stack: OfflineStack, queue: QueuePump, function: Function
) -> None:
    send(stack, "bad")
    function.response = RuntimeError()
    for _ in range(10):
        queue.pump()
        stack.clock.sleep(360_001)

    assert len(function.events) == 5
    dead = stack.deployment.queues["TimerDeadLetterQueue"].url
    (message,) = stack.cloud.client("sqs").receive_message(QueueUrl=dead)["Messages"]
    assert message["Body"] == "bad"


# Schedules


@pytest.fixture
def schedules(stack: OfflineStack, function: Function) -> SchedulePump:
    pump = SchedulePump(stack.cloud, stack.deployment.schedule_group, function)
    assert pump.instants() == {}, "the sweep is not a schedule of the pump"
    return pump


def schedule(stack: OfflineStack, name: str, expression: str, target: str = "arn:tick") -> None:
    stack.cloud.client("scheduler").create_schedule(
        GroupName=stack.deployment.schedule_group,
        Name=name,
        ScheduleExpression=expression,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": target, "RoleArn": "arn:aws:iam::123456789012:role/r", "Input": '{"kind":"sweep"}'},
    )


def test_schedule_for_one_time_fires_once(stack: OfflineStack, schedules: SchedulePump, function: Function) -> None:
    at = 1_800_000_000
    schedule(stack, "once", "at(2027-01-15T08:00:00)")
    assert schedules.instants() == {"once": at * 1000}
    assert schedules.pump() == 0
    stack.clock.sleep(at * 1000 - stack.clock.now())

    assert schedules.pump() == 1
    assert schedules.pump() == 0
    assert function.events == [{"kind": "sweep"}]
    assert schedules.instants() == {}


def test_schedule_firing_of_a_killed_function_is_retried(stack: OfflineStack) -> None:

    def kill(_: Moment, call: CountedCall) -> None:
        if call.caller == "TickFunction":
            raise Killed

    schedule(stack, "once", "at(2020-01-01T00:00:00)", stack.function("TickFunction").arn)
    stack.cloud.fault = kill
    stack.pump()
    assert (stack.invocations, stack.next_event_at()) == ({"TickFunction": 1}, stack.clock.now() + SCHEDULE_RETRY_MS)

    stack.cloud.fault = None
    stack.clock.sleep(SCHEDULE_RETRY_MS)
    stack.pump()
    assert (stack.invocations, stack.next_event_at()) == ({"TickFunction": 2}, None)


def test_recurring_schedule_fires_at_each_occurrence(
    stack: OfflineStack, schedules: SchedulePump, function: Function
) -> None:
    schedule(stack, "often", "cron(0/20 * * * ? *)")
    fired: list[int] = []
    for _ in range(3):
        (at,) = schedules.instants().values()
        stack.clock.sleep(at - stack.clock.now() - 1)
        assert schedules.pump() == 0
        stack.clock.sleep(1)
        assert schedules.pump() == 1
        assert schedules.pump() == 0
        fired.append(at)

    assert [at % 3_600_000 // 60_000 for at in fired] == [20, 40, 0]
    assert len(function.events) == 3


def test_recurring_schedule_that_is_replaced_fires_by_its_new_expression(
    stack: OfflineStack, schedules: SchedulePump
) -> None:
    schedule(stack, "often", "cron(* * * * ? *)")
    (before,) = schedules.instants().values()
    schedule(stack, "other", "at(2100-01-01T00:00:00)")
    assert schedules.instants()["often"] == before, "another schedule does not change it"
    client = stack.cloud.client("scheduler")
    definition = client.get_schedule(GroupName=stack.deployment.schedule_group, Name="often")
    client.update_schedule(
        GroupName=stack.deployment.schedule_group,
        Name="often",
        ScheduleExpression="cron(0 0 1 1 ? *)",
        ScheduleExpressionTimezone="Asia/Tokyo",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=definition["Target"],
    )

    assert schedules.instants()["often"] % 86_400_000 == 15 * 3_600_000
    schedules.clear()
    assert schedules.instants() == {}


def test_schedule_firing_that_failed_is_retried(
    stack: OfflineStack, schedules: SchedulePump, function: Function
) -> None:
    schedule(stack, "hourly", "cron(0 * * * ? *)")
    (at,) = schedules.instants().values()
    stack.clock.sleep(at - stack.clock.now())
    schedule(stack, "once", "at(2020-01-01T00:00:00)")
    function.response = RuntimeError("no")
    schedules.pump()
    assert schedules.pump() == 0
    assert schedules.instants() == dict.fromkeys(("hourly", "once"), at + SCHEDULE_RETRY_MS)

    function.response = None
    stack.clock.sleep(SCHEDULE_RETRY_MS)
    assert schedules.pump() == 2
    assert schedules.instants() == {"hourly": at + 3_600_000}

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config

from resonate.testing.faults import Killed
from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.pumps import MAX_STREAM_RETRIES, SCHEDULE_RETRY_MS, QueuePump, SchedulePump, StreamPump
from resonate_infra.testing.stack import OfflineStack

IMAGE_FILTER = {"dynamodb": {"NewImage": {"effects": {"N": [{"exists": True}]}}}}


class Function:
    """Takes events; answers with `response`, or by calling it, or by raising it."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.response: Any = {"batchItemFailures": []}

    def __call__(self, _: str, event: Any) -> Any:
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
    """Reports the records with these keys as failed."""
    return lambda event: {
        "batchItemFailures": [
            {"itemIdentifier": record["dynamodb"]["SequenceNumber"]}
            for record in event["Records"]
            if keys(record) in sks
        ]
    }


def test_records_come_as_lambda_sends_them(stack: OfflineStack, stream: StreamPump, function: Function) -> None:
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


def test_what_is_taken_from_moto_is_what_its_api_shows(stack: OfflineStack) -> None:
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


def test_the_filter_keeps_records_back(stack: OfflineStack, stream: StreamPump, function: Function) -> None:
    put(stack, "a")
    put(stack, "b", effects=1)
    stack.cloud.client("dynamodb").delete_item(
        TableName=stack.deployment.table_name, Key={"pk": {"S": "p"}, "sk": {"S": "b"}}
    )

    assert stream.pump() == 1
    assert [keys(record) for record in function.events[0]["Records"]] == ["b"]


def test_batches_are_as_large_as_the_template_says(stack: OfflineStack, stream: StreamPump, function: Function) -> None:
    for n in range(130):
        put(stack, f"{n}", effects=1)
    while stream.pump():
        pass

    assert function.sizes() == [100, 30]


def test_a_record_may_get_lost(stack: OfflineStack, stream: StreamPump, function: Function) -> None:
    put(stack, "lost", effects=1)
    put(stack, "a", effects=1)
    stream.pump()

    assert [keys(record) for record in function.events[0]["Records"]] == ["a"]


def test_after_a_partial_failure_what_is_left_comes_again(
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


def test_a_batch_that_crashes_the_function_is_halved_around_the_culprit(
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


def test_a_record_that_keeps_failing_is_given_up(stack: OfflineStack, stream: StreamPump, function: Function) -> None:
    put(stack, "a", effects=1)
    put(stack, "b", effects=1)
    function.response = failing("b")
    while stream.pump():
        pass

    # Once with its neighbour, and then again as often as the template says.
    assert len(function.events) == 1 + MAX_STREAM_RETRIES
    assert [keys(record) for record in stream.abandoned] == ["b"]


def test_nothing_is_asked_when_nothing_was_written(stack: OfflineStack, stream: StreamPump) -> None:
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


def test_messages_come_as_lambda_sends_them(stack: OfflineStack, queue: QueuePump, function: Function) -> None:
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


def test_a_delayed_message_comes_when_its_time_has(stack: OfflineStack, queue: QueuePump) -> None:
    send(stack, "late", 10)
    assert queue.pump() == 0
    assert stack.next_event_at() == stack.clock.now() + 10_000
    stack.clock.sleep(9_999)
    assert queue.pump() == 0
    stack.clock.sleep(1)
    assert queue.pump() == 1


def test_a_message_that_failed_is_visible_again_after_a_while(
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


def test_a_message_that_keeps_failing_ends_in_the_dead_letter_queue(
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
    return SchedulePump(stack.cloud, stack.deployment.schedule_group, function)


def schedule(stack: OfflineStack, name: str, expression: str, target: str = "arn:tick") -> None:
    stack.cloud.client("scheduler").create_schedule(
        GroupName=stack.deployment.schedule_group,
        Name=name,
        ScheduleExpression=expression,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": target, "RoleArn": "arn:aws:iam::123456789012:role/r", "Input": '{"kind":"sweep"}'},
    )


def test_a_one_time_schedule_fires_once_at_its_time(
    stack: OfflineStack, schedules: SchedulePump, function: Function
) -> None:
    at = 1_800_000_000
    schedule(stack, "once", "at(2027-01-15T08:00:00)")
    assert schedules.instants() == {"once": at * 1000}
    assert schedules.pump() == 0
    stack.clock.sleep(at * 1000 - stack.clock.now())

    assert schedules.pump() == 1
    assert schedules.pump() == 0
    assert function.events == [{"kind": "sweep"}]
    assert schedules.instants() == {}


def test_a_firing_that_failed_is_tried_again(stack: OfflineStack, schedules: SchedulePump, function: Function) -> None:
    schedule(stack, "once", "at(2020-01-01T00:00:00)")
    function.response = RuntimeError()
    schedules.pump()
    assert schedules.pump() == 0
    assert schedules.instants() == {"once": stack.clock.now() + SCHEDULE_RETRY_MS}
    stack.clock.sleep(SCHEDULE_RETRY_MS)
    function.response = None

    assert schedules.pump() == 1
    assert len(function.events) == 2


def test_the_sweep_is_not_the_pumps_business(schedules: SchedulePump) -> None:
    assert schedules.instants() == {}


def test_a_function_that_is_killed_has_failed(stack: OfflineStack) -> None:
    """Killed is no Exception, so that no handler gets to catch it; to a pump it is one."""

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


def test_a_recurring_schedule_fires_whenever_it_occurs(
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


def test_a_recurring_schedule_that_is_replaced_fires_as_it_says_now(
    stack: OfflineStack, schedules: SchedulePump
) -> None:
    schedule(stack, "often", "cron(* * * * ? *)")
    (before,) = schedules.instants().values()
    schedule(stack, "other", "at(2100-01-01T00:00:00)")
    assert schedules.instants()["often"] == before, "what else is put leaves it alone"
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


def test_a_recurring_firing_that_failed_is_tried_again(
    stack: OfflineStack, schedules: SchedulePump, function: Function
) -> None:
    schedule(stack, "hourly", "cron(0 * * * ? *)")
    (at,) = schedules.instants().values()
    stack.clock.sleep(at - stack.clock.now())
    function.response = RuntimeError("no")
    schedules.pump()
    assert schedules.instants() == {"hourly": at + SCHEDULE_RETRY_MS}

    function.response = None
    stack.clock.sleep(SCHEDULE_RETRY_MS)
    assert schedules.pump() == 1
    assert schedules.instants() == {"hourly": at + 3_600_000}

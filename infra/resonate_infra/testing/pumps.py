"""What AWS does between the functions: stream records, queue messages, schedules that fire.

moto keeps streams, queues and schedules, but delivers nothing and fires nothing. Each pump takes what is there now and
hands it to the functions in the shape that they get on AWS, with the same consequences of a failure: a stream batch
comes again, a message becomes visible again, a one-time schedule is tried again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from resonate_infra.testing.filters import FilterCriteria
from resonate_infra.testing.resources import Deployment, EventSource
from resonate_store.clock import Clock

MAX_STREAM_ATTEMPTS = 10
"""How often a stream batch is tried, as the template says."""
SCHEDULE_RETRY = 60_000
"""How long after a failure a one-time schedule is tried again (ms)."""

Invoke = Callable[[str, Any], Any]
"""Invokes a function, by logical id or ARN, with an event; raises what the function raises."""


class StreamPump:
    """Feeds a function from the table's stream."""

    def __init__(self, client: Any, source: EventSource, invoke: Invoke) -> None:
        self._client = client
        self._source = source
        self._invoke = invoke
        self._criteria = FilterCriteria.parse(source.filters)
        self._iterator: str | None = None
        self._waiting: list[dict[str, Any]] = []
        self._attempts = 0

    def pump(self) -> int:
        """Deliver one batch.

        Returns:
            The number of records delivered, or dropped after too many attempts.
        """
        self._read()
        batch = self._waiting[: self._source.batch_size]
        if not batch:
            return 0
        failed = self._deliver(batch)
        self._attempts = self._attempts + 1 if failed else 0
        if failed and self._attempts < MAX_STREAM_ATTEMPTS:
            position = next(i for i, record in enumerate(batch) if record["dynamodb"]["SequenceNumber"] in failed)
            del self._waiting[:position]
        else:
            self._attempts = 0
            del self._waiting[: len(batch)]
        return len(batch)

    def drop(self) -> int:
        """Lose everything that is on the stream now."""
        self._read()
        lost, self._waiting = len(self._waiting), []
        return lost

    def _deliver(self, batch: list[dict[str, Any]]) -> set[str]:
        try:
            response = self._invoke(self._source.function, {"Records": batch})
        except Exception:
            return {batch[0]["dynamodb"]["SequenceNumber"]}
        return {failure["itemIdentifier"] for failure in response["batchItemFailures"]}

    def _read(self) -> None:
        if self._iterator is None:
            stream = self._client.describe_stream(StreamArn=self._source.arn)["StreamDescription"]
            self._iterator = self._client.get_shard_iterator(
                StreamArn=self._source.arn,
                ShardId=stream["Shards"][0]["ShardId"],
                ShardIteratorType="TRIM_HORIZON",
            )["ShardIterator"]
        answer = self._client.get_records(ShardIterator=self._iterator)
        self._iterator = answer["NextShardIterator"]
        self._waiting += filter(self._criteria.keep, map(_as_lambda_sends_it, answer["Records"]))


def _as_lambda_sends_it(record: dict[str, Any]) -> dict[str, Any]:
    """Lambda's event carries times as numbers, where the API's answer has them as objects."""
    images = dict(record["dynamodb"])
    created: datetime = images["ApproximateCreationDateTime"]
    images["ApproximateCreationDateTime"] = created.timestamp()
    return {**record, "dynamodb": images}


class QueuePump:
    """Feeds a function from a queue."""

    def __init__(self, client: Any, url: str, source: EventSource, invoke: Invoke) -> None:
        self._client = client
        self._url = url
        self._source = source
        self._invoke = invoke

    def pump(self) -> int:
        """Deliver one batch of the messages that are visible now, and return how many those were."""
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(10, self._source.batch_size),
            AttributeNames=["All"],
            WaitTimeSeconds=0,
        )
        messages = answer.get("Messages", [])
        if not messages:
            return 0
        failed = self._deliver([self._as_lambda_sends_it(message) for message in messages])
        for message in messages:
            if message["MessageId"] not in failed:
                self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return len(messages)

    def _deliver(self, records: list[dict[str, Any]]) -> set[str]:
        try:
            response = self._invoke(self._source.function, {"Records": records})
        except Exception:
            return {record["messageId"] for record in records}
        return {failure["itemIdentifier"] for failure in response["batchItemFailures"]}

    def _as_lambda_sends_it(self, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._source.arn,
            "awsRegion": self._source.arn.split(":")[3],
        }


class SchedulePump:
    """Fires the one-time schedules of a group. The minute sweep is the stack's business: it is part of its time."""

    def __init__(self, client: Any, deployment: Deployment, clock: Clock, invoke: Invoke) -> None:
        self._client = client
        self._group = deployment.schedule_group
        self._clock = clock
        self._invoke = invoke
        self._retries: dict[str, int] = {}

    def pump(self) -> int:
        """Fire every one-time schedule that is due, and return how many those were."""
        due = [name for name, at in self.instants().items() if at <= self._clock.now()]
        for name in due:
            target = self._client.get_schedule(GroupName=self._group, Name=name)["Target"]
            try:
                self._invoke(target["Arn"], json.loads(target["Input"]))
            except Exception:
                self._retries[name] = self._clock.now() + SCHEDULE_RETRY
            else:
                self._retries.pop(name, None)
                self._client.delete_schedule(GroupName=self._group, Name=name)
        return len(due)

    def instants(self) -> dict[str, int]:
        """When each one-time schedule fires, or is tried again (ms)."""
        found: dict[str, int] = {}
        for page in self._client.get_paginator("list_schedules").paginate(GroupName=self._group):
            for summary in page["Schedules"]:
                name = summary["Name"]
                expression = self._client.get_schedule(GroupName=self._group, Name=name)["ScheduleExpression"]
                if expression.startswith("at("):
                    instant = datetime.fromisoformat(expression[3:-1]).replace(tzinfo=UTC)
                    found[name] = max(round(instant.timestamp() * 1000), self._retries.get(name, 0))
        return found

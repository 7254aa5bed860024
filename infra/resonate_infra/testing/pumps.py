"""What AWS does between the functions: stream records, queue messages, schedules that fire, items that expire.

moto keeps streams, queues and schedules, but delivers nothing, fires nothing and lets nothing expire. Each pump takes
what is there now and hands it to the functions in the shape that they get on AWS, with the same consequences of a
failure: a stream batch is halved and comes again, a message becomes visible again, a one-time schedule is tried again.
A pump asks moto only when something may have changed since it last found nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from resonate_infra.testing.filters import FilterCriteria
from resonate_infra.testing.moto.cloud import Cloud
from resonate_infra.testing.recurrence import Recurrence
from resonate_infra.testing.template.deployment import EventSource

MAX_STREAM_RETRIES = 10
"""How often a stream batch is tried again, as the template says."""
SCHEDULE_RETRY_MS = 60_000
"""How long after a failure a one-time schedule is tried again."""

Invoke = Callable[[str, Any], Any]
"""Invokes a function, by logical id or ARN, with an event; raises what the function raises."""


class ExpiryPump:
    """Deletes the items of a table whose time to live is over, as soon as it is; DynamoDB takes up to a few days.

    Args:
        table: the table's name.
    """

    def __init__(self, cloud: Cloud, table: str) -> None:
        self._cloud = cloud
        self._client = cloud.client("dynamodb")
        self._table = table
        description = self._client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        self._attribute: str | None = description.get("AttributeName")
        self._instants: dict[tuple[str, str], int] = {}
        self._expired: set[tuple[str, str]] = set()

    def see(self, record: dict[str, Any]) -> None:
        """Take note of a record of the table's stream; one that comes from here says who has deleted the item."""
        change = record["dynamodb"]
        key = (change["Keys"]["pk"]["S"], change["Keys"]["sk"]["S"])
        expiry = change.get("NewImage", {}).get(self._attribute)
        if expiry is not None:
            self._instants[key] = int(expiry["N"]) * 1000
        elif self._instants.pop(key, None) is None and key in self._expired and record["eventName"] == "REMOVE":
            self._expired.remove(key)
            record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}

    def pump(self) -> int:
        """Delete what has expired, and return how many items those were."""
        now = self._cloud.clock.now()
        due = [key for key, at in self._instants.items() if at <= now]
        for pk, sk in due:
            del self._instants[pk, sk]
            self._expired.add((pk, sk))
            self._client.delete_item(TableName=self._table, Key={"pk": {"S": pk}, "sk": {"S": sk}})
        return len(due)

    def next_at(self) -> int | None:
        """When the next item expires (ms)."""
        return min(self._instants.values(), default=None)

    def clear(self) -> None:
        """Forget every item."""
        self._instants.clear()
        self._expired.clear()


class StreamPump:
    """Feeds a function from the table's stream.

    Args:
        lost: says of a record that it never arrives.
        see: called with every record, before anything else is done with it.

    Attributes:
        abandoned: the records that were given up after too many tries.
    """

    def __init__(
        self,
        cloud: Cloud,
        source: EventSource,
        invoke: Invoke,
        lost: Callable[[dict[str, Any]], bool],
        see: Callable[[dict[str, Any]], None] = lambda _record: None,
    ) -> None:
        self.abandoned: list[dict[str, Any]] = []
        self._cloud = cloud
        self._source = source
        self._invoke = invoke
        self._lost = lost
        self._see = see
        self._criteria = FilterCriteria.parse(source.filters)
        self._waiting: list[dict[str, Any]] = []
        self._limit = source.batch_size
        self._tries = 0
        self._seen = -1

    def pump(self) -> int:
        """Deliver one batch.

        Returns:
            The number of records sent; they come again if they failed.
        """
        self._read()
        batch = self._waiting[: self._limit]
        if not batch:
            return 0
        done, crashed = self._deliver(batch)
        self._tries = 1 if done else self._tries + 1
        del self._waiting[:done]
        if done == len(batch):
            self._limit, self._tries = self._source.batch_size, 0
        elif crashed and len(batch) > 1:
            # Halving the batch is not one of its retries.
            self._limit, self._tries = len(batch) // 2, 0
        elif self._tries > MAX_STREAM_RETRIES:
            left = len(batch) - done
            self.abandoned += self._waiting[:left]
            del self._waiting[:left]
            self._limit, self._tries = self._source.batch_size, 0
        return len(batch)

    def clear(self) -> None:
        """Forget what waits to be delivered."""
        self._waiting.clear()
        self._limit, self._tries = self._source.batch_size, 0

    def _deliver(self, batch: list[dict[str, Any]]) -> tuple[int, bool]:
        """Send a batch; returns how many records from its beginning are done, and whether the function crashed."""
        try:
            response = self._invoke(self._source.function, {"Records": batch})
        except Exception:
            return 0, True
        failed = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        return next((n for n, number in enumerate(numbers) if number in failed), len(batch)), False

    def _read(self) -> None:
        if self._seen != self._cloud.changes["dynamodb"]:
            self._seen = self._cloud.changes["dynamodb"]
            for record in self._cloud.take_changes(self._source.arn):
                self._see(record)
                if self._criteria.keep(record) and not self._lost(record):
                    self._waiting.append(record)


class QueuePump:
    """Feeds a function from a queue."""

    def __init__(self, cloud: Cloud, url: str, source: EventSource, invoke: Invoke) -> None:
        self._cloud = cloud
        self._client = cloud.client("sqs")
        self._url = url
        self._source = source
        self._invoke = invoke

    def next_at(self) -> int | None:
        """When the next message can be received (ms), if there is one."""
        return self._cloud.next_message_at(self._source.arn)

    def pump(self) -> int:
        """Deliver one batch of the messages that are visible now, and return how many those were."""
        at = self.next_at()
        if at is None or at > self._cloud.clock.now():
            return 0
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(10, self._source.batch_size),
            AttributeNames=["All"],
            WaitTimeSeconds=0,
        )
        messages = answer.get("Messages", [])
        if not messages:  # the last of them went to the dead-letter queue
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
    """Fires the schedules of a group, one-time and recurring, each at its second.

    The minute sweep is the stack's business: it is part of its time.
    """

    def __init__(self, cloud: Cloud, group: str, invoke: Invoke) -> None:
        self._cloud = cloud
        self._client = cloud.client("scheduler")
        self._group = group
        self._invoke = invoke
        self._retries: dict[str, int] = {}
        self._seen = -1
        self._recurrences: dict[str, tuple[str, Recurrence]] = {}
        self._instants: dict[str, int] = {}

    def pump(self) -> int:
        """Fire every schedule that is due, and return how many those were."""
        due = [name for name, at in self.instants().items() if at <= self._cloud.clock.now()]
        for name in due:
            target = self._client.get_schedule(GroupName=self._group, Name=name)["Target"]
            try:
                self._invoke(target["Arn"], json.loads(target["Input"]))
            except Exception:
                self._retries[name] = self._cloud.clock.now() + SCHEDULE_RETRY_MS
                continue
            self._retries.pop(name, None)
            if name in self._recurrences:
                self._plan(name, self._instants[name])
            else:
                self._client.delete_schedule(GroupName=self._group, Name=name)
        return len(due)

    def instants(self) -> dict[str, int]:
        """When each schedule fires next, or is tried again (ms)."""
        if self._seen != self._cloud.changes["scheduler"]:
            self._seen = self._cloud.changes["scheduler"]
            self._read()
        return {name: max(at, self._retries.get(name, 0)) for name, at in self._instants.items()}

    def clear(self) -> None:
        """Delete every schedule but the sweep's."""
        for name in self.instants():
            self._client.delete_schedule(GroupName=self._group, Name=name)
        self._retries.clear()
        self._recurrences.clear()

    def _read(self) -> None:
        planned, self._instants = self._instants, {}
        known, self._recurrences = self._recurrences, {}
        for name, expression, timezone in self._cloud.schedules(self._group):
            if expression.startswith("at("):
                instant = datetime.fromisoformat(expression[3:-1]).replace(tzinfo=UTC)
                self._instants[name] = round(instant.timestamp() * 1000)
            elif expression.startswith("cron("):
                definition = f"{expression} {timezone}"
                if name in known and known[name][0] == definition:
                    self._recurrences[name] = known[name]
                    if name in planned:
                        self._instants[name] = planned[name]
                else:
                    self._recurrences[name] = (definition, Recurrence(expression, timezone))
                    self._plan(name, self._cloud.clock.now())

    def _plan(self, name: str, after: int) -> None:
        upcoming = self._recurrences[name][1].next_after(after)
        if upcoming is None:
            self._instants.pop(name, None)
        else:
            self._instants[name] = upcoming

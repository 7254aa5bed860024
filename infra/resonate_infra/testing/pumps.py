"""Pumps: they deliver stream records and messages, fire schedules and expire items, as AWS does between the functions.

moto stores streams, queues and schedules, but does not deliver, fire or expire anything. Each pump delivers what is due
now to the functions, in the form that AWS uses. A failure has the same consequences: a stream batch is halved and
delivered again, a message becomes visible again, and a one-time schedule is retried. A pump calls moto only if
something may have changed since its last call.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from resonate_infra.testing.filters import FilterCriteria
from resonate_infra.testing.lineage import longest
from resonate_infra.testing.moto.cloud import Cloud
from resonate_infra.testing.recurrence import Recurrence
from resonate_infra.testing.template.deployment import EventSource

MAX_STREAM_RETRIES = 10
"""Maximum number of retries of a stream batch. `template.yaml` has the same value."""
SCHEDULE_RETRY_MS = 60_000
"""Milliseconds between a failure and the retry of a schedule."""


class Invoke(Protocol):
    """Function that invokes a Lambda function. It raises the function's errors."""

    def __call__(self, function: str, event: Any, trace: str = "", /) -> Any:
        """Invoke a function, by logical id or ARN, with an event, in the chain with this trace header."""
        ...


class ExpiryPump:
    """Pump that deletes expired items of a table at once. DynamoDB takes up to a few days.

    Args:
        cloud: the account.
        table: the name of the table.
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
        """Read a record of the table's stream. If this pump deleted the item, add DynamoDB as its principal."""
        change = record["dynamodb"]
        key = (change["Keys"]["pk"]["S"], change["Keys"]["sk"]["S"])
        expiry = change.get("NewImage", {}).get(self._attribute)
        if expiry is not None:
            self._instants[key] = int(expiry["N"]) * 1000
        elif self._instants.pop(key, None) is None and key in self._expired and record["eventName"] == "REMOVE":
            self._expired.remove(key)
            record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}

    def pump(self) -> int:
        """Delete the expired items, and return their number."""
        now = self._cloud.clock.now()
        due = [key for key, at in self._instants.items() if at <= now]
        for pk, sk in due:
            del self._instants[pk, sk]
            self._expired.add((pk, sk))
            self._client.delete_item(TableName=self._table, Key={"pk": {"S": pk}, "sk": {"S": sk}})
        return len(due)

    def next_at(self) -> int | None:
        """Return the instant (ms) at which the next item expires, or None."""
        return min(self._instants.values(), default=None)

    def clear(self) -> None:
        """Remove every known item."""
        self._instants.clear()
        self._expired.clear()


class StreamPump:
    """Pump from the table's stream to a function.

    Args:
        cloud: the account.
        source: the event source of the function.
        invoke: invokes the function.
        lost: returns whether a record is lost instead of delivered.
        see: called first with every record.

    Attributes:
        abandoned: the records that were given up after `MAX_STREAM_RETRIES`.
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
            The number of records in the batch. Those that failed are delivered again by a later call.
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
            # A halved batch begins with a new count of retries.
            self._limit, self._tries = len(batch) // 2, 0
        elif self._tries > MAX_STREAM_RETRIES:
            left = len(batch) - done
            self.abandoned += self._waiting[:left]
            del self._waiting[:left]
            self._limit, self._tries = self._source.batch_size, 0
        return len(batch)

    def clear(self) -> None:
        """Remove the records that wait for delivery."""
        self._waiting.clear()
        self._limit, self._tries = self._source.batch_size, 0

    def _deliver(self, batch: list[dict[str, Any]]) -> tuple[int, bool]:
        """Send a batch. Return how many of its first records succeeded, and whether the function raised an error."""
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
    """Pump from a queue to a function."""

    def __init__(self, cloud: Cloud, url: str, source: EventSource, invoke: Invoke) -> None:
        self._cloud = cloud
        self._client = cloud.client("sqs")
        self._url = url
        self._source = source
        self._invoke = invoke

    def next_at(self) -> int | None:
        """Return the instant (ms) at which the next message can be received, or None."""
        return self._cloud.next_message_at(self._source.arn)

    def pump(self) -> int:
        """Deliver one batch of the messages that are visible now, and return their number."""
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
        if not messages:  # SQS has moved the last one to the dead-letter queue.
            return 0
        trace = longest([message.get("Attributes", {}).get("AWSTraceHeader", "") for message in messages])
        failed = self._deliver([self._as_lambda_sends_it(message) for message in messages], trace)
        for message in messages:
            if message["MessageId"] not in failed:
                self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return len(messages)

    def _deliver(self, records: list[dict[str, Any]], trace: str) -> set[str]:
        try:
            response = self._invoke(self._source.function, {"Records": records}, trace)
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
    """Pump that fires the schedules of a group, one-time and recurring, each at its second.

    It does not fire the sweep of each minute. The stack does.
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
        """Fire every schedule that is due, and return their number."""
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
        """Return the instant (ms) at which each schedule fires next or is retried, by name."""
        if self._seen != self._cloud.changes["scheduler"]:
            self._seen = self._cloud.changes["scheduler"]
            self._read()
        return {name: max(at, self._retries.get(name, 0)) for name, at in self._instants.items()}

    def clear(self) -> None:
        """Delete every schedule except the sweep's."""
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

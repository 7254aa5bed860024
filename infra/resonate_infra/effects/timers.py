"""Durable timers: SQS for the next fifteen minutes, EventBridge Scheduler for later instants and for recurrence.

SQS is accurate to the second, but delays a message by at most fifteen minutes. Scheduler accepts instants that are
years away, but fires up to a minute late. So a distant timer is a one-time schedule that fires two minutes early. The
tick function then puts it on the SQS queue for the rest (docs/rules.md C3).

Both services deliver the same message to the tick function, which reads the record to see what is due. A timer means
"not before this instant". Arming a timer twice is harmless.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from resonate_infra.effects.settings import Settings
from resonate_store.aws.errors import AwsRefusal, aws_error
from resonate_store.aws.services import QueueClient
from resonate_store.delivery.sinks import Kind
from resonate_store.delivery.timers import QueueTimers, timer_message
from resonate_store.model.clock import Clock
from resonate_store.model.cron import eventbridge, eventbridge_timezone

EARLY_MS = 120_000
"""How many milliseconds before its instant a distant timer fires, to be put on the queue."""
FARTHEST_MS = 100 * 365 * 86_400_000
"""The furthest that a timer is scheduled ahead, in milliseconds. If it fires before its instant, it is armed again.

Calendars end before the latest deadline that a promise can have.
"""

RECURRENCES = 2
"""Maximum number of recurring EventBridge schedules for one schedule of the store."""


class Timers(QueueTimers):
    """Timer sink that reaches every instant.

    Args:
        sqs: a client of SQS.
        scheduler: a boto3 client of EventBridge Scheduler.
        settings: name the queue, the schedule group and the tick function.
        clock: the source of time.
    """

    def __init__(self, sqs: QueueClient, scheduler: Any, settings: Settings, clock: Clock) -> None:
        super().__init__(sqs, settings.timer_queue_url, clock)
        self._scheduler = scheduler
        self._settings = settings

    def reaches(self, at: int | None) -> bool:  # noqa: ARG002
        return True

    def arm(self, kind: Kind, id: str, at: int) -> None:
        """Have the tick function look at the promise or schedule `id` at the instant `at` (ms), not earlier."""
        if super().reaches(at):
            super().arm(kind, id, at)
        else:
            instant = min(at - EARLY_MS, self._clock.now() + FARTHEST_MS)
            self._schedule(kind, id, instant, timer_message(kind, id, at))

    def disarm(self, kind: Kind, id: str) -> None:
        """Delete the distant timer of the promise or schedule `id`, if it has one.

        A timer message that is already on the queue is not deleted. It is harmless.
        """
        self._delete(self.name(kind, id))

    def recur(self, id: str, cron: str, timezone: str | None) -> None:
        """Fire the schedule `id` at every occurrence of `cron` in `timezone`, or in UTC if it is None."""
        expressions, zone = eventbridge(cron), eventbridge_timezone(cron, timezone)
        message = json.dumps({"kind": "schedule", "id": id})
        for number, expression in enumerate(expressions):
            self._put(self.recurrence(id, number), expression, message, ScheduleExpressionTimezone=zone)
        for number in range(len(expressions), RECURRENCES):
            self._delete(self.recurrence(id, number))

    def cease(self, id: str) -> None:
        """Delete the recurring timers of the schedule `id`. A firing that is under way finds nothing due."""
        for number in range(RECURRENCES):
            self._delete(self.recurrence(id, number))

    def name(self, kind: Kind, id: str) -> str:
        """Return the name of a one-time schedule: a digest of the id.

        Scheduler allows 64 letters, digits, `-`, `_` and `.` in a name. Ids are longer and can contain any character.
        """
        digest = hashlib.blake2b(f"{self._settings.table}\0{kind}\0{id}".encode(), digest_size=24).hexdigest()
        return f"{kind}-{digest}"

    def recurrence(self, id: str, number: int) -> str:
        """Return the name of a recurring EventBridge schedule, the first (0) or second (1) of the schedule `id`."""
        return f"{self.name('schedule', id)}-{number}"

    def _schedule(self, kind: Kind, id: str, at: int, message: str) -> None:
        instant = datetime.fromtimestamp(at // 1000, UTC)
        expression = f"at({instant:%Y-%m-%dT%H:%M:%S})"
        self._put(self.name(kind, id), expression, message, ActionAfterCompletion="DELETE")

    def _put(self, name: str, expression: str, message: str, **more: str) -> None:
        schedule = {
            "GroupName": self._settings.schedule_group,
            "Name": name,
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": self._settings.tick_arn,
                "RoleArn": self._settings.schedule_role_arn,
                "Input": message,
            },
            **more,
        }
        try:
            self._scheduler.create_schedule(**schedule)
        except Exception as error:
            if _code_of(error) != "ConflictException":
                raise
            self._scheduler.update_schedule(**schedule)

    def _delete(self, name: str) -> None:
        try:
            self._scheduler.delete_schedule(GroupName=self._settings.schedule_group, Name=name)
        except Exception as error:
            if _code_of(error) != "ResourceNotFoundException":
                raise


def _code_of(error: Exception) -> str | None:
    refusal = aws_error(error)
    return refusal.code if isinstance(refusal, AwsRefusal) else None

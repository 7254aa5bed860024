"""Durable timers: SQS for the next fifteen minutes, EventBridge Scheduler for anything later.

SQS delays a message to the second, but for at most fifteen minutes; Scheduler reaches years ahead, but fires up to a
minute late. So a distant timer is a one-time schedule two minutes early, whose firing hands over to SQS for the last
stretch (DESIGN 4). Both deliver the same message to the tick function, which looks at what is really due: a timer only
ever means "not before", and arming one twice is harmless.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from botocore.exceptions import ClientError

from resonate_infra.settings import Settings
from resonate_store.clock import Clock

QUEUE_HORIZON = 900_000
"""The longest delay of an SQS message (ms)."""
EARLY = 120_000
"""How much before its instant a distant timer comes back to be put on the queue (ms)."""
FARTHEST = 100 * 365 * 86_400_000
"""The longest that anything is scheduled ahead (ms): calendars end, promises need not. It is armed again then."""

Kind = Literal["timer", "schedule"]


class Timers:
    """Arms and disarms timers.

    Args:
        sqs, scheduler: boto3 clients.
        settings: names the queue, the schedule group and the tick function.
        clock: the source of time.
    """

    def __init__(self, sqs: Any, scheduler: Any, settings: Settings, clock: Clock) -> None:
        self._sqs = sqs
        self._scheduler = scheduler
        self._settings = settings
        self._clock = clock

    def arm(self, kind: Kind, id: str, at: int) -> None:
        """Have the tick function look at the promise or schedule `id` at the instant `at` (ms), not earlier."""
        message = msgspec.json.encode({"kind": kind, "id": id, "at": at}).decode()
        delay = at - self._clock.now()
        if delay > QUEUE_HORIZON:
            self._schedule(kind, id, min(at - EARLY, self._clock.now() + FARTHEST), message)
        else:
            seconds = min(max(0, -(-delay // 1000)), QUEUE_HORIZON // 1000)
            self._sqs.send_message(QueueUrl=self._settings.timer_queue_url, MessageBody=message, DelaySeconds=seconds)

    def disarm(self, kind: Kind, id: str) -> None:
        """Forget a distant timer, if there is one; a message on the queue fires and finds nothing due."""
        try:
            self._scheduler.delete_schedule(GroupName=self._settings.schedule_group, Name=self.name(kind, id))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise

    def name(self, kind: Kind, id: str) -> str:
        """The name of the one-time schedule: Scheduler allows 64 characters of a small alphabet, ids are anything."""
        digest = hashlib.blake2b(f"{self._settings.table}\0{kind}\0{id}".encode(), digest_size=24).hexdigest()
        return f"{kind}-{digest}"

    def _schedule(self, kind: Kind, id: str, at: int, message: str) -> None:
        instant = datetime.fromtimestamp(at // 1000, UTC)
        schedule = {
            "GroupName": self._settings.schedule_group,
            "Name": self.name(kind, id),
            "ScheduleExpression": f"at({instant:%Y-%m-%dT%H:%M:%S})",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": self._settings.tick_arn,
                "RoleArn": self._settings.schedule_role_arn,
                "Input": message,
            },
        }
        try:
            self._scheduler.create_schedule(**schedule)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                raise
            self._scheduler.update_schedule(**schedule)

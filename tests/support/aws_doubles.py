"""Stand-ins for the clients of SQS, EventBridge Scheduler and Lambda that only take note, and refuse on request."""

from __future__ import annotations

import json
import re
from typing import Any

from botocore.exceptions import ClientError

from resonate_infra.effects.settings import Settings
from resonate_infra.testing.recurrence import Recurrence

SETTINGS = Settings(
    table="promises",
    groups={"default": "lambda://worker", "remote": "https://worker.example.com/"},
    timer_queue_url="https://sqs/timers",
    push_queue_url="https://sqs/pushes",
    schedule_group="timers",
    schedule_role_arn="arn:aws:iam::1:role/scheduler",
    tick_arn="arn:aws:lambda:us-east-1:1:function:tick",
    retention_s=86_400,
)


def refusal(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "refused"}}, operation)


class Sqs:
    """Takes messages as SQS does: a delay is a whole number of seconds up to 900."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any, int]] = []

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0) -> None:
        assert isinstance(DelaySeconds, int)
        assert 0 <= DelaySeconds <= 900
        assert MessageBody.isascii(), "SQS refuses a few characters"
        assert len(MessageBody) <= 262_144
        self.sent.append((QueueUrl, json.loads(MessageBody), DelaySeconds))


class Scheduler:
    """Keeps schedules as EventBridge Scheduler does: names of its alphabet, one schedule of each."""

    def __init__(self) -> None:
        self.schedules: dict[str, dict[str, Any]] = {}
        self.updates = 0

    def create_schedule(self, **schedule: Any) -> None:
        self._check(schedule)
        if schedule["Name"] in self.schedules:
            raise refusal("ConflictException", "CreateSchedule")
        self.schedules[schedule["Name"]] = schedule

    def update_schedule(self, **schedule: Any) -> None:
        self._check(schedule)
        if schedule["Name"] not in self.schedules:
            raise refusal("ResourceNotFoundException", "UpdateSchedule")
        self.updates += 1
        self.schedules[schedule["Name"]] = schedule

    def delete_schedule(self, *, GroupName: str, Name: str) -> None:
        assert GroupName == SETTINGS.schedule_group
        if Name not in self.schedules:
            raise refusal("ResourceNotFoundException", "DeleteSchedule")
        del self.schedules[Name]

    def _check(self, schedule: dict[str, Any]) -> None:
        assert re.fullmatch(r"[0-9A-Za-z-_.]{1,64}", schedule["Name"])
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        if schedule["ScheduleExpression"].startswith("cron("):
            Recurrence(schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"])
            assert "ActionAfterCompletion" not in schedule
            return
        assert re.fullmatch(r"at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)", schedule["ScheduleExpression"])
        assert schedule["ActionAfterCompletion"] == "DELETE"


class Lambda:
    """Takes invokes; `refuses` is raised instead, if set."""

    def __init__(self) -> None:
        self.invoked: list[tuple[str, str, Any]] = []
        self.refuses: Exception | None = None

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.invoked.append((FunctionName, InvocationType, json.loads(Payload)))

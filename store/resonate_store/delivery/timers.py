"""Timers of the next fifteen minutes, as delayed messages on the timer queue (SQS)."""

from __future__ import annotations

import json

from resonate_store.aws.services import QueueClient
from resonate_store.delivery.sinks import Denied, Kind
from resonate_store.model.clock import Clock

QUEUE_HORIZON_MS = 900_000
"""The longest delay of an SQS message."""


class QueueTimers:
    """Timer sink that reaches fifteen minutes ahead. A timer further ahead, or of a schedule, needs another sink.

    Args:
        sqs: a client for SQS.
        queue_url: the timer queue.
        clock: the source of time.
    """

    def __init__(self, sqs: QueueClient, queue_url: str, clock: Clock) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._clock = clock

    def reaches(self, at: int | None) -> bool:
        return at is not None and at - self._clock.now() <= QUEUE_HORIZON_MS

    def arm(self, kind: Kind, id: str, at: int) -> None:
        """Have the tick function look at the promise or schedule `id` at the instant `at` (ms), not earlier."""
        delay_s = min(max(0, -(-(at - self._clock.now()) // 1000)), QUEUE_HORIZON_MS // 1000)
        self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=timer_message(kind, id, at), DelaySeconds=delay_s)

    def disarm(self, kind: Kind, id: str) -> None:
        raise Denied(f"{kind} {id}: distant timers are not disarmed here")

    def recur(self, id: str, cron: str, timezone: str | None) -> None:  # noqa: ARG002
        raise Denied(f"schedule {id}: schedules are not armed here")

    def cease(self, id: str) -> None:
        raise Denied(f"schedule {id}: schedules are not disarmed here")


def timer_message(kind: Kind, id: str, at: int) -> str:
    """Return the message with which the tick function looks at a promise or schedule."""
    return json.dumps({"kind": kind, "id": id, "at": at})

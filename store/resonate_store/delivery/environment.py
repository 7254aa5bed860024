"""The delivery of a program or function, from its environment variables."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from resonate_store.aws.clients import client_of
from resonate_store.aws.connections import CallLimits
from resonate_store.delivery.messages import LambdaMessages
from resonate_store.delivery.metrics import Metrics
from resonate_store.delivery.timers import QueueTimers
from resonate_store.delivery.writer import Delivery
from resonate_store.model.clock import Clock
from resonate_store.settings import groups_of, is_by_stream, number_of

LIMITS = CallLimits(connect_timeout_s=2, read_timeout_s=3, attempts=2)
"""Limits of the clients of the sinks. Delivery has two seconds; a call that takes longer is the dispatcher's."""


def delivery_of(environment: Mapping[str, str], clock: Clock) -> Delivery | None:
    """Return the delivery for the writes of this process (docs/rules.md W14).

    `RESONATE_DELIVERY` is `writer` (the default), or `stream`, which leaves everything to the dispatcher. A function of
    the deployment also has `RESONATE_GROUPS`, `RESONATE_TIMER_QUEUE_URL` and `RESONATE_RETENTION_SECONDS`. A program
    without one of them announces the effects that need it.

    Args:
        environment: the environment variables.
        clock: the source of time.

    Raises:
        SettingsError: a variable is malformed.
    """
    if is_by_stream(environment):
        return None
    metrics = Metrics(environment)
    queue_url = environment.get("RESONATE_TIMER_QUEUE_URL")
    retention = environment.get("RESONATE_RETENTION_SECONDS")
    return Delivery(
        QueueTimers(_Lazy("sqs"), queue_url, clock) if queue_url else None,
        LambdaMessages(_Lazy("lambda"), groups_of(environment)),
        number_of(environment, "RESONATE_RETENTION_SECONDS", 1) if retention else None,
        count=lambda counts: metrics.write(counts, clock.now()),
    )


class _Lazy:
    """Client of Lambda or SQS that is created when it is first used."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._client: Any = None
        self._lock = threading.Lock()

    def invoke(self, **arguments: Any) -> Any:
        return self._created().invoke(**arguments)

    def send_message(self, **arguments: Any) -> Any:
        return self._created().send_message(**arguments)

    def _created(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = client_of(self._service, LIMITS)
        return self._client

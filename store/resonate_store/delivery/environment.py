"""The delivery of a program or function, from its environment variables."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from resonate_store.delivery.messages import LambdaMessages
from resonate_store.delivery.metrics import Metrics
from resonate_store.delivery.timers import QueueTimers
from resonate_store.delivery.writer import Delivery
from resonate_store.model.clock import Clock
from resonate_store.settings import groups_of, is_by_stream, number_of

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 3


def delivery_of(environment: Mapping[str, str], clock: Clock) -> Delivery | None:
    """Return the delivery for the writes of this process (docs/rules.md W14).

    `RESONATE_DELIVERY` is `writer`, or `stream` (the default), which leaves everything to the dispatcher.
    `RESONATE_TIMER_QUEUE_URL` and `RESONATE_RETENTION_SECONDS` are what a function of the deployment knows besides.

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
        LambdaMessages(_Lazy("lambda"), groups_of(environment) or {}),
        number_of(environment, "RESONATE_RETENTION_SECONDS", 1) if retention else None,
        count=lambda counts: metrics.write(counts, clock.now()),
    )


class _Lazy:
    """Client of an AWS service that is created when it is first used."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._client: Any = None
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        with self._lock:
            if self._client is None:
                self._client = _client(self._service)
        return getattr(self._client, name)


def _client(service: str) -> Any:
    import boto3  # pyright: ignore[reportMissingTypeStubs]
    from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]

    library: Any = boto3  # its type has an overload for each service
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
    return library.client(service, config=config)

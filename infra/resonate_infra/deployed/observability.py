"""What the functions around the worker tell about themselves: structured logs and metrics, by AWS Lambda Powertools.

Logs of everything named `resonate` go through Powertools' logger, so that every line says which execution and task it
belongs to; outside Lambda logging is left as it is. Metrics are written when a namespace is configured
(`POWERTOOLS_METRICS_NAMESPACE`), once at the end of an invocation.

Nearly all of what an execution does is seen by the dispatcher, because every change that matters to anybody passes it:
it counts what started, ended and halted. Delivery is at least once, so counts may be a little high after failures.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.metrics import MetricUnit

from resonate_infra.effects.tick import Message, ScheduleDue, Sweep, Timer
from resonate_store.machine.effects import Change
from resonate_store.model.ids import origin
from resonate_store.model.records import PromiseState, Record

Handler = Callable[[dict[str, Any], Any], Any]

ENDINGS: Mapping[PromiseState, str] = {
    "resolved": "ExecutionsCompleted",
    "rejected": "ExecutionsFailed",
    "rejected_canceled": "ExecutionsCanceled",
    "rejected_timedout": "ExecutionsTimedOut",
}
"""The metric that counts executions that ended in each state."""


class Observability:
    """Logs and metrics of one function.

    Args:
        environment: the process's environment variables.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        disabled = environment.get("POWERTOOLS_METRICS_DISABLED", "").lower() in ("true", "1")
        self._measures = bool(environment.get("POWERTOOLS_METRICS_NAMESPACE")) and not disabled
        self._metrics = Metrics()
        if environment.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
            self.logger = Logger()
            copy_config_to_registered_loggers(self.logger, include={"resonate"})
        else:
            # A logger is known by its service, and a stack may be called as our loggers are: this one is nobody's.
            self.logger = Logger(service=__name__)

    def handler(self, function: Handler) -> Handler:
        """Decorates a Lambda handler: its lines name the invocation, its metrics are written when it ends."""
        logged = self.logger.inject_lambda_context(function, clear_state=True)

        @functools.wraps(function)
        def observed(event: dict[str, Any], context: Any) -> Any:
            try:
                return logged(event, context)
            finally:
                if self._measures and self._metrics.metric_set:
                    self._metrics.flush_metrics()

        return observed

    def observe(self, name: str, value: int) -> None:
        """Add a value to a metric; what is called a lag or a duration is in milliseconds, all else is counted."""
        if self._measures:
            timed = name.endswith(("Lag", "Duration"))
            self._metrics.add_metric(name, MetricUnit.Milliseconds if timed else MetricUnit.Count, value)

    def change(self, change: Change, now: int) -> None:
        """Count what a write that was delivered at `now` (ms) says about its execution."""
        before, after = change
        if not isinstance(after, Record):
            return
        self.observe("DispatchLag", max(0, now - after.written_at))
        if after.task is None:
            return
        earlier = before if isinstance(before, Record) else None
        if after.task.state == "halted" and (earlier is None or earlier.task is None or earlier.task.state != "halted"):
            self.observe("HaltedTasks", 1)
        if not after.root:
            return
        if earlier is None:
            self.observe("ExecutionsStarted", 1)
        if not after.pending and (earlier is None or earlier.pending):
            self.observe(ENDINGS[after.state], 1)
            self.observe("ExecutionDuration", (after.settled_at or after.timeout_at) - after.created_at)


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a log line should say about a DynamoDB stream record."""
    images: dict[str, Any] = record.get("dynamodb", {})
    image: dict[str, Any] = images.get("NewImage") or images.get("OldImage") or {}
    id: str | None = _member(image, "id").get("S")
    if id is None:
        return {}
    fields: dict[str, Any] = {"execution_id": origin(id), "promise_id": id}
    task: dict[str, Any] | None = _member(image, "task").get("M")
    if task is not None:
        fields["task_version"] = int(_member(task, "version").get("N", 0))
        fields["attempt"] = int(_member(task, "attempts").get("N", 0)) + 1
    return fields


def _member(image: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an attribute value of an item; empty if there is none."""
    return image.get(name, {})


def fields_of_message(message: Message) -> dict[str, Any]:
    """What a log line should say about a tick message."""
    match message:
        case Timer():
            return {"execution_id": origin(message.id), "promise_id": message.id}
        case ScheduleDue():
            return {"schedule_id": message.id}
        case Sweep():
            return {}

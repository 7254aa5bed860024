"""Structured logs and metrics of the deployed functions, by AWS Lambda Powertools.

All loggers named `resonate` write through Powertools' logger, so that every line names its execution and task. Outside
Lambda, logging is not changed. Metrics are written only if `POWERTOOLS_METRICS_NAMESPACE` names a namespace, once at
the end of an invocation.

The process that delivers the end of an execution counts it, and the worker that first acquires a root counts its start.
The dispatcher counts what it delivers: the starts of workers that it pushes to, and with `Delivery=stream` everything.
It always counts halts. Delivery is at least once, so the counts can be slightly high after failures.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.metrics import MetricUnit

from resonate_infra.effects.tick import Message, ScheduleDue, Sweep, Timer
from resonate_store.delivery.metrics import ending_of
from resonate_store.machine.effects import Change
from resonate_store.model.ids import origin
from resonate_store.model.records import Record

Handler = Callable[[dict[str, Any], Any], Any]


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
            # Powertools shares a logger among users of one service name. A stack may be named like one of our
            # loggers, so this one has the name of this module.
            self.logger = Logger(service=__name__)

    def handler(self, function: Handler) -> Handler:
        """Decorate a Lambda handler. Its log lines name the invocation, and its metrics are written when it ends."""
        logged = self.logger.inject_lambda_context(function, clear_state=True)

        @functools.wraps(function)
        def observed(event: dict[str, Any], context: Any) -> Any:
            try:
                return logged(event, context)
            finally:
                if self._measures and self._metrics.metric_set:
                    self._metrics.flush_metrics()

        return observed

    @contextmanager
    def named(self, fields: Mapping[str, Any]) -> Generator[None, None, None]:
        """Have the log lines of this thread show these fields."""
        self.logger.thread_safe_append_keys(**fields)
        try:
            yield
        finally:
            self.logger.thread_safe_remove_keys(list(fields))

    def count(self, counts: Mapping[str, int]) -> None:
        """Add each value to its metric."""
        for name, value in counts.items():
            self.observe(name, value)

    def observe(self, name: str, value: int) -> None:
        """Add a value to a metric: milliseconds if `name` ends with `Lag` or `Duration`, otherwise a count."""
        if self._measures:
            timed = name.endswith(("Lag", "Duration"))
            self._metrics.add_metric(name, MetricUnit.Milliseconds if timed else MetricUnit.Count, value)

    def change(self, change: Change, now: int, *, starts: bool = True) -> None:
        """Record the metrics of one write, which was delivered at `now` (ms).

        Args:
            change: the write.
            now: the present instant (ms).
            starts: whether a new execution is counted here, and not by its worker.
        """
        before, after = change
        if not isinstance(after, Record):
            return
        self.observe("DispatchLag", max(0, now - after.written_at))
        if after.task is None:
            return
        earlier = before if isinstance(before, Record) else None
        if after.task.state == "halted" and (earlier is None or earlier.task is None or earlier.task.state != "halted"):
            self.observe("HaltedTasks", 1)
        if after.root and earlier is None and starts:
            self.observe("ExecutionsStarted", 1)
        self.count(ending_of(change))


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that log lines about a DynamoDB stream record have."""
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
    """Return an attribute value of an item. Return an empty one if it is missing."""
    return image.get(name, {})


def fields_of_message(message: Message) -> dict[str, Any]:
    """Return the fields that log lines about a tick message have."""
    match message:
        case Timer():
            return {"execution_id": origin(message.id), "promise_id": message.id}
        case ScheduleDue():
            return {"schedule_id": message.id}
        case Sweep():
            return {}

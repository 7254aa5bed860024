"""Log fields and metrics of a worker in Lambda.

Lambda's JSON log format writes every attribute of a log record. So one filter adds the execution, task version and
attempt to every line: those of the SDK, of libraries and of steps. Metrics are lines in CloudWatch's embedded metric
format.

AWS Lambda Powertools can do this too, but its import costs time at every cold start. The variables that configure it
(`POWERTOOLS_METRICS_NAMESPACE`, `POWERTOOLS_SERVICE_NAME`, `POWERTOOLS_METRICS_DISABLED`) also configure this module.
Fields have the names that Powertools gives them.

An environment serves one invocation at a time, so the whole process has one current task.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from resonate_store.interface import Store, StoreWrapper
from resonate_store.model.ids import origin
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import PromiseRecord, PromiseSettle, Request, Response, TaskAcquire, TaskFulfill
from resonate_store.model.tags import LINK


class ObservedStore(StoreWrapper):
    """Store that counts what a worker does with it.

    Args:
        store: where the requests go.
        fields: gets the task that was acquired.
        settled: called with every promise that the worker has settled.

    Attributes:
        task: the task as it was acquired.
        steps: the number of function outcomes that were stored.
        replayed: the number of records that were read for replay.
    """

    def __init__(self, store: Store, fields: LogFields, settled: Callable[[PromiseView], None] | None = None) -> None:
        super().__init__(store)
        self._fields = fields
        self._settled = settled
        self._lock = threading.Lock()
        self.task: Task | None = None
        self.steps = 0
        self.replayed = 0

    @property
    def underlying(self) -> Store:
        return self._store.underlying

    def apply(self, request: Request) -> Response:
        response = self._store.apply(request)
        if isinstance(request, (PromiseRecord, PromiseSettle)):
            # A link record, of a promise with an overridden id, does not count as a step.
            if response.ok and response.promise is not None and LINK not in response.promise.tags:
                with self._lock:
                    self.steps += 1
                # If the instants differ, another worker has settled the promise.
                if isinstance(request, PromiseSettle) or response.promise.created_at == request.created_at:
                    self._tell(response.promise)
        elif isinstance(request, TaskFulfill) and response.ok and response.promise is not None:
            self._tell(response.promise)
        elif isinstance(request, TaskAcquire) and response.task is not None:
            self.task = response.task
            self._fields.acquired(response.task)
        return response

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        children = self._store.children(id, separator)
        with self._lock:
            self.replayed += len(children)
        return children

    def _tell(self, promise: PromiseView) -> None:
        if self._settled is not None:
            self._settled(promise)


class LogFields(logging.Filter):
    """Filter that sets the fields of the current task on every log record."""

    def __init__(self) -> None:
        super().__init__()
        self._cold = True
        self._fields: dict[str, Any] = {}

    def offered(self, id: str, version: int) -> None:
        """Set the fields of the task that an invocation is offered."""
        self._fields = {
            "execution_id": origin(id),
            "task_id": id,
            "task_version": version,
            "cold_start": self._cold,
        }
        self._cold = False

    def acquired(self, task: Task) -> None:
        self._fields |= {"task_version": task.version, "attempt": task.attempts + 1}

    def ended(self) -> None:
        self._fields = {}

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in self._fields.items():
            # A field that the record already has is not replaced.
            record.__dict__.setdefault(name, value)
        return True

    def install(self, environment: Mapping[str, str]) -> None:
        """Add this filter to the root logger, if Lambda writes its lines as JSON."""
        if environment.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
            for handler in logging.getLogger().handlers:
                handler.addFilter(self)


class Metrics:
    """Writer of metrics to the log, where CloudWatch reads them. Without a namespace it writes nothing.

    Args:
        environment: the process's environment variables.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        disabled = environment.get("POWERTOOLS_METRICS_DISABLED", "").lower() in ("true", "1")
        self._namespace = "" if disabled else environment.get("POWERTOOLS_METRICS_NAMESPACE", "")
        self._service = environment.get("POWERTOOLS_SERVICE_NAME", "resonate")

    def write(self, counts: Mapping[str, int], now: int, **fields: Any) -> None:
        """Write counts at the instant `now` (ms), with `fields`, which can be searched but are not counted."""
        if not self._namespace or not counts:
            return
        line = {
            "_aws": {
                "Timestamp": now,
                "CloudWatchMetrics": [
                    {
                        "Namespace": self._namespace,
                        "Dimensions": [["service"]],
                        "Metrics": [{"Name": name, "Unit": "Count"} for name in counts],
                    }
                ],
            },
            "service": self._service,
            **fields,
            **counts,
        }
        sys.stdout.write(f"{msgspec.json.encode(line).decode()}\n")
        sys.stdout.flush()


def counts_of(store: ObservedStore, status: str, error: str | None) -> dict[str, int]:
    """Return the metrics of one invocation's work for a task, without those that are zero."""
    task = store.task
    if task is None:
        return {"TasksLost": 1}
    replay = task.version > 1
    counts = {
        "TasksAcquired": 1,
        "Steps": store.steps,
        "Suspensions": int(status == "suspended"),
        "Replays": int(replay),
        "ReplayLength": store.replayed if replay else 0,
        "HandOvers": int(status == "released" and error is None),
        "TaskFailures": int(status == "halted" or error is not None),
        "TasksLost": int(status == "lost"),
    }
    return {name: count for name, count in counts.items() if count}

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
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resonate_store.interface import Store, StoreWrapper
from resonate_store.model.ids import origin
from resonate_store.model.records import PromiseView, Task, begins_tree
from resonate_store.model.requests import PromiseRecord, PromiseSettle, Request, Response, TaskAcquire, TaskFulfill
from resonate_store.model.tags import KIND, LINK


class ObservedStore(StoreWrapper):
    """Store that counts what a worker does with it.

    Args:
        store: where the requests go.
        fields: gets the task that was acquired.
        settled: called with every promise that the worker has settled.

    Attributes:
        task: the task as it was acquired.
        starts: whether an execution starts with it: it is the first acquisition of a root.
        steps: the number of function outcomes that were stored.
        replayed: the number of records that were read for replay.
    """

    def __init__(self, store: Store, fields: LogFields, settled: Callable[[PromiseView], None] | None = None) -> None:
        super().__init__(store)
        self._fields = fields
        self._settled = settled
        self._lock = threading.Lock()
        self.task: Task | None = None
        self.starts = False
        self.steps = 0
        self.replayed = 0

    @property
    def underlying(self) -> Store:
        return self._store.underlying

    def apply(self, request: Request) -> Response:
        response = self._store.apply(request)
        if isinstance(request, (PromiseRecord, PromiseSettle)):
            # Links of overridden ids, and marks of attempts, do not count as steps.
            promise = response.promise
            if response.ok and promise is not None and LINK not in promise.tags and KIND not in promise.tags:
                with self._lock:
                    self.steps += 1
                # If the instants differ, another worker has settled the promise.
                if isinstance(request, PromiseSettle) or promise.created_at == request.created_at:
                    self._tell(promise)
        elif isinstance(request, TaskFulfill) and response.ok and response.promise is not None:
            self._tell(response.promise)
        elif isinstance(request, TaskAcquire) and response.task is not None:
            self.acquired(response.task)
            promise = response.promise
            self.starts = response.task.version == 1 and promise is not None and begins_tree(promise.id, promise.tags)
        return response

    def acquired(self, task: Task) -> None:
        """Note the task that the worker runs."""
        self.task = task
        self._fields.acquired(task)

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

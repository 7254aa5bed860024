"""What an execution does now, in words: one rule for the list, the schedules and the pages of executions."""

from __future__ import annotations

import re

from msgspec import Struct
from msgspec.structs import replace

from resonate.executions import DurableExecution, shown
from resonate.payloads.waits import of_execution
from resonate_store.model.execution_requests import ExecutionView
from resonate_store.model.records import PromiseView, Task

OFFERED = "offered"
"""Status of a promise whose task is offered to workers, and which no worker has."""

_STUCK = re.compile(r"(?:^|: )attempt \d+ failed\b|; (?:none is|it is not) connected$")
"""Texts of `resonate.payloads.waits` about a failed attempt, or a worker that is not there."""


class ShownExecution(Struct, frozen=True):
    """An execution as pages show it.

    Attributes:
        it: the execution.
        status: what it does now.
        waits: what it waits for, without its cancellation; empty if nothing is known.
        cancellation: the reason of a cancellation that it has not followed yet, maybe empty. None if there is none.
    """

    it: DurableExecution
    status: str
    waits: str
    cancellation: str | None


def shown_execution(view: ExecutionView) -> ShownExecution:
    """Return what pages show of an execution."""
    task = view.task
    return ShownExecution(
        shown(view),
        shown_status(view.status, task),
        of_execution(replace(view, task=without_cancellation(task))),
        cancellation_of(view.promise, task),
    )


def shown_status(status: str, task: Task | None) -> str:
    """Return the status that pages show. Stores count an execution as running while its task is only offered."""
    return OFFERED if status == "running" and task is not None and task.state == "pending" else status


def is_stuck(status: str, waits: str) -> bool:
    """Return whether an execution waits for something that should not be: a retry, or a worker that is not there."""
    return status == "retrying" or _STUCK.search(waits) is not None


def cancellation_of(promise: PromiseView, task: Task | None) -> str | None:
    """Return the reason of a cancellation that has not ended its execution, maybe empty, or None."""
    return task.cancel if task is not None and promise.pending else None


def without_cancellation(task: Task | None) -> Task | None:
    """Return a task for texts about what it waits for. Its cancellation is shown on its own."""
    return None if task is None else replace(task, cancel=None)

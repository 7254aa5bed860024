"""The words for what an execution does."""

from __future__ import annotations

import pytest

from resonate_infra.console.statuses import is_stuck, shown_execution, shown_status
from resonate_store.model.execution_requests import ExecutionStatus, ExecutionView
from resonate_store.model.records import EMPTY, PromiseState, PromiseView, Task, TaskState


def promise(state: PromiseState = "pending") -> PromiseView:
    tags = {"resonate:target": "poll://any@shop"}
    return PromiseView(
        id="a",
        state=state,
        param=EMPTY,
        value=EMPTY,
        tags=tags,
        timeout_at=9_000,
        created_at=1_000,
        settled_at=None if state == "pending" else 2_000,
    )


def task(state: TaskState, *, cancel: str | None = None) -> Task:
    return Task(id="a", state=state, version=1, resumes=0, cancel=cancel)


@pytest.mark.parametrize(
    ("status", "state", "shown"),
    [
        ("running", "pending", "offered"),
        ("running", "acquired", "running"),
        ("retrying", "pending", "retrying"),
        ("waiting", "pending", "waiting"),
        ("waiting", "suspended", "waiting"),
        ("running", None, "running"),
    ],
)
def test_running_task_is_offered_until_a_worker_has_it(
    status: ExecutionStatus, state: TaskState | None, shown: str
) -> None:
    assert shown_status(status, None if state is None else task(state)) == shown


@pytest.mark.parametrize(
    ("status", "waits", "stuck"),
    [
        ("retrying", "", True),
        ("running", "a.2: attempt 1 failed: ValueError: no; next at 2026-11-30T09:00:00Z", True),
        ("waiting", "a.1: waiting for a worker of shop; none is connected", True),
        ("running", "waiting for the worker w1 of shop; it is not connected", True),
        ("running", "waiting for a worker of shop", False),
        ("waiting", "waiting for a.1", False),
        ("waiting", "waiting for a message: attempt 1", False),
    ],
)
def test_execution_is_stuck_at_retries_and_missing_workers(status: str, waits: str, stuck: bool) -> None:
    assert is_stuck(status, waits) is stuck


@pytest.mark.parametrize("reason", ["changed plans", ""])
def test_cancellation_is_apart_from_what_an_execution_waits_for(reason: str) -> None:
    view = ExecutionView(promise=promise(), status="running", task=task("pending", cancel=reason))
    shown = shown_execution(view)
    assert (shown.status, shown.waits) == ("offered", "waiting for a worker of shop")
    assert (shown.cancellation, shown.it.canceled) == (reason, True)


def test_settled_execution_has_no_cancellation() -> None:
    view = ExecutionView(promise=promise("resolved"), status="resolved", task=task("fulfilled", cancel="late"))
    assert shown_execution(view).cancellation is None

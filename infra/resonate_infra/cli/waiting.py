"""Texts that say what an execution waits for: a worker, or the next attempt of a step that fails.

They also say that it is cancelled and has not ended.

Only the development server counts the workers that poll. A table and other servers do not know them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from resonate_infra.cli.display import error_text, shortened
from resonate_infra.cli.session import Session
from resonate_store.model.addresses import wait_for
from resonate_store.model.clock import instant
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import PromiseGet, TaskGet
from resonate_store.model.tags import FUNC, ORIGIN, TARGET, TIMER

MOST_READ = 50
"""Maximum number of pending promises of one execution that are read, to find the first that waits."""
MOST_TASKS = 5
"""Maximum number of their tasks that are read."""


def task_of(session: Session, promise: PromiseView) -> Task | None:
    """Return the task of a pending promise, or None if it has no task."""

    if not promise.pending or TARGET not in promise.tags or promise.tags.get(TIMER) == "true":
        return None
    return read(session, promise.id)[1]


def read(session: Session, id: str) -> tuple[PromiseView, Task | None]:
    """Return a promise and its task. One request is enough if the server's response contains both.

    Raises:
        Failure: the promise does not exist, or the store does not answer.
    """

    response = session.ask(PromiseGet(id))
    promise, task = response.promise, response.task
    assert promise is not None
    if task is None and promise.pending and TARGET in promise.tags:
        found = session.find(TaskGet(id))
        task = None if found is None else found.task
    return promise, task


def of_task(promise: PromiseView, task: Task | None, *, short: bool = False) -> str:
    """Return what a pending task waits for, or which messages a suspended task waits for, or an empty text.

    With `short`, a long error is cut. The next functions have the same argument.
    """

    if task is not None and task.receives:
        return f"waiting for a message: {', '.join(task.receives)}"
    if task is None or task.state != "pending":
        return ""
    error = shortened(task.error or "") if short else task.error
    failed = f"attempt {task.attempts} failed: {error}" if task.attempts and error else ""
    if task.retry_at is not None:
        return _next(failed, task.retry_at)
    waits = wait_for(task.pinned or promise.tags.get(TARGET, ""), task.workers)
    return f"{failed}; {waits}" if failed else waits


def timed_function(step: str) -> str:
    """Return the promise whose function is retried after the timer `{step}~{attempt}`.

    A retry timer of the function of a task has the number 0 (docs/rules.md G2).
    """
    return re.sub(r"\.([0-9]+\+)?0$", "", step)


def of_attempt(timer: PromiseView, *, short: bool = False) -> str:
    """Return why and when a step is retried. Its pending retry timer contains both."""

    attempt, error = timer.id.rpartition("~")[2], error_text(timer.param)
    return _next(f"attempt {attempt} failed: {shortened(error) if short else error}", timer.timeout_at)


def _next(failed: str, at: int) -> str:
    return f"{failed}; next at {instant(at)}" if failed else f"waiting until {instant(at)}"


def of_execution(session: Session, promise: PromiseView, task: Task | None, *, short: bool = False) -> str:
    """Return what a pending execution waits for. If it waits for its calls, return what one of these waits for.

    Return an empty text if the execution is settled, or if nothing is known.
    """
    if not promise.pending:
        return ""
    waits = of_task(promise, task, short=short) or next(_below(session, promise, short), "")
    return "; ".join(text for text in (of_cancellation(task, short=short), waits) if text)


def of_cancellation(task: Task | None, *, short: bool = False) -> str:
    """Return that an execution is cancelled and has not ended, or an empty text."""
    if task is None or task.cancel is None:
        return ""
    reason = shortened(task.cancel) if short else task.cancel
    return f"cancelled: {reason}" if reason else "cancelled"


def _below(session: Session, promise: PromiseView, short: bool) -> Iterator[str]:
    tasks, origin = 0, promise.tags.get(ORIGIN, promise.id)
    for separator in (".",) if FUNC in promise.tags else (".", ":"):
        for each in session.below(promise.id, separator, MOST_READ, "pending"):
            if each.tags.get(ORIGIN, origin) != origin:
                continue  # It belongs to another execution, whose id has the same prefix.
            step, _, attempt = each.id.rpartition("~")
            if step and attempt.isdecimal():
                yield f"{timed_function(step)}: {of_attempt(each, short=short)}"
            elif tasks < MOST_TASKS and (task := task_of(session, each)) is not None:
                tasks += 1
                if words := of_task(each, task, short=short):
                    yield f"{each.id}: {words}"

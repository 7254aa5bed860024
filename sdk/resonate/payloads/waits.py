"""Texts that say what an execution waits for: a worker, a message, or the next attempt of what fails.

They also say that it is cancelled and has not ended. Only the development server counts the workers that poll. A table
and other servers do not know them.
"""

from __future__ import annotations

import re

from resonate.payloads.readable import error_text
from resonate_store.model.addresses import wait_for
from resonate_store.model.clock import instant
from resonate_store.model.execution_requests import ExecutionView
from resonate_store.model.ids import is_retry_timer
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.tags import TARGET


def shortened(text: str, most_chars: int = 80) -> str:
    """Return a text, cut to `most_chars` characters, so that it fits into a table or a tree."""
    return text if len(text) <= most_chars else f"{text[: most_chars - 3]}..."


def of_execution(view: ExecutionView, *, short: bool = False) -> str:
    """Return what an execution waits for, or an empty text if it has ended or nothing is known.

    With `short`, a long error is cut. The next functions have the same argument.
    """
    if not view.promise.pending:
        return ""
    waits = of_task(view.promise, view.task, short=short) or _of_awaited(view, short)
    return "; ".join(text for text in (of_cancellation(view.task, short=short), waits) if text)


def _of_awaited(view: ExecutionView, short: bool) -> str:
    """Return what the promise waits for that the task of an execution awaits, or which one it is."""
    awaited = view.awaited
    if awaited is None:
        return ""
    if is_retry_timer(awaited.id):
        return f"{timed_function(awaited.id.rpartition('~')[0])}: {of_attempt(awaited, short=short)}"
    if awaited.timer:
        return f"{awaited.id}: {_next('', awaited.timeout_at)}"
    words = of_task(awaited, view.awaited_task, short=short)
    return f"{awaited.id}: {words}" if words else f"waiting for {awaited.id}"


def of_task(promise: PromiseView, task: Task | None, *, short: bool = False) -> str:
    """Return what a task waits for: a worker or its next attempt, messages, or a person after its halt."""
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


def of_attempt(timer: PromiseView, *, short: bool = False) -> str:
    """Return why and when a step is retried. Its pending retry timer contains both."""
    attempt, error = timer.id.rpartition("~")[2], error_text(timer.param)
    return _next(f"attempt {attempt} failed: {shortened(error) if short else error}", timer.timeout_at)


def of_cancellation(task: Task | None, *, short: bool = False) -> str:
    """Return that an execution is cancelled and has not ended, or an empty text.

    A halted task has not got the cancellation, so the text has the reason of the halt too.
    """
    if task is None or task.cancel is None:
        return ""
    facts = [("cancelled", task.cancel)]
    facts += [("halted", task.error or "")] if task.state == "halted" else []
    texts = ((fact, shortened(text) if short else text) for fact, text in facts)
    return "; ".join(f"{fact}: {text}" if text else fact for fact, text in texts)


def timed_function(step: str) -> str:
    """Return the promise whose function is retried after the timer `{step}~{attempt}`.

    A retry timer of the function of a task has the number 0 (docs/rules.md G2).
    """
    return re.sub(r"\.([0-9]+\+)?0$", "", step)


def _next(failed: str, at: int) -> str:
    return f"{failed}; next at {instant(at)}" if failed else f"waiting until {instant(at)}"

"""Texts that say what an execution waits for: a worker, or the next attempt of a step that fails.

They also say that it is cancelled and has not ended.

Only the development server counts the workers that poll. A table and other servers do not know them.
"""

from __future__ import annotations

from collections.abc import Iterator

from resonate.payloads.waits import of_attempt, of_cancellation, of_task, timed_function
from resonate_infra.inspection.session import StoreSession
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import PromiseGet, TaskGet
from resonate_store.model.tags import FUNC, ORIGIN, TARGET, TIMER

MOST_READ = 50
"""Maximum number of pending promises of one execution that are read, to find the first that waits."""
MOST_TASKS = 5
"""Maximum number of their tasks that are read."""


def task_of(session: StoreSession, promise: PromiseView) -> Task | None:
    """Return the task of a pending promise, or None if it has no task."""

    if not promise.pending or TARGET not in promise.tags or promise.tags.get(TIMER) == "true":
        return None
    return read(session, promise.id)[1]


def read(session: StoreSession, id: str) -> tuple[PromiseView, Task | None]:
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


def of_execution(session: StoreSession, promise: PromiseView, task: Task | None, *, short: bool = False) -> str:
    """Return what a pending execution waits for. If it waits for its calls, return what one of these waits for.

    Return an empty text if the execution is settled, or if nothing is known.
    """
    if not promise.pending:
        return ""
    waits = of_task(promise, task, short=short) or next(_below(session, promise, short), "")
    return "; ".join(text for text in (of_cancellation(task, short=short), waits) if text)


def _below(session: StoreSession, promise: PromiseView, short: bool) -> Iterator[str]:
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

"""Marks of attempts: a step that runs at most once is marked as begun before it runs."""

from __future__ import annotations

from resonate.engine.functions.attempt_limits import begun_by, interruption
from resonate.engine.model import Work
from resonate.errors import ResonateError, refusal
from resonate.worker.lease import Lost
from resonate_store.interface import Store, StoreError
from resonate_store.model.requests import PromiseRecord
from resonate_store.model.tags import BEGUN


def record_mark(store: Store, work: Work, mark: PromiseRecord) -> ResonateError | None:
    """Record the mark of an attempt that is about to begin.

    The first version of the task that records the mark begins the attempt. A repetition by this version finds its own
    mark, so a lost answer does no harm.

    Args:
        store: the store.
        work: the step.
        mark: the request.

    Returns:
        The error of the step, if it must not run.

    Raises:
        Lost: a later version of the task has begun the attempt, or the store says that another worker holds the task.
        StoreError: the store cannot answer.
    """
    response = store.apply(mark)
    if response.status == 409:
        raise Lost
    if response.status >= 500 or response.status == 401:
        raise StoreError(response.error or f"the store answered {response.status}")
    if response.promise is None:
        return refusal(response.status, response.error)
    version = int(mark.tags[BEGUN])
    if begun_by(response.promise) > version:
        raise Lost
    return interruption(work, response.promise, version)

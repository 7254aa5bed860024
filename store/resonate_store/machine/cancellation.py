"""Transition that cancels an execution (docs/rules.md X1 to X5).

A cancellation is a request to the workflow, which may run compensating steps before it ends. It is a field of the
record and not of its task, so that no transition of the task loses it. Only a settlement clears it.
"""

from __future__ import annotations

from msgspec.structs import replace

from resonate_store.machine.draft import Draft, Transition, settled
from resonate_store.machine.promises import not_found
from resonate_store.machine.tasks import offered
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.records import EMPTY, Cancellation
from resonate_store.model.requests import Response


def cancel(request: PromiseCancel, now: int) -> Transition:
    """Note the cancellation, and offer the task if it is suspended; settle at once what no workflow has begun."""
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        return draft.outcome(not_found())
    if not record.pending:
        return draft.outcome(Response(promise=record.promise()))
    task = record.task
    if request.force or task is None or (task.state == "pending" and task.version == 0):
        record = draft.put(settled(record, "rejected_canceled", EMPTY, now))
        return draft.outcome(Response(promise=record.promise(), cancel="accepted"))
    if record.cancel is not None:
        return draft.outcome(Response(promise=record.promise(), cancel="already"))
    if task.state == "suspended":
        task = offered(task, now)
    record = draft.put(replace(record, task=task, cancel=Cancellation(now, request.reason)))
    return draft.outcome(Response(promise=record.promise(), cancel="accepted"))

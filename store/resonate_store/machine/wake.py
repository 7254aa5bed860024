"""Wake-ups of a promise and its task: deadlines, leases and repeated offers.

A timer means "not before" (docs/rules.md C1). Each firing does what is due now and sets the next wake-up, so a late,
early or repeated firing is safe.
"""

from __future__ import annotations

from msgspec.structs import replace

from resonate_store.machine.draft import Draft, Transition
from resonate_store.machine.tasks import lease_expired, redispatched
from resonate_store.model.requests import PromiseWake, Response


def wake(request: PromiseWake, now: int) -> Transition:
    """Settle the promise, end the lease or offer the task again, if one of these is due, and set the next wake-up."""
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        return draft.outcome(Response(status=404, error="Promise not found"))
    if record.owes and draft.unchanged(record.id) and now < record.written_at + request.redelivery_ms:
        return draft.outcome(Response(promise=record.promise()))
    task = record.task
    if task is not None and task.state == "acquired" and (task.expires_at or 0) <= now:
        record = draft.put(replace(record, task=(yield from lease_expired(record, task, now))))
    elif task is not None and task.state == "pending" and (task.retry_at or 0) <= now:
        record = draft.put(replace(record, task=redispatched(task, now, request.offers_apart_ms)))
    if record.wake_at is None or record.wake_at <= now:
        draft.rearm(record.id)
    return draft.outcome(Response(promise=record.promise()))

"""What time alone does: deadlines, leases, redispatch and cron.

A timer says only "not before" (DESIGN rule 8). Each firing looks at what is due now, so a late, early or repeated one
is harmless, and it leaves behind the exact next instant at which to look again.
"""

from __future__ import annotations

from typing import cast

from msgspec.structs import replace

from resonate_store.cron import next_occurrence
from resonate_store.effects import Change
from resonate_store.machine.draft import (
    Draft,
    NeedRecords,
    NeedSchedule,
    Outcome,
    Transition,
    deletion,
    stamped_schedule,
)
from resonate_store.machine.promises import created
from resonate_store.machine.tasks import lease_expired, redispatched
from resonate_store.machine.validation import expanded
from resonate_store.records import BRANCH, ORIGIN, PARENT, PREFIX, SCHEDULE, Record, ScheduleRecord
from resonate_store.requests import (
    PromiseCreate,
    PromiseWake,
    Response,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
)

MAX_OCCURRENCES = 90
"""Occurrences of one schedule created by one firing; the next firing goes on where this one stopped."""
MAX_FIRING_BYTES = 2_000_000
"""The size of the params that one firing writes; DynamoDB takes 4 MB in one transaction."""


def wake(request: PromiseWake, now: int) -> Transition:
    """Settle what is late, expire the lease, offer the task again - whatever is due - and re-arm the rest."""
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        return draft.outcome(Response(status=404, error="Promise not found"))
    task = record.task
    if task is not None and task.state == "acquired" and (task.expires_at or 0) <= now:
        record = draft.put(replace(record, task=(yield from lease_expired(record, task, now))))
    elif task is not None and task.state == "pending" and (task.retry_at or 0) <= now:
        record = draft.put(replace(record, task=redispatched(task, now)))
    if record.wake_at is None or record.wake_at <= now:
        draft.rearm(record.id)
    return draft.outcome(Response(promise=record.promise()))


def schedule_get(request: ScheduleGet, _now: int) -> Transition:
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_schedule_not_found())
    return Outcome(Response(schedule=schedule.schedule()))


def schedule_create(request: ScheduleCreate, now: int) -> Transition:
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is not None:
        return Outcome(Response(schedule=schedule.schedule()))
    schedule = ScheduleRecord(
        id=request.id,
        cron=request.cron,
        promise_id=request.promise_id,
        promise_timeout=request.promise_timeout,
        promise_param=request.promise_param,
        promise_tags=request.promise_tags,
        created_at=now,
        next_run_at=next_occurrence(request.cron, now),
    )
    schedule = stamped_schedule(schedule, None, now)
    return Outcome(Response(schedule=schedule.schedule()), (Change(None, schedule),))


def schedule_delete(request: ScheduleDelete, _now: int) -> Transition:
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_schedule_not_found())
    return Outcome(Response(), (deletion(schedule),))


def schedule_fire(request: ScheduleFire, now: int) -> Transition:
    """Create every occurrence that is due, in order, and advance, in one write."""
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_schedule_not_found())
    occurrences: dict[str, PromiseCreate] = {}
    last, upcoming = schedule.last_run_at, schedule.next_run_at
    for _ in range(_occurrences_at_once(schedule)):
        if upcoming > now:
            break
        occurrence = _occurrence(schedule, upcoming)
        occurrences.setdefault(occurrence.id, occurrence)
        last, upcoming = upcoming, next_occurrence(schedule.cron, upcoming)
    if not occurrences:
        return Outcome(Response(schedule=schedule.schedule()))
    draft = Draft(now)
    records = cast("tuple[Record | None, ...]", (yield NeedRecords(tuple(occurrences))))
    for occurrence, existing in zip(occurrences.values(), records, strict=True):
        if existing is None:
            draft.put(replace(created(occurrence, now), created_at=occurrence.timeout_at - schedule.promise_timeout))
    advanced = stamped_schedule(replace(schedule, last_run_at=last, next_run_at=upcoming), schedule, now)
    response = Response(schedule=advanced.schedule())
    return Outcome(response, (*draft.outcome(response).changes, Change(schedule, advanced)))


def _occurrences_at_once(schedule: ScheduleRecord) -> int:
    """How many occurrences one firing may create, at least one."""
    param = schedule.promise_param
    texts = (param.data or "", *(param.headers or {}), *(param.headers or {}).values())
    size = sum(len(text.encode()) for text in texts)
    return max(1, min(MAX_OCCURRENCES, MAX_FIRING_BYTES // max(1, size)))


def _occurrence(schedule: ScheduleRecord, at: int) -> PromiseCreate:
    id = expanded(schedule.promise_id, schedule.id, at)
    lineage = dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id)
    return PromiseCreate(
        id=id,
        timeout_at=at + schedule.promise_timeout,
        param=schedule.promise_param,
        tags={**schedule.promise_tags, **lineage, SCHEDULE: schedule.id},
    )


def _schedule_not_found() -> Response:
    return Response(status=404, error="Schedule not found")

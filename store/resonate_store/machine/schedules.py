"""Transitions of the schedule requests, and the firing of a schedule.

A firing has only the schedule's id. It creates the promises of all occurrences since `next_run_at` that are due, in
order, and advances the schedule in the same write. EventBridge, the timer queue and the sweep can therefore all fire a
schedule, late or more than once. An early firing changes nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, cast

from msgspec.structs import replace

from resonate_store.machine.checks.schedules import TIMESTAMP, expanded
from resonate_store.machine.draft import (
    Draft,
    Need,
    NeedRecords,
    NeedSchedule,
    Outcome,
    Transition,
    deletion,
    materialised,
    stamped_schedule,
)
from resonate_store.machine.effects import Change
from resonate_store.machine.promises import created
from resonate_store.model.cron import last_occurrence, next_occurrence
from resonate_store.model.records import END_OF_TIME, Record, ScheduleRecord
from resonate_store.model.requests import PromiseCreate, Response
from resonate_store.model.schedule_requests import (
    BackfillCounts,
    ScheduleBackfill,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
    ScheduleUpdate,
)
from resonate_store.model.tags import BRANCH, DELAY, ORIGIN, PARENT, PREFIX, SCHEDULE, TARGET

MAX_OCCURRENCES = 90
"""The most occurrences that one firing creates. The next firing continues with the following one."""
MAX_FIRING_BYTES = 2_000_000
"""The largest total size (bytes) of the params that one firing writes. One DynamoDB transaction can have 4 MB."""
PUNCTUAL_MS = 120_000
"""How late (ms) a firing may be before its occurrence counts as missed. EventBridge and the sweep may each be 60 s
late.
"""


def get(request: ScheduleGet, _now: int) -> Transition:
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_not_found())
    return Outcome(Response(schedule=schedule.schedule()))


def create(request: ScheduleCreate, now: int) -> Transition:
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
        next_run_at=next_occurrence(request.cron, now, request.timezone),
        timezone=request.timezone,
        catch_up=request.catch_up,
        overlap=request.overlap,
        description=request.description,
        tags=request.tags,
    )
    return _written(schedule, None, now)


def update(request: ScheduleUpdate, now: int) -> Transition:
    """Replace the definition, after what is due has been created by the one before (docs/rules.md S14)."""
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_not_found())
    updated = _redefined(schedule, request, now)
    if updated == schedule:
        return Outcome(Response(schedule=schedule.schedule()))
    draft = Draft(now)
    if not schedule.paused and schedule.next_run_at <= now:
        advanced = yield from _fired(schedule, draft, now)
        if advanced.next_run_at <= now:
            error = f"occurrences of schedule {schedule.id!r} were missed and are being created: update it again later"
            return Outcome(Response(status=409, error=error))
        updated = _redefined(advanced, request, now)
    outcome = _written(updated, schedule, now)
    return Outcome(outcome.response, (*draft.outcome(outcome.response).changes, *outcome.changes))


def _redefined(schedule: ScheduleRecord, request: ScheduleUpdate, now: int) -> ScheduleRecord:
    """Return the schedule with the definition of the request. Its next occurrence changes with its expression only."""
    updated = replace(
        schedule,
        cron=request.cron,
        promise_id=request.promise_id,
        promise_timeout=request.promise_timeout,
        promise_param=request.promise_param,
        promise_tags=request.promise_tags,
        timezone=request.timezone,
        catch_up=request.catch_up,
        overlap=request.overlap,
        description=request.description,
        tags=request.tags,
    )
    if (updated.cron, updated.timezone) == (schedule.cron, schedule.timezone):
        return updated
    return replace(updated, next_run_at=next_occurrence(request.cron, now, request.timezone))


def delete(request: ScheduleDelete, _now: int) -> Transition:
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_not_found())
    return Outcome(Response(), (deletion(schedule),))


def pause(request: SchedulePause, now: int) -> Transition:
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_not_found())
    if schedule.paused:
        return Outcome(Response(schedule=schedule.schedule()))
    return _written(replace(schedule, paused=True), schedule, now)


def resume(request: ScheduleResume, now: int) -> Transition:
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_not_found())
    if not schedule.paused:
        return Outcome(Response(schedule=schedule.schedule()))
    upcoming = next_occurrence(schedule.cron, now, schedule.timezone)
    return _written(replace(schedule, paused=False, next_run_at=upcoming), schedule, now)


def trigger(request: ScheduleTrigger, now: int) -> Transition:
    """Create an occurrence now. If it cannot be created, the answer is 409 (docs/rules.md S10)."""
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_not_found())
    occurrence = _occurrence(schedule, now)
    existing, previous = yield from _records(occurrence.id, _previous_of(schedule))
    if existing is not None:
        return Outcome(Response(status=409, error=f"promise {occurrence.id!r} exists already"))
    if schedule.overlap == "skip" and _runs(previous, now):
        return Outcome(Response(status=409, error=_overlapping(schedule.last_promise)))
    draft = Draft(now)
    record = draft.put(created(occurrence, now))
    triggered = stamped_schedule(replace(schedule, last_promise=record.id), schedule, now)
    response = Response(schedule=triggered.schedule(), promise=record.promise())
    return Outcome(response, (*draft.outcome(response).changes, Change(schedule, triggered)))


def fire(request: ScheduleFire, now: int) -> Transition:
    """Create every occurrence that is due, in order, and advance the schedule in the same write."""
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_not_found())
    if schedule.paused or schedule.next_run_at > now:
        return Outcome(Response(schedule=schedule.schedule()))
    draft = Draft(now)
    advanced = yield from _fired(schedule, draft, now)
    outcome = _written(advanced, schedule, now)
    return Outcome(outcome.response, (*draft.outcome(outcome.response).changes, *outcome.changes))


def _fired(schedule: ScheduleRecord, draft: Draft, now: int) -> Generator[Need, Any, ScheduleRecord]:
    """Create occurrences that are due in the draft, and return the advanced schedule."""
    advanced = _caught_up(schedule, now)
    due = {at: _occurrence(schedule, at) for at in _due(advanced, now)}
    ids = tuple(dict.fromkeys(occurrence.id for occurrence in due.values()))
    previous, *found = yield from _records(_previous_of(schedule), *ids)
    known = dict(zip(ids, found, strict=True))
    for at, occurrence in due.items():
        existing = known[occurrence.id]
        if existing is not None and (difference := _difference(existing, occurrence, schedule)):
            reason = f"promise {occurrence.id!r} exists already and {difference}"
            advanced = replace(advanced, skipped_at=at, skip_reason=reason)
        elif existing is None and schedule.overlap == "skip" and _runs(previous, now):
            advanced = replace(advanced, skipped_at=at, skip_reason=_overlapping(advanced.last_promise))
        else:
            if existing is None:
                existing = known[occurrence.id] = draft.put(replace(created(occurrence, now), created_at=at))
            previous = existing
            advanced = replace(advanced, last_promise=existing.id)
    if due:
        last = max(due)
        upcoming = next_occurrence(schedule.cron, last, schedule.timezone)
        advanced = replace(advanced, last_run_at=last, next_run_at=upcoming)
    return advanced


def backfill(request: ScheduleBackfill, now: int) -> Transition:
    """Create the occurrences of a part of the past that have no promise (docs/rules.md S15).

    An occurrence has its whole time from now on, because its instant may be long ago.
    """
    schedule = cast("ScheduleRecord | None", (yield NeedSchedule(request.id)))
    if schedule is None:
        return Outcome(_not_found())
    if TIMESTAMP not in schedule.promise_id:
        error = f"the occurrences of schedule {schedule.id!r} share ids: a backfill needs {TIMESTAMP} in its promise id"
        return Outcome(Response(status=422, error=error))
    last = min(request.to_at, now if schedule.paused else min(now, schedule.next_run_at - 1))
    first = next_occurrence(schedule.cron, request.from_at - 1, schedule.timezone)
    due = {at: _occurrence(schedule, at, now) for at in _due(replace(schedule, next_run_at=first), last)}
    skips = (request.overlap or schedule.overlap) == "skip"
    ids = tuple(occurrence.id for occurrence in due.values())
    previous, *found = yield from _records(schedule.last_promise if skips else None, *ids)
    draft = Draft(now)
    created_count = existing_count = 0
    after = schedule
    for existing, occurrence in zip(found, due.values(), strict=True):
        if existing is not None:
            existing_count += 1
            previous = existing if _runs(existing, now) or not _runs(previous, now) else previous
        elif not (skips and _runs(previous, now)):
            created_count += 1
            previous = draft.put(created(occurrence, now))
            after = replace(after, last_promise=previous.id) if skips else after
    counts = BackfillCounts(created_count, existing_count, len(due) - created_count - existing_count)
    following = next_occurrence(schedule.cron, max(due), schedule.timezone) if due else last + 1
    cursor = str(following) if following <= last else None
    response = Response(schedule=after.schedule(), backfill=counts, cursor=cursor)
    changes = draft.outcome(response).changes
    if after is not schedule:
        changes = (*changes, Change(schedule, stamped_schedule(after, schedule, now)))
    return Outcome(response, changes)


def _caught_up(schedule: ScheduleRecord, now: int) -> ScheduleRecord:
    """Return the schedule after the missed occurrences that its `catch_up` policy leaves out."""
    cron, timezone, first = schedule.cron, schedule.timezone, schedule.next_run_at
    if schedule.catch_up == "latest":
        first = max(first, last_occurrence(cron, now, timezone))
    elif schedule.catch_up == "none" and first < now - PUNCTUAL_MS:
        first = next_occurrence(cron, now - PUNCTUAL_MS - 1, timezone)
    if first == schedule.next_run_at:
        return schedule
    skipped = max(schedule.next_run_at, last_occurrence(cron, first - 1000, timezone))
    return replace(schedule, next_run_at=first, skipped_at=skipped, skip_reason="it was missed")


def _due(schedule: ScheduleRecord, now: int) -> Iterator[int]:
    """Yield the occurrences (ms) that one firing creates: at least one if any is due."""
    param = schedule.promise_param
    texts = (param.data or "", *(param.headers or {}), *(param.headers or {}).values())
    size = sum(len(text.encode()) for text in texts)
    at = schedule.next_run_at
    for _ in range(max(1, min(MAX_OCCURRENCES, MAX_FIRING_BYTES // max(1, size)))):
        if at > now:
            return
        yield at
        at = next_occurrence(schedule.cron, at, schedule.timezone)


def _occurrence(schedule: ScheduleRecord, at: int, begins_at: int | None = None) -> PromiseCreate:
    """Return the creation of the occurrence at the instant `at`, whose time begins then, or at `begins_at` (ms)."""
    id = expanded(schedule.promise_id, schedule.id, at)
    lineage = dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id)
    return PromiseCreate(
        id=id,
        timeout_at=min((at if begins_at is None else begins_at) + schedule.promise_timeout, END_OF_TIME),
        param=schedule.promise_param,
        tags={**schedule.promise_tags, **lineage, SCHEDULE: schedule.id},
    )


def _difference(existing: Record, occurrence: PromiseCreate, schedule: ScheduleRecord) -> str | None:
    """Return how an existing promise differs from the call of the occurrence, or None if it is the same call (S7).

    A client can guess the id of an occurrence and create a promise there. If that promise is the same call with the
    same time to run, the client has only started the occurrence earlier. Any other promise must not count as the
    occurrence: it may never run, end too soon, or have an outcome that a client chose.
    """
    if existing.param != occurrence.param or existing.target != occurrence.tags.get(TARGET):
        return "does something else"
    if _own(existing, schedule):
        return None
    if DELAY in existing.tags or existing.timer:
        return "does not begin with the occurrence"
    if not 0 <= existing.timeout_at - occurrence.timeout_at <= schedule.promise_timeout:
        return "has another deadline"
    # A client cannot settle a promise as timed out, so this promise had its whole time.
    return None if existing.state in ("pending", "rejected_timedout") else "is settled by somebody else"


def _own(existing: Record, schedule: ScheduleRecord) -> bool:
    """Return whether the schedule created a promise.

    Its id contains the instant of its creation, and a client cannot choose that instant.
    """
    life = existing.timeout_at - existing.created_at
    if existing.tags.get(SCHEDULE) != schedule.id or life != schedule.promise_timeout:
        return False
    return existing.id == expanded(schedule.promise_id, schedule.id, existing.created_at)


def _previous_of(schedule: ScheduleRecord) -> str | None:
    """Return the id of the previous promise if occurrences must not overlap it, else None."""
    return schedule.last_promise if schedule.overlap == "skip" else None


def _records(*ids: str | None) -> Generator[Need, Any, list[Record | None]]:
    """Return the records with these ids. The result for an id of None is None."""
    wanted = tuple(dict.fromkeys(id for id in ids if id is not None))
    found: tuple[Record | None, ...] = (yield NeedRecords(wanted)) if wanted else ()
    records = dict(zip(wanted, found, strict=True))
    return [None if id is None else records[id] for id in ids]


def _runs(record: Record | None, now: int) -> bool:
    return record is not None and materialised(record, now).pending


def _overlapping(previous: str | None) -> str:
    return f"the previous occurrence, {previous!r}, has not ended"


def _written(after: ScheduleRecord, before: ScheduleRecord | None, now: int) -> Outcome:
    stamped = stamped_schedule(after, before, now)
    return Outcome(Response(schedule=stamped.schedule()), (Change(before, stamped),))


def _not_found() -> Response:
    return Response(status=404, error="Schedule not found")

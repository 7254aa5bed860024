"""Transitions of the promise requests.

A promise is created once and settled once. A repeated creation or settlement gets the stored record. Rule numbers in
comments are those of docs/rules.md.
"""

from __future__ import annotations

from msgspec.structs import replace

from resonate_store.machine.draft import Draft, Outcome, Transition, due_at, settled, timeout_state
from resonate_store.machine.effects import Change
from resonate_store.model.records import EMPTY, STANDING, Record, TaskRecord, begins_tree
from resonate_store.model.requests import (
    AwaitedCreate,
    PromiseAwait,
    PromiseCreate,
    PromiseDelivered,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Response,
)
from resonate_store.model.tags import DELAY, TARGET, TIMER

OFFER_INTERVAL_MS = 30_000
"""How long (ms) an offered task may stay unacquired before it is offered again."""


def get(request: PromiseGet, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        return draft.outcome(not_found())
    task = record.task_view()
    if task is not None and record.task is not None and task.state == "acquired":
        task = replace(task, expires_at=record.task.expires_at)
    return draft.outcome(Response(promise=record.promise(), task=task))


def create(request: PromiseCreate, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    return create_in(draft, request, record)


def create_awaited(request: AwaitedCreate, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        record = created(request, now)
    if record.pending:
        record = with_callback(draft, record, request.awaiter, request.version)
    else:
        draft.put(record)
    return draft.outcome(_awaited(record, request.awaiter, request.version))


def await_one(request: PromiseAwait, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        return draft.outcome(not_found())
    if record.pending:
        record = with_callback(draft, record, request.awaiter, request.version)
    return draft.outcome(_awaited(record, request.awaiter, request.version))


def _awaited(record: Record, awaiter: str, version: int) -> Response:
    """Answer whether the callback of this version is registered. A newer version of the task may have its own (W19)."""
    return Response(promise=record.promise(), awaited=record.pending and record.callbacks.get(awaiter) == version)


def create_in(draft: Draft, request: PromiseCreate, record: Record | None) -> Outcome:
    """Complete a creation after its record has been read into `draft`."""
    if record is None:
        record = draft.put(created(request, draft.now))
    return draft.outcome(Response(promise=record.promise()))


def created(request: PromiseCreate, now: int) -> Record:
    """Return the first image of a promise: pending, or settled if its deadline has passed.

    A timer has no task, even if it has a target (P9). The official SDKs give timers a target, so that a server keeps
    their deadline, and their workers ignore the resulting task.
    """
    targeted = TARGET in request.tags and request.tags.get(TIMER) != "true"
    if request.timeout_at <= now:
        return Record(
            id=request.id,
            state=timeout_state(request.tags),
            timeout_at=request.timeout_at,
            created_at=request.timeout_at,
            settled_at=request.timeout_at,
            param=request.param,
            tags=request.tags,
            task=TaskRecord("fulfilled", 0) if targeted else None,
        )
    return Record(
        id=request.id,
        state="pending",
        timeout_at=request.timeout_at,
        created_at=now,
        param=request.param,
        tags=request.tags,
        task=_first_offer(request, now) if targeted else None,
    )


def _first_offer(request: PromiseCreate, now: int) -> TaskRecord:
    delay = request.tags.get(DELAY)
    if delay is not None and int(delay) > now:  # P10
        return TaskRecord("pending", 0, retry_at=int(delay))
    return TaskRecord("pending", 0, retry_at=now + OFFER_INTERVAL_MS, offers=1)


def settle(request: PromiseSettle, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    return settle_in(draft, request, record)


def settle_in(draft: Draft, request: PromiseSettle, record: Record | None) -> Outcome:
    """Complete a settlement after its record has been read into `draft`. A stored outcome is not changed."""
    if record is None:
        return draft.outcome(not_found())
    if record.pending:
        record = draft.put(settled(record, request.state, request.value, draft.now))
    return draft.outcome(Response(promise=record.promise()))


def record_outcome(request: PromiseRecord, now: int) -> Transition:
    """Store the outcome of a step that has run, or adopt the outcome that is already stored (P11).

    A promise with a task is an execution, not a finished step, so it is not changed.
    """
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None:
        return first_record(request, now)
    if record.pending and record.task is None:
        record = draft.put(settled(record, request.state, request.value, now))
    return draft.outcome(Response(promise=record.promise()))


def first_record(request: PromiseRecord, now: int) -> Outcome:
    """Return the outcome of recording a step if no record has its id, which is nearly always so.

    The function reads no record. A store that expects none can call it directly.
    """
    late = request.timeout_at <= now
    record = Record(
        id=request.id,
        state=timeout_state(request.tags) if late else request.state,
        timeout_at=request.timeout_at,
        created_at=request.created_at if request.created_at < now else now,
        settled_at=request.timeout_at if late else now,
        param=request.param,
        value=EMPTY if late else request.value,
        tags=request.tags,
        written_at=now,
        rev=1,
    )
    if begins_tree(record.id, record.tags):  # no other new record owes anything
        record = replace(record, wake_at=due_at(record, now))
    return Outcome(Response(promise=record.promise()), (Change(None, record),))


def register_callback(request: PromiseRegisterCallback, now: int) -> Transition:
    draft = Draft(now)
    awaited, awaiter = yield from draft.read(request.awaited, request.awaiter)
    if awaited is None:
        return draft.outcome(not_found("Awaited promise not found"))
    if awaiter is None:
        return draft.outcome(Response(status=422, error="Awaiter promise not found"))
    task = awaiter.task
    if task is None:
        return draft.outcome(Response(status=422, error="Awaiter promise has no resonate:target tag"))
    if awaited.pending and awaiter.pending:  # W5 and W6
        version = task.version + 1 if task.state in ("pending", "halted") else task.version
        awaited = with_callback(draft, awaited, request.awaiter, version)
        awaited = with_callback(draft, awaited, STANDING + request.awaiter, awaiter.created_at)
    return draft.outcome(Response(promise=awaited.promise()))


def with_callback(draft: Draft, awaited: Record, awaiter: str, version: int) -> Record:
    """Register the awaiter's task at `version` in the draft. A later version replaces an earlier one (W1).

    `awaiter` and `version` can also be the key and the instant of an explicit callback; see `Record`.
    """
    if awaited.callbacks.get(awaiter, -1) >= version:
        return awaited
    return draft.put(replace(awaited, callbacks={**awaited.callbacks, awaiter: version}))


def register_listener(request: PromiseRegisterListener, now: int) -> Transition:
    draft = Draft(now)
    (awaited,) = yield from draft.read(request.awaited)
    if awaited is None:
        return draft.outcome(not_found("Awaited promise not found"))
    if awaited.pending and request.address not in awaited.listeners:  # W6
        awaited = draft.put(replace(awaited, listeners={**awaited.listeners, request.address: now}))
    return draft.outcome(Response(promise=awaited.promise()))


def delivered(request: PromiseDelivered, now: int) -> Transition:
    """Remove the callbacks, the listeners and the wake-up of a settlement whose effects have been carried out."""
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is not None and record.owes:
        draft.put(_told(record))
    return draft.outcome(Response())


def with_all_told(record: Record, now: int) -> Record:
    """Return the record as `delivered` would write it, for a store that knows that `record` is the current image."""
    later = max(now, record.written_at)
    return replace(_told(record), wake_at=None, written_at=later, rev=record.rev + 1)


def already_delivered(record: Record) -> Record:
    """Return a settled record whose only effect, its retention marker, was carried out before the write."""
    return replace(_told(record), wake_at=None)


def _told(record: Record) -> Record:
    return replace(record, callbacks={}, listeners={}, delivered=True)


def not_found(message: str = "Promise not found") -> Response:
    return Response(status=404, error=message)

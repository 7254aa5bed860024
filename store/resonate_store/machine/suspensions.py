"""Transitions that suspend a task until a promise settles (docs/rules.md T7 to T10, W19, X3, M3)."""

from __future__ import annotations

from msgspec.structs import replace

from resonate_store.machine.draft import Draft, Transition
from resonate_store.machine.promises import with_callback
from resonate_store.machine.tasks import not_found, not_held
from resonate_store.model.ids import is_below
from resonate_store.model.records import Record, TaskRecord, shown_wait
from resonate_store.model.requests import Response, TaskRegister, TaskSuspend, TaskSuspendRegistered


def suspend(request: TaskSuspend, now: int) -> Transition:
    """Register all callbacks and suspend the task, or do neither (T7)."""
    return _await(request, now, request)


def register(request: TaskRegister, now: int) -> Transition:
    """Register one part of the callbacks while the task stays acquired, if one transaction cannot hold all (T9)."""
    return _await(request, now, None)


def _await(request: TaskSuspend | TaskRegister, now: int, suspension: TaskSuspend | None) -> Transition:
    draft = Draft(now)
    id, version = request.id, request.version
    distinct = tuple(dict.fromkeys(request.awaited))  # T10
    record, *awaited = yield from draft.read(id, *distinct)
    refusal = not_held(record, version)
    if record is None or record.task is None or refusal is not None:
        return draft.outcome(refusal or not_found())
    promises: list[Record] = []
    for wanted, promise in zip(distinct, awaited, strict=True):
        if promise is None:
            return draft.outcome(Response(status=422, error=f"Awaited promise not found: {wanted}"))
        promises.append(promise)
    news = suspension is not None and _has_news(record, record.task, suspension)
    if news or any(not promise.pending for promise in promises):
        return draft.outcome(_redirect(draft, record, record.task, request, promises))
    for promise in promises:
        with_callback(draft, promise, id, version)
    if suspension is not None:
        until = min((each.timeout_at for each in promises if is_below(each.id, id)), default=None)
        awaits = shown_wait(promises)
        task = TaskRecord("suspended", version, receives=suspension.receives, awaits=awaits)
        _put_suspended(draft, record, task, until, sleeps=all(each.timer for each in promises))
    else:
        draft.hold(record)
    return draft.outcome(Response())


def suspend_registered(request: TaskSuspendRegistered, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    refusal = not_held(record, request.version)
    if record is None or record.task is None or refusal is not None:
        return draft.outcome(refusal or not_found())
    if _has_news(record, record.task, request):
        return draft.outcome(_redirect(draft, record, record.task, request, []))
    task = TaskRecord(
        "suspended", request.version, unawaited=request.unawaited, receives=request.receives, awaits=request.awaits
    )
    _put_suspended(draft, record, task, request.until, sleeps=request.sleeps)
    return draft.outcome(Response())


def _put_suspended(draft: Draft, record: Record, task: TaskRecord, until: int | None, *, sleeps: bool) -> None:
    """Suspend the task (C8).

    Args:
        draft: the workspace.
        record: the record of the task.
        task: the suspended task.
        until: the earliest deadline (ms) of the promises below it that it awaits, or None. Other promises could be
            deleted before their deadline.
        sleeps: whether it awaits timers only, which do not end before `until`.
    """
    covered = until is not None and until <= record.timeout_at
    draft.put(replace(record, task=replace(task, covered=covered)))
    if until is not None and covered and sleeps:
        draft.leave(record.id, until)


def _has_news(record: Record, task: TaskRecord, request: TaskSuspend | TaskSuspendRegistered) -> bool:
    """Return whether the worker does not know of a settled promise (T8), the cancellation (X3), or a message (M3)."""
    if task.resumes or (record.cancel is not None and request.cancel_seen is False):
        return True
    return bool(request.receives) and record.accepted != request.seen


def _redirect(
    draft: Draft,
    record: Record,
    task: TaskRecord,
    request: TaskSuspend | TaskRegister | TaskSuspendRegistered,
    promises: list[Record],
) -> Response:
    """Answer 300 because the worker has news, and clear the buffered resumes: the response replaces them.

    If the execution is cancelled or waits for messages, the response has the task.
    """
    if task.resumes:
        record = draft.put(replace(record, task=replace(task, resumes=())))
    receives = () if isinstance(request, TaskRegister) else request.receives
    shown = record.task_view() if receives or record.cancel is not None else None
    preload = tuple(promise.promise() for promise in promises if not promise.pending)
    return Response(status=300, task=shown, preload=preload, generation=record.generation)

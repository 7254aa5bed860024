"""Transitions of the task requests. `transitions` shows them as a table.

Only an acquisition increments the version, which fences all later requests of the holder (docs/rules.md T3). The draft
settles a due promise when it reads it, so no transition revives a task whose promise is due (T4). Rule numbers in
comments are those of docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from msgspec.structs import replace

from resonate_store.machine.draft import (
    Draft,
    Need,
    NeedChildren,
    NeedRecords,
    Outcome,
    Transition,
    first_written,
    settled,
)
from resonate_store.machine.effects import Change
from resonate_store.machine.promises import (
    OFFER_INTERVAL_MS,
    already_delivered,
    create_in,
    created,
    settle_in,
)
from resonate_store.model.execution_requests import TaskRepin
from resonate_store.model.records import STANDING, Record, TaskRecord
from resonate_store.model.requests import (
    PromiseCreate,
    Response,
    SettleAndResume,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskExtend,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskRelease,
    TaskResume,
    TaskVerify,
)
from resonate_store.model.tags import FORKED_FROM, MESSAGE

MAX_ATTEMPTS = 10
"""Attempts in a row without progress after which a task is halted (docs/rules.md L6)."""
MAX_PAUSE_MS = 300_000
"""The longest pause (ms) between two offers of a task."""
RETRY_PAUSE_MS = 2_000
"""The pause (ms) after the second failed attempt in a row. Each further attempt doubles it. The first has no pause."""

FORK_VERSION = 1
"""The version of the task of a new fork. Its first worker acquires version 2, and so reads its records."""
BEING_COPIED = (
    "{0!r} is a fork of {1!r} and its records are still being copied: repeat the fork to complete it; without them it"
    " would begin anew"
)


def get(request: TaskGet, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None or record.task is None:
        return draft.outcome(not_found())
    return draft.outcome(Response(task=record.task_view()))


def create(request: TaskCreate, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.promise.id)
    if record is None:
        return first_task(request, now)
    if record.task is None:
        return draft.outcome(Response(status=422, error="The promise exists and has no task: it has no target"))
    if record.task.state == "pending":
        record = draft.put(_acquired(record, record.task, request.pid, request.ttl, now))
    elif record.task.state != "fulfilled":
        return draft.outcome(Response(status=409, error="Already exists"))
    return draft.outcome(Response(task=record.task_view(), promise=record.promise()))


def first_task(request: TaskCreate, now: int) -> Outcome:
    """Return the outcome of creating a task if no record has its id; see `promises.first_record`."""
    record = created(request.promise, now)
    if record.pending:
        record = _acquired(record, TaskRecord("pending", 0), request.pid, request.ttl, now)
    record = first_written(record, now)
    return Outcome(Response(task=record.task_view(), promise=record.promise()), (Change(None, record),))


def acquire(request: TaskAcquire, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None or record.task is None:
        return draft.outcome(not_found())
    if record.task.state != "pending":
        return draft.outcome(_conflict("Task is not pending"))
    if record.task.version != request.version:
        return draft.outcome(_conflict("Version mismatch"))
    task, resumed_by = record.task, record.task.resumes
    if request.pin and pinnable(record):
        record = replace(record, pinned=request.pin)
    elif request.pin and record.pinned not in (None, request.pin):
        return draft.outcome(_conflict(f"Task is pinned to {record.pinned}"))
    record = draft.put(_acquired(record, task, request.pid, request.ttl, now))
    view = record.task_view()
    if view is not None and resumed_by:
        view = replace(view, resumed_by=resumed_by)
    return draft.outcome(Response(task=view, promise=record.promise()))


def pinnable(record: Record) -> bool:
    """Return whether the next acquisition pins the task: it is the first, or a `task.repin` asks for it (N1)."""
    if record.pinned is not None:
        return not record.pinned
    return record.task is not None and record.task.version == 0


def _acquired(record: Record, task: TaskRecord, pid: str, ttl_ms: int, now: int) -> Record:
    task = TaskRecord(
        "acquired",
        task.version + 1,
        pid=pid,
        ttl=ttl_ms,
        acquired_at=now,
        expires_at=now + ttl_ms,
        attempts=task.attempts,
        error=task.error,
    )
    return replace(record, task=task)


def release(request: TaskRelease, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    refusal = not_held(record, request.version)
    if record is None or record.task is None or refusal is not None:
        return draft.outcome(refusal or not_found())
    if request.handover:
        task = record.task
        if task.attempts and (yield from attempts_after(record, task)) == 0:
            task = replace(task, attempts=0)
        draft.put(replace(record, task=offered(task, now)))
    else:
        attempts = yield from attempts_after(record, record.task)
        error = request.error or "released without a reason"
        # A child as old as the acquisition may have woken the task instead of being its progress. Then the offer waits.
        progressed = attempts == 0 and now > (record.task.acquired_at or 0)
        at_once = progressed or attempts == 1
        draft.put(replace(record, task=_after_attempt(record.task, attempts, error, now, immediately=at_once)))
    return draft.outcome(Response())


def offered(task: TaskRecord, now: int) -> TaskRecord:
    """Return the task, pending at its version and offered now. Buffered resumes and counted attempts stay."""
    return TaskRecord(
        "pending",
        task.version,
        retry_at=now + OFFER_INTERVAL_MS,
        offers=1,
        resumes=task.resumes,
        attempts=task.attempts,
        error=task.error,
    )


def attempts_after(record: Record, task: TaskRecord) -> Generator[Need, Any, int]:
    """Return how many attempts count when this acquisition ends. Progress sets the count to 0 (L4, L5).

    Progress is a child record that was created or settled since the acquisition. Children of nested local workflows
    count.
    """
    since = task.acquired_at or 0
    coroutines = [NeedChildren(record.id, record.generation)]
    while coroutines:
        children: tuple[Record, ...] = yield coroutines.pop()
        for child in children:
            if child.pending and MESSAGE in child.tags:  # another program has sent it
                continue
            if child.created_at >= since or (child.settled_at or 0) >= since:
                return 0
            if child.pending and child.task is None and not child.timer:
                coroutines.append(NeedChildren(child.id))
    return task.attempts + 1


def lease_expired(record: Record, task: TaskRecord, now: int) -> Generator[Need, Any, TaskRecord]:
    """Return the task after its lease has ended."""
    attempts = yield from attempts_after(record, task)
    error = f"the worker {task.pid} did not come back before its lease of {task.ttl} ms ended"
    return _after_attempt(task, attempts, error, now, immediately=True)


def _after_attempt(task: TaskRecord, attempts: int, error: str, now: int, *, immediately: bool) -> TaskRecord:
    if attempts >= MAX_ATTEMPTS:
        reason = f"halted after {attempts} attempts without progress; the last error: {error}"
        return TaskRecord("halted", task.version, resumes=task.resumes, attempts=attempts, error=reason, halted_at=now)
    if immediately:
        return replace(offered(task, now), attempts=attempts, error=error)
    pause = min(RETRY_PAUSE_MS * 2 ** max(0, attempts - 2), MAX_PAUSE_MS)
    return TaskRecord(
        "pending", task.version, retry_at=now + pause, resumes=task.resumes, attempts=attempts, error=error
    )


def redispatched(task: TaskRecord, now: int, longest_ms: int | None = None) -> TaskRecord:
    """Return the task, offered once more. The next offer is twice as far away, at most `longest_ms` (L8)."""
    pause = min(OFFER_INTERVAL_MS * 2**task.offers, MAX_PAUSE_MS if longest_ms is None else longest_ms)
    return replace(task, retry_at=now + pause, offers=task.offers + 1)


def fulfill(request: TaskFulfill, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    refusal = not_held(record, request.version)
    if record is None or refusal is not None:
        return draft.outcome(refusal or not_found())
    record = draft.put(settled(record, request.settle.state, request.settle.value, now))
    return draft.outcome(Response(promise=record.promise()))


def fence(request: TaskFence, now: int) -> Transition:
    draft = Draft(now)
    action = request.action
    record, inner = yield from draft.read(request.id, action.id)
    refusal = not_held(record, request.version, message="Version mismatch")
    if record is None or refusal is not None:
        return draft.outcome(refusal or not_found())
    draft.hold(record)
    if isinstance(action, PromiseCreate):
        return create_in(draft, action, inner)
    outcome = settle_in(draft, action, inner)
    if outcome.response.status == 404:
        return replace(outcome, response=Response(action_status=404, error=outcome.response.error))
    return outcome


def extend(request: TaskExtend, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is not None and record.task is not None and not_held(record, request.version) is None:
        task = record.task
        if task.pid == request.pid and task.ttl is not None:
            draft.put(replace(record, task=replace(task, expires_at=now + task.ttl)))
    return draft.outcome(Response())


def verify(request: TaskVerify, now: int) -> Transition:
    """Answer whether the task is held, from its version and deadline alone.

    A due promise is not settled here: a store reads only part of the record, and the answer shows no outcome.
    """
    record: Record | None
    (record,) = yield NeedRecords((request.id,))
    refusal = not_held(record, request.version)
    if refusal is None and record is not None and record.timeout_at <= now:
        refusal = _conflict("Task is fulfilled")
    shown = None if record is None or record.cancel is None else record.task_view()
    return Outcome(refusal or Response(task=shown))


def halt(request: TaskHalt, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None or record.task is None:
        return draft.outcome(not_found())
    task = record.task
    if task.state == "fulfilled":
        return draft.outcome(_conflict("Task is fulfilled"))
    if request.version is not None and not_held(record, request.version) is not None:
        return draft.outcome(_conflict("Task is not acquired at this version"))
    if task.state != "halted":
        halted = TaskRecord(
            "halted",
            task.version,
            resumes=task.resumes,
            attempts=task.attempts,
            error=request.reason or "halted on request",
            halted_at=now,
        )
        draft.put(replace(record, task=halted))
    return draft.outcome(Response())


def resume_halted(request: TaskContinue, now: int) -> Transition:
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None or record.task is None:
        return draft.outcome(not_found())
    if record.task.state != "halted":
        return draft.outcome(_conflict("Task is not halted"))
    if is_being_copied(record) and not request.copied:
        return draft.outcome(_being_copied(record))
    draft.put(replace(record, task=after_halt(record.task, now)))
    return draft.outcome(Response())


def after_halt(task: TaskRecord, now: int) -> TaskRecord:
    """Return a halted task, offered again. Its count of attempts begins at 0."""
    return offered(TaskRecord("pending", task.version, resumes=task.resumes), now)


def repin(request: TaskRepin, now: int) -> Transition:
    """Change the function version of a task. Continue a halted task, and offer a pending one again (N3)."""
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    if record is None or record.task is None:
        return draft.outcome(not_found())
    task = record.task
    if task.state == "fulfilled":
        return draft.outcome(_conflict("Task is fulfilled"))
    if is_being_copied(record):
        return draft.outcome(_being_copied(record))
    if task.state == "halted":
        task = after_halt(task, now)
    elif task.state == "pending" and task.offers:  # a task that is held back is offered when its pause ends
        task = offered(task, now)
    record = draft.put(replace(record, task=task, pinned=None if request.unpin else request.pinned))
    return draft.outcome(Response(task=record.task_view()))


def _being_copied(record: Record) -> Response:
    return _conflict(BEING_COPIED.format(record.id, record.tags[FORKED_FROM]))


def is_being_copied(record: Record) -> bool:
    """Return whether the record is a fork whose task was not continued yet, because records are copied (F1)."""
    task = record.task
    return task is not None and (task.state, task.version) == ("halted", FORK_VERSION) and FORKED_FROM in record.tags


def resume(request: TaskResume, now: int) -> Transition:
    """Make a suspended task pending, once per settlement. A late or repeated resume changes nothing (W2).

    A pending task is not written: it reads the settlement when it runs (W3).

    A callback for one version ends with that version. An explicit callback is removed from the awaited promise in the
    same write, so a repeated delivery finds nothing.
    """
    draft = Draft(now)
    standing = request.version is None
    record, *others = yield from draft.read(request.id, *((request.awaited,) if standing else ()))
    if record is None or record.task is None:
        return draft.outcome(Response())
    task = record.task
    at_version = task.version == request.version and request.awaited not in task.unawaited
    waits = any(_waits(record, task, other) for other in others) if standing else at_version
    if not waits or task.state == "fulfilled":
        return draft.outcome(Response())
    response = Response()
    if task.state == "suspended":
        successor = request.successor
        if successor is not None and record.offered_to in successor.targets and not pinnable(record):
            record = draft.put(_acquired(record, task, successor.pid, successor.ttl, now))
            view = record.task_view()
            assert view is not None
            response = Response(task=replace(view, resumed_by=(request.awaited,)), promise=record.promise())
        else:
            draft.put(replace(record, task=replace(offered(task, now), resumes=(request.awaited,))))
    elif task.state != "pending" and request.awaited not in task.resumes:
        resumes = tuple(sorted((*task.resumes, request.awaited)))
        draft.put(replace(record, task=replace(task, resumes=resumes)))
    for awaited in filter(None, others):
        taken = (record.id, STANDING + record.id)
        left = {key: version for key, version in awaited.callbacks.items() if key not in taken}
        draft.put(replace(awaited, callbacks=left))
    return draft.outcome(response)


def settle_and_resume(request: SettleAndResume, now: int) -> Transition:
    """Settle a promise as delivered, and resume the suspended task that alone waits for it (W21).

    A store may write the resume before the settlement. In any other case this is a plain settlement, whose effects
    follow.
    """
    draft = Draft(now)
    (record,) = yield from draft.read(request.id)
    waiters = record.waiters if record is not None and record.pending else []
    if record is None or len(waiters) != 1 or record.listeners or record.root:
        return settle_in(draft, request, record)
    ((id, version),) = waiters
    (awaiter,) = yield from draft.read(id)
    task = awaiter.task if awaiter is not None else None
    if awaiter is None or task is None or (task.state, task.version) != ("suspended", version):
        return settle_in(draft, request, record)
    if record.id in task.unawaited:
        return settle_in(draft, request, record)
    record = draft.put(already_delivered(settled(record, request.state, request.value, now)))
    draft.put(replace(awaiter, task=replace(offered(task, now), resumes=(record.id,))))
    return draft.outcome(Response(promise=record.promise()))


def _waits(awaiter: Record, task: TaskRecord, awaited: Record | None) -> bool:
    """Return whether `awaited` has settled and still has a callback that counts for the awaiter.

    It counts if it is for the present version of the task, or if it is an explicit callback of this life of the
    awaiter.
    """
    if awaited is None or awaited.pending:
        return False
    registered = awaited.callbacks.get(STANDING + awaiter.id) == awaiter.created_at
    return registered or awaited.callbacks.get(awaiter.id) == task.version


def not_held(record: Record | None, version: int, message: str | None = None) -> Response | None:
    """Return the refusal of a request of the holder if the task is not acquired at `version`, else None."""
    if record is None or record.task is None:
        return not_found()
    if record.task.state != "acquired":
        return _conflict(message or "Task is not acquired")
    return _conflict("Version mismatch") if record.task.version != version else None


def not_found() -> Response:
    return Response(status=404, error="Task not found")


def _conflict(message: str) -> Response:
    return Response(status=409, error=message)

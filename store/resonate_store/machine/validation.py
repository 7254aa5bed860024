"""What makes a request unacceptable before any record is looked at.

Every substrate asks here first, so the same mistake gets the same sentence everywhere. A message names what was wrong
and, where it is not obvious, what to do instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from resonate_store import addresses, cron, ids
from resonate_store.records import DELAY, SCOPE, TARGET, TIMER, Value
from resonate_store.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleFire,
    ScheduleGet,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskSuspend,
)

_SOME_INSTANT = 10**13 - 1
"""As long, written out, as any instant until the year 2286."""
_END_OF_TIME = 2**53
"""The last instant that every JSON reader gets right."""
_INSTANT = re.compile(r"[0-9]{1,18}\Z")
_SETTLED_STATES = ("resolved", "rejected", "rejected_canceled")


def problem_with(request: Request) -> str | None:
    """Say what is wrong with `request`, or None when it may be carried out."""
    return next(_problems(request), None)


def _problems(request: Request) -> Iterator[str]:
    match request:
        case PromiseCreate():
            yield from _creation(request)
        case PromiseSettle():
            yield from _settlement(request)
        case PromiseRecord():
            yield from _id(request.id)
            yield from _timeout(request.timeout_at)
            yield from _state(request.state)
            yield from _tags(request.tags)
            yield from _value("param", request.param)
            yield from _value("value", request.value)
            if request.tags.get(SCOPE) != "local":
                yield f"the record of a finished step is local: tag it {SCOPE}=local"
        case PromiseRegisterCallback():
            yield from _id(request.awaited, "awaited id")
            yield from _id(request.awaiter, "awaiter id")
            if request.awaited == request.awaiter:
                yield f"promise {request.awaited!r} cannot await itself"
        case PromiseRegisterListener():
            yield from _id(request.awaited, "awaited id")
            if problem := addresses.problem_with(request.address):
                yield f"Invalid listener address: {problem}"
        case TaskCreate():
            yield from _creation(request.promise)
            yield from _lease(request.pid, request.ttl)
            if TARGET not in request.promise.tags:
                yield f"task.create needs a {TARGET} tag: without a target there is no task"
            if DELAY in request.promise.tags:
                yield f"task.create cannot be delayed: remove the {DELAY} tag"
        case TaskAcquire():
            yield from _id(request.id)
            yield from _version(request.version)
            yield from _lease(request.pid, request.ttl)
        case TaskFulfill():
            yield from _id(request.id)
            yield from _settlement(request.settle)
            if request.settle.id != request.id:
                yield f"task {request.id!r} is fulfilled by settling its own promise, not {request.settle.id!r}"
        case TaskSuspend():
            yield from _suspension(request)
        case TaskFence():
            yield from _id(request.id)
            yield from (
                _creation(request.action) if isinstance(request.action, PromiseCreate) else _settlement(request.action)
            )
            if request.action.id == request.id:
                yield f"a fence acts on another promise than its task's own, {request.id!r}"
        case TaskHeartbeat():
            for task in request.tasks:
                yield from _id(task.id)
        case ScheduleCreate():
            yield from _schedule(request)
        case ScheduleGet() | ScheduleDelete() | ScheduleFire():
            yield from _id(request.id, "schedule id")
        case _:
            yield from _id(request.id)


def _creation(request: PromiseCreate) -> Iterator[str]:
    yield from _id(request.id)
    yield from _timeout(request.timeout_at)
    yield from _tags(request.tags)
    yield from _value("param", request.param)
    target = request.tags.get(TARGET)
    if target is not None:
        if problem := addresses.problem_with(target):
            yield f"Invalid {TARGET}: {problem}"
        if request.tags.get(TIMER) == "true":  # DESIGN rule 10
            yield f"promise {request.id!r} is both a timer and targeted: remove {TIMER} or {TARGET}"
    delay = request.tags.get(DELAY)
    if delay is not None:
        if not _INSTANT.match(delay):
            yield f"{DELAY} must be an instant in milliseconds since the epoch, got {delay[:60]!r}"
        elif int(delay) >= request.timeout_at:
            yield f"{DELAY} {delay} is not before the promise's timeout {request.timeout_at}"
        if target is None:
            yield f"{DELAY} holds back a dispatch and needs a {TARGET} tag"


def _settlement(request: PromiseSettle) -> Iterator[str]:
    yield from _id(request.id)
    yield from _state(request.state)
    yield from _value("value", request.value)


def _suspension(request: TaskSuspend) -> Iterator[str]:
    yield from _id(request.id)
    yield from _version(request.version)
    if not request.awaited:
        yield f"task {request.id!r} suspends on nothing: name at least one awaited promise"
    for awaited in request.awaited:
        yield from _id(awaited, "awaited id")
        if awaited == request.id:
            yield f"task {request.id!r} cannot await its own promise"


def _schedule(request: ScheduleCreate) -> Iterator[str]:
    yield from _id(request.id, "schedule id")
    if request.promise_timeout < 0:
        yield f"the promise timeout is a duration in milliseconds and cannot be {request.promise_timeout}"
    if not request.promise_id:
        yield "the promise id template is empty: use for example {{.id}}.{{.timestamp}}"
    else:
        yield from _id(expanded(request.promise_id, request.id, _SOME_INSTANT), "promise id of an occurrence")
    yield from _tags(request.promise_tags)
    yield from _value("promiseParam", request.promise_param)
    target = request.promise_tags.get(TARGET)
    if target is None:
        yield f"promiseTags must include a {TARGET} tag: an occurrence without a target would never run"
    elif problem := addresses.problem_with(target):
        yield f"Invalid {TARGET}: {problem}"
    if request.promise_tags.get(TIMER) == "true":  # DESIGN rule 10
        yield f"the occurrences of schedule {request.id!r} are both timers and targeted: remove {TIMER}"
    if DELAY in request.promise_tags:
        yield f"the occurrences of a schedule cannot be delayed: remove the {DELAY} tag"
    if problem := cron.problem_with(request.cron):
        yield problem


def expanded(template: str, id: str, at: int) -> str:
    """The promise id of the occurrence of the schedule `id` at the instant `at`."""
    return template.replace("{{.id}}", id).replace("{{.timestamp}}", str(at))


def _id(id: str, what: str = "id") -> Iterator[str]:
    if problem := ids.problem_with(id, what):
        yield problem


def _timeout(timeout_at: int) -> Iterator[str]:
    if not 0 <= timeout_at <= _END_OF_TIME:
        yield f"the timeout is an instant in milliseconds since the epoch and cannot be {timeout_at}"


def _tags(tags: dict[str, str]) -> Iterator[str]:
    yield from _names("tag", tags)


def _value(what: str, value: Value) -> Iterator[str]:
    yield from _names(f"header of the {what}", value.headers or {})
    if value.data is not None and not _encodable(value.data):
        yield f"the data of the {what} is not valid Unicode text"


def _names(what: str, texts: dict[str, str]) -> Iterator[str]:
    for name, text in texts.items():
        if not name:  # DynamoDB has no nameless entries
            yield f"the {what} with the value {text!r} has an empty name"
        elif not (_encodable(name) and _encodable(text)):
            yield f"the {what} {name!r} is not valid Unicode text"


def _encodable(text: str) -> bool:
    """Whether the text is Unicode that can be stored; half a surrogate pair cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _state(state: str) -> Iterator[str]:
    if state not in _SETTLED_STATES:
        yield f"a promise is settled to one of {', '.join(_SETTLED_STATES)}, not {state!r}"


def _version(version: int) -> Iterator[str]:
    if version < 0:
        yield f"a task version is not negative, got {version}"


def _lease(pid: str, ttl: int) -> Iterator[str]:
    if not pid:
        yield "the pid is empty: name the process that acquires the task"
    if ttl < 1:
        yield f"the ttl is a lease in milliseconds of at least 1, got {ttl}"

"""Checks of the requests about schedules."""

from __future__ import annotations

from typing import Any, get_args

from resonate_store.machine.checks.fields import names, value
from resonate_store.model import addresses, cron, ids
from resonate_store.model.ids import encodable
from resonate_store.model.records import END_OF_TIME, CatchUp, Overlap
from resonate_store.model.schedule_requests import ScheduleBackfill, ScheduleCreate
from resonate_store.model.tags import DELAY, TARGET, TIMER

TIMESTAMP = "{{.timestamp}}"
"""What the template of the ids of occurrences has in place of the instant."""
_SOME_INSTANT = 10**13 - 1
"""An instant (ms) with 13 digits, the length of all instants from now until the year 2286."""


def schedule(request: ScheduleCreate) -> str | None:
    return (
        schedule_id(request)
        or _occurrences(request)
        or names("tag", request.promise_tags)
        or value("promiseParam", request.promise_param)
        or _recurring_dispatch(request)
        or cron.problem_with(request.cron, request.timezone)
        or _policies(request)
        or names("tag", request.tags)
        or _note(request)
    )


def backfill(request: ScheduleBackfill) -> str | None:
    if problem := schedule_id(request):
        return problem
    if not 0 <= request.from_at <= request.to_at <= END_OF_TIME:
        return f"a backfill goes from an instant to a later one, in milliseconds: {request.from_at} to {request.to_at}"
    known = get_args(Overlap)
    if request.overlap is not None and request.overlap not in known:
        return f"the overlap policy is one of {', '.join(known)}, not {request.overlap!r}"
    return None


def _policies(request: ScheduleCreate) -> str | None:
    for name, policy, known in (
        ("catch-up", request.catch_up, get_args(CatchUp)),
        ("overlap", request.overlap, get_args(Overlap)),
    ):
        if policy not in known:
            return f"the {name} policy is one of {', '.join(known)}, not {policy!r}"
    return None


def _note(request: ScheduleCreate) -> str | None:
    valid = request.description is None or encodable(request.description)
    return None if valid else "the description is not valid Unicode text"


def schedule_id(request: Any) -> str | None:
    return ids.problem_with(request.id, "schedule id")


def _occurrences(request: ScheduleCreate) -> str | None:
    if not 0 <= request.promise_timeout <= END_OF_TIME:
        return (
            f"the promise timeout is a duration in milliseconds and cannot be {request.promise_timeout}: the longest is"
            f" {END_OF_TIME}"
        )
    if not request.promise_id:
        return "the promise id template is empty: use for example {{.id}}.{{.timestamp}}"
    return ids.problem_with(expanded(request.promise_id, request.id, _SOME_INSTANT), "promise id of an occurrence")


def _recurring_dispatch(request: ScheduleCreate) -> str | None:
    target = request.promise_tags.get(TARGET)
    if target is None:
        return f"promiseTags must include a {TARGET} tag: an occurrence without a target would never run"
    if problem := addresses.problem_with(target):
        return f"Invalid {TARGET}: {problem}"
    if request.promise_tags.get(TIMER) == "true":  # docs/rules.md P9
        return f"the occurrences of schedule {request.id!r} are both timers and targeted: remove {TIMER}"
    if DELAY in request.promise_tags:
        return f"the occurrences of a schedule cannot be delayed: remove the {DELAY} tag"
    return None


def expanded(template: str, id: str, at: int) -> str:
    """Return the promise id of the occurrence of the schedule `id` at the instant `at` (ms)."""
    return template.replace("{{.id}}", id).replace(TIMESTAMP, str(at))

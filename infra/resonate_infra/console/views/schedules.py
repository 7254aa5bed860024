"""Schedules: when they occur next, the outcome of the last occurrence, and how to pause them."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from starlette.responses import Response

from resonate.schedules import Schedules
from resonate_infra.console.payloads import ShownPayload, shown_payload
from resonate_infra.console.visit import Visit
from resonate_infra.inspection.arguments import instant_of
from resonate_infra.inspection.exits import USAGE, Failure
from resonate_store.model.records import PromiseView, Schedule
from resonate_store.model.requests import PromiseGet
from resonate_store.model.schedule_requests import (
    ScheduleBackfill,
    SchedulePause,
    ScheduleResume,
    ScheduleSearch,
    ScheduleTrigger,
)
from resonate_store.model.tags import FUNC

PAGE: Final = 25
"""How many schedules a page has."""
NEXT: Final = 3
"""How many of the next occurrences are shown."""


class ShownSchedule(Struct):
    """A schedule with its next occurrences (ms), and the promise of its last one."""

    schedule: Schedule
    function: str
    runs: list[int]
    last: PromiseView | None
    param: ShownPayload


def listing(visit: Visit) -> Response:
    """Show the schedules by id."""
    response = visit.session.ask(ScheduleSearch(limit=PAGE, cursor=visit.get("cursor") or None))
    found = [_shown(visit, each) for each in response.schedules or ()]
    template = "parts/schedules.html" if visit.get("part") else "schedules.html"
    return visit.page(
        template,
        schedules=found,
        following=response.cursor,
        cursor=visit.get("cursor"),
        backfills=visit.takes(ScheduleBackfill.kind),
    )


def _shown(visit: Visit, schedule: Schedule) -> ShownSchedule:
    last = None
    if schedule.last_promise is not None:
        found = visit.session.find(PromiseGet(schedule.last_promise))
        last = None if found is None else found.promise
    runs = Schedules(visit.session.store, visit.session.clock).next_runs(schedule.id, NEXT)
    function = schedule.promise_tags.get(FUNC, "")
    return ShownSchedule(schedule, function, runs, last, shown_payload(schedule.promise_param))


def pause(visit: Visit) -> Response:
    """Pause a schedule."""
    visit.session.ask(SchedulePause(_id(visit)))
    return visit.back(f"{_id(visit)} is paused.", "/schedules")


def resume(visit: Visit) -> Response:
    """Resume a schedule."""
    visit.session.ask(ScheduleResume(_id(visit)))
    return visit.back(f"{_id(visit)} is resumed.", "/schedules")


def trigger(visit: Visit) -> Response:
    """Create an occurrence now."""
    promise = visit.session.ask(ScheduleTrigger(_id(visit))).promise
    assert promise is not None
    return visit.back(f"{_id(visit)} has created {promise.id}.", "/execution", id=promise.id)


def backfill(visit: Visit) -> Response:
    """Create the occurrences of a part of the past that have no promise."""
    id, now = _id(visit), visit.now
    begin = instant_of(visit.field("from") or None, "the begin", now)
    end = instant_of(visit.field("to") or None, "the end", now)
    if begin is None:
        raise Failure("give the begin of the part of the past", USAGE)
    try:
        done = Schedules(visit.session.store, visit.session.clock).backfill(id, begin, now if end is None else end)
    except ValueError as error:
        raise Failure(str(error), USAGE) from None
    said = f"{done.created} occurrences of {id} were created, {done.existing} existed already"
    return visit.back(f"{said}, {done.skipped} were left out.", "/schedules")


def _id(visit: Visit) -> str:
    id = visit.named()
    if not id:
        raise Failure("the form names no schedule", USAGE)
    return id

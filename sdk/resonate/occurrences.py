"""Changes of schedules, and backfills: occurrences of the past that are created now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from resonate.errors import ResonateStoreError, refusal
from resonate.errors.mistakes import ArgumentValueError
from resonate.validation import require, require_text
from resonate_store.interface import Store
from resonate_store.model.clock import Clock
from resonate_store.model.cron import next_occurrence
from resonate_store.model.records import Overlap, Schedule
from resonate_store.model.requests import Response
from resonate_store.model.schedule_requests import ScheduleBackfill, ScheduleGet, ScheduleUpdate

DEFINITION = (
    "cron",
    "timezone",
    "promise_id",
    "promise_timeout",
    "promise_param",
    "promise_tags",
    "catch_up",
    "overlap",
)
"""The fields of a definition that are compared when a schedule is defined again."""


class Backfilled(Struct, frozen=True):
    """How many occurrences a backfill has created, has found with a promise, and has skipped because of an overlap."""

    created: int = 0
    existing: int = 0
    skipped: int = 0


def backfill(
    store: Store,
    clock: Clock,
    id: str,
    begin: int,
    end: int,
    overlap: Overlap | None = None,
    most: int = 1000,
    progress: Callable[[Backfilled], None] = lambda _: None,
) -> Backfilled:
    """Create occurrences of the past; see `Schedules.backfill`."""
    require("id", id, str)
    for name, number in (("begin", begin), ("end", end), ("most", most)):
        require(name, number, int)
    require_text("overlap", overlap)
    count_occurrences(store, clock, id, begin, end, most)
    done, at = Backfilled(), begin
    while True:
        response = store.apply(ScheduleBackfill(id, at, end, overlap))
        accepted(response, id)
        counts = response.backfill
        assert counts is not None
        done = Backfilled(done.created + counts.created, done.existing + counts.existing, done.skipped + counts.skipped)
        progress(done)
        if response.cursor is None:
            return done
        at = int(response.cursor)


def count_occurrences(store: Store, clock: Clock, id: str, begin: int, end: int, most: int) -> int:
    """Return how many occurrences of a schedule are between two instants (ms) and not after now.

    Raises:
        ValueError: there are more than `most`.
        ResonateStoreError: the schedule does not exist (code 100.40401).
    """
    response = store.apply(ScheduleGet(id))
    accepted(response, id)
    schedule = response.schedule
    assert schedule is not None
    end = min(end, clock.now())
    count, at = 0, begin - 1
    while count <= most:
        at = next_occurrence(schedule.cron, at, schedule.timezone)
        if at > end:
            return count
        count += 1
    raise ArgumentValueError(
        f"schedule {id!r} has more than {most} occurrences in this time: shorten it, or allow more"
    )


def updated(schedule: Schedule, changed: Mapping[str, Any]) -> ScheduleUpdate:
    """Return the request that changes these fields of a schedule. A time zone "UTC" is that of a schedule without one.

    Args:
        schedule: the schedule.
        changed: the new values of fields of `ScheduleUpdate`.
    """
    fields: dict[str, Any] = {name: getattr(schedule, name) for name in (*DEFINITION, "description", "tags")}
    fields |= changed
    fields["timezone"] = None if fields["timezone"] == "UTC" else fields["timezone"]
    fields["description"] = fields["description"] or None
    return ScheduleUpdate(schedule.id, **fields)


def accepted(response: Response, id: str) -> None:
    if response.ok:
        return
    if response.status == 404:
        raise ResonateStoreError("The specified schedule was not found", 40401, {"id": id})
    raise refusal(response.status, response.error, {"id": id})

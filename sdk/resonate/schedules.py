"""`resonate.schedules`: create, read, change, pause, backfill and delete schedules.

A schedule creates a promise whenever its cron expression occurs, even while none of your processes runs.
`Resonate.schedule` makes a schedule that calls a registered function. This is the layer below, with the shape and error
codes of SDK 0.6.7 (docs/protocol.md 4.2, 4.6)::

    tags = {"resonate:target": "poll://any@worker"}
    resonate.schedules.create("nightly", "0 2 * * *", promise_data='{"func": "report"}', promise_tags=tags)

The store does not know idempotency keys: this client keeps them in a tag of the schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from resonate.errors import ResonateStoreError
from resonate.errors.mistakes import ArgumentValueError
from resonate.occurrences import DEFINITION, Backfilled, accepted, backfill, updated
from resonate.promises import DurablePromise, DurableValue, Promises, payload, read_value
from resonate.validation import require, require_text, require_texts, within_time
from resonate_store.interface import Store
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.cron import next_runs, problem_with
from resonate_store.model.records import CatchUp, Overlap, Schedule
from resonate_store.model.requests import Request
from resonate_store.model.schedule_requests import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
    ScheduleUpdate,
)
from resonate_store.model.tags import IDEMPOTENCY_KEY

PROMISE_ID = "{{.id}}.{{.timestamp}}"
"""Default template of the promises' ids: the id of the schedule, and the instant in milliseconds since the epoch."""


class DurableSchedule(Struct, frozen=True, kw_only=True):
    """A schedule as it was when it was read. Instants are milliseconds since the epoch.

    Attributes:
        id, cron, timezone: its id, and when it occurs; a timezone of None is UTC.
        promise_id, promise_param, promise_tags: what the promise of each occurrence is created with.
        promise_timeout: the time that each promise has, in milliseconds.
        catch_up: which missed occurrences are created later: "all" in order, the "latest", or "none".
        overlap: "skip" if an occurrence is left out while the promise of the previous one is pending, else "allow".
        last_run_time, next_run_time: the latest and the next occurrence of `cron`.
        paused: whether the schedule is paused.
        last_promise: the id of the latest promise.
        skipped_at, skip_reason: the latest occurrence that was left out, and why.
        created_on, description, tags, ikey: when and with what it was created.
    """

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: DurableValue
    promise_tags: dict[str, str]
    created_on: int
    next_run_time: int
    last_run_time: int | None = None
    description: str | None = None
    tags: dict[str, str] = {}
    ikey: str | None = None
    timezone: str | None = None
    catch_up: CatchUp = "all"
    overlap: Overlap = "allow"
    paused: bool = False
    last_promise: str | None = None
    skipped_at: int | None = None
    skip_reason: str | None = None


class Schedules:
    """Access to the schedules of a store.

    Args:
        store: the store.
        clock: the source of time for `next_runs`.
    """

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or ambient()

    def create(
        self,
        id: str,
        cron: str,
        promise_id: str = PROMISE_ID,
        promise_timeout: int = 86_400_000,
        *,
        ikey: str | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        promise_headers: dict[str, str] | None = None,
        promise_data: str | None = None,
        promise_tags: dict[str, str] | None = None,
        timezone: str | None = None,
        catch_up: CatchUp = "all",
        overlap: Overlap = "allow",
    ) -> DurableSchedule:
        """Create a schedule, or return the one with the same id and idempotency key.

        Args:
            id: the id of the schedule.
            cron: five fields in Unix numbering, or `@hourly` and the like.
            promise_id: the template of its promises' ids; `{{.id}}` and `{{.timestamp}}` are replaced.
            promise_timeout: the time that each promise has, in milliseconds; a day by default.
            ikey: the idempotency key, with which the call can be repeated. Without one, an existing schedule is a
                conflict.
            description, tags: stored with the schedule.
            promise_headers, promise_data: the param of each promise.
            promise_tags: the tags of each promise. `resonate:target` is required: the address that its task is sent to.
            timezone: the IANA time zone of `cron`; UTC by default.
            catch_up: which missed occurrences are created later: "all" in order (the default), the "latest", or "none".
            overlap: "skip" leaves an occurrence out while the promise of the previous one is pending; "allow" by
                default.

        Returns:
            The schedule.

        Raises:
            ResonateStoreError: it exists and was not created by the same call (code 100.40901), or the request is
                invalid, such as a wrong cron expression (code 100.40000).
            TypeError: an argument is of the wrong type.
        """
        check_creation(id, cron, promise_id, promise_timeout, ikey, description, tags, promise_tags)
        for name, text in (("timezone", timezone), ("catch_up", catch_up), ("overlap", overlap)):
            require_text(name, text)
        param = payload(promise_headers, promise_data, "promise_")
        existing = self._store.apply(ScheduleGet(id)).schedule
        if existing is None:
            kept = dict(tags or {}) if ikey is None else {**(tags or {}), IDEMPOTENCY_KEY: ikey}
            request = ScheduleCreate(
                id,
                cron,
                promise_id,
                within_time(promise_timeout),
                param,
                promise_tags or {},
                timezone,
                catch_up,
                overlap,
                description,
                kept,
            )
            existing = self._apply(request)
            if not differences(request, existing) and existing.tags == kept:
                return _shown(existing)
        if ikey is None or existing.tags.get(IDEMPOTENCY_KEY) != ikey:
            raise ResonateStoreError("The specified schedule already exists", 40901, {"id": id})
        return _shown(existing)

    def define(self, request: ScheduleCreate) -> DurableSchedule:
        """Create a schedule, or return the existing one if its definition is the same.

        Args:
            request: the request that creates it. Programs use `Resonate.schedule`.

        Raises:
            ResonateStoreError: a schedule with this id has another definition (code 100.40901; the details name the
                differences), or the request is invalid.
        """
        schedule = self._apply(request)
        differing = differences(request, schedule)
        if differing:
            raise ResonateStoreError(
                f"Schedule already exists with another {' and '.join(differing)}:"
                f" schedules.update({request.id!r}, ...) changes it",
                40901,
                {"id": request.id, "differs": list(differing)},
            )
        return _shown(schedule)

    def redefine(self, request: ScheduleUpdate) -> DurableSchedule:
        """Replace the definition of a schedule. Occurrences that exist stay as they are.

        Args:
            request: the request that replaces it. Programs use `Resonate.update_schedule`.

        Raises:
            ResonateStoreError: the schedule does not exist (code 100.40401), the request is invalid, or the server does
                not have it.
        """
        return _shown(self._apply(request))

    def update(
        self,
        id: str,
        *,
        cron: str | None = None,
        promise_id: str | None = None,
        promise_timeout: int | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        promise_headers: dict[str, str] | None = None,
        promise_data: str | None = None,
        promise_tags: dict[str, str] | None = None,
        timezone: str | None = None,
        catch_up: CatchUp | None = None,
        overlap: Overlap | None = None,
    ) -> DurableSchedule:
        """Change a schedule, and return it. What is not given stays as it is.

            resonate.schedules.update("nightly", cron="0 3 * * *")

        Occurrences that are due are created by the definition before. Promises that exist stay as they are. With
        another `cron` or `timezone` the next occurrence is computed anew, from now. The arguments are those of
        `create`; `timezone="UTC"` and `description=""` remove the ones of the schedule.

        Raises:
            ResonateStoreError: the schedule does not exist (code 100.40401), the request is invalid, or the server does
                not have it.
            TypeError: an argument is of the wrong type.
        """
        for name, text in (("cron", cron), ("promise_id", promise_id), ("description", description)):
            require_text(name, text)
        for name, text in (("timezone", timezone), ("catch_up", catch_up), ("overlap", overlap)):
            require_text(name, text)
        require("promise_timeout", promise_timeout, (int, type(None)), "milliseconds that each promise has")
        require_texts("tags", tags)
        require_texts("promise_tags", promise_tags)
        present = self._apply(ScheduleGet(id))
        changed: dict[str, Any] = {
            "cron": cron,
            "promise_id": promise_id,
            "promise_timeout": None if promise_timeout is None else within_time(promise_timeout),
            "promise_tags": promise_tags,
            "timezone": timezone,
            "catch_up": catch_up,
            "overlap": overlap,
            "description": description,
        }
        if tags is not None:
            kept = {name: text for name, text in present.tags.items() if name == IDEMPOTENCY_KEY}
            changed["tags"] = {**tags, **kept}
        if promise_headers is not None or promise_data is not None:
            changed["promise_param"] = payload(promise_headers, promise_data, "promise_")
        return self.redefine(updated(present, {name: each for name, each in changed.items() if each is not None}))

    def backfill(
        self,
        id: str,
        begin: int,
        end: int,
        *,
        overlap: Overlap | None = None,
        most: int = 1000,
        progress: Callable[[Backfilled], None] = lambda _: None,
    ) -> Backfilled:
        """Create the occurrences of a part of the past that have no promise.

            resonate.schedules.backfill("nightly", 1_750_000_000_000, 1_750_600_000_000)

        Each has its whole time from now on. It can be repeated: what exists is not created again. With the overlap
        policy "skip", an occurrence is left out while the previous one is pending. A later call creates it.

        Args:
            id: the schedule, which may be paused.
            begin, end: the first and the last instant, in milliseconds since the epoch. Occurrences that are still to
                come are left out.
            overlap: the policy; by default that of the schedule.
            most: how many occurrences the part may have.
            progress: gets the numbers so far.

        Returns:
            How many occurrences were created, existed already, and were skipped.

        Raises:
            ValueError: the part has more than `most` occurrences.
            ResonateStoreError: the schedule does not exist (code 100.40401), its occurrences share ids, or the server
                does not have this request.
            TypeError: an argument is of the wrong type.
        """
        return backfill(self._store, self._clock, id, begin, end, overlap, most, progress)

    def get(self, id: str) -> DurableSchedule:
        """Return a schedule.

        Args:
            id: the schedule.

        Raises:
            ResonateStoreError: the schedule does not exist (code 100.40401).
        """
        return _shown(self._apply(ScheduleGet(id)))

    def delete(self, id: str) -> None:
        """Delete a schedule. The promises that it has created stay.

        Args:
            id: the schedule.

        Raises:
            ResonateStoreError: the schedule does not exist (code 100.40401).
        """
        require("id", id, str)
        accepted(self._store.apply(ScheduleDelete(id)), id)

    def pause(self, id: str) -> DurableSchedule:
        """Pause a schedule until `resume`, and return it.

            resonate.schedules.pause("nightly")

        Args:
            id: the schedule.

        Raises:
            ResonateStoreError: the schedule does not exist (code 100.40401).
        """
        return _shown(self._apply(SchedulePause(id)))

    def resume(self, id: str) -> DurableSchedule:
        """Resume a schedule at its next occurrence from now, and return it.

        Occurrences during the pause are not created later.

        Args:
            id: the schedule.

        Raises:
            ResonateStoreError: the schedule does not exist (code 100.40401).
        """
        return _shown(self._apply(ScheduleResume(id)))

    def trigger(self, id: str) -> DurablePromise:
        """Create the promise of an occurrence now, even if the schedule is paused, and return it.

        Args:
            id: the schedule.

        Raises:
            ResonateStoreError: the schedule does not exist (code 100.40401). Or its promise exists already, or the
                previous one is pending and `overlap` is "skip" (code 100.40900).
        """
        require("id", id, str)
        response = self._store.apply(ScheduleTrigger(id))
        accepted(response, id)
        assert response.promise is not None
        return Promises(self._store).shown(response.promise)

    def next_runs(self, id: str, count: int = 10) -> list[int]:
        """Return the next occurrences, in milliseconds since the epoch; also of a schedule that is paused.

        Args:
            id: the schedule.
            count: how many; 10 by default.

        Raises:
            ResonateStoreError: the schedule does not exist (code 100.40401).
        """
        schedule = self._apply(ScheduleGet(id))
        after = self._clock.now() if schedule.paused else schedule.next_run_at - 1000
        return next_runs(schedule.cron, after, count, schedule.timezone)

    def _apply(self, request: Request) -> Schedule:
        id = getattr(request, "id", "")
        require("id", id, str)
        response = self._store.apply(request)
        accepted(response, id)
        assert response.schedule is not None
        return response.schedule


def check_creation(
    id: str,
    cron: str,
    promise_id: str,
    promise_timeout: int,
    ikey: str | None,
    description: str | None,
    tags: dict[str, str] | None,
    promise_tags: dict[str, str] | None,
) -> None:
    """Raise a `TypeError` for an argument of a creation that has the wrong type."""
    for name, text in (("id", id), ("cron", cron), ("promise_id", promise_id)):
        require(name, text, str)
    require("promise_timeout", promise_timeout, int, "milliseconds that each promise has")
    require_text("ikey", ikey)
    require_text("description", description)
    require_texts("tags", tags)
    require_texts("promise_tags", promise_tags)


def upcoming(cron: str, after: int, count: int = 10, timezone: str | None = None) -> list[int]:
    """Return the next `count` occurrences of an expression after an instant; no schedule needed.

    Args:
        cron: the expression.
        after: the instant, in milliseconds since the epoch; so are the occurrences.
        count: how many occurrences.
        timezone: the IANA time zone of the expression; UTC by default.

    Raises:
        ValueError: the expression or the time zone is wrong; the message names the field. Or an occurrence is not
            within the years 1 to 9999.
    """
    if problem := problem_with(cron, timezone):
        raise ArgumentValueError(problem)
    return next_runs(cron, after, count, timezone)


def differences(request: ScheduleCreate, schedule: Schedule) -> tuple[str, ...]:
    """Return the names of the fields in which a stored schedule differs from a request."""
    return tuple(name for name in DEFINITION if getattr(request, name) != getattr(schedule, name))


def _shown(schedule: Schedule) -> DurableSchedule:
    return DurableSchedule(
        id=schedule.id,
        cron=schedule.cron,
        promise_id=schedule.promise_id,
        promise_timeout=schedule.promise_timeout,
        promise_param=read_value(schedule.promise_param),
        promise_tags=schedule.promise_tags,
        created_on=schedule.created_at,
        next_run_time=schedule.next_run_at,
        last_run_time=schedule.last_run_at,
        description=schedule.description,
        tags={name: text for name, text in schedule.tags.items() if name != IDEMPOTENCY_KEY},
        ikey=schedule.tags.get(IDEMPOTENCY_KEY),
        timezone=schedule.timezone,
        catch_up=schedule.catch_up,
        overlap=schedule.overlap,
        paused=schedule.paused,
        last_promise=schedule.last_promise,
        skipped_at=schedule.skipped_at,
        skip_reason=schedule.skip_reason,
    )

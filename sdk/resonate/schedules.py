"""Schedules by hand: have promises created whenever a cron expression occurs, with no process running.

`resonate.schedule(...)` makes a schedule that calls a registered function; `resonate.schedules` is the layer below, in
the shape and with the error codes of SDK 0.6.7 (docs/protocol.md 4.2, 4.6). Idempotency keys are a
promise of this client, kept in a tag of the schedule.
"""

from __future__ import annotations

from msgspec import Struct

from resonate.errors import ResonateStoreError, refusal
from resonate.promises import DurablePromise, DurableValue, Promises, payload, read_value
from resonate.validation import require, require_text, require_texts, within_time
from resonate_store.interface import Store
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.cron import next_runs, problem_with
from resonate_store.model.records import CatchUp, Overlap, Schedule
from resonate_store.model.requests import (
    Request,
    Response,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleResume,
    ScheduleTrigger,
)
from resonate_store.model.tags import IDEMPOTENCY_KEY

PROMISE_ID = "{{.id}}.{{.timestamp}}"
"""The default template of occurrences' ids: the schedule's id, and the instant in milliseconds since the epoch."""

_DEFINITION = (
    "cron",
    "timezone",
    "promise_id",
    "promise_timeout",
    "promise_param",
    "promise_tags",
    "catch_up",
    "overlap",
)


class DurableSchedule(Struct, frozen=True, kw_only=True):
    """A schedule as it was when it was read. Instants are milliseconds since the epoch, the timeout milliseconds.

    Attributes:
        id, cron, timezone: what it is called, and when it occurs; UTC if no time zone is named.
        promise_id, promise_timeout, promise_param, promise_tags: what each occurrence creates.
        catch_up: which missed occurrences are made up for: "all" in order, the "latest", or "none".
        overlap: whether an occurrence happens while the promise of the previous one is pending: "allow" or "skip".
        last_run_time, next_run_time: occurrences of `cron`.
        last_promise: the promise of the latest occurrence.
        skipped_at, skip_reason: the latest occurrence that did not happen, and why.
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
    """Creates, reads, pauses and deletes schedules.

    Args:
        store: where they live.
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
        """Create a schedule, or find the one that was created with the same id and idempotency key.

        Args:
            id: its id.
            cron: five fields, or `@hourly` and the like.
            promise_id: the template of its promises' ids; `{{.id}}` and `{{.timestamp}}` are filled in.
            promise_timeout: how long each promise has, in milliseconds.
            ikey: makes the creation repeatable; without one a schedule that exists is a conflict.
            description, tags: kept with the schedule.
            promise_headers, promise_data: the param of each promise.
            promise_tags: the tags of each promise; `resonate:target` among them says who works on it.
            timezone: the IANA time zone of `cron`; UTC if not given.
            catch_up: which occurrences that were missed are made up for: "all" in order, the "latest", or "none".
            overlap: "skip" leaves out an occurrence while the promise of the previous one is pending.

        Raises:
            ResonateStoreError: it exists and was not created by the same call (code 100.40901), or the request is
                wrong, say its cron expression (code 100.40000).
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
        """Create a schedule, or find the one that has been defined just so.

        Raises:
            ResonateStoreError: there is one with this id that differs (code 100.40901; the details name in what), or
                the request is wrong.
        """
        schedule = self._apply(request)
        differing = differences(request, schedule)
        if differing:
            raise ResonateStoreError(
                f"Schedule already exists with another {' and '.join(differing)}:"
                f" schedules.delete({request.id!r}) makes room for the new one",
                40901,
                {"id": request.id, "differs": list(differing)},
            )
        return _shown(schedule)

    def get(self, id: str) -> DurableSchedule:
        """Read a schedule.

        Raises:
            ResonateStoreError: there is none with this id (code 100.40401).
        """
        return _shown(self._apply(ScheduleGet(id)))

    def delete(self, id: str) -> None:
        """Delete a schedule; promises that it has created stay.

        Raises:
            ResonateStoreError: there is none with this id (code 100.40401).
        """
        require("id", id, str)
        _accepted(self._store.apply(ScheduleDelete(id)), id)

    def pause(self, id: str) -> DurableSchedule:
        """Let nothing happen until the schedule is resumed; see `get` for errors."""
        return _shown(self._apply(SchedulePause(id)))

    def resume(self, id: str) -> DurableSchedule:
        """Go on with the next occurrence from now; those of the pause are gone. See `get` for errors."""
        return _shown(self._apply(ScheduleResume(id)))

    def trigger(self, id: str) -> DurablePromise:
        """Let an occurrence happen now, paused or not, and return its promise.

        Raises:
            ResonateStoreError: there is no such schedule (code 100.40401), or the occurrence cannot be: its promise
                exists already, or the previous one is pending and must not overlap (code 100.40900).
        """
        require("id", id, str)
        response = self._store.apply(ScheduleTrigger(id))
        _accepted(response, id)
        assert response.promise is not None
        return Promises(self._store).shown(response.promise)

    def next_runs(self, id: str, count: int = 10) -> list[int]:
        """The next occurrences of a schedule, also of one that is paused, in milliseconds since the epoch."""
        schedule = self._apply(ScheduleGet(id))
        after = self._clock.now() if schedule.paused else schedule.next_run_at - 1000
        return next_runs(schedule.cron, after, count, schedule.timezone)

    def _apply(self, request: Request) -> Schedule:
        id = getattr(request, "id", "")
        require("id", id, str)
        response = self._store.apply(request)
        _accepted(response, id)
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
    """Refuse arguments of a creation that are of the wrong type.

    Raises:
        TypeError: one is.
    """
    for name, text in (("id", id), ("cron", cron), ("promise_id", promise_id)):
        require(name, text, str)
    require("promise_timeout", promise_timeout, int, "milliseconds that each promise has")
    require_text("ikey", ikey)
    require_text("description", description)
    require_texts("tags", tags)
    require_texts("promise_tags", promise_tags)


def upcoming(cron: str, after: int, count: int = 10, timezone: str | None = None) -> list[int]:
    """When an expression occurs, before there is a schedule of it: the next `count` occurrences after an instant.

    Raises:
        ValueError: it is not an expression, or not a time zone; the message names the field that is wrong. Or an
            occurrence is not within the years 1 to 9999.
    """
    if problem := problem_with(cron, timezone):
        raise ValueError(problem)
    return next_runs(cron, after, count, timezone)


def differences(request: ScheduleCreate, schedule: Schedule) -> tuple[str, ...]:
    """What a stored schedule has that differs from what is asked for."""
    return tuple(name for name in _DEFINITION if getattr(request, name) != getattr(schedule, name))


def _accepted(response: Response, id: str) -> None:
    if response.ok:
        return
    if response.status == 404:
        raise ResonateStoreError("The specified schedule was not found", 40401, {"id": id})
    raise refusal(response.status, response.error, {"id": id})


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

"""Schedules of a store, with the interface of SDK 0.6.7."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from resonate.errors import ResonateStoreError
from resonate.promises import DurableValue, payload, read_value
from resonate.schedules import check_creation
from resonate.stores.names import legacy_tags, protocol_tags
from resonate.validation import require, within_time
from resonate_store.interface import Store
from resonate_store.model.records import Schedule
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleDelete, ScheduleGet
from resonate_store.model.tags import IDEMPOTENCY_KEY


class StoreOfSchedules(Store, Protocol):
    """Protocol of a store whose schedules can be used directly."""

    @property
    def schedules(self) -> LocalSchedules: ...

    def transaction(self) -> AbstractContextManager[object]:
        """Return a context manager that keeps other requests of this process out, if the store can do that."""
        ...


class LocalSchedule(Struct):
    """A schedule as it was when it was read. Instants are milliseconds since the epoch."""

    id: str
    description: str | None
    cron: str
    tags: dict[str, str]
    promise_id: str
    promise_timeout: int
    promise_param: DurableValue
    promise_tags: dict[str, str]
    last_runtime: int | None
    next_runtime: int
    ikey: str | None
    created_on: int
    store: StoreOfSchedules

    def delete(self) -> None:
        """Delete the schedule. The promises that it has created stay."""
        self.store.schedules.delete(self.id)


class LocalSchedules:
    """Schedules of a store.

    Args:
        store: the store.
    """

    def __init__(self, store: StoreOfSchedules) -> None:
        self._store = store

    def create(
        self,
        id: str,
        cron: str,
        promise_id: str,
        promise_timeout: int,
        *,
        ikey: str | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        promise_headers: dict[str, str] | None = None,
        promise_data: str | None = None,
        promise_tags: dict[str, str] | None = None,
    ) -> LocalSchedule:
        """Create a schedule, or return the one with the same id and idempotency key.

        Args:
            id: the id of the schedule.
            cron: five fields in Unix numbering, or `@hourly` and the like, in UTC.
            promise_id: the template of its promises' ids; `{{.id}}` and `{{.timestamp}}` are replaced.
            promise_timeout: the time that each promise has, in milliseconds.
            ikey: the idempotency key, with which the call can be repeated. Without one, an existing schedule is a
                conflict.
            description, tags: stored with the schedule.
            promise_headers, promise_data: the param of each promise.
            promise_tags: the tags of each promise. `resonate:invoke` is required: the receiver that runs it.

        Raises:
            ResonateStoreError: it exists and was not created by the same call (100.40901), or the request is invalid
                (100.40000).
            TypeError: an argument is of the wrong type.
        """
        check_creation(id, cron, promise_id, promise_timeout, ikey, description, tags, promise_tags)
        store = self._store
        request = ScheduleCreate(
            id,
            cron,
            promise_id,
            within_time(promise_timeout),
            payload(promise_headers, promise_data, "promise_"),
            protocol_tags(promise_tags or {}),
            description=description,
            tags={**(tags or {}), **({} if ikey is None else {IDEMPOTENCY_KEY: ikey})},
        )
        with store.transaction():
            existing = store.apply(ScheduleGet(id)).schedule
            if existing is None:
                response = store.apply(request)
                if response.schedule is None:
                    raise ResonateStoreError(response.error or "refused", response.status * 100, {"id": id})
                existing = response.schedule
            elif ikey is None or existing.tags.get(IDEMPOTENCY_KEY) != ikey:
                raise ResonateStoreError("The specified schedule already exists", 40901, {"id": id})
        return self._shown(existing)

    def get(self, id: str) -> LocalSchedule:
        """Return the schedule `id`.

        Raises:
            ResonateStoreError: the schedule does not exist (100.40401).
        """
        require("id", id, str)
        schedule = self._store.apply(ScheduleGet(id)).schedule
        if schedule is None:
            raise _no_schedule(id)
        return self._shown(schedule)

    def delete(self, id: str) -> None:
        """Delete the schedule `id`. The promises that it has created stay.

        Raises:
            ResonateStoreError: the schedule does not exist (100.40401).
        """
        require("id", id, str)
        if not self._store.apply(ScheduleDelete(id)).ok:
            raise _no_schedule(id)

    def _shown(self, schedule: Schedule) -> LocalSchedule:
        return LocalSchedule(
            id=schedule.id,
            description=schedule.description,
            cron=schedule.cron,
            tags={tag: text for tag, text in schedule.tags.items() if tag != IDEMPOTENCY_KEY},
            promise_id=schedule.promise_id,
            promise_timeout=schedule.promise_timeout,
            promise_param=read_value(schedule.promise_param),
            promise_tags=legacy_tags(schedule.promise_tags),
            last_runtime=schedule.last_run_at,
            next_runtime=schedule.next_run_at,
            ikey=schedule.tags.get(IDEMPOTENCY_KEY),
            created_on=schedule.created_at,
            store=self._store,
        )


def _no_schedule(id: str) -> ResonateStoreError:
    return ResonateStoreError("The specified schedule was not found", 40401, {"id": id})

"""Requests about schedules. All but the firing travel."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from resonate_store.model.records import EMPTY, CatchUp, Overlap, Value


class ScheduleGet(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "schedule.get"
    id: str


class ScheduleCreate(Struct, frozen=True, rename="camel"):
    """Request to create a schedule, which creates a promise at each occurrence of `cron`.

    `promise_timeout` is a duration in milliseconds. The fields after `promise_tags` are additions to the official
    protocol, and other servers ignore them. `timezone` is the IANA time zone of `cron`; without it, UTC. `catch_up`
    says which missed occurrences are created. `overlap` says whether an occurrence is created while the previous
    promise is pending. `description` and `tags` describe the schedule itself.
    """

    kind: ClassVar = "schedule.create"
    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Value = EMPTY
    promise_tags: dict[str, str] = {}
    timezone: str | None = None
    catch_up: CatchUp = "all"
    overlap: Overlap = "allow"
    description: str | None = None
    tags: dict[str, str] = {}


class ScheduleUpdate(ScheduleCreate, frozen=True, rename="camel"):
    """Request to replace the definition of a schedule. An addition to the official protocol.

    Its fields are those of `ScheduleCreate`, and the schedule must exist. Occurrences that are due are created by the
    definition before. Promises that exist stay as they are.
    """

    kind: ClassVar = "schedule.update"


class ScheduleBackfill(Struct, frozen=True, rename="camel"):
    """Request to create occurrences of the past that have no promise. An addition to the official protocol.

    It looks at the occurrences from the instant `from_at` to the instant `to_at` (ms), and one request at a limited
    number of them. `cursor` in the response is the `from_at` of the next request; without one, all is done. `overlap`
    replaces the policy of the schedule.
    """

    kind: ClassVar = "schedule.backfill"
    id: str
    from_at: int
    to_at: int
    overlap: Overlap | None = None


class BackfillCounts(Struct, frozen=True):
    """How many occurrences a backfill has created, has found with a promise, and has skipped because of an overlap."""

    created: int = 0
    existing: int = 0
    skipped: int = 0


class ScheduleDelete(Struct, frozen=True, rename="camel"):
    kind: ClassVar = "schedule.delete"
    id: str


class ScheduleSearch(Struct, frozen=True, rename="camel"):
    """Search for schedules.

    It has pages like `PromiseSearch`. `tags` are those of the promises that a schedule creates.
    """

    kind: ClassVar = "schedule.search"
    tags: dict[str, str] = {}
    limit: int = 10
    cursor: str | None = None


class SchedulePause(Struct, frozen=True, rename="camel"):
    """Request to create no occurrences until the schedule is resumed. An addition to the official protocol."""

    kind: ClassVar = "schedule.pause"
    id: str


class ScheduleResume(Struct, frozen=True, rename="camel"):
    """Request to resume a paused schedule with the next occurrence from now. An addition to the official protocol.

    Occurrences during the pause do not count as missed.
    """

    kind: ClassVar = "schedule.resume"
    id: str


class ScheduleTrigger(Struct, frozen=True, rename="camel"):
    """Request to create an occurrence now, also while the schedule is paused. An addition to the official protocol."""

    kind: ClassVar = "schedule.trigger"
    id: str


class ScheduleFire(Struct, frozen=True):
    """Internal request to create the occurrences of a schedule that are due."""

    kind: ClassVar = "schedule.fire"
    id: str


ScheduleRequest = (
    ScheduleGet
    | ScheduleCreate
    | ScheduleUpdate
    | ScheduleDelete
    | ScheduleSearch
    | SchedulePause
    | ScheduleResume
    | ScheduleTrigger
    | ScheduleBackfill
)
"""Requests about schedules that travel."""

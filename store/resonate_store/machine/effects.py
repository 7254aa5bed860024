"""What must happen after a write: a pure function of two images of one record (docs/rules.md W8).

The embedded stores apply effects in process; on DynamoDB the stream's consumer does, and the sweep for what the stream
lost. Every effect is idempotent, so doing one twice or late harms nothing. `effects(None, record)` is everything that
is still outstanding on a record.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import Struct

from resonate_store.model.records import Entry, PromiseView, Record, ScheduleRecord
from resonate_store.model.tags import DELAY

ARMING_HORIZON_MS = 900_000
"""Awaited deadlines are armed as timers when they are this near; the sweep keeps the others."""
SETTLING_MS = 120_000
"""How long what fires a schedule may take to get going."""
LATE_MS = 60_000
"""How late what fires a schedule may be, that is precise to the minute; an occurrence later than that has shown
that it got lost."""


class Execute(Struct, frozen=True):
    """Offer the task to its target."""

    address: str
    id: str
    version: int


class Unblock(Struct, frozen=True):
    """Send a settled promise to a listener."""

    address: str
    promise: PromiseView


class Resume(Struct, frozen=True):
    """Tell the task `awaiter` that `awaited` settled; `version` is the one that waits, None if every version does."""

    awaiter: str
    version: int | None
    awaited: str


class Arm(Struct, frozen=True):
    """Wake the promise `id` at the instant `at`."""

    id: str
    at: int


class Disarm(Struct, frozen=True):
    """The promise `id` needs the distant wake-up no more that it was armed with; it may go."""

    id: str


class ArmSchedule(Struct, frozen=True):
    """Fire the schedule `id` whenever `cron` occurs in its time zone, UTC if None."""

    id: str
    cron: str
    timezone: str | None


class FireSchedule(Struct, frozen=True):
    """Fire the schedule `id` at the instant `at`, beside what is armed for it."""

    id: str
    at: int


class DisarmSchedule(Struct, frozen=True):
    """The schedule is paused or gone; what fires it may go."""

    id: str


class Retain(Struct, frozen=True):
    """A root settled: its tree may be deleted once its retention is over."""

    id: str
    created_at: int
    settled_at: int


Effect = Execute | Unblock | Resume | Arm | Disarm | ArmSchedule | FireSchedule | DisarmSchedule | Retain


class Change(NamedTuple):
    """One write: the image before (None for a new record) and after (None for a deletion)."""

    before: Entry | None
    after: Entry | None


def repeated(change: Change) -> Change:
    """The change as a wake-up leaves it to be delivered.

    A settlement that is still owed is owed whole; a schedule that nothing but the sweep has fired is armed anew.
    """
    before, after = change
    if isinstance(before, ScheduleRecord) and isinstance(after, ScheduleRecord):
        return Change(None, after) if after.written_at - before.next_run_at >= LATE_MS else change
    if isinstance(before, Record) and isinstance(after, Record) and not before.pending and after.owes:
        return Change(None, after)
    return change


def message_of(effect: Execute | Unblock) -> dict[str, Any]:
    """The message that the effect sends (docs/protocol.md 2.1)."""
    from msgspec import to_builtins

    if isinstance(effect, Execute):
        return {"kind": "execute", "head": {}, "data": {"task": {"id": effect.id, "version": effect.version}}}
    return {"kind": "unblock", "head": {}, "data": {"promise": to_builtins(effect.promise)}}


def effects(before: Entry | None, after: Entry | None) -> list[Effect]:
    """The effects of a write, in the order in which they should be done."""
    if isinstance(after, Record):
        earlier = before if isinstance(before, Record) else None
        return _while_pending(earlier, after) if after.pending else _on_settlement(earlier, after)
    if isinstance(after, ScheduleRecord):
        return _of_schedule(before if isinstance(before, ScheduleRecord) else None, after)
    if isinstance(before, ScheduleRecord):
        return [DisarmSchedule(before.id)]
    # A timer that is deleted while it is pending has been left behind by its execution; others have had their effect.
    return [Disarm(before.id)] if before is not None and before.pending and _wakes_late(before) else []


def _of_schedule(before: ScheduleRecord | None, after: ScheduleRecord) -> list[Effect]:
    if after.paused:
        return [] if before is not None and before.paused else [DisarmSchedule(after.id)]
    if before is None or before.paused:
        armed = ArmSchedule(after.id, after.cron, after.timezone)
        soon = after.next_run_at - after.written_at <= SETTLING_MS
        return [armed, FireSchedule(after.id, after.next_run_at)] if soon else [armed]
    # A firing takes on so many occurrences at most.
    return [FireSchedule(after.id, after.next_run_at)] if after.next_run_at <= after.written_at else []


def _on_settlement(before: Record | None, after: Record) -> list[Effect]:
    if before is not None and not before.pending:
        return []
    disarmed: list[Effect] = [Disarm(after.id)] if _wakes_late(after) else []
    if not after.owes:
        return disarmed
    outstanding: list[Effect] = [Resume(awaiter, version, after.id) for awaiter, version in after.waiters]
    # Before the listeners: that an execution goes in the end must not depend on them.
    if after.root:
        outstanding.append(Retain(after.id, after.created_at, after.settled_at or after.timeout_at))
    if after.listeners:
        promise = after.promise()
        outstanding += [Unblock(address, promise) for address in after.listeners]
    return outstanding + disarmed


def _wakes_late(record: Record) -> bool:
    """Whether a wake-up beyond the horizon was armed for a record, and has not come before its settlement, if any.

    What is nearer goes by itself, at no cost; a distant one would be kept, and count, until its time.
    """
    if record.timer:
        at = record.timeout_at
    elif DELAY in record.tags:
        at = int(record.tags[DELAY])
    else:
        return False
    return at - record.created_at > ARMING_HORIZON_MS and (record.settled_at is None or record.settled_at < at)


def _while_pending(before: Record | None, after: Record) -> list[Effect]:
    outstanding: list[Effect] = []
    if after.timer:
        if before is None:
            outstanding.append(Arm(after.id, after.timeout_at))
    elif _newly_awaited(before, after) and after.timeout_at - after.written_at <= ARMING_HORIZON_MS:
        outstanding.append(Arm(after.id, after.timeout_at))
    task = after.task
    if task is not None and task.state == "pending" and after.target is not None:
        earlier = before.task if before is not None else None
        fresh = earlier is None or earlier.state != "pending" or earlier.offers != task.offers
        if fresh and task.offers > 0:
            outstanding.append(Execute(after.target, after.id, task.version))
        elif fresh and task.retry_at is not None:
            outstanding.append(Arm(after.id, task.retry_at))
    return outstanding


def _newly_awaited(before: Record | None, after: Record) -> bool:
    if before is not None and (before.callbacks or before.listeners):
        return False
    return bool(after.callbacks or after.listeners)

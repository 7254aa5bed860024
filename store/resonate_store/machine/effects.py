"""Effects that must follow a write, as a pure function of two images of one record (docs/rules.md W8).

The stores in a process carry effects out themselves. On DynamoDB the process that writes does so, or the dispatcher,
which reads the table's stream. The sweep repeats lost effects. An effect may happen twice or late without harm.
`effects(None, record)` returns all effects that are outstanding on a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from resonate_store.model.records import Entry, PromiseView, Record, ScheduleRecord
from resonate_store.model.tags import DELAY

ARMING_HORIZON_MS = 900_000
"""A deadline of an awaited promise within this time (ms) gets a timer. The sweep finds the later ones."""
SETTLING_MS = 120_000
"""How long (ms) a new EventBridge schedule may take to become active. A nearer occurrence is fired separately."""
LATE_MS = 60_000
"""EventBridge is precise to one minute (ms). If an occurrence is fired later than that, EventBridge did not fire it."""


class Execute(Struct, frozen=True):
    """Effect: send an execute message, which offers the task to its target."""

    address: str
    id: str
    version: int


class Unblock(Struct, frozen=True):
    """Effect: send a settled promise to a listener."""

    address: str
    promise: PromiseView


class Resume(Struct, frozen=True):
    """Effect: resume the task `awaiter`, because `awaited` has settled.

    `version` is the version that waits, or None if every version waits.
    """

    awaiter: str
    version: int | None
    awaited: str


class Arm(Struct, frozen=True):
    """Effect: arm a wake-up of the promise `id` at the instant `at` (ms)."""

    id: str
    at: int


class Disarm(Struct, frozen=True):
    """Effect: delete the EventBridge schedule that is the wake-up of the promise `id`. It is not needed any more."""

    id: str


class ArmSchedule(Struct, frozen=True):
    """Effect: fire the schedule `id` at each occurrence of `cron` in the time zone; None means UTC."""

    id: str
    cron: str
    timezone: str | None


class FireSchedule(Struct, frozen=True):
    """Effect: fire the schedule `id` once at the instant `at` (ms), in addition to its recurring wake-up."""

    id: str
    at: int


class DisarmSchedule(Struct, frozen=True):
    """Effect: delete the recurring wake-up of a schedule that was paused or deleted."""

    id: str


class Retain(Struct, frozen=True):
    """Effect: put the retention marker of a settled root, so that its tree is deleted after the retention."""

    id: str
    created_at: int
    settled_at: int


class Prune(Struct, frozen=True):
    """Effect: delete the records of the generations of an execution before `generation` (docs/rules.md G5)."""

    id: str
    created_at: int
    generation: int


Effect = Prune | Execute | Unblock | Resume | Arm | Disarm | ArmSchedule | FireSchedule | DisarmSchedule | Retain


class Change(Struct, frozen=True):
    """One write: the image before (None for a new record) and the image after (None for a deletion)."""

    before: Entry | None
    after: Entry | None

    def __iter__(self) -> Iterator[Entry | None]:
        yield self.before
        yield self.after


def repeated(change: Change) -> Change:
    """Return the change whose effects a wake-up has to carry out.

    If effects of a settlement are outstanding, all of them are repeated. If only the sweep has fired a schedule, its
    recurring wake-up is put again.
    """
    before, after = change
    if isinstance(before, ScheduleRecord) and isinstance(after, ScheduleRecord):
        return Change(None, after) if after.written_at - before.next_run_at >= LATE_MS else change
    if isinstance(before, Record) and isinstance(after, Record) and not before.pending and after.owes:
        return Change(None, after)
    return change


def message_of(effect: Execute | Unblock) -> dict[str, Any]:
    """Return the message that the effect sends (docs/protocol.md 2.1)."""
    from msgspec import to_builtins

    if isinstance(effect, Execute):
        return {"kind": "execute", "head": {}, "data": {"task": {"id": effect.id, "version": effect.version}}}
    return {"kind": "unblock", "head": {}, "data": {"promise": to_builtins(effect.promise)}}


def effects(before: Entry | None, after: Entry | None) -> list[Effect]:
    """Return the effects of a write in the order in which they are carried out."""
    if isinstance(after, Record):
        earlier = before if isinstance(before, Record) else None
        return _while_pending(earlier, after) if after.pending else _on_settlement(earlier, after)
    if isinstance(after, ScheduleRecord):
        return _of_schedule(before if isinstance(before, ScheduleRecord) else None, after)
    if isinstance(before, ScheduleRecord):
        return [DisarmSchedule(before.id)]
    # A timer that is deleted while pending still has its wake-up. All other effects have happened.
    return [Disarm(before.id)] if before is not None and before.pending and _wakes_late(before) else []


def _of_schedule(before: ScheduleRecord | None, after: ScheduleRecord) -> list[Effect]:
    if after.paused:
        return [] if before is not None and before.paused else [DisarmSchedule(after.id)]
    if before is None or before.paused or (before.cron, before.timezone) != (after.cron, after.timezone):
        armed = ArmSchedule(after.id, after.cron, after.timezone)
        soon = after.next_run_at - after.written_at <= SETTLING_MS
        return [armed, FireSchedule(after.id, after.next_run_at)] if soon else [armed]
    # One firing creates a limited number of occurrences (S4). The next firing follows at once.
    return [FireSchedule(after.id, after.next_run_at)] if after.next_run_at <= after.written_at else []


def _on_settlement(before: Record | None, after: Record) -> list[Effect]:
    if before is not None and not before.pending:
        return []
    disarmed: list[Effect] = [Disarm(after.id)] if _wakes_late(after) else []
    if not after.owes:
        return disarmed
    outstanding: list[Effect] = [Resume(awaiter, version, after.id) for awaiter, version in after.waiters]
    # The marker is before the listeners, so that a listener cannot delay the deletion of an execution.
    if after.root:
        outstanding.append(Retain(after.id, after.created_at, after.settled_at or after.timeout_at))
    if after.listeners:
        promise = after.promise()
        outstanding += [Unblock(address, promise) for address in after.listeners]
    return outstanding + disarmed


def _wakes_late(record: Record) -> bool:
    """Return whether the wake-up of a record is an EventBridge schedule that is still armed after its settlement.

    A wake-up within `ARMING_HORIZON_MS` is a message, which does no harm and costs nothing when it fires. A later one
    is an EventBridge schedule. It would exist and count against a quota until it fires.
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
    if after.generation is not None and before is not None and before.generation != after.generation:
        outstanding.append(Prune(after.id, after.created_at, after.generation))
    if after.timer:
        if before is None:
            outstanding.append(Arm(after.id, after.timeout_at))
    elif (
        (after.callbacks or after.listeners)
        and _newly_awaited(before)
        and after.timeout_at - after.written_at <= ARMING_HORIZON_MS
    ):
        outstanding.append(Arm(after.id, after.timeout_at))
    task = after.task
    if task is not None and task.state == "pending" and (address := after.offered_to) is not None:
        earlier = before.task if before is not None else None
        fresh = earlier is None or earlier.state != "pending" or earlier.offers != task.offers
        if before is not None and before.offered_to != address:
            fresh = True
        if fresh and task.offers > 0:
            outstanding.append(Execute(address, after.id, task.version))
        elif fresh and task.retry_at is not None:
            outstanding.append(Arm(after.id, task.retry_at))
    return outstanding


def _newly_awaited(before: Record | None) -> bool:
    return before is None or not (before.callbacks or before.listeners)

"""Delivery of the effects of one write, through outlets that send messages and arm timers (docs/rules.md W8 to W11).

Stores in a process deliver what they write. On DynamoDB the writer does, or the dispatcher, or the sweep.
"""

from __future__ import annotations

from typing import Any, Protocol

from resonate_store.interface import StoreError
from resonate_store.machine.effects import (
    Arm,
    ArmSchedule,
    Change,
    Disarm,
    DisarmSchedule,
    Effect,
    Execute,
    FireSchedule,
    Prune,
    Resume,
    Retain,
    Unblock,
    effects,
    message_of,
)
from resonate_store.model.records import PromiseView, Record
from resonate_store.model.requests import PromiseDelivered, Request, Response, TaskResume


class Outlets(Protocol):
    """What carries effects out: the store, and the senders of messages, timers, schedules and retention markers."""

    def apply(self, request: Request) -> Response: ...

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Send the message to `address`, without waiting until the receiver has handled it."""
        ...

    def notify(self, address: str, promise: PromiseView) -> None:
        """Send a settled promise to a listener, without waiting for the listener. Its values may be claims."""
        ...

    def arm(self, id: str, at: int) -> None:
        """Arm a wake-up of the promise at the instant `at` (ms), not earlier."""
        ...

    def disarm(self, id: str) -> None:
        """Delete the EventBridge schedule that is the wake-up of the promise, if it still exists."""
        ...

    def arm_schedule(self, id: str, cron: str, timezone: str | None) -> None:
        """Fire the schedule at each occurrence of `cron` in `timezone` (None means UTC), until `disarm_schedule`."""
        ...

    def fire_schedule(self, id: str, at: int) -> None:
        """Fire the schedule once at the instant `at` (ms), not earlier."""
        ...

    def disarm_schedule(self, id: str) -> None: ...

    def retain(self, id: str, created_at: int, settled_at: int) -> None:
        """Put the retention marker of a settled root, so that its tree is deleted later. Both instants are in ms."""
        ...

    def prune(self, outdated: Prune) -> None:
        """Delete the earlier generations of an execution, at once or soon."""
        ...


def deliver(change: Change, outlets: Outlets) -> None:
    """Carry out the effects of one write.

    The settlement is marked as delivered after its last effect. If the delivery fails before, the sweep repeats all
    effects, which is safe.

    Args:
        change: the write.
        outlets: where the effects are carried out.

    Raises:
        StoreError: the store was too busy to carry out an effect.
    """
    outstanding = effects(change.before, change.after)
    for effect in outstanding:
        carry_out(effect, outlets)
    after = change.after
    if outstanding and isinstance(after, Record) and after.state != "pending" and after.owes:
        mark_delivered(after.id, outlets)


def carry_out(effect: Effect, outlets: Outlets) -> None:
    """Carry out one effect.

    Raises:
        StoreError: the store was too busy.
    """
    match effect:
        case Prune():  # the first case, because a workflow without end may have thousands in a second
            outlets.prune(effect)
        case Resume():
            _apply(TaskResume(effect.awaiter, effect.version, effect.awaited), outlets)
        case Execute():
            outlets.send(effect.address, message_of(effect))
        case Unblock():
            outlets.notify(effect.address, effect.promise)
        case Arm():
            outlets.arm(effect.id, effect.at)
        case Disarm():
            outlets.disarm(effect.id)
        case ArmSchedule():
            outlets.arm_schedule(effect.id, effect.cron, effect.timezone)
        case FireSchedule():
            outlets.fire_schedule(effect.id, effect.at)
        case DisarmSchedule():
            outlets.disarm_schedule(effect.id)
        case Retain():
            outlets.retain(effect.id, effect.created_at, effect.settled_at)


def mark_delivered(id: str, outlets: Outlets) -> None:
    """Mark the settlement of a promise as delivered.

    Raises:
        StoreError: the store was too busy.
    """
    _apply(PromiseDelivered(id), outlets)


def _apply(request: TaskResume | PromiseDelivered, outlets: Outlets) -> None:
    response = outlets.apply(request)
    if response.status >= 500:
        raise StoreError(f"{request.kind} of {request.id!r}: {response.error}")

"""Delivery of a write's effects on AWS: sinks for timers and messages, and the outlets that use them.

The dispatcher uses `StreamOutlets`. The table's stream reports the dispatcher's own writes too, and a later invocation
delivers their effects. The sweep uses `SweepOutlets`. It repairs what the stream lost, so it does not rely on the
stream and delivers the effects of its own writes at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Literal, Protocol

from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import Applies, StoreError, deliver
from resonate_store.machine.effects import Change
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import Request, Response, TaskGet, TaskHalt

logger = logging.getLogger("resonate.effects")

Kind = Literal["timer", "schedule"]
"""The kind of record that fires: "timer" is a promise, "schedule" is a schedule."""


class TimerSink(Protocol):
    """Service that fires timers and recurring schedules. All instants are milliseconds since 1970 (UTC)."""

    def arm(self, kind: Kind, id: str, at: int) -> None:
        """Fire the promise or schedule `id` once, at the instant `at` or later."""
        ...

    def disarm(self, kind: Kind, id: str) -> None:
        """Delete a timer that `arm` created for a distant instant, if it still exists."""
        ...

    def recur(self, id: str, cron: str, timezone: str | None) -> None:
        """Fire the schedule `id` at every occurrence of `cron` in `timezone`, or in UTC if it is None."""
        ...

    def cease(self, id: str) -> None:
        """Delete the recurring timer that `recur` created for the schedule `id`."""
        ...


class NoTimers:
    """Timer sink that does nothing. The deployment finds what is due by reading its table instead."""

    def arm(self, kind: Kind, id: str, at: int) -> None:
        pass

    def disarm(self, kind: Kind, id: str) -> None:
        pass

    def recur(self, id: str, cron: str, timezone: str | None) -> None:
        pass

    def cease(self, id: str) -> None:
        pass


class MessageSink(Protocol):
    """Service that sends messages to workers and listeners."""

    def leads_home(self, address: str) -> bool:
        """Return whether a message to the address would invoke a function of the deployment that is not a worker."""
        ...

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Send a message. Do not wait for the receiver's work."""
        ...

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:
        """Send a settled promise to a listener. If the promise holds claims, `store` reads their large values."""
        ...


class StreamOutlets:
    """Outlets that the dispatcher delivers effects to.

    Args:
        store: the store of the table.
        timers: arms timers and schedules.
        transports: sends messages.
        retention_s: how long a settled execution is kept, in seconds.
    """

    def __init__(self, store: DynamoStore, timers: TimerSink, transports: MessageSink, retention_s: int) -> None:
        self.store = store
        self.timers = timers
        self.transports = transports
        self.retention_s = retention_s

    def apply(self, request: Request) -> Response:
        return self.store.apply(request)

    def send(self, address: str, message: dict[str, Any]) -> None:
        if self.transports.leads_home(address):
            self.give_up(message, f"its target {address} is a function of the deployment and not a worker")
        else:
            self.transports.send(address, message)

    def give_up(self, message: dict[str, Any], reason: str) -> None:
        """Halt the task that a message offers, if no worker has acquired it yet. Drop a message to a listener."""
        match message:
            case {"kind": "execute", "data": {"task": {"id": str(id), "version": int(version)}}}:
                task = self.apply(TaskGet(id)).task
                if task is not None and (task.state, task.version) == ("pending", version):
                    self.apply(TaskHalt(id, reason=reason))
            case _:
                pass
        logger.error("a push was refused: %s", reason)

    def notify(self, address: str, promise: PromiseView) -> None:
        self.transports.notify(address, promise, self)

    def arm(self, id: str, at: int) -> None:
        self.timers.arm("timer", id, at)

    def disarm(self, id: str) -> None:
        self.timers.disarm("timer", id)

    def arm_schedule(self, id: str, cron: str, timezone: str | None) -> None:
        self.timers.recur(id, cron, timezone)

    def fire_schedule(self, id: str, at: int) -> None:
        self.timers.arm("schedule", id, at)

    def disarm_schedule(self, id: str) -> None:
        self.timers.cease(id)

    def retain(self, id: str, created_at: int, settled_at: int) -> None:
        self.store.retain(id, created_at, settled_at, self.retention_s)


class SweepOutlets(StreamOutlets):
    """Outlets that do not use the stream: they deliver the effects of their own writes at once."""

    def apply(self, request: Request) -> Response:
        response, changes = self.store.transact(request, announce=False)
        for change in changes:
            deliver(change, self)
        return response

    def carry_out(self, changes: Iterable[Change]) -> None:
        """Deliver the effects of writes that the stream does not report. A later sweep repeats an effect that fails."""
        for change in changes:
            try:
                deliver(change, self)
            except StoreError as error:
                logger.warning("an effect failed and is left to the sweep: %s", error)

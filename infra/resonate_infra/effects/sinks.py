"""Where the effects of a write go on AWS.

The stream's consumer uses `StreamOutlets`: what it writes is announced on the stream again, and another call carries
those effects out. The sweep uses `SweepOutlets`: it repairs what the stream lost, so it must not rely on it, and
carries the effects of its own writes out itself.
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
"""What fires: the timer of a promise or a schedule."""


class TimerSink(Protocol):
    """Where timers and recurring schedules are armed. All instants are milliseconds."""

    def arm(self, kind: Kind, id: str, at: int) -> None:
        """Fire the promise or schedule `id` once at the instant `at`, not earlier."""
        ...

    def disarm(self, kind: Kind, id: str) -> None:
        """Delete what `arm` has armed for a distant instant, if it is still there."""
        ...

    def recur(self, id: str, cron: str, timezone: str | None) -> None:
        """Fire the schedule `id` whenever `cron` occurs in `timezone`, UTC if None."""
        ...

    def cease(self, id: str) -> None:
        """Stop what `recur` began."""
        ...


class NoTimers:
    """Timer sink that arms nothing, for a deployment that looks through its table instead."""

    def arm(self, kind: Kind, id: str, at: int) -> None:
        pass

    def disarm(self, kind: Kind, id: str) -> None:
        pass

    def recur(self, id: str, cron: str, timezone: str | None) -> None:
        pass

    def cease(self, id: str) -> None:
        pass


class MessageSink(Protocol):
    """Where messages to workers and listeners are sent."""

    def leads_home(self, address: str) -> bool:
        """Return whether messages to an address would invoke a function of the deployment that is not a worker."""
        ...

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Send a message, without waiting for the receiver's work."""
        ...

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:
        """Send a settled promise to a listener; `store` has its values if they are claims."""
        ...


class StreamOutlets:
    """The effects' surroundings on AWS.

    Args:
        store: the table.
        timers, transports: carry timers and messages.
        retention_s: how long a settled execution is kept.
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
        """Halt the task that a message offers, if no worker has it yet. A message to a listener is dropped."""
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
    """The same without the stream: every write's effects are carried out at once."""

    def apply(self, request: Request) -> Response:
        response, changes = self.store.transact(request, announce=False)
        for change in changes:
            deliver(change, self)
        return response

    def carry_out(self, changes: Iterable[Change]) -> None:
        """Carry out the effects of writes that were made without the stream; one that fails is left to the sweep."""
        for change in changes:
            try:
                deliver(change, self)
            except StoreError as error:
                logger.warning("an effect failed and is left to the sweep: %s", error)

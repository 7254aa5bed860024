"""Sinks of effects: the services that fire timers and carry messages.

All instants are milliseconds since 1970 (UTC).
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from resonate_store.interface import Applies
from resonate_store.model.records import PromiseView

Kind = Literal["timer", "schedule"]
"""The kind of record that fires: "timer" is a promise, "schedule" is a schedule."""


class Denied(Exception):
    """Raised when a sink is not allowed to carry out an effect, or its receiver does not exist."""


class VersionDeleted(Denied):
    """Raised when the version of a function that a task is pinned to does not exist."""


class TimerSink(Protocol):
    """Service that fires timers and recurring schedules."""

    def reaches(self, at: int | None) -> bool:
        """Return whether this sink may arm a timer for the instant `at`. None means any instant, and schedules."""
        ...

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


class MessageSink(Protocol):
    """Service that sends messages to workers and listeners."""

    def reaches(self, address: str) -> bool:
        """Return whether this sink may send an execute message to the address now, without a queue."""
        ...

    def notifies(self, address: str) -> bool:
        """Return whether this sink may send settled promises to the listener at the address."""
        ...

    def leads_home(self, address: str) -> bool:
        """Return whether a message to the address would invoke a function of the deployment that is not a worker."""
        ...

    def send(self, address: str, message: dict[str, Any]) -> None:
        """Send a message, without waiting for the receiver's work.

        Raises:
            Denied: this process may not send to the address.
        """
        ...

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:
        """Send a settled promise to a listener; `store` has its values if they are claims."""
        ...


class TimerOutlets:
    """The part of `Outlets` that arms timers and schedules, over a sink.

    Attributes:
        timers: the sink.
    """

    timers: TimerSink

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

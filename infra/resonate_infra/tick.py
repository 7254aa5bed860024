"""What time brings about: timers and schedules that fire, and the sweep that finds what was missed.

Every tick message names what to look at and when it is due; what happens is up to what is found there, so a message
that is late, early, repeated or about something long gone does no harm (DESIGN rule 8). The sweep reads the `wake`
index instead, shard by shard, and stops when its time is up; the next one, a minute later, goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import msgspec

from resonate_infra.outlets import StreamOutlets, SweepOutlets
from resonate_store.clock import Clock
from resonate_store.effects import repeated
from resonate_store.interface import deliver
from resonate_store.models import Key
from resonate_store.requests import PromiseWake, Request, ScheduleFire

BATCH = 100
"""Entries that the sweep takes from a shard at a time."""
INTERVAL = 60_000
"""The pause between two sweeps, as the template says (ms)."""

logger = logging.getLogger("resonate.tick")


class MalformedTick(ValueError):
    """An event that is no tick message."""


class Timer(msgspec.Struct, tag_field="kind", tag="timer"):
    """Look at the promise `id`, which is due at `at` (ms)."""

    id: str
    at: int


class Schedule(msgspec.Struct, tag_field="kind", tag="schedule"):
    """Look at the schedule `id`, which is due at `at` (ms), or now."""

    id: str
    at: int = 0


class Sweep(msgspec.Struct, tag_field="kind", tag="sweep"):
    """Look at everything that is due."""


Message = Timer | Schedule | Sweep


def message_of(content: Any) -> Message:
    """Read a tick message from an event or a message body.

    Raises:
        MalformedTick: it is none.
    """
    try:
        if isinstance(content, str):
            return msgspec.json.decode(content, type=Message)
        return msgspec.convert(content, Message)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise MalformedTick(
            'expected {"kind": "sweep"}, {"kind": "timer", "id": string, "at": number} or'
            f' {{"kind": "schedule", "id": string}}: {error}'
        ) from None


class Tick:
    """Acts on tick messages.

    Args:
        outlets: where effects go.
        clock: the source of time.
    """

    def __init__(self, outlets: StreamOutlets, clock: Clock) -> None:
        self._outlets = outlets
        self._store = outlets.store
        self._clock = clock
        self._sweeping = SweepOutlets(outlets.store, outlets.timers, outlets.transports, outlets.retention_seconds)

    def act(self, message: Message, deadline: int | None = None) -> dict[str, Any]:
        """Do what a message asks for.

        Args:
            message: what to look at.
            deadline: the instant (ms) after which a sweep begins nothing new.

        Returns:
            What was done, for the log.
        """
        match message:
            case Timer():
                return self._fire("timer", message.id, message.at, PromiseWake(message.id))
            case Schedule():
                return self._fire("schedule", message.id, message.at, ScheduleFire(message.id))
            case Sweep():
                return self.sweep(deadline)

    def sweep(self, deadline: int | None = None) -> dict[str, Any]:
        """Wake every entry that is due, the longest overdue first in each shard, until `deadline` (ms)."""
        woken = failed = 0
        for kind, id in self._due():
            if deadline is not None and self._clock.now() >= deadline:
                break
            try:
                self._wake(PromiseWake(id) if kind == "promise" else ScheduleFire(id))
                woken += 1
            except Exception:
                # One bad entry must not keep the sweep from the others; it stays due and is met again.
                logger.exception("waking %s %s failed", kind, id)
                failed += 1
        return {"kind": "sweep", "woken": woken, "failed": failed}

    def _due(self) -> Iterator[Key]:
        now, shards = self._clock.now(), self._store.shards
        # A sweep that runs out of time must not leave out the same shards every time.
        first = now // INTERVAL
        for shard in range(first, first + shards):
            start: Any = None
            while True:
                keys, start = self._store.due_in_shard(shard % shards, now, BATCH, start)
                yield from keys
                if start is None:
                    break

    def _wake(self, request: Request) -> None:
        _, changes = self._store.transact(request, announce=False)
        for change in changes:
            deliver(repeated(change), self._sweeping)

    def _fire(self, kind: Any, id: str, at: int, request: Request) -> dict[str, Any]:
        if at > self._clock.now():
            self._outlets.timers.arm(kind, id, at)
            return {"kind": kind, "id": id, "rearmed": at}
        response = self._store.apply(request)
        return {"kind": kind, "id": id, "status": response.status}

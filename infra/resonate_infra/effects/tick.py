"""What time brings about: timers and schedules that fire, and the sweep that finds what was missed.

Every tick message names what to look at and when it is due; what happens is up to what is found there, so a message
that is late, early, repeated or about something long gone does no harm (docs/rules.md C1).

The sweep reads the `wake` index instead, a batch of each shard in turn, and stops when its time is up or it has done
enough. What it has woken is no longer due, so the next one goes on where it stopped, in every shard; and it begins in
another shard, so none waits for the others. A sweep that stops before the end hands the shards that have more over to
sweeps of their own, `{"kind": "sweep", "shard": 3}`, which run at the same time. Those hand over nothing: what they
leave is the next minute's, so that a backlog never makes more than one sweep of each shard a minute.

EventBridge fires a recurring schedule within its minute, and for so long the sweep leaves it alone. So what the sweep
does fire has lost what should have - a record of the stream, or the function's name has changed - and is armed anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import msgspec

from resonate_infra.effects.settings import SWEEP_INTERVAL_MS
from resonate_infra.effects.sinks import StreamOutlets, SweepOutlets
from resonate_store.interface import deliver
from resonate_store.machine.effects import LATE_MS, repeated
from resonate_store.model.clock import Clock
from resonate_store.model.records import Key, Schedule
from resonate_store.model.requests import PromiseWake, Request, ScheduleFire, ScheduleGet

BATCH = 100
"""Entries that the sweep takes from a shard at a time."""
MAX_COUNTED = 1_000
"""Halted tasks of a shard that are counted at most."""
MAX_WAKES = 20_000
"""Entries that one sweep wakes at most."""
MAX_EARLY_MS = 5_000
"""How much earlier than this function's clock says a recurring schedule may fire: the clocks of two machines."""

logger = logging.getLogger("resonate.tick")


class MalformedTick(ValueError):
    """An event that is no tick message."""


class Timer(msgspec.Struct, tag_field="kind", tag="timer"):
    """Look at the promise `id`, which is due at `at` (ms)."""

    id: str
    at: int


class ScheduleDue(msgspec.Struct, tag_field="kind", tag="schedule"):
    """Look at the schedule `id`, which is due at `at` (ms), or now."""

    id: str
    at: int = 0


class Sweep(msgspec.Struct, tag_field="kind", tag="sweep"):
    """Look at everything that is due, in one shard or in all."""

    shard: int | None = None


Message = Timer | ScheduleDue | Sweep


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
        observe: told by how much (ms) a timer or what a sweep found was late, as `TimerLag` and `SweepLag`, how many
            entries failed, as `SweepFailures`, and how many tasks a sweep of all shards found halted, as `HaltedNow`.
        hand_over: has somebody else sweep a shard; None if there is nobody else.
        patience_ms: how late a schedule is before the sweep takes it for one that nothing else fires.
        stopped: whether the deployment is stopped, so that nothing may happen by itself.
        idle_level: the level at which a sweep that finds nothing due is logged.
    """

    def __init__(
        self,
        outlets: StreamOutlets,
        clock: Clock,
        observe: Callable[[str, int], None] = lambda _name, _value: None,
        hand_over: Callable[[Sweep], None] | None = None,
        patience_ms: int = LATE_MS,
        stopped: Callable[[], bool] = lambda: False,
        idle_level: int = logging.INFO,
    ) -> None:
        self._idle_level = idle_level
        self._outlets = outlets
        self._store = outlets.store
        self._clock = clock
        self._observe = observe
        self._hand_over = hand_over
        self._patience_ms = patience_ms
        self._stopped = stopped
        self._sweeping = SweepOutlets(outlets.store, outlets.timers, outlets.transports, outlets.retention_s)

    def act(self, message: Message, deadline: int | None = None) -> dict[str, Any]:
        """Do what a message asks for.

        Args:
            message: what to look at.
            deadline: the instant (ms) after which a sweep begins nothing new.

        Returns:
            What was done, for the log.
        """
        if self._stopped():
            return {"stopped": True}
        match message:
            case Timer():
                return self._fire("timer", message.id, message.at, PromiseWake(message.id))
            case ScheduleDue():
                return self._fire("schedule", message.id, message.at, ScheduleFire(message.id))
            case Sweep():
                return self.sweep(deadline, message.shard)

    def sweep(self, deadline: int | None = None, shard: int | None = None) -> dict[str, Any]:
        """Wake every entry that is due, the longest overdue first in each shard.

        Args:
            deadline: the instant (ms) after which nothing new is begun.
            shard: the only shard to look at.

        Returns:
            How many entries were `woken` and how many `failed`; `lag`, how long the entry that was due first had been
            overdue when this began (ms); and whether everything that was due has been looked at (`finished`).

        Raises:
            MalformedTick: there is no such shard.
        """
        woken = failed = lag = 0
        finished = True
        now = self._clock.now()
        left = self._shards(now, shard)
        halted = [entry for number in left for entry in self._store.halted_in_shard(number, MAX_COUNTED)]
        for (kind, id), at in chain((entry for entry in halted if entry[1] <= now), self._due(now, left)):
            if (deadline is not None and self._clock.now() >= deadline) or woken + failed >= MAX_WAKES:
                finished = False
                break
            if kind == "schedule" and now - at < self._patience_ms:
                continue  # EventBridge may be about to fire it
            lag = max(lag, now - at)
            try:
                self._wake(PromiseWake(id) if kind == "promise" else ScheduleFire(id))
                woken += 1
            except Exception:
                # One bad entry must not keep the sweep from the others; it stays due and is met again.
                logger.exception("waking %s %s failed", kind, id)
                failed += 1
        self._observe("SweepLag", lag)
        if shard is None:
            self._observe("HaltedNow", len(halted))
        if failed:
            self._observe("SweepFailures", failed)
        if not finished and shard is None and self._hand_over is not None:
            for number in left:
                self._hand_over(Sweep(number))
        result = {"kind": "sweep", "woken": woken, "failed": failed, "lag": lag, "finished": finished}
        level = logging.INFO if woken or failed else self._idle_level
        logger.log(level if finished else logging.WARNING, "sweep: %s", result)
        return result

    def _shards(self, now: int, shard: int | None) -> dict[int, Any]:
        """The shards to look at, in the order in which to do it, each from its beginning."""
        shards = self._store.shards
        if shard is not None and not 0 <= shard < shards:
            raise MalformedTick(f"there is no shard {shard}: they are numbered from 0 to {shards - 1}")
        # A sweep that runs out of time must not leave out the same shards every time.
        first = now // SWEEP_INTERVAL_MS
        some = range(first, first + shards) if shard is None else (shard,)
        return dict.fromkeys(number % shards for number in some)

    def _due(self, now: int, left: dict[int, Any]) -> Iterator[tuple[Key, int]]:
        """What is due and since when, a batch of each shard in turn; a shard is left until all of it was given out."""
        while left:
            for number, start in list(left.items()):
                entries, more = self._store.due_in_shard(number, now, BATCH, start)
                yield from entries
                if more is None:
                    del left[number]
                else:
                    left[number] = more

    def _wake(self, request: Request) -> None:
        _, changes = self._store.transact(request, announce=False)
        for change in changes:
            deliver(repeated(change), self._sweeping)

    def _fire(self, kind: Any, id: str, at: int, request: Request) -> dict[str, Any]:
        if at > self._clock.now():
            self._outlets.timers.arm(kind, id, at)
            return {"kind": kind, "id": id, "rearmed": at}
        if at:
            self._observe("TimerLag", self._clock.now() - at)
        response = self._store.apply(request)
        if isinstance(request, ScheduleFire):
            self._look_after(id, response.schedule)
        return {"kind": kind, "id": id, "status": response.status}

    def _look_after(self, id: str, schedule: Schedule | None) -> None:
        """See to it that what fires a schedule lasts as long as the schedule does, and no longer."""
        if schedule is None or schedule.paused:
            # What should have deleted its recurrence got lost.
            self._outlets.disarm_schedule(id)
            schedule = self._store.apply(ScheduleGet(id)).schedule
            if schedule is not None and not schedule.paused:  # it has come back meanwhile
                self._outlets.arm_schedule(id, schedule.cron, schedule.timezone)
        elif 0 < schedule.next_run_at - self._clock.now() <= MAX_EARLY_MS:
            self._outlets.fire_schedule(id, schedule.next_run_at)

"""Timer firings, schedule firings, and the sweep.

A tick message names a record and the instant at which it is due. The record decides what happens. So a message that is
late, early, repeated or about a deleted record is harmless (docs/rules.md C1).

The sweep reads the `wake` index instead of a message. It takes one batch of each shard in turn, and stops at its
deadline or after `MAX_WAKES` entries. A record that it has woken is no longer due, so the next sweep continues where
this one stopped. Each sweep begins with another shard, so that none is always last.

A sweep of all shards that stops early sends `{"kind": "sweep", "shard": 3}` for each shard with more entries. These
sweeps of one shard run in parallel and send no such messages. The next minute's sweep does what they leave. So a
backlog causes at most one additional sweep of each shard in a minute.

EventBridge fires a recurring schedule within its minute, and the sweep skips the schedule for that time. A schedule
that the sweep fires has lost its timer: a stream record was lost, or the tick function's name has changed. So the sweep
arms it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import msgspec

from resonate_infra.effects.settings import SWEEP_INTERVAL_MS
from resonate_infra.effects.sinks import StreamOutlets, SweepOutlets
from resonate_store.delivery.timers import QUEUE_HORIZON_MS
from resonate_store.machine.draft import REDELIVERY_MS
from resonate_store.machine.effects import LATE_MS
from resonate_store.model.clock import Clock
from resonate_store.model.records import Key, Schedule
from resonate_store.model.requests import PromiseWake, Request
from resonate_store.model.schedule_requests import ScheduleFire, ScheduleGet

BATCH = 100
"""Number of index entries that the sweep reads from a shard in one batch."""
MAX_COUNTED = 1_000
"""Maximum number of halted tasks that are counted in a shard."""
MAX_WAKES = 20_000
"""Maximum number of promises and schedules that one sweep handles."""
MAX_EARLY_MS = 5_000
"""How many milliseconds before its instant a recurring schedule may fire, because the clocks of machines differ."""

logger = logging.getLogger("resonate.tick")


class MalformedTick(ValueError):
    """An event is not a tick message."""


class Timer(msgspec.Struct, tag_field="kind", tag="timer"):
    """Message to wake the promise `id`, which is due at `at` (ms)."""

    id: str
    at: int


class ScheduleDue(msgspec.Struct, tag_field="kind", tag="schedule"):
    """Message to fire the schedule `id`, which is due at `at` (ms), or now if `at` is 0."""

    id: str
    at: int = 0


class Sweep(msgspec.Struct, tag_field="kind", tag="sweep"):
    """Message to wake everything that is due, in one shard, or in all shards if `shard` is None."""

    shard: int | None = None


Message = Timer | ScheduleDue | Sweep


def message_of(content: Any) -> Message:
    """Return the tick message in an event (dict) or in a message body (JSON text).

    Raises:
        MalformedTick: the content is not a tick message.
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


def queued_message_of(body: str, now: int) -> Timer | ScheduleDue:
    """Return the tick message in a body of the timer queue, to which workers may send.

    Raises:
        MalformedTick: the body is not a message that the deployment puts there.
    """
    message = message_of(body)
    if isinstance(message, Sweep):
        raise MalformedTick("the timer queue has timers and schedules, and no sweeps")
    if message.at - now > QUEUE_HORIZON_MS:
        raise MalformedTick(f"a timer of the queue is due within {QUEUE_HORIZON_MS} ms, and not at {message.at}")
    return message


class Tick:
    """Handler of tick messages.

    Args:
        outlets: where effects are delivered.
        clock: the source of time.
        observe: receives metrics as name and value. `TimerLag` and `SweepLag` (ms) say how late a timer or a swept
            entry was. `SweepFailures` counts entries that failed. `HaltedNow` counts the halted tasks of all shards.
        hand_over: starts a sweep of one shard in another invocation. None if that is not possible.
        patience_ms: how late a schedule must be before the sweep fires it.
        stopped: returns whether the deployment is stopped by a debug request. Ticks then do nothing.
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
        sinks = (outlets.timers, outlets.transports, outlets.retention_s)
        self._sweeping = SweepOutlets(outlets.store, *sinks, outlets.count)

    def act(self, message: Message, deadline: int | None = None) -> dict[str, Any]:
        """Carry out one tick message.

        Args:
            message: the message.
            deadline: the instant (ms) after which a sweep wakes no further entry.

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
        """Wake every entry that is due, in each shard the longest overdue first.

        Args:
            deadline: the instant (ms) after which no further entry is woken.
            shard: the only shard to sweep. None sweeps all shards.

        Returns:
            `woken` and `failed`, numbers of entries. `lag`, by how many ms the most overdue entry was late when the
            sweep began. `finished`, whether the sweep reached every entry that was due.

        Raises:
            MalformedTick: the shard does not exist.
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
                continue  # EventBridge may still fire it.
            lag = max(lag, now - at)
            try:
                patient = PromiseWake(id, redelivery_ms=REDELIVERY_MS)
                self._wake(patient if kind == "promise" else ScheduleFire(id))
                woken += 1
            except Exception:
                # One entry that fails must not end the sweep. It stays due, and the next sweep tries it again.
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
        """Return the shards to sweep, in order. Each maps to the position to read from; None is the beginning."""
        shards = self._store.shards
        if shard is not None and not 0 <= shard < shards:
            raise MalformedTick(f"there is no shard {shard}: they are numbered from 0 to {shards - 1}")
        # The first shard changes every minute, so that sweeps without enough time do not always omit the same shards.
        first = now // SWEEP_INTERVAL_MS
        some = range(first, first + shards) if shard is None else (shard,)
        return dict.fromkeys(number % shards for number in some)

    def _due(self, now: int, left: dict[int, Any]) -> Iterator[tuple[Key, int]]:
        """Yield each due entry and the instant (ms) since when it is due, one batch of each shard in turn.

        `left` keeps the shards that have more entries: a shard is removed after its last batch.
        """
        while left:
            for number, start in list(left.items()):
                entries, more = self._store.due_in_shard(number, now, BATCH, start)
                yield from entries
                if more is None:
                    del left[number]
                else:
                    left[number] = more

    def _wake(self, request: Request) -> None:
        self._sweeping.apply(request)

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
        """Correct the timers of a schedule after its firing.

        A deleted or paused schedule must not have a recurring timer, so this timer is deleted. If the firing was at
        most `MAX_EARLY_MS` too early, the schedule is fired once more, at its occurrence.
        """
        if schedule is None or schedule.paused:
            # The effect that should have deleted its recurring timer was lost.
            self._outlets.disarm_schedule(id)
            schedule = self._store.apply(ScheduleGet(id)).schedule
            if schedule is not None and not schedule.paused:  # Created or resumed again meanwhile.
                self._outlets.arm_schedule(id, schedule.cron, schedule.timezone)
        elif 0 < schedule.next_run_at - self._clock.now() <= MAX_EARLY_MS:
            self._outlets.fire_schedule(id, schedule.next_run_at)

"""A DynamoDB table as the store of one process: what functions do in a deployment is done here, in process.

A write made through this server is not announced on the table's stream; its effects are carried out here at once, and
timers are kept in a heap instead of in SQS and EventBridge Scheduler. A sweep of the `wake` index sees to leases and
redispatch, and finds what others wrote, what an earlier life of this server left, and what failed.

The table's own functions may run at the same time. Nothing is done twice by that: their stream shows them only writes
made elsewhere, both sweeps act through the same conditional writes, and every effect bears repetition; at worst a
worker is offered a task twice, and one of the two finds it taken.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable
from typing import Any

from resonate_infra.effects.sinks import Kind, NoTimers, SweepOutlets
from resonate_infra.effects.tick import Tick
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import Applies, StoreWrapper, whole
from resonate_store.local.embedded import Subscribable
from resonate_store.machine.effects import Unblock, message_of, repeated
from resonate_store.model.clock import Clock
from resonate_store.model.cron import next_occurrence
from resonate_store.model.records import Key, PromiseView, Record
from resonate_store.model.requests import PromiseGet, PromiseWake, Request, Response, ScheduleFire


class TableStore(Subscribable, StoreWrapper):
    """The store over a table, with its effects.

    Args:
        table: the table.
        sweep_interval_ms: the time between two looks at what is due in the table.
        retention_s: how long a settled execution is kept.
    """

    def __init__(self, table: DynamoStore, sweep_interval_ms: int, retention_s: int) -> None:
        Subscribable.__init__(self)
        StoreWrapper.__init__(self, table)
        self.clock = table.clock
        self._table = table
        self._sweep_interval_ms = sweep_interval_ms
        self._lock = threading.Lock()
        self._wakes: list[tuple[int, Key]] = []
        self._next_sweep = 0
        self._outlets = SweepOutlets(table, _PlannedTimers(self._plan, table.clock), _StoreMessages(self), retention_s)
        # Schedules are fired by this process, on time. It sweeps a local table every second.
        self._tick = Tick(self._outlets, table.clock, patience_ms=0, idle_level=logging.DEBUG)

    @property
    def embedded(self) -> TableStore:
        """This store: it fires its timers itself."""
        return self

    def apply(self, request: Request) -> Response:
        """Carry out one request and its effects; an effect that fails is left to the sweep."""
        response, changes = self._table.transact(request, announce=False)
        self._outlets.carry_out(changes)
        return response

    def open(self) -> TableStore:
        return self

    def ready(self) -> bool:
        """Whether the table answers."""
        return self.apply(PromiseGet("ready")).status < 500

    def record(self, id: str) -> Record | None:
        """The record as it is stored."""
        return self._table.record(id)

    def due(self, now: int) -> list[Key]:
        """The entries whose `wake_at` has come, the earliest first; they stay due until they are woken."""
        return self._table.due(now)

    def next_wake_at(self) -> int:
        """The earliest instant (milliseconds) at which `tick` has something to do."""
        with self._lock:
            return min(self._next_sweep, self._wakes[0][0]) if self._wakes else self._next_sweep

    def tick(self) -> int:
        """Do everything that is known to be due now, and sweep the table if it is time for that.

        Returns:
            The number of entries that were woken.
        """
        woken = 0
        while (key := self._first_due()) is not None:
            kind, id = key
            request = PromiseWake(id) if kind == "promise" else ScheduleFire(id)
            response, changes = self._table.transact(request, announce=False)
            self._outlets.carry_out([repeated(change) for change in changes])
            if response.schedule is not None and not response.schedule.paused:
                self._plan(response.schedule.next_run_at, key)
            woken += 1
        now = self.clock.now()
        if now >= self._next_sweep:
            self._next_sweep = now + self._sweep_interval_ms
            woken += self._tick.sweep()["woken"]
        return woken

    def _plan(self, at: int, key: Key) -> None:
        """Wake an entry at the instant `at`."""
        with self._lock:
            heapq.heappush(self._wakes, (at, key))
            first = self._wakes[0] == (at, key)
        if first and self._on_wake is not None:
            self._on_wake(at)

    def _first_due(self) -> Key | None:
        with self._lock:
            if not self._wakes or self._wakes[0][0] > self.clock.now():
                return None
            due = heapq.heappop(self._wakes)
            while self._wakes and self._wakes[0] == due:
                heapq.heappop(self._wakes)
            return due[1]


class _PlannedTimers(NoTimers):
    """Timer sink of this process. Nothing is disarmed: a timer whose entry is gone fires and finds nothing."""

    def __init__(self, plan: Callable[[int, Key], None], clock: Clock) -> None:
        self._plan = plan
        self._clock = clock

    def arm(self, kind: Kind, id: str, at: int) -> None:
        self._plan(at, ("promise" if kind == "timer" else "schedule", id))

    def recur(self, id: str, cron: str, timezone: str | None) -> None:
        """Wake a schedule at its next occurrence; every firing plans the one after it."""
        self._plan(next_occurrence(cron, self._clock.now(), timezone), ("schedule", id))


class _StoreMessages:
    """Message sink that passes everything to `send` of the store."""

    def __init__(self, store: TableStore) -> None:
        self._store = store

    def leads_home(self, address: str) -> bool:  # noqa: ARG002 - every function is a worker here
        return False

    def send(self, address: str, message: dict[str, Any]) -> None:
        self._store.send(address, message)

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:
        self._store.send(address, message_of(Unblock(address, whole(promise, store))))

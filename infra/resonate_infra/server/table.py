"""DynamoDB table as the store of the server. This process does what functions do in a deployment.

A write through this server is not announced on the table's stream. Its effects are delivered here at once. Timers are
in a heap instead of SQS and EventBridge Scheduler. A sweep of the `wake` index handles leases and redispatch. It also
finds the writes of other processes, what an earlier run of this server left, and effects that failed.

A deployment's functions can work on the same table at the same time. They do not repeat what this server does: the
stream shows them only the writes of other processes. Both sweeps use the same conditional writes, and every effect can
be repeated. At worst a task is offered twice, and only one worker acquires it.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable
from typing import Any

from resonate_infra.effects.sinks import EveryAddress, NoTimers, SweepOutlets
from resonate_infra.effects.tick import Tick
from resonate_store.delivery.sinks import Kind
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import Applies, StoreWrapper, whole
from resonate_store.local.embedded import Subscribable
from resonate_store.machine.effects import Unblock, message_of
from resonate_store.model.clock import Clock
from resonate_store.model.cron import next_occurrence
from resonate_store.model.records import Key, PromiseView, Record
from resonate_store.model.requests import PromiseGet, PromiseWake, Request, Response
from resonate_store.model.schedule_requests import ScheduleFire


class TableStore(Subscribable, StoreWrapper):
    """Store over a table that delivers the effects of its writes.

    Args:
        table: the store of the table.
        sweep_interval_ms: milliseconds between two sweeps of the table.
        retention_s: how long a settled execution is kept, in seconds.
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
        # No patience: this process fires schedules itself, so the sweep need not wait for EventBridge.
        self._tick = Tick(self._outlets, table.clock, patience_ms=0, idle_level=logging.DEBUG)

    @property
    def embedded(self) -> TableStore:
        """This store: it fires its timers itself."""
        return self

    def apply(self, request: Request) -> Response:
        """Carry out one request and its effects. The sweep repeats an effect that fails."""
        return self._outlets.apply(request)

    def open(self) -> TableStore:
        return self

    def ready(self) -> bool:
        """Return whether the table answers."""
        return self.apply(PromiseGet("ready")).status < 500

    def record(self, id: str) -> Record | None:
        """Return a record as it is stored, or None."""
        return self._table.record(id)

    def due(self, now: int) -> list[Key]:
        """Return the entries whose `wake_at` is at or before `now` (ms), the earliest first."""
        return self._table.due(now)

    def next_wake_at(self) -> int:
        """Return the earliest instant (ms) at which `tick` has something to do."""
        with self._lock:
            return min(self._next_sweep, self._wakes[0][0]) if self._wakes else self._next_sweep

    def tick(self) -> int:
        """Wake everything that is due in the heap. Sweep the table if the interval has passed.

        Returns:
            The number of entries that were woken.
        """
        woken = 0
        while (key := self._first_due()) is not None:
            kind, id = key
            request = PromiseWake(id) if kind == "promise" else ScheduleFire(id)
            response = self._outlets.apply(request)
            if response.schedule is not None and not response.schedule.paused:
                self._plan(response.schedule.next_run_at, key)
            woken += 1
        now = self.clock.now()
        if now >= self._next_sweep:
            self._next_sweep = now + self._sweep_interval_ms
            woken += self._tick.sweep()["woken"]
        return woken

    def _plan(self, at: int, key: Key) -> None:
        """Plan to wake an entry at the instant `at` (ms)."""
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
    """Timer sink of this process. It disarms nothing: a timer of a deleted entry fires and has no effect."""

    def __init__(self, plan: Callable[[int, Key], None], clock: Clock) -> None:
        self._plan = plan
        self._clock = clock

    def arm(self, kind: Kind, id: str, at: int) -> None:
        self._plan(at, ("promise" if kind == "timer" else "schedule", id))

    def recur(self, id: str, cron: str, timezone: str | None) -> None:
        """Plan to wake a schedule at its next occurrence. Each firing plans the following one."""
        self._plan(next_occurrence(cron, self._clock.now(), timezone), ("schedule", id))


class _StoreMessages(EveryAddress):
    """Message sink that passes all messages to `send` of the store."""

    def __init__(self, store: TableStore) -> None:
        self._store = store

    def leads_home(self, address: str) -> bool:  # noqa: ARG002 - every function is a worker here
        return False

    def send(self, address: str, message: dict[str, Any]) -> None:
        self._store.send(address, message)

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:
        self._store.send(address, message_of(Unblock(address, whole(promise, store))))

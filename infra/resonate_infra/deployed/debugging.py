"""A deployment that a test drives step by step: the debug requests over its table (docs/decisions/0035).

While it is stopped, nothing but requests does anything. Their effects are carried out together with them, here, and at
their time: the stream would bring them to the dispatcher at some later moment of the real clock. Messages are held back
in the table. Dispatch and tick function look whether the deployment is stopped before they act on a change or a timer,
and do nothing; when it goes on, the sweep finds what they have left undone. What is in the push queue is on its way
already. A deployment that is not stopped works as ever, and a tick does what is due in it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from resonate_infra.effects.sinks import NoTimers, SweepOutlets
from resonate_store.dynamo.debug_items import DynamoDebug, Held
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import Applies, StoreWrapper
from resonate_store.machine.effects import Execute, Unblock, message_of, repeated
from resonate_store.model.records import Key, PromiseView, Record, key_of
from resonate_store.model.requests import PromiseWake, Request, Response, ScheduleFire
from resonate_store.protocol.debug import DebugMessage, RequestClock, Snapshot, snapshot_of


class TableDebug(StoreWrapper):
    """The debug requests over a deployment's table, and the store that other requests go to meanwhile.

    Args:
        table: made on `clock`.
        clock: shows a request the time that it brought along.
        retention_s: for how long a settled execution is kept.
    """

    def __init__(self, table: DynamoStore, clock: RequestClock, retention_s: int) -> None:
        super().__init__(table)
        self._table = table
        self._clock = clock
        self._debug = table.debug()
        self._holding = _HeldMessages(self._debug)
        # Nothing is armed: a tick looks through the table.
        self._outlets = SweepOutlets(table, NoTimers(), self._holding, retention_s)

    # What it is as a store.

    def apply(self, request: Request) -> Response:
        """Carry out one request; while the deployment is stopped with its effects, else the stream brings them."""
        if not self._debug.paused():
            return self._table.apply(request)
        response = self._carry_out(request)
        self._go_on()
        return response

    def open(self) -> TableDebug:
        return self

    # What the debug requests ask for.

    def start(self) -> None:
        self._debug.pause()

    def stop(self) -> None:
        self._debug.resume()

    def reset(self) -> None:
        self._debug.clear()

    def tick(self, time: int) -> None:
        """Wake what is due at `time`, the earliest first, and what becomes due by that, until there is nothing new."""
        woken: set[tuple[int, Key]] = set()
        with self._clock.at(time):
            while due := self._due(time) - woken:
                for _, (kind, id) in sorted(due):
                    self._carry_out(PromiseWake(id) if kind == "promise" else ScheduleFire(id))
                woken |= due
        self._go_on()

    def at(self, time: int) -> AbstractContextManager[Any]:
        return self._clock.at(time)

    def snap(self) -> Snapshot:
        records = [entry for entry in self._debug.entries() if isinstance(entry, Record)]
        records.sort(key=lambda record: record.id)
        held = [(held.address, message_about(held, self._table)) for held in self._debug.held()]
        snapshot = snapshot_of(records, [DebugMessage(address, message) for address, message in held if message])
        snapshot.promises = self._debug.whole(snapshot.promises)
        return snapshot

    def _due(self, now: int) -> set[tuple[int, Key]]:
        """What is due and since when, read from the table itself."""
        entries = self._debug.entries()
        return {
            (entry.wake_at, key_of(entry)) for entry in entries if entry.wake_at is not None and entry.wake_at <= now
        }

    def _carry_out(self, request: Request) -> Response:
        """Carry out one request with its effects; messages are held back."""
        response, changes = self._table.transact(request, announce=False)
        woken = isinstance(request, (PromiseWake, ScheduleFire))
        self._outlets.carry_out([repeated(change) if woken else change for change in changes])
        return response

    def _go_on(self) -> None:
        """Let go of what was held back, if the deployment runs: all the while, or since somebody has told it to."""
        if self._holding.held_back and not self._debug.paused():
            self._debug.release()


def message_about(held: Held, table: DynamoStore) -> dict[str, Any] | None:
    """The message that is held back; None if it tells of a promise that there is no more."""
    if held.version is not None:
        return message_of(Execute(held.address, held.id, held.version))
    record = table.record(held.id)
    if record is None or record.pending:
        return None
    (promise,) = table.debug().whole([record.promise()])
    return message_of(Unblock(held.address, promise))


class _HeldMessages:
    """Message sink that holds every message back.

    Attributes:
        held_back: whether there has been one.
    """

    def __init__(self, debug: DynamoDebug) -> None:
        self.held_back = False
        self._debug = debug

    def leads_home(self, address: str) -> bool:  # noqa: ARG002 - asked when the message is sent
        return False

    def send(self, address: str, message: dict[str, Any]) -> None:
        self.held_back = True
        task = message["data"]["task"]
        self._debug.hold(Held(address, task["id"], task["version"]))

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:  # noqa: ARG002 - as transports do
        self.held_back = True
        self._debug.hold(Held(address, promise.id))

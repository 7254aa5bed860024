"""Debug requests over a deployment's table, so that a test can drive it step by step (docs/decisions/0035).

A debug request can stop the deployment. While it is stopped, only requests have an effect:

- The API delivers the effects of a request together with the request, at the request's time. The stream would bring
  them to the dispatcher later, at the time of the real clock.
- Messages are held back in the table.
- The dispatcher and the tick function check whether the deployment is stopped before they act on a change or a timer.
  If it is, they do nothing. After the deployment resumes, the sweep does what they have omitted.
- Messages that are already in the push queue are still sent.

If the deployment is not stopped it works as usual, and the debug request for a tick also wakes what is due.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from resonate_infra.effects.sinks import EveryAddress, NoTimers, SweepOutlets
from resonate_store.dynamo.debug_items import DynamoDebug, Held
from resonate_store.dynamo.store import DynamoStore
from resonate_store.interface import Applies, StoreWrapper
from resonate_store.machine.effects import Execute, Unblock, message_of
from resonate_store.model.records import Key, PromiseView, Record, key_of
from resonate_store.model.requests import PromiseWake, Request, Response
from resonate_store.model.schedule_requests import ScheduleFire
from resonate_store.protocol.debug import DebugMessage, RequestClock, Snapshot, snapshot_of


class TableDebug(StoreWrapper):
    """Debug requests over a deployment's table. It is also the store that all other requests go to.

    Args:
        table: the store of the table. It uses `clock`.
        clock: returns the time that a request specifies, while this request is handled.
        retention_s: how long a settled execution is kept, in seconds.
    """

    def __init__(self, table: DynamoStore, clock: RequestClock, retention_s: int) -> None:
        super().__init__(table)
        self._table = table
        self._clock = clock
        self._debug = table.debug()
        self._holding = _HeldMessages(self._debug)
        # No timers are armed: `tick` reads the table instead.
        self._outlets = SweepOutlets(table, NoTimers(), self._holding, retention_s)

    # Store.

    def apply(self, request: Request) -> Response:
        """Carry out one request. If the deployment is stopped deliver its effects too, otherwise the stream does."""
        if not self._debug.paused():
            return self._table.apply(request)
        response = self._carry_out(request)
        self._go_on()
        return response

    def open(self) -> TableDebug:
        return self

    # Debug requests.

    def start(self) -> None:
        self._debug.pause()

    def stop(self) -> None:
        self._debug.resume()

    def reset(self) -> None:
        self._debug.clear()

    def tick(self, time: int) -> None:
        """Wake everything that is due at `time` (ms), the earliest first. Repeat until nothing new is due."""
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
        """Return each due entry and the instant (ms) since when it is due. Read the table itself, not an index."""
        entries = self._debug.entries()
        return {
            (entry.wake_at, key_of(entry)) for entry in entries if entry.wake_at is not None and entry.wake_at <= now
        }

    def _carry_out(self, request: Request) -> Response:
        """Carry out one request and its effects. Messages are held back."""
        return self._outlets.apply(request)

    def _go_on(self) -> None:
        """Release the messages that were held back, if the deployment is not stopped or no longer stopped."""
        if self._holding.held_back and not self._debug.paused():
            self._debug.release()


def message_about(held: Held, table: DynamoStore) -> dict[str, Any] | None:
    """Return a message that was held back. Return None if its promise was deleted or is pending."""
    if held.version is not None:
        return message_of(Execute(held.address, held.id, held.version))
    record = table.record(held.id)
    if record is None or record.pending:
        return None
    (promise,) = table.debug().whole([record.promise()])
    return message_of(Unblock(held.address, promise))


class _HeldMessages(EveryAddress):
    """Message sink that stores every message in the table and sends none.

    Attributes:
        held_back: whether any message was stored.
    """

    def __init__(self, debug: DynamoDebug) -> None:
        self.held_back = False
        self._debug = debug

    def leads_home(self, address: str) -> bool:  # noqa: ARG002 - checked when the message is sent
        return False

    def send(self, address: str, message: dict[str, Any]) -> None:
        self.held_back = True
        task = message["data"]["task"]
        self._debug.hold(Held(address, task["id"], task["version"]))

    def notify(self, address: str, promise: PromiseView, store: Applies) -> None:  # noqa: ARG002 - as in `Transports`
        self.held_back = True
        self._debug.hold(Held(address, promise.id))

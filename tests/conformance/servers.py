"""The protocol's server side over each substrate, as scripts and races need it: debug requests included.

What `EmbeddedDebug` asks of a store in this process, `OwnedTable` offers for DynamoDB on moto: effects are carried out
after each write, in process, and a tick is the sweep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from resonate_store.clock import ManualClock
from resonate_store.dynamo import DynamoStore
from resonate_store.effects import Change, repeated
from resonate_store.embedded import Unarmed, unheard
from resonate_store.interface import deliver
from resonate_store.protocol.debug import EmbeddedDebug, RequestClock
from resonate_store.protocol.service import Service
from resonate_store.records import Promise, Record
from resonate_store.requests import PromiseWake, Request, Response, ScheduleFire
from tests.store.dynamo_fixture import Table


class OwnedTable:
    """DynamoDB with all that follows from a write, as if it had one owner."""

    def __init__(self, client: Any, clock: RequestClock) -> None:
        self.send: Callable[[str, dict[str, Any]], None] = unheard
        self._client = client
        self._clock = clock
        self._made: tuple[Table, DynamoStore] | None = None

    @property
    def _table(self) -> Table:
        return self._parts()[0]

    @property
    def _store(self) -> DynamoStore:
        return self._parts()[1]

    def _parts(self) -> tuple[Table, DynamoStore]:
        """The table and a store over it; made when first needed, for whoever runs a script clears it before."""
        if self._made is None:
            table = Table(self._client, streaming=False)
            self._made = table, table.store(self._clock, shards=2)
        return self._made

    def clear(self) -> None:
        """Take a new table; the old one goes, so that the DynamoDB of a whole run does not fill up."""
        made, self._made = self._made, None
        if made is not None:
            table, store = made
            store.close()
            self._client.delete_table(TableName=table.name)

    def apply(self, request: Request) -> Response:
        response, changes = self._store.transact(request)
        self._carry_out(changes)
        return response

    def children(self, id: str, separator: str = ".") -> Sequence[Promise]:
        return self._store.children(id, separator)

    def records(self) -> list[Record]:
        entries = self._table.entries().values()
        return sorted((entry for entry in entries if isinstance(entry, Record)), key=lambda record: record.id)

    def tick(self) -> int:
        woken = 0
        while due := self._store.due(self._clock.now()):
            kind, id = due[0]
            _, changes = self._store.transact(PromiseWake(id) if kind == "promise" else ScheduleFire(id))
            self._carry_out([repeated(change) for change in changes])
            woken += 1
        return woken

    def open(self) -> OwnedTable:
        return self

    def close(self) -> None:
        self.clear()

    def _carry_out(self, changes: Sequence[Change]) -> None:
        backlog = deque(changes)
        outlets = _Outlets(self, backlog)
        while backlog:
            deliver(backlog.popleft(), outlets)


class _Outlets(Unarmed):
    """Timers need no arming, for the tick finds what is due; nothing is retained.

    Args:
        table: where effects are written.
        backlog: takes what follows from them; threads that write at the same time have one each.
    """

    def __init__(self, table: OwnedTable, backlog: deque[Change]) -> None:
        self._owned = table
        self._backlog = backlog

    def apply(self, request: Request) -> Response:
        response, changes = self._owned._store.transact(request)
        self._backlog.extend(changes)
        return response

    def send(self, address: str, message: dict[str, Any]) -> None:
        self._owned.send(address, message)


def service_over(make: Callable[[RequestClock], Any], clock: ManualClock | None = None) -> Service:
    """A server that answers debug requests, over the store that `make` makes on a clock."""
    timed = RequestClock(clock or ManualClock())
    store = make(timed)
    return Service(store, debug=EmbeddedDebug(store, timed))

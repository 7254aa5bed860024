"""The stores in memory, in SQLite and in DynamoDB, each with what it holds and with deliveries that remain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from resonate_store.dynamo.items import entry_of
from resonate_store.dynamo.store import DynamoStore
from resonate_store.local.memory import MemoryStore
from resonate_store.local.sqlite import SqliteStore
from resonate_store.machine.effects import Change, Prune, effects
from resonate_store.model.clock import Clock, ManualClock
from resonate_store.model.records import Entry, Key, PromiseView, Record, ScheduleRecord, key_of
from resonate_store.model.requests import Request, Response
from resonate_store.model.schedule_requests import ScheduleSearch
from tests.support.dynamo import Table
from tests.support.substrates import T0

Entries = dict[Key, Entry]


class Side:
    """One of the stores, what it held when last looked at, and which of its writes remain to be delivered."""

    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.entries: Entries = {}
        self.backlog: list[Change] = []
        self.reached: list[tuple[Any, ...]] = []

    def transact(self, request: Request) -> Response:
        raise NotImplementedError

    def stored(self) -> Entries:
        raise NotImplementedError

    def apply(self, request: Request) -> Response:
        response = self.transact(request)
        before, self.entries = self.entries, self.stored()
        for key in sorted(before.keys() | self.entries.keys()):
            change = Change(before.get(key), self.entries.get(key))
            owes = isinstance(change.after, Record) and change.after.owes
            if change.before != change.after and (owes or effects(*change)):
                self.backlog.append(change)
        return response

    def delete(self, outdated: Prune) -> None:
        raise NotImplementedError

    def prune(self, outdated: Prune) -> None:
        self.delete(outdated)
        self.entries = self.stored()

    def send(self, address: str, message: dict[str, Any]) -> None:
        self.reached.append(("send", address, message))

    def notify(self, address: str, promise: PromiseView) -> None:
        self.reached.append(("notify", address, promise))

    def arm(self, id: str, at: int) -> None:
        self.reached.append(("arm", id, at))

    def disarm(self, id: str) -> None:
        self.reached.append(("disarm", id))

    def arm_schedule(self, id: str, cron: str, timezone: str | None) -> None:
        self.reached.append(("arm_schedule", id, cron, timezone))

    def fire_schedule(self, id: str, at: int) -> None:
        self.reached.append(("fire_schedule", id, at))

    def disarm_schedule(self, id: str) -> None:
        self.reached.append(("disarm_schedule", id))

    def retain(self, id: str, created_at: int, settled_at: int) -> None:
        self.reached.append(("retain", id, created_at, settled_at))


class InProcess(Side):
    """A store of this process. It shows its records as stored; the stored schedules are known from what it writes."""

    def __init__(self, make: Callable[[Clock], MemoryStore | SqliteStore]) -> None:
        super().__init__()
        self.store = make(self.clock)
        self._schedules: dict[Key, ScheduleRecord] = {}

    def transact(self, request: Request) -> Response:
        response, changes = self.store.transact(request)
        for before, after in changes:
            if isinstance(entry := after or before, ScheduleRecord):
                # The store reads what it has written.
                assert before == self._schedules.pop(key_of(entry), None), request
                if isinstance(after, ScheduleRecord):
                    self._schedules[key_of(after)] = after
        shown = self.store.apply(ScheduleSearch()).schedules
        assert list(shown or ()) == [self._schedules[key].schedule() for key in sorted(self._schedules)], request
        return response

    def delete(self, outdated: Prune) -> None:
        # Here a deletion may get lost, and the one in a table comes back to what is left.
        for generation in range(2, outdated.generation + 1):
            self.store.delete_generations(replace(outdated, generation=generation))

    def stored(self) -> Entries:
        return {key_of(record): record for record in self.store.records()} | self._schedules


class InDynamo(Side):
    """Requests go through several opened stores in turn, each of which remembers what it saw itself."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.table = table
        store = table.store(self.clock, shards=2)
        self.stores = [store, store.open(), store.open()]

    @property
    def store(self) -> DynamoStore:
        return self.stores[0]

    def transact(self, request: Request) -> Response:
        return self.store.transact(request)[0]

    def delete(self, outdated: Prune) -> None:
        assert self.store.delete_generations(outdated)

    def stored(self) -> Entries:
        entries: Entries = {}
        for item in self.table.items():
            entry = entry_of(item)
            key = key_of(entry)
            entries[key] = entry
            # Whatever the true images ask for, the stream must have heard of.
            change = Change(self.entries.get(key), entry)
            assert "effects" in item or change.before == entry or not effects(*change), change
        return entries

"""Store in memory: a dictionary and a lock.

`Resonate()` uses it, and the tests compare the other stores with it. `resonate_store.local.embedded` has what all
stores in one process do with requests, effects and time.
"""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Any

from resonate_store.interface import Send
from resonate_store.local.embedded import EmbeddedStore, unheard
from resonate_store.local.turns import Turns
from resonate_store.machine import (
    NeedChildren,
    NeedCounts,
    NeedRecords,
    NeedSchedule,
    Outcome,
    first_record,
    first_task,
)
from resonate_store.machine.draft import Need, NeedPage, Page, Place
from resonate_store.machine.effects import Change
from resonate_store.machine.executions import indexed_status
from resonate_store.machine.generations import continued
from resonate_store.machine.search import page_of, place_of
from resonate_store.model.clock import Clock
from resonate_store.model.execution_requests import (
    STATUSES_OF,
    ExecutionSearch,
    ExecutionStatus,
)
from resonate_store.model.ids import family, family_of
from resonate_store.model.records import Entry, Key, Record, ScheduleRecord, begins_tree
from resonate_store.model.requests import ContinueWithArguments, PromiseRecord, PromiseSearch, Request, TaskCreate
from resonate_store.model.schedule_requests import ScheduleSearch


class MemoryStore(EmbeddedStore):
    """A promise store whose records end with the process.

    Args:
        clock: the source of time.
        send: gets an address and a message. The store calls it outside its lock. It must not wait for the receiver.
    """

    def __init__(self, clock: Clock | None = None, send: Send = unheard) -> None:
        super().__init__(clock, send, threading.RLock(), Turns())
        self._records: dict[str, Record] = {}
        self._schedules: dict[str, ScheduleRecord] = {}
        self._children: dict[str, dict[str, None]] = {}
        self._wakes: list[tuple[int, Key]] = []
        self._executions: dict[ExecutionStatus, list[tuple[int, str]]] = {}
        """When each execution was created, and its id, by status and in this order."""

    def open(self) -> MemoryStore:
        return self

    def close(self) -> None:
        """Do nothing: the store lasts as long as its process."""

    def clear(self) -> None:
        with self._exclusive:
            for entries in (
                self._records,
                self._schedules,
                self._children,
                self._wakes,
                self._outbox,
                self._executions,
            ):
                entries.clear()

    def record(self, id: str) -> Record | None:
        return self._records.get(id)

    def records(self) -> list[Record]:
        with self._exclusive:
            return [self._records[id] for id in sorted(self._records)]

    def next_wake_at(self) -> int | None:
        with self._exclusive:
            while self._wakes and self._wake_of(self._wakes[0][1]) != self._wakes[0][0]:
                heapq.heappop(self._wakes)
            return self._wakes[0][0] if self._wakes else None

    def due(self, now: int) -> list[Key]:
        with self._exclusive:
            found = {entry for entry in self._wakes if entry[0] <= now and self._wake_of(entry[1]) == entry[0]}
            return [key for _, key in sorted(found)]

    def _first_due(self, now: int) -> Key | None:
        at = self.next_wake_at()
        return heapq.heappop(self._wakes)[1] if at is not None and at <= now else None

    def _decide(self, request: Request) -> Outcome:
        # Most steps, and most executions, are new.
        records = self._records
        if type(request) is PromiseRecord:
            if request.id not in records:
                return first_record(request, self.clock.now())
        elif type(request) is TaskCreate and request.promise.id not in records:
            return first_task(request, self.clock.now())
        elif type(request) is ContinueWithArguments and request.arguments.id not in records:
            record = records.get(request.id)
            if record is not None and (outcome := continued(request, record, self.clock.now())) is not None:
                return outcome
        return super()._decide(request)

    def _fetch(self, need: Need) -> Any:
        if isinstance(need, NeedRecords):
            return tuple(map(self._records.get, need.ids))
        if isinstance(need, NeedSchedule):
            return self._schedules.get(need.id)
        if isinstance(need, NeedCounts):
            return {status: self._count(places, need) for status, places in self._executions.items()}
        if isinstance(need, NeedChildren):
            return tuple(self._children_of(family_of(need.id, need.generation)))
        return self._page(need)

    def _children_of(self, family: str) -> Sequence[Record]:
        children = self._children.get(family)
        return list(map(self._records.__getitem__, children)) if children else ()

    def _page(self, need: NeedPage) -> Page | None:
        if need.after is not None and isinstance(need.after[0], str):
            return None
        if isinstance(need.search, ExecutionSearch):
            return page_of(need, self._found(need.search, need.after))
        if isinstance(need.search, PromiseSearch) and (prefix := need.search.id):  # one tree, as a rule
            found: list[Entry] = [record for id, record in self._records.items() if id.startswith(prefix)]
            return page_of(need, self._ordered(need, found))
        entries = self._schedules if isinstance(need.search, ScheduleSearch) else self._records
        return page_of(need, self._ordered(need, list(entries.values())))

    def _ordered(self, need: NeedPage, entries: Sequence[Entry]) -> Iterator[Entry]:
        places = ((place_of(need.search, entry), entry) for entry in entries)
        left = [(place, entry) for place, entry in places if need.after is None or place > need.after]
        heapq.heapify(left)  # usually only a small part is read
        while left:
            yield heapq.heappop(left)[1]

    def _found(self, search: ExecutionSearch, after: Place | None) -> Iterator[Entry]:
        """Yield the executions in the statuses and the time of a search, the newest first."""
        parts = [_newest_first(self._executions.get(status, []), search, after) for status in STATUSES_OF[search.state]]
        for _, id in heapq.merge(*parts):
            yield self._records[id]

    def _count(self, places: list[tuple[int, str]], need: NeedCounts) -> tuple[int, bool]:
        begin = 0 if need.since is None else bisect_left(places, (need.since,))
        end = len(places) if need.until is None else bisect_left(places, (need.until,))
        return max(0, end - begin), False

    def _place(self, record: Record, before: ExecutionStatus | None, after: ExecutionStatus | None) -> None:
        """Move an execution to the list of its new status."""
        if before == after:
            return
        place = (record.created_at, record.id)
        if before is not None:
            places = self._executions[before]
            del places[bisect_left(places, place)]
        if after is not None:
            insort(self._executions.setdefault(after, []), place)

    def _keep(self, change: Change) -> None:
        before, after = change.before, change.after
        if type(after) is Record:
            id = after.id
            self._records[id] = after
            if before is None:
                if above := family(id):
                    siblings = self._children.get(above)
                    if siblings is None:
                        self._children[above] = {id: None}
                    else:
                        siblings[id] = None
                if after.wake_at is None and after.state != "pending":
                    return  # a step: a root that has settled is due until its settlement is delivered
            elif type(before) is Record and before.task is after.task and before.state == after.state:
                return  # the status of an execution, by which it is listed, is the same
            if begins_tree(id, after.tags):
                known = indexed_status(before) if type(before) is Record else None
                self._place(after, known, indexed_status(after))
        elif isinstance(after, ScheduleRecord):
            self._schedules[after.id] = after
        elif isinstance(before, ScheduleRecord):
            del self._schedules[before.id]

    def _drop(self, record: Record) -> None:
        self._place(record, indexed_status(record), None)
        self._drop_children(family(record.id), (record,))

    def _drop_children(self, family: str, records: Sequence[Record]) -> None:
        siblings = self._children.get(family, {})
        for record in records:
            del self._records[record.id]
            siblings.pop(record.id, None)
        if not siblings:
            self._children.pop(family, None)

    def _arm(self, key: Key, at: int, /) -> bool:
        heapq.heappush(self._wakes, (at, key))
        return self._wakes[0][1] == key

    def _wake_of(self, key: Key) -> int | None:
        entry = self._records.get(key[1]) if key[0] == "promise" else self._schedules.get(key[1])
        return None if entry is None else entry.wake_at


def _newest_first(
    places: Sequence[tuple[int, str]], search: ExecutionSearch, after: Place | None
) -> Iterator[tuple[int, str]]:
    """Yield the places of executions in the order of a search: the negative instant, and the id.

    `places` are in the order of time. Executions of one instant are in the order of their ids, also in a search.
    """
    least = 0 if search.since is None else search.since
    end = len(places) if search.until is None else bisect_left(places, (search.until,))
    if after is not None:
        end = min(end, bisect_left(places, (1 - int(after[0]),)))
    while end:
        at = places[end - 1][0]
        if at < least:
            return
        begin = bisect_left(places, (at,), 0, end)
        for position in range(begin, end):
            place = (-at, places[position][1])
            if (after is None or place > after) and place[1].startswith(search.id or ""):
                yield place
        end = begin

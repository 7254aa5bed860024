"""Searches of the table: which part of it can have matches, and in which order it is read (docs/decisions/0014).

Some searches are Queries:

- In one tree, if the id prefix has a whole origin and a dot. The tree is one partition, whose levels are merged by id.
- For executions and roots. The index `executions` has them, and its partitions are merged by age. Halted tasks have
  partitions of their own in the index `wake`, which are read instead as long as they are few (docs/decisions/0059).
- For schedules. The same index has them. They are few, so all their keys are read.

Any other search scans the table in the table's own order, a limited part for each request. Its pages may be short, and
its cursor is a key of the table. Two such searches read one partition first, because it has most matches. The tag
`resonate:parent` names the partition. So does the text before a colon in the id prefix, if the colon is a separator.

A merge reads ahead in each of its parts. Its result is complete only up to a horizon: the nearest last position of a
part that has more entries. Pending executions are read before settled ones. An execution that settles in between is
then found in at least one of the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

from resonate_store.dynamo.client import Call
from resonate_store.dynamo.items import AnyItem, Item, entry_of, execution_state, halted_shard, is_entry, key_in, typed
from resonate_store.machine.draft import NeedCounts, NeedPage, Page, Place, Shown
from resonate_store.machine.executions import MOST_COUNTED, Counted, status_of
from resonate_store.machine.search import MAX_EXAMINED, place_of, shown
from resonate_store.model.execution_requests import STATUSES_OF, ExecutionFilter, ExecutionSearch
from resonate_store.model.ids import origin
from resonate_store.model.records import END_OF_TIME, Entry, Key, PromiseState, Record
from resonate_store.model.requests import PromiseSearch, Search
from resonate_store.model.schedule_requests import ScheduleSearch
from resonate_store.model.tags import PARENT

MAX_KEYS: Final = 10_000
"""About how many keys of the index one request examines for an id prefix. A key costs much less than its record."""
MOST_DETAILED: Final = 100
"""How many pending executions are read to count each of their statuses. One BatchGetItem reads so many."""
MAX_SCANS: Final = 8
"""The most Scan calls of one request. Each reads at most 1 MB."""
BATCH: Final = 100
"""How many entries are read at once by their keys."""
_FROM_THE_START: Final[Place] = ("", "")

Read = Callable[[Sequence[Key]], Mapping[Key, Entry | None]]
Ordered = tuple[int, str]
"""A position in the order of the search itself."""


class Ahead(NamedTuple):
    """The next entries of one part of a merge, and whether the part has more.

    An entry is None if its key is known from an index and its record is not read yet.
    """

    entries: dict[Ordered, Entry | None]
    more: bool


Part = Callable[[Ordered | None, int], Ahead]
"""Reads at least the given number of entries after a position, or all that are left."""


class DynamoSearch:
    """One page of one search.

    Args:
        need: the search, and the position after which the page begins.
        table: the name of the table.
        shards: how many partitions each index has.
        call: calls DynamoDB.
        read: reads entries by their keys.
    """

    def __init__(self, need: NeedPage, *, table: str, shards: int, call: Call, read: Read) -> None:
        self._search: Search = need.search
        self._after = need.after
        self._now = need.now
        self._table = table
        self._shards = shards
        self._call = call
        self._read = read
        self._found: list[Shown] = []
        self._examined = 0
        self._partition: str | None = None
        """The origin whose partition is read before the scan. The scan leaves it out."""

    def page(self) -> Page | None:
        """Return the page, or None if its start position is not valid for this search."""
        parts, rest = self._plan()
        after = self._after
        if after is not None and isinstance(after[0], str):
            return self._through_the_table(after) if rest and _is_key(after) else None
        if parts is not None:
            place = None if after is None else (int(after[0]), after[1])
            if place is not None and not place[1].startswith(self._prefix):
                return None
            page = self._merged(parts, place)
            if page.position is not None or not rest:
                return page
            if page.found:
                return Page(page.found, _FROM_THE_START)
        elif after is not None:
            return None
        return self._through_the_table(_FROM_THE_START)

    @property
    def _prefix(self) -> str:
        search = self._search
        return search.id or "" if isinstance(search, PromiseSearch) and not search.roots else ""

    def _plan(self) -> tuple[list[Part] | None, bool]:
        """Return the parts to merge, or None, and whether the rest of the table has to be scanned."""
        search = self._search
        if isinstance(search, ScheduleSearch):
            return [self._schedules(shard) for shard in range(self._shards)], False
        if isinstance(search, ExecutionSearch):
            halted = self._halted() if search.state == "halted" else None
            if halted is not None:
                return [halted], False
            states = states_of(search.state)
            return [self._executions(state, shard) for state in states for shard in range(self._shards)], False
        if not isinstance(search, PromiseSearch):
            return None, True
        if search.roots:
            states = _states_before(search.state)
            return [self._executions(state, shard) for state in states for shard in range(self._shards)], False
        if "." in self._prefix:
            return self._levels(origin(self._prefix)), False
        if ":" in self._prefix:
            self._partition = self._prefix.rpartition(":")[0]
        elif PARENT in search.tags and not self._prefix:
            self._partition = origin(search.tags[PARENT])
        return (self._levels(self._partition), True) if self._partition else (None, True)

    # Merging of parts

    def _merged(self, parts: Sequence[Part], after: Ordered | None) -> Page:
        limit = self._search.limit
        count = min(limit, max(20, 4 * limit // max(1, len(parts)))) + 1
        keys = 0
        if isinstance(self._search, ExecutionSearch) and self._search.id:  # most keys are of other executions
            count = max(count, MAX_EXAMINED // len(parts))
        while True:
            ahead: dict[Ordered, Entry | None] = {}
            horizon: Ordered | None = None
            for part in parts:
                entries, more = part(after, count)
                ahead.update(entries)
                if more:
                    last = max(entries)
                    horizon = last if horizon is None else min(horizon, last)
            places = sorted(place for place in ahead if horizon is None or place <= horizon)
            for place, entry in self._known(places, ahead):
                view = None if entry is None else shown(self._search, entry, self._now)
                if view is not None:
                    if len(self._found) == limit:
                        return Page(tuple(self._found), after)
                    self._found.append(view)
                after = place
            keys += len(places)
            after = horizon
            if horizon is None or self._examined >= MAX_EXAMINED or keys >= MAX_KEYS:
                return Page(tuple(self._found), horizon)

    def _known(
        self, places: Sequence[Ordered], ahead: Mapping[Ordered, Entry | None]
    ) -> Iterator[tuple[Ordered, Entry | None]]:
        search = self._search
        kind = "schedule" if isinstance(search, ScheduleSearch) else "promise"
        if isinstance(search, ExecutionSearch) and search.id:
            places = [place for place in places if place[1].startswith(search.id)]
        for start in range(0, len(places), BATCH):
            some = places[start : start + BATCH]
            self._examined += len(some)
            unknown: list[Key] = [(kind, place[1]) for place in some if ahead[place] is None]
            entries: Mapping[Key, Entry | None] = self._read(unknown) if unknown else {}
            for place in some:
                yield place, ahead[place] or entries.get((kind, place[1]))

    # Parts

    def _levels(self, partition: str) -> list[Part]:
        """Return one part for each depth at which the partition has records that can match."""
        parts: list[Part] = []
        least = "0"
        while True:
            answer = self._query(
                "pk = :pk AND sk BETWEEN :least AND :most",
                {":pk": f"p#{partition}", ":least": least, ":most": ":"},  # ":" follows the digits in ASCII
                Limit=1,
                ConsistentRead=True,
                ProjectionExpression="pk, sk",
            )
            if not answer["Items"]:
                return parts
            level: str = answer["Items"][0]["sk"]["S"].partition("#")[0]
            if int(level) >= self._prefix.count("."):
                parts.append(self._level(partition, level))
            least = f"{level}$"  # "$" follows "#" in ASCII

    def _level(self, partition: str, level: str) -> Part:
        def ahead(after: Ordered | None, count: int) -> Ahead:
            start: dict[str, Any] = {}
            if after is not None:
                start = {"ExclusiveStartKey": {"pk": typed(f"p#{partition}"), "sk": typed(f"{level}#{after[1]}")}}
            answer = self._query(
                "pk = :pk AND begins_with(sk, :prefix)",
                {":pk": f"p#{partition}", ":prefix": f"{level}#{self._prefix}"},
                Limit=count,
                ConsistentRead=True,
                **start,
            )
            entries = [entry_of(item) for item in answer["Items"]]
            places: dict[Ordered, Entry | None] = {place_of(self._search, entry): entry for entry in entries}
            return Ahead(places, bool(places) and "LastEvaluatedKey" in answer)

        return ahead

    def _executions(self, state: PromiseState, shard: int) -> Part:
        def ahead(after: Ordered | None, count: int) -> Ahead:
            entries: dict[Ordered, Entry | None] = {}
            oldest: int | None = None
            newest = None if after is None else -after[0]
            since, until = _range_of(self._search)
            if until is not None:
                newest = until - 1 if newest is None else min(newest, until - 1)
            for item in self._indexed(execution_state(state, shard), newest, since, Limit=count + 1):
                created_at = int(item["created_at"]["N"])
                if len(entries) >= count and created_at != oldest:  # those of one instant have no order
                    return Ahead(entries, more=True)
                place = (-created_at, key_in(item)[1])
                if after is None or place > after:
                    entries[place] = None
                    oldest = created_at
            return Ahead(entries, more=False)

        return ahead

    def _halted(self) -> Part | None:
        """Return the part with all halted executions, or None if there are too many halted tasks to read them all."""
        found = halted_keys(self._call, self._table, self._shards, MAX_EXAMINED)
        if found is None:
            return None
        entries = [entry for entry in self._read(found).values() if entry is not None] if found else []
        self._examined += len(entries)
        places: dict[Ordered, Entry | None] = {place_of(self._search, entry): entry for entry in entries}

        def ahead(after: Ordered | None, _: int) -> Ahead:
            return Ahead({place: entry for place, entry in places.items() if after is None or place > after}, False)

        return ahead

    def _schedules(self, shard: int) -> Part:
        def ahead(after: Ordered | None, _: int) -> Ahead:
            ids = [key_in(item)[1] for item in self._indexed(execution_state("schedule", shard))]
            return Ahead({(0, id): None for id in ids if after is None or (0, id) > after}, more=False)

        return ahead

    def _indexed(
        self, partition: str, newest: int | None = None, oldest: int | None = None, **more: Any
    ) -> Iterator[AnyItem]:
        """Yield the keys in one partition of the index, the newest first."""
        condition, values = indexed_condition(partition, newest, oldest)
        if newest is not None and newest < (oldest or 0):
            return
        start: dict[str, Any] = {}
        while True:
            answer = self._query(condition, values, IndexName="executions", ScanIndexForward=False, **more, **start)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _query(self, condition: str, values: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return _query(self._call, self._table, condition, values, **more)

    # Scan of the table

    def _through_the_table(self, after: Place) -> Page:
        position: Item | None = None
        if after != _FROM_THE_START:
            position = {"pk": typed(after[0]), "sk": typed(after[1])}
        if self._examined >= MAX_EXAMINED:
            return Page((), after)
        for _ in range(MAX_SCANS):
            start = {} if position is None else {"ExclusiveStartKey": position}
            answer = self._call("scan", {"TableName": self._table, "Limit": MAX_EXAMINED - self._examined, **start})
            for item in answer["Items"]:
                self._examined += 1
                view = self._shown(item)
                if view is not None:
                    self._found.append(view)
                if len(self._found) == self._search.limit:
                    return Page(tuple(self._found), (item["pk"]["S"], item["sk"]["S"]))
            position = answer.get("LastEvaluatedKey")
            if position is None:
                return Page(tuple(self._found))
            if self._examined >= MAX_EXAMINED:
                break
        assert position is not None
        return Page(tuple(self._found), (position["pk"]["S"], position["sk"]["S"]))

    def _shown(self, item: AnyItem) -> Shown | None:
        if not is_entry(item):
            return None
        entry = entry_of(item)
        if self._partition is not None and origin(entry.id) == self._partition:
            return None
        return shown(self._search, entry, self._now)


def counted(need: NeedCounts, *, table: str, shards: int, call: Call, read: Read) -> Counted:
    """Count the executions in each state in the index `executions`, up to a limit.

    The statuses of pending executions are not in the index. So they are counted only if there are few of them, and
    otherwise only the halted ones.

    Args:
        need: the time in which they were created.
        table, shards, call, read: as for `DynamoSearch`.
    """
    counts: dict[str, tuple[int, bool]] = {}
    newest = None if need.until is None else need.until - 1
    pending: list[Key] = []
    for state in get_args(PromiseState):
        number, more = 0, False
        for shard in range(shards) if newest is None or newest >= (need.since or 0) else ():
            condition, values = indexed_condition(execution_state(state, shard), newest, need.since)
            kind = {} if state == "pending" else {"Select": "COUNT"}
            limit = MOST_COUNTED // shards
            answer = _query(call, table, condition, values, IndexName="executions", Limit=limit, **kind)
            number += answer["Count"]
            more = more or "LastEvaluatedKey" in answer
            pending += [key_in(item) for item in answer.get("Items", ()) if state == "pending"]
        counts[state] = number, more
    if len(pending) <= MOST_DETAILED:
        details = Counter(status_of(record) for record in _roots(pending, read))
        return {**counts, **{status: (details[status], False) for status in STATUSES_OF["pending"]}}
    halted = halted_keys(call, table, shards, MOST_DETAILED)
    if halted is not None:
        since, until = need.since or 0, END_OF_TIME + 1 if need.until is None else need.until
        counts["halted"] = sum(since <= record.created_at < until for record in _roots(halted, read)), False
    return counts


def _roots(keys: Sequence[Key], read: Read) -> list[Record]:
    """Return the records with these keys that are roots."""
    entries = read(keys).values() if keys else ()
    return [entry for entry in entries if isinstance(entry, Record) and entry.root]


def halted_keys(call: Call, table: str, shards: int, most: int) -> list[Key] | None:
    """Return the keys of all halted tasks, or None if there are more than about `most`."""
    found: list[Key] = []
    for shard in range(shards):
        answer = _query(
            call, table, "wake_shard = :shard", {":shard": halted_shard(shard)}, IndexName="wake", Limit=most // shards
        )
        if "LastEvaluatedKey" in answer:
            return None
        found += [key_in(item) for item in answer["Items"]]
    return found


def indexed_condition(partition: str, newest: int | None, oldest: int | None) -> tuple[str, dict[str, Any]]:
    """Return the condition of a query of one partition of the index `executions`, and its values."""
    condition, values = "execution_state = :state", {":state": partition}
    bounds: dict[str, Any] = {":oldest": oldest, ":newest": newest}
    given = {name: at for name, at in bounds.items() if at is not None}
    if len(given) == 2:
        condition += " AND created_at BETWEEN :oldest AND :newest"
    elif given:
        condition += f" AND created_at {'>= :oldest' if oldest is not None else '<= :newest'}"
    return condition, {**values, **given}


def states_of(state: ExecutionFilter | None) -> tuple[PromiseState, ...]:
    """Return the states in the index with the executions that a search for `state` finds, the pending one first."""
    wanted: frozenset[str] = frozenset(STATUSES_OF[state])
    if not wanted.isdisjoint(STATUSES_OF["pending"]):
        wanted |= {"pending"}
    every: tuple[PromiseState, ...] = get_args(PromiseState)
    return tuple(each for each in every if each in wanted)


def _range_of(search: Search) -> tuple[int | None, int | None]:
    return (search.since, search.until) if isinstance(search, ExecutionSearch) else (None, None)


def _query(call: Call, table: str, condition: str, values: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return call(
        "query",
        {
            "TableName": table,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": {name: typed(value) for name, value in values.items()},
            **more,
        },
    )


def _states_before(state: PromiseState | None) -> tuple[PromiseState, ...]:
    """Return the stored states of the promises that a search for `state` finds. None means all states.

    A pending promise whose deadline has passed is shown as settled. The pending state is first.
    """
    if state is None:
        return get_args(PromiseState)
    return ("pending", state) if state in ("resolved", "rejected_timedout") else (state,)


def _is_key(place: Place) -> bool:
    return place == _FROM_THE_START or (str(place[0])[:2] in ("p#", "s#") and bool(place[1]))

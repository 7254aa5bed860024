"""Searches of the table: which part of it can have matches, and in which order it is read (docs/decisions/0014).

Three kinds of searches are Queries:

- In one tree, if the id prefix has a whole origin and a dot. The tree is one partition, whose levels are merged by id.
- For roots. The index `executions` has them, and its partitions are merged by age.
- For schedules. The same index has them. They are few, so all their keys are read.

Any other search scans the table in the table's own order, a limited part for each request. Its pages may be short, and
its cursor is a key of the table. Two such searches read one partition first, because it has most matches. The tag
`resonate:parent` names the partition. So does the text before a colon in the id prefix, if the colon is a separator.

A merge reads ahead in each of its parts. Its result is complete only up to a horizon: the nearest last position of a
part that has more entries. Pending executions are read before settled ones. An execution that settles in between is
then found in at least one of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

from resonate_store.dynamo.client import Call
from resonate_store.dynamo.items import AnyItem, Item, entry_of, execution_state, is_entry, key_in, typed
from resonate_store.machine.draft import NeedPage, Page, Place, Shown
from resonate_store.machine.search import place_of, shown
from resonate_store.model.ids import origin
from resonate_store.model.records import Entry, Key, PromiseState
from resonate_store.model.requests import PromiseSearch, Search
from resonate_store.model.schedule_requests import ScheduleSearch
from resonate_store.model.tags import PARENT

MAX_EXAMINED: Final = 1_000
"""About how many entries one request examines before it answers with what it has found."""
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
            self._examined += len(places)
            if horizon is None or self._examined >= MAX_EXAMINED:
                return Page(tuple(self._found), horizon)

    def _known(
        self, places: Sequence[Ordered], ahead: Mapping[Ordered, Entry | None]
    ) -> Iterator[tuple[Ordered, Entry | None]]:
        kind = "schedule" if isinstance(self._search, ScheduleSearch) else "promise"
        for start in range(0, len(places), BATCH):
            some = places[start : start + BATCH]
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
            for item in self._indexed(execution_state(state, shard), newest, Limit=count + 1):
                created_at = int(item["created_at"]["N"])
                if len(entries) >= count and created_at != oldest:  # those of one instant have no order
                    return Ahead(entries, more=True)
                place = (-created_at, key_in(item)[1])
                if after is None or place > after:
                    entries[place] = None
                    oldest = created_at
            return Ahead(entries, more=False)

        return ahead

    def _schedules(self, shard: int) -> Part:
        def ahead(after: Ordered | None, _: int) -> Ahead:
            ids = [key_in(item)[1] for item in self._indexed(execution_state("schedule", shard))]
            return Ahead({(0, id): None for id in ids if after is None or (0, id) > after}, more=False)

        return ahead

    def _indexed(self, partition: str, newest: int | None = None, **more: Any) -> Iterator[AnyItem]:
        """Yield the keys in one partition of the index, the newest first."""
        condition = "execution_state = :state"
        values: dict[str, Any] = {":state": partition}
        if newest is not None:
            condition += " AND created_at <= :newest"
            values[":newest"] = newest
        start: dict[str, Any] = {}
        while True:
            answer = self._query(condition, values, IndexName="executions", ScanIndexForward=False, **more, **start)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _query(self, condition: str, values: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return self._call(
            "query",
            {
                "TableName": self._table,
                "KeyConditionExpression": condition,
                "ExpressionAttributeValues": {name: typed(value) for name, value in values.items()},
                **more,
            },
        )

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


def _states_before(state: PromiseState | None) -> tuple[PromiseState, ...]:
    """Return the stored states of the promises that a search for `state` finds. None means all states.

    A pending promise whose deadline has passed is shown as settled. The pending state is first.
    """
    if state is None:
        return get_args(PromiseState)
    return ("pending", state) if state in ("resolved", "rejected_timedout") else (state,)


def _is_key(place: Place) -> bool:
    return place == _FROM_THE_START or (str(place[0])[:2] in ("p#", "s#") and bool(place[1]))

"""The store in DynamoDB: the machine's transitions over one table (DESIGN 2, "Substrates").

An operation reads what its transition needs, lets it decide, and writes the decision on condition that nothing it
rests on has changed; a failed condition starts it over on the true images, a bounded number of times. What a request
most likely finds is assumed instead of read, so that a local step costs one write and nothing else.

Effects are not carried out here: a write that has any says so in the attribute `effects`, and the table's stream
brings it to its consumer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import copy
from typing import Any, Final

from resonate_store import addresses
from resonate_store.clock import Clock, ambient
from resonate_store.dynamo_calls import Client, ConditionFailed, Connection, Refused, Unavailable
from resonate_store.dynamo_prediction import Known, Memory
from resonate_store.dynamo_retention import Deletion
from resonate_store.dynamo_search import DynamoSearch
from resonate_store.dynamo_writes import TooLarge, failure_of, write_of, written
from resonate_store.effects import Change
from resonate_store.ids import SEPARATORS, Identify, random_id
from resonate_store.interface import StoreClosed
from resonate_store.machine import NeedChildren, NeedPage, NeedSchedule, Outcome, decide, perform
from resonate_store.machine.draft import Need
from resonate_store.models import (
    SHARDS,
    AnyItem,
    Expiry,
    Item,
    Key,
    depth_prefix,
    entry_of,
    expiry_item,
    key_in,
    key_of,
    table_key,
    typed,
)
from resonate_store.records import TARGET, Entry, Promise, Record
from resonate_store.requests import PromiseCreate, Request, Response, ScheduleCreate, TaskCreate, TaskFence

MAX_BATCH: Final = 100
"""Items of one BatchGetItem."""
FIRST_PAUSE: Final = 25
"""The longest pause before the second try (ms), doubled with every further one."""
LONGEST_PAUSE: Final = 1_000

Position = Item
"""Where a query of an index left off."""


class DynamoStore:
    """A promise store in a DynamoDB table.

    Args:
        table: the table's name.
        client: a botocore client for DynamoDB; made from the environment when first needed.
        clock: the source of time, also for pauses between tries.
        identify: makes the tokens that name writes.
        groups: where worker groups are, if nobody can poll: a target that leads nowhere is refused.
        shards: partitions of each index; the same for everybody who uses the table.
        jitter: random numbers in [0, 1) that spread the pauses of those who compete.
        max_attempts: how often anything is tried before the answer is 503.
    """

    def __init__(
        self,
        table: str,
        *,
        client: Client | None = None,
        clock: Clock | None = None,
        identify: Identify = random_id,
        groups: Mapping[str, str] | None = None,
        shards: int = SHARDS,
        jitter: Callable[[], float] | None = None,
        max_attempts: int = 6,
    ) -> None:
        self.table = table
        self.clock: Clock = clock or ambient()
        self.groups = groups
        self.shards = shards
        self._identify = identify
        self._jitter = jitter or random.Random().random
        self._max_attempts = max_attempts
        self._connection = Connection(table, client)
        self._memory = Memory()
        self._closed = False

    def open(self) -> DynamoStore:
        """A store over the same connection that remembers, and is closed, by itself: one for each invocation."""
        self._require_open()
        store = copy(self)
        store._memory = Memory()
        return store

    def close(self) -> None:
        """Every later call raises `StoreClosed`: whoever thaws after the invocation's end can write nothing."""
        self._closed = True

    def apply(self, request: Request) -> Response:
        """Carry out one request; the table's stream brings its effects to those who carry them out."""
        return self.transact(request)[0]

    def transact(self, request: Request, *, announce: bool = True) -> tuple[Response, list[Change]]:
        """Carry out one request.

        Args:
            request: any request.
            announce: whether the stream's consumer is to carry out the effects; if not, the caller does.

        Returns:
            The response and what was written.
        """
        self._require_open()
        problem = self._unreachable(request)
        if problem is not None:
            return Response(status=400, error=problem), []
        changes: list[Change] = []
        response = perform(request, lambda operation: self._run(operation, announce, changes))
        return response, changes

    def children(self, id: str, separator: str = ".") -> list[Promise]:
        now = self.clock.now()
        records = self._children(id, separator)
        return [record.promise() for record in records if not record.pending or record.timeout_at > now]

    def record(self, id: str) -> Record | None:
        """The record as it is stored."""
        entry = self._read([("promise", id)])["promise", id]
        return entry if isinstance(entry, Record) else None

    def remember(self, record: Record) -> None:
        """Take a record, seen elsewhere, for the latest image of it; if it is not, a write finds out."""
        self._memory.remember({key_of(record): record})

    def due(self, now: int) -> list[Key]:
        """The entries whose `wake_at` has come, the earliest first; they stay due until they are woken."""
        found = [item for shard in range(self.shards) for item in self._pages(self._due_query(shard, now))]
        found.sort(key=lambda item: (int(item["wake_at"]["N"]), key_in(item)))
        return [key_in(item) for item in found]

    def due_in_shard(
        self, shard: int, now: int, limit: int, start: Position | None = None
    ) -> tuple[list[tuple[Key, int]], Position | None]:
        """The first `limit` entries of one shard whose `wake_at` has come, the earliest first.

        Returns:
            The entries with their `wake_at`, and the position to go on from; None at the end.
        """
        page = {} if start is None else {"ExclusiveStartKey": start}
        answer = self._call("query", {**self._due_query(shard, now), **page, "Limit": limit})
        entries = [(key_in(item), int(item["wake_at"]["N"])) for item in answer["Items"]]
        return entries, answer.get("LastEvaluatedKey")

    def delete_tree(self, expiry: Expiry, max_batches: int) -> bool:
        """Delete the execution whose retention is over, or as much of it as `max_batches` transactions can.

        Returns:
            Whether it is gone; False to go on later.
        """
        return Deletion(self._call, self.table, expiry, self.clock.now()).run(max_batches)

    def connect(self) -> None:
        """Make the client now. Where Lambda initialises a function it has more processor than when it invokes it."""
        self._connection.open()

    def retain(self, id: str, created_at: int, settled_at: int, seconds: int) -> None:
        """Put the retention marker of a settled root; `seconds` after its settlement the tree may go."""
        item = expiry_item(id, created_at, settled_at + seconds * 1000)
        self._call("put_item", {"TableName": self.table, "Item": item})

    def _run(self, operation: Request, announce: bool, changes: list[Change]) -> Response:
        """Carry out one operation and add what it wrote to `changes`."""
        known = Known(self._memory.predict(operation))
        for attempt in range(self._max_attempts):
            if attempt > 1:  # the first failure is a wrong assumption, as a rule, not a competitor
                self._pause(attempt)
            try:
                outcome = self._decide(operation, known)
                outdated = self._write(outcome, announce) if outcome.changes else None
            except TooLarge as error:
                return Response(status=413, error=str(error))
            except Refused as error:
                status = 413 if "maximum allowed size" in str(error) else 400
                return Response(status=status, error=f"DynamoDB does not take this: {error}")
            except Unavailable as error:
                return Response(status=503, error=str(error))
            if outdated is None:
                changes += outcome.changes
                return outcome.response
            known.outdate(outdated)
        return Response(
            status=503,
            error=f"given up after {self._max_attempts} tries: others keep writing to the same records",
        )

    def _decide(self, operation: Request, known: Known) -> Outcome:
        now = self.clock.now()
        while True:
            outcome = decide(operation, now, lambda need: self._answer(need, known))
            unproven = known.unproven(outcome)
            if not unproven:
                return outcome
            known.learn(self._read(unproven))

    def _answer(self, need: Need, known: Known) -> Any:
        if isinstance(need, NeedChildren):
            return tuple(record for separator in SEPARATORS for record in self._children(need.id, separator))
        if isinstance(need, NeedPage):
            return DynamoSearch(need, table=self.table, shards=self.shards, call=self._call, read=self._read).page()
        one = isinstance(need, NeedSchedule)
        keys: list[Key] = [("schedule", need.id)] if one else [("promise", id) for id in need.ids]
        known.learn(self._read(known.missing(keys)))
        entries = known.entries(keys)
        return entries[0] if one else tuple(entries)

    def _write(self, outcome: Outcome, announce: bool) -> Mapping[Key, Entry | None] | None:
        """Write the outcome; when what it rests on has changed, return that as it is now."""
        token = self._identify()
        write = write_of(outcome, table=self.table, token=token, announce=announce, shards=self.shards)
        try:
            self._call(write.operation, write.arguments)
        except ConditionFailed as failure:
            entries, ours = failure_of(write, failure.images)
            self._memory.remember(entries)
            return None if ours else entries
        self._memory.remember(written(outcome))
        return None

    def _read(self, keys: Collection[Key]) -> dict[Key, Entry | None]:
        """The current entries under these keys."""
        entries: dict[Key, Entry | None] = dict.fromkeys(keys)
        for item in self._items([table_key(key) for key in entries]):
            entry = entry_of(item)
            entries[key_of(entry)] = entry
        self._memory.remember(entries)
        return entries

    def _items(self, keys: list[Item]) -> Iterator[AnyItem]:
        if len(keys) == 1:
            answer = self._call("get_item", {"TableName": self.table, "Key": keys[0], "ConsistentRead": True})
            if "Item" in answer:
                yield answer["Item"]
            return
        fruitless = 0
        while keys:
            asked = keys[:MAX_BATCH]
            request = {self.table: {"Keys": asked, "ConsistentRead": True}}
            answer = self._call("batch_get_item", {"RequestItems": request})
            left = answer.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys", [])
            # DynamoDB leaves keys out of an answer that grows too large, and when it is too busy for more.
            fruitless = fruitless + 1 if len(left) == len(asked) else 0
            if fruitless == self._max_attempts:
                raise Unavailable(f"DynamoDB is busy: it left {len(left)} keys unread")
            if fruitless:
                self._pause(fruitless)
            keys = left + keys[MAX_BATCH:]
            yield from answer["Responses"].get(self.table, [])

    def _children(self, id: str, separator: str = ".") -> list[Record]:
        partition, prefix = depth_prefix(id, 1, separator)
        query = {
            "TableName": self.table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": partition, ":prefix": prefix},
        }
        entries = [entry_of(item) for item in self._pages(query)]
        self._memory.remember({key_of(entry): entry for entry in entries})
        return [entry for entry in entries if isinstance(entry, Record)]

    def _due_query(self, shard: int, now: int) -> dict[str, Any]:
        return {
            "TableName": self.table,
            "IndexName": "wake",
            "KeyConditionExpression": "wake_shard = :shard AND wake_at <= :now",
            "ExpressionAttributeValues": {":shard": typed(str(shard)), ":now": typed(now)},
        }

    def _pages(self, query: dict[str, Any]) -> Iterator[AnyItem]:
        position: Position | None = None
        while True:
            page = {} if position is None else {"ExclusiveStartKey": position}
            answer = self._call("query", {**query, **page})
            yield from answer["Items"]
            position = answer.get("LastEvaluatedKey")
            if position is None:
                return

    def _call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call DynamoDB, and again, the same way, while the reason of a failure may pass."""
        attempt = 0
        while True:
            self._require_open()
            try:
                return self._connection.call(operation, arguments)
            except Unavailable:
                attempt += 1
                if attempt == self._max_attempts:
                    raise
            self._pause(attempt)

    def _pause(self, attempt: int) -> None:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
        self.clock.sleep(1 + int(self._jitter() * longest))

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"the store of table {self.table!r} is closed: the invocation it belonged to has ended")

    def _unreachable(self, request: Request) -> str | None:
        """Where nobody polls, a target that no worker serves would hang: say so instead (DESIGN 5)."""
        match request:
            case (
                PromiseCreate(tags=tags)
                | TaskCreate(promise=PromiseCreate(tags=tags))
                | TaskFence(action=PromiseCreate(tags=tags))
                | ScheduleCreate(promise_tags=tags)
            ):
                target = tags.get(TARGET)
            case _:
                return None
        if self.groups is None or target is None or addresses.route(target, self.groups) is not None:
            return None
        known = ", ".join(sorted(self.groups)) or "none"
        return (
            f"nobody serves the group {addresses.group_of(target)!r} of the target {target!r}: RESONATE_GROUPS maps"
            f" {known}"
        )

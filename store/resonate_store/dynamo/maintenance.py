"""Maintenance of a DynamoDB table: what is due, deletion, retention markers and announcements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from resonate_store.dynamo.client import ConditionFailed, Unavailable, pages
from resonate_store.dynamo.deletion import Deletion, NotDeletable, Pruning, deletable
from resonate_store.dynamo.items import Expiry, Item, expiry_item, halted_shard, key_in, typed
from resonate_store.dynamo.large_values import Payloads
from resonate_store.dynamo.table import RetryingTable
from resonate_store.dynamo.writes import announcement_of
from resonate_store.machine.effects import Prune
from resonate_store.machine.validation import problem_with
from resonate_store.model.clock import Clock
from resonate_store.model.execution_requests import ExecutionDelete
from resonate_store.model.records import END_OF_TIME, Entry, Key, Record
from resonate_store.model.requests import PromiseWake, Request, Response

if TYPE_CHECKING:
    from resonate_store.dynamo.debug_items import DynamoDebug

ALL_AT_ONCE: Final = 10_000
"""How many records are deleted before the tree is read again."""

Position = Item
"""The position at which a query of an index ended."""


class Maintenance(ABC):
    """The operations of a table that are not requests. `DynamoStore` has them.

    Args:
        table: the name of the table.
        clock: the source of time.
        shards: how many partitions each index has.
        width: how many requests run at the same time when an execution is deleted.
        connection: the table.
    """

    def __init__(self, table: str, clock: Clock, shards: int, width: int, connection: RetryingTable) -> None:
        self.table = table
        self.clock = clock
        self.shards = shards
        self._width = width
        self._table = connection

    @abstractmethod
    def apply(self, request: Request) -> Response:
        """Carry out one request."""

    @abstractmethod
    def record(self, id: str) -> Record | None:
        """Return the record as it is stored."""

    @property
    @abstractmethod
    def _objects(self) -> Payloads:
        """The bucket of the large values."""

    def now(self) -> int:
        """Return the present instant (ms)."""
        return self.clock.now()

    def due(self, now: int) -> list[Key]:
        """Return the entries whose `wake_at` is not after `now` (ms), the earliest first.

        They stay due until they are woken.
        """
        partitions = [name for shard in range(self.shards) for name in (str(shard), halted_shard(shard))]
        found = [item for name in partitions for item in pages(self._table.call, "query", self._due_query(name, now))]
        found.sort(key=lambda item: (int(item["wake_at"]["N"]), key_in(item)))
        return [key_in(item) for item in found]

    def due_in_shard(
        self, shard: int, now: int, limit: int, start: Position | None = None
    ) -> tuple[list[tuple[Key, int]], Position | None]:
        """Return the first `limit` entries of one shard whose `wake_at` is not after `now` (ms), the earliest first.

        Returns:
            The entries with their `wake_at`, and the position of the next call; None at the end.
        """
        page = {} if start is None else {"ExclusiveStartKey": start}
        answer = self._table.call("query", {**self._due_query(str(shard), now), **page, "Limit": limit})
        return _instants(answer), answer.get("LastEvaluatedKey")

    def halted_in_shard(self, shard: int, limit: int) -> list[tuple[Key, int]]:
        """Return the first `limit` halted tasks of one shard with their `wake_at`, the earliest first, due or not."""
        query = self._due_query(halted_shard(shard), END_OF_TIME)
        return _instants(self._table.call("query", {**query, "Limit": limit}))

    def delete_tree(self, expiry: Expiry, most: int, until: int | None = None, *, whole: bool = False) -> bool:
        """Delete an execution whose retention is over, or a part of it.

        See `Deletion.run` for the arguments and the result.
        """
        return self._deletion(expiry).run(most, until, whole=whole)

    def delete_generations(
        self, outdated: Prune, most: int = ALL_AT_ONCE, until: int | None = None, *, whole: bool = False
    ) -> bool:
        """Delete the earlier generations of an execution, or a part of them.

        See `Deletion.run` for the arguments and the result.
        """
        objects, now = lambda: self._objects, self.clock.now
        pruning = Pruning(self._table.call, self.table, outdated, now, objects, width=self._width)
        return pruning.run(most, until, whole=whole)

    def reconsider(self, expiry: Expiry) -> None:
        """Keep an execution whose retention is over for another day, if it still exists."""
        if self.record(expiry.id) is not None:
            self._deletion(expiry).reconsider()

    def delete_execution(self, id: str) -> int:
        """Delete a settled execution now, before its retention is over: the root `id` and its tree.

        It first puts a marker that is already due. If this deletion is interrupted, the deployment completes it.

        Args:
            id: the id of the root.

        Returns:
            How many records were deleted, with the root.

        Raises:
            NotDeletable: the promise does not exist, is not a root or is pending. Or its settlement is not delivered to
                all awaiters and listeners, or a task in its tree is running.
            StoreError: the table or the bucket cannot be reached.
        """
        record = self.record(id)
        if record is not None and record.pending and record.timeout_at <= self.clock.now():
            self.apply(PromiseWake(id))
            record = self.record(id)
        record = deletable(id, record)
        deletion = self._deletion(Expiry(id, record.created_at))
        deletion.tree()  # raises before anything is deleted
        self.retain(id, record.created_at, self.clock.now(), 0)
        while not deletion.delete(ALL_AT_ONCE):
            pass
        marker = expiry_item(id, record.created_at, 0)
        self._table.call("delete_item", {"TableName": self.table, "Key": {name: marker[name] for name in ("pk", "sk")}})
        return deletion.deleted

    def _deleted(self, request: ExecutionDelete) -> Response:
        """Delete a settled execution and return the answer to the request."""
        if problem := problem_with(request):
            return Response(status=400, error=problem)
        try:
            return Response(count=self.delete_execution(request.id))
        except NotDeletable as error:
            return Response(status=404 if self.record(request.id) is None else 409, error=str(error))
        except Unavailable as error:
            return Response(status=503, error=str(error))

    def _deletion(self, expiry: Expiry) -> Deletion:
        objects, now = lambda: self._objects, self.clock.now
        return Deletion(self._table.call, self.table, expiry, now, objects, width=self._width)

    def debug(self) -> DynamoDebug:
        """Return the debugging operations of this table."""
        from resonate_store.dynamo.debug_items import DynamoDebug  # only debugging needs it

        return DynamoDebug(self._table.call, self.table, lambda: self._objects, width=self._width)

    def retain(self, id: str, created_at: int, settled_at: int, seconds: int) -> None:
        """Put the retention marker of a settled root. Its tree may be deleted `seconds` after `settled_at` (ms)."""
        item = expiry_item(id, created_at, settled_at + seconds * 1000)
        self._table.call("put_item", {"TableName": self.table, "Item": item})

    def announce(self, entry: Entry) -> None:
        """Have the dispatcher deliver all effects that are outstanding on an entry. Ignore a deleted entry."""
        with suppress(ConditionFailed):
            self._table.call("update_item", announcement_of(entry, self.table))

    def _due_query(self, shard: str, now: int) -> dict[str, Any]:
        return {
            "TableName": self.table,
            "IndexName": "wake",
            "KeyConditionExpression": "wake_shard = :shard AND wake_at <= :now",
            "ExpressionAttributeValues": {":shard": typed(shard), ":now": typed(now)},
        }


def _instants(answer: Mapping[str, Any]) -> list[tuple[Key, int]]:
    """Return the entries in an answer of the index `wake`, with their `wake_at`."""
    return [(key_in(item), int(item["wake_at"]["N"])) for item in answer["Items"]]

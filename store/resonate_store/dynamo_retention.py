"""Deleting an execution whose retention is over (DESIGN 3, "Retention").

Nothing in a tree expires by itself: a record that a running workflow needs must not vanish. When a root settles it is
given a marker that expires, and the marker's end is the tree's. The records go from the deepest level up, the root
last, so an interrupted deletion leaves no orphan that another would not find; and every delete is on condition that
the root is still the one that the marker was put for, so an id that is used again never loses a record of its new life.

Roots below the root - detached calls, occurrences of a schedule - keep their own time, with everything below them. The
official SDKs give a detached call the origin of its caller; as long as such a task runs, its caller's tree stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from resonate_store.dynamo_calls import ConditionFailed
from resonate_store.ids import SEPARATORS, parent
from resonate_store.models import AnyItem, Expiry, Item, depth_prefix, expiry_item, table_key, typed
from resonate_store.records import ORIGIN

BATCH: Final = 99
"""Records deleted by one transaction, besides the check of their root."""
RECONSIDERED: Final = 86_400_000
"""After how long a tree is looked at again whose end had come while a task in it was running (ms)."""


class Call(Protocol):
    """Calls DynamoDB."""

    def __call__(self, operation: str, arguments: Mapping[str, Any], /) -> dict[str, Any]: ...


class Deletion:
    """Deletes one tree.

    Args:
        call: calls DynamoDB.
        table: the table's name.
        expiry: the root, in one of its lives.
        now: the instant in milliseconds.
    """

    def __init__(self, call: Call, table: str, expiry: Expiry, now: int) -> None:
        self._call = call
        self._table = table
        self._now = now
        self._expiry = expiry
        self._id = expiry.id
        self._same_life: dict[str, Any] = {
            "TableName": table,
            "Key": table_key(("promise", expiry.id)),
            "ConditionExpression": "created_at = :life AND #state <> :pending",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":life": typed(expiry.created_at), ":pending": typed("pending")},
        }

    def run(self, max_batches: int) -> bool:
        """Delete the tree, or as much of it as `max_batches` transactions can.

        Returns:
            Whether there is nothing more to do now: it is gone, was never ours to delete, or has been given a new
            marker because a task in it is running; False to go on later.
        """
        try:
            levels = list(self._levels())
        except _Running:
            marker = expiry_item(self._id, self._expiry.created_at, self._now + RECONSIDERED)
            self._call("put_item", {"TableName": self._table, "Item": marker})
            return True
        batches = [level[start : start + BATCH] for level in reversed(levels) for start in range(0, len(level), BATCH)]
        try:
            for batch in batches[:max_batches]:
                self._delete(batch)
            if len(batches) > max_batches:
                return False
            self._call("delete_item", self._same_life)
        except ConditionFailed:
            # The id has begun another life, is pending again, or is gone already.
            return True
        return True

    def _levels(self) -> Iterator[list[Item]]:
        """The keys of the tree below the root, level by level; parents precede children, so there are no gaps."""
        foreign: set[str] = set()
        below = 1
        while True:
            level: list[Item] = []
            for item in self._records(below):
                id: str = item["id"]["S"]
                if parent(id) in foreign or _is_root(item):
                    foreign.add(id)
                elif self._runs(item):
                    raise _Running
                else:
                    level.append({"pk": dict(item["pk"]), "sk": dict(item["sk"])})
            if not level:
                return
            yield level
            below += 1

    def _runs(self, item: AnyItem) -> bool:
        return "task" in item and item["state"]["S"] == "pending" and int(item["timeout_at"]["N"]) > self._now

    def _records(self, below: int) -> Iterator[AnyItem]:
        for separator in SEPARATORS:
            yield from self._records_apart(*depth_prefix(self._id, below, separator))

    def _records_apart(self, partition: dict[str, Any], prefix: dict[str, Any]) -> Iterator[AnyItem]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": partition, ":prefix": prefix},
            "ProjectionExpression": "pk, sk, id, tags.#origin, #state, timeout_at, task.#state",
            "ExpressionAttributeNames": {"#origin": ORIGIN, "#state": "state"},
        }
        while True:
            answer = self._call("query", query)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _delete(self, keys: list[Item]) -> None:
        deletes = [{"Delete": {"TableName": self._table, "Key": key}} for key in keys]
        self._call("transact_write_items", {"TransactItems": [{"ConditionCheck": self._same_life}, *deletes]})


class _Running(Exception):
    """A task in the tree is running."""


def _is_root(item: AnyItem) -> bool:
    tags = item.get("tags", {}).get("M", {})
    return tags.get(ORIGIN, item["id"])["S"] == item["id"]["S"]

"""Deleting an execution whose retention is over (docs/rules.md E1 to E7).

Nothing in a tree expires by itself: a record that a running workflow needs must not vanish. When a root settles it is
given a marker that expires, and the marker's end is the tree's. The records go from the deepest level up, the root
last, so an interrupted deletion leaves no orphan that another would not find.

No record of another life of the id is ever deleted. The tree is read first and its root after it: if that is still the
settled root that the marker was put for, everything that was read belongs to it. Then each record is deleted on
condition that it is still the very image that was read, which the token of its last write tells. So no transaction is
needed, which would cost twice as much.

A record's large values go with it: the objects are tagged as unclaimed, then the record is deleted, and then they are.
An interruption leaves a record whose objects exist, or objects that the bucket's lifecycle removes.

Roots below the root - detached calls, occurrences of a schedule - keep their own time, with everything below them. So
does a promise that names an origin which it is not below, as the official SDKs do when a call is given an id. The
official SDKs give a detached call the origin of its caller; as long as such a task runs, its caller's tree stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from resonate_store.dynamo.client import Call, ConditionFailed, pages
from resonate_store.dynamo.items import AnyItem, Expiry, Item, depth_prefix, expiry_item, table_key, typed
from resonate_store.dynamo.large_values import Payloads
from resonate_store.dynamo.parallel import each
from resonate_store.model.ids import SEPARATORS, parent
from resonate_store.model.records import Record, begins_tree
from resonate_store.model.tags import ORIGIN, PARENT

BATCH: Final = 100
"""Records that are deleted together; their objects are in one request each time."""
RECONSIDERED_MS: Final = 86_400_000
"""After how long a tree is looked at again whose end had come while a task in it was running."""

_PROJECTION: Final = (
    "pk, sk, #id, #token, tags.#origin, tags.#parent, #state, timeout_at, task.#state, #param.#key, #value.#key"
)
_NAMES: Final = {
    "#id": "id",
    "#token": "token",
    "#origin": ORIGIN,
    "#parent": PARENT,
    "#state": "state",
    "#param": "param",
    "#value": "value",
    "#key": "key",
}


class NotDeletable(ValueError):
    """What is to be deleted does not exist, or is still needed; the text says which."""


def deletable(id: str, record: Record | None) -> Record:
    """Return the record of the root `id`, if its execution may be deleted before its retention is over.

    Raises:
        NotDeletable: there is no such root, it is pending, or its end is still being told to others.
    """
    if record is None:
        raise NotDeletable(f"there is no promise {id!r}")
    if not record.root:
        raise NotDeletable(f"{id!r} is part of the execution {record.tags[ORIGIN]!r} and goes with it: delete that")
    if record.pending:
        raise NotDeletable(f"the execution {id!r} is pending: cancel it first, or wait for its end")
    if record.owes and (record.callbacks or record.listeners):
        raise NotDeletable(f"the end of {id!r} is still being told to those who wait for it: try again soon")
    return record


class Doomed(NamedTuple):
    """A record to delete: its key in the table, the token of its image, and its large values in the bucket."""

    key: Item
    token: Mapping[str, str]
    objects: tuple[str, ...]


class Deletion:
    """Deletes one tree.

    Args:
        call: calls DynamoDB.
        table: the table's name.
        expiry: the root, in one of its lives.
        now: tells the instant in milliseconds.
        objects: the bucket, asked for when a record has values in it.
        width: requests to DynamoDB at the same time.

    Attributes:
        deleted: how many records have gone so far.
    """

    def __init__(
        self,
        call: Call,
        table: str,
        expiry: Expiry,
        now: Callable[[], int],
        objects: Callable[[], Payloads],
        *,
        width: int = 1,
    ) -> None:
        self.deleted = 0
        self._call = call
        self._objects = objects
        self._width = width
        self._table = table
        self._now = now
        self._expiry = expiry
        self._id = expiry.id

    def run(self, most: int, until: int | None = None, *, whole: bool = False) -> bool:
        """Delete the tree, or as much of it as `most` records; when a task in it is running, give it a new marker.

        Args:
            most: how many records to delete at most.
            until: the instant (ms) after which nothing is begun but the first batch of records.
            whole: whether to delete nothing of a tree that has more records than `most`; so many are read at most.

        Returns:
            Whether there is nothing more to do now: it is gone, was never ours to delete, or has been given a new
            marker; False to go on later.
        """
        try:
            return self.delete(most, until, whole=whole)
        except Running:
            self.reconsider()
            return True
        except _Larger:
            return False

    def reconsider(self) -> None:
        """Give the tree a new marker, for a day."""
        marker = expiry_item(self._id, self._expiry.created_at, self._now() + RECONSIDERED_MS)
        self._call("put_item", {"TableName": self._table, "Item": marker})

    def delete(self, most: int, until: int | None = None, *, whole: bool = False) -> bool:
        """Delete the tree, or as much of it as `most` records and the instant `until` (ms) allow.

        Returns:
            Whether it is gone, or was never ours to delete; False to go on later.

        Raises:
            Running: a task in it is running.
        """
        tree = self.tree(most if whole else None)
        if tree is None:
            return True
        batches = [level[start : start + BATCH] for level in tree for start in range(0, len(level), BATCH)]
        for number, batch in enumerate(batches):
            if number and until is not None and self._now() >= until:
                return False
            if most <= 0 or not self._remove(batch[:most]):
                return False
            most -= len(batch)
        return most >= 0

    def tree(self, most: int | None = None) -> list[list[Doomed]] | None:
        """The records to delete, the deepest level first; None if the root is not the settled one of that life.

        Args:
            most: how many records there may be, the root included; None for any number.

        Raises:
            Running: a task in it is running.
        """
        levels = list(self._levels(most))
        answer = self._call("get_item", {"Key": table_key(("promise", self._id)), **self._reading()})
        root = answer.get("Item")
        if root is None or root["created_at"] != typed(self._expiry.created_at) or root["state"]["S"] == "pending":
            return None
        return [*reversed(levels), [_doomed(root)]]

    def _levels(self, most: int | None) -> Iterator[list[Doomed]]:
        """The records of the tree below the root, level by level; parents precede children, so there are no gaps."""
        foreign: set[str] = set()
        below = found = 1
        while True:
            level: list[Doomed] = []
            for item in self._records(below, most):
                found += 1
                if most is not None and found > most:
                    raise _Larger
                id: str = item["id"]["S"]
                if parent(id) in foreign or _is_root(item):
                    foreign.add(id)
                elif self._runs(item):
                    raise Running(f"the task {id!r} in the execution {self._id!r} is running")
                else:
                    level.append(_doomed(item))
            if not level:
                return
            yield level
            below += 1

    def _runs(self, item: AnyItem) -> bool:
        return "task" in item and item["state"]["S"] == "pending" and int(item["timeout_at"]["N"]) > self._now()

    def _records(self, below: int, most: int | None) -> Iterator[AnyItem]:
        for separator in SEPARATORS:
            yield from self._records_apart(*depth_prefix(self._id, below, separator), most)

    def _records_apart(self, partition: dict[str, Any], prefix: dict[str, Any], most: int | None) -> Iterator[AnyItem]:
        query: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": partition, ":prefix": prefix},
            **self._reading(),
            **({} if most is None else {"Limit": most + 1}),
        }
        return pages(self._call, "query", query)

    def _reading(self) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "ConsistentRead": True,
            "ProjectionExpression": f"{_PROJECTION}, created_at",
            "ExpressionAttributeNames": _NAMES,
        }

    def _remove(self, batch: Sequence[Doomed]) -> bool:
        """Delete records with their objects; returns whether all are gone, as none was written meanwhile."""
        objects = [key for record in batch for key in record.objects]
        if objects:
            self._objects().disclaim(objects)
        gone = each(self._remove_record, batch, self._width)
        self.deleted += sum(gone)
        lost = [key for record, is_gone in zip(batch, gone, strict=True) if is_gone for key in record.objects]
        if lost:
            self._objects().delete(lost)
        return all(gone)

    def _remove_record(self, record: Doomed) -> bool:
        arguments = {
            "TableName": self._table,
            "Key": record.key,
            "ConditionExpression": "#token = :token",
            "ExpressionAttributeNames": {"#token": "token"},
            "ExpressionAttributeValues": {":token": record.token},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            self._call("delete_item", arguments)
        except ConditionFailed as failure:
            # A missing item counts as deleted, by us or by another; a lost answer looks the same. It is read, because
            # some endpoints send no image of a record that was written meanwhile.
            return failure.images.get(0) is None and self._is_gone(record)
        return True

    def _is_gone(self, record: Doomed) -> bool:
        answer = self._call("get_item", {"TableName": self._table, "Key": record.key, "ConsistentRead": True})
        return "Item" not in answer


class _Larger(Exception):
    """The tree has more records than were asked for."""


class Running(NotDeletable):
    """A task in the tree is running."""


def _doomed(item: AnyItem) -> Doomed:
    values = (item.get(role, {}).get("M", {}) for role in ("param", "value"))
    objects = tuple(value["key"]["S"] for value in values if "key" in value)
    return Doomed({"pk": dict(item["pk"]), "sk": dict(item["sk"])}, item["token"], objects)


def _is_root(item: AnyItem) -> bool:
    tags = item.get("tags", {}).get("M", {})
    return begins_tree(item["id"]["S"], {name: text["S"] for name, text in tags.items()})

"""Deletion of an execution after its retention (docs/rules.md E1 to E7).

The records of a tree do not expire by themselves, because a running workflow may need them. A settled root gets a
marker that expires, and the dispatcher then deletes the tree. It deletes the deepest level first and the root last, so
that the next deletion finds all records that an interruption has left.

A client may create the same id again after its deletion. Each use of the id is a *life*. A deletion must not delete a
record of a later life. So the tree is read first, and its root after it. If the root is still the settled root of the
marker, all records that were read belong to the same life. Each record is then deleted on condition that it has not
changed since it was read. The token of its last write shows that. A transaction would cost twice as much.

The large values of a record are deleted with it: their objects are tagged as unclaimed, then the record is deleted,
then the objects. An interruption leaves a record whose objects exist, or objects that the bucket's lifecycle rule
deletes.

Roots below the root, such as detached calls and occurrences of a schedule, keep their own retention with everything
below them. So does a promise that is not below the origin that it names. The official SDKs create such promises for
calls with an id of their own. They give a detached call the origin of its caller. While such a task runs, the tree of
the caller is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from resonate_store.dynamo.client import Call, ConditionFailed, pages
from resonate_store.dynamo.items import (
    AnyItem,
    Expiry,
    Item,
    depth_prefix,
    expiry_item,
    ranges_around,
    table_key,
    typed,
)
from resonate_store.dynamo.large_values import Payloads
from resonate_store.machine.effects import Prune
from resonate_store.machine.executions import problem_with_deletion
from resonate_store.machine.generations import is_over
from resonate_store.model.ids import SEPARATORS, generation_of, parent
from resonate_store.model.records import Record, begins_tree
from resonate_store.model.tags import ORIGIN, PARENT, TAKEN
from resonate_store.parallel import each

BATCH: Final = 100
"""How many records are deleted together. Their large values are deleted in one request."""
RECONSIDERED_MS: Final = 86_400_000
"""The retention (ms) of the new marker for a tree with a running task (docs/rules.md E6)."""

_PROJECTION: Final = (
    "pk, sk, #id, #token, tags.#origin, tags.#parent, tags.#taken, #state, timeout_at, settled_at, task.#state,"
    " #param.#key, #value.#key"
)
_NAMES: Final = {
    "#id": "id",
    "#token": "token",
    "#origin": ORIGIN,
    "#parent": PARENT,
    "#taken": TAKEN,
    "#state": "state",
    "#param": "param",
    "#value": "value",
    "#key": "key",
}


class NotDeletable(ValueError):
    """Raised when an execution does not exist or is still needed. The message says which."""


def deletable(id: str, record: Record | None) -> Record:
    """Return the record of the root `id` if its execution may be deleted before its retention is over.

    Raises:
        NotDeletable: the promise does not exist, is not a root or is pending, or its settlement is not delivered to all
            awaiters and listeners.
    """
    problem = problem_with_deletion(id, record)
    if record is None or problem is not None:
        raise NotDeletable(problem)
    return record


class Doomed(NamedTuple):
    """A record to delete: its key in the table, the token of the image that was read, and its keys in S3."""

    key: Item
    token: Mapping[str, str]
    objects: tuple[str, ...]


class Deletion:
    """The deletion of one tree.

    Args:
        call: calls DynamoDB.
        table: the name of the table.
        expiry: the root, in one of its lives.
        now: returns the present instant (ms).
        objects: returns the bucket. It is called when a record has large values.
        width: how many requests to DynamoDB run at the same time.

    Attributes:
        deleted: how many records have been deleted so far.
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
        """Delete the tree, or a part of it. If a task in it is running, give the tree a new marker instead.

        Args:
            most: the most records to delete.
            until: the instant (ms) from which no further batch is begun. The first batch is always begun. None means no
                end.
            whole: if true, delete nothing of a tree with more than `most` records, and read no more of it than that.

        Returns:
            True if there is nothing more to do now: the tree is deleted, or belongs to another life, or has a new
            marker. False if the deletion has to continue later.
        """
        try:
            return self.delete(most, until, whole=whole)
        except Running:
            self.reconsider()
            return True
        except _Larger:
            return False

    def reconsider(self) -> None:
        """Give the tree a new marker, which lasts a day."""
        marker = expiry_item(self._id, self._expiry.created_at, self._now() + RECONSIDERED_MS)
        self._call("put_item", {"TableName": self._table, "Item": marker})

    def delete(self, most: int, until: int | None = None, *, whole: bool = False) -> bool:
        """Delete the tree, or as much of it as `most` records and the instant `until` (ms) allow.

        Returns:
            True if the tree is deleted or belongs to another life. False if the deletion has to continue later.

        Raises:
            Running: a task in the tree is running.
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
        """Return the records to delete, the deepest level first.

        The result is None if the root is pending, is missing or belongs to another life.

        Args:
            most: the most records that the tree may have, with its root. None means any number.

        Raises:
            Running: a task in the tree is running.
            _Larger: the tree has more than `most` records.
        """
        levels = list(self._levels(most))
        root = self._root()
        if root is None or root["state"]["S"] == "pending":
            return None
        return [*reversed(levels), [_doomed(root)]]

    def _root(self) -> AnyItem | None:
        """Return the item of the root, or None if it is missing or belongs to another life."""
        answer = self._call("get_item", {"Key": table_key(("promise", self._id)), **self._reading()})
        root = answer.get("Item")
        return root if root is not None and root["created_at"] == typed(self._expiry.created_at) else None

    def _levels(self, most: int | None) -> Iterator[list[Doomed]]:
        """Yield the levels of the tree below the root. Parents are written before children, so no level is empty."""
        foreign: set[str] = set()
        below = found = 1
        while True:
            level: list[Doomed] = []
            for item in self._records(below, most):
                found += 1
                if most is not None and found > most:
                    raise _Larger
                id: str = item["id"]["S"]
                if parent(id) in foreign or _is_root(item) or self._keeps(item):
                    foreign.add(id)
                else:
                    level.append(_doomed(item))
            if not level:
                return
            yield level
            below += 1

    def _keeps(self, item: AnyItem) -> bool:
        """Return whether a record stays, with everything below it.

        Raises:
            Running: it is a running task, so the whole tree stays.
        """
        if self._runs(item):
            raise Running(f"the task {item['id']['S']!r} in the execution {self._id!r} is running")
        return False

    def _runs(self, item: AnyItem) -> bool:
        return "task" in item and item["state"]["S"] == "pending" and int(item["timeout_at"]["N"]) > self._now()

    def _records(self, below: int, most: int | None) -> Iterator[AnyItem]:
        for separator in SEPARATORS:
            yield from self._records_apart(*depth_prefix(self._id, below, separator), most)

    def _records_apart(self, partition: dict[str, Any], prefix: dict[str, Any], most: int | None) -> Iterator[AnyItem]:
        query = {
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": partition, ":prefix": prefix},
        }
        return self._found(query, most)

    def _found(self, query: dict[str, Any], most: int | None) -> Iterator[AnyItem]:
        limit = {} if most is None else {"Limit": most + 1}
        return pages(self._call, "query", {**query, **self._reading(), **limit})

    def _reading(self) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "ConsistentRead": True,
            "ProjectionExpression": f"{_PROJECTION}, created_at, generation",
            "ExpressionAttributeNames": _NAMES,
        }

    def _remove(self, batch: Sequence[Doomed]) -> bool:
        """Delete records and their objects. Return whether all are deleted: none was written in the meantime."""
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
            # A missing item counts as deleted, by us or by another deletion. It is read again, because some endpoints
            # do not send the image of a record that has changed.
            return failure.images.get(0) is None and self._is_gone(record)
        return True

    def _is_gone(self, record: Doomed) -> bool:
        answer = self._call("get_item", {"TableName": self._table, "Key": record.key, "ConsistentRead": True})
        return "Item" not in answer


class Pruning(Deletion):
    """The deletion of the generations of one execution before the present one (docs/rules.md G5, M10).

    The root is read after the records. If it has reached the generation, all earlier ones are over in this life. A
    deletion finds what an earlier one has left, because it reads all generations but the present one.

    Args:
        outdated: the effect, which names the execution, its life and the present generation.
        call, table, now, objects, width: as for `Deletion`.
    """

    def __init__(
        self,
        call: Call,
        table: str,
        outdated: Prune,
        now: Callable[[], int],
        objects: Callable[[], Payloads],
        *,
        width: int = 1,
    ) -> None:
        super().__init__(call, table, Expiry(outdated.id, outdated.created_at), now, objects, width=width)
        self._generation = outdated.generation

    def tree(self, most: int | None = None) -> list[list[Doomed]] | None:
        levels = list(self._levels(most))
        root = self._root()
        if root is None or int(root.get("generation", {}).get("N", "1")) < self._generation:
            return None
        return list(reversed(levels))

    def _keeps(self, item: AnyItem) -> bool:
        return self._runs(item)

    def _records(self, below: int, most: int | None) -> Iterator[AnyItem]:
        for query in ranges_around(self._id, below, self._generation):
            for item in self._found(query, most):
                generation = generation_of(item["id"]["S"], self._id)
                if generation is None:
                    is_outdated = below == 1 and self._is_taken(item)
                else:
                    is_outdated = generation < self._generation
                if is_outdated:
                    yield item

    def _is_taken(self, item: AnyItem) -> bool:
        """Return whether an earlier generation has taken this message, long ago."""
        place = _tags(item).get(TAKEN)
        if place is None or "N" not in item.get("settled_at", {}):
            return False
        return is_over(place, int(item["settled_at"]["N"]), self._id, self._generation, self._now())


class _Larger(Exception):
    """Raised when the tree has more records than may be deleted."""


class Running(NotDeletable):
    """Raised when a task in the tree is running."""


def _doomed(item: AnyItem) -> Doomed:
    values = (item.get(role, {}).get("M", {}) for role in ("param", "value"))
    objects = tuple(value["key"]["S"] for value in values if "key" in value)
    return Doomed({"pk": dict(item["pk"]), "sk": dict(item["sk"])}, item["token"], objects)


def _is_root(item: AnyItem) -> bool:
    return begins_tree(item["id"]["S"], _tags(item))


def _tags(item: AnyItem) -> dict[str, str]:
    """Return those tags of a record that were read."""
    return {name: text["S"] for name, text in item.get("tags", {}).get("M", {}).items()}

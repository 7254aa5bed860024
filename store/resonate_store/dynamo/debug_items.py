"""Debugging of a table: pause its deployment, read all records, delete them (docs/protocol.md 1.8).

The functions of a deployment share no memory, so the pause is an item of the table (docs/decisions/0035). The functions
that carry out effects read it first. Messages that are held back are items too. Such an item has only the id of the
task or promise, and the message is built when it is needed. To release a message, the attribute `effects` is set on its
item. The table's stream then invokes the dispatcher with it.

These operations read and write the whole table without indexes. An index follows its table with a delay, which is too
late for a test that moves the time. Only a deployment that is made for debugging runs them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from resonate_store.dynamo.client import Call, ConditionFailed, pages
from resonate_store.dynamo.items import AnyItem, Item, entry_of, is_entry, typed
from resonate_store.dynamo.large_values import Payloads, claims_in, with_values
from resonate_store.model.records import Entry, PromiseView, Record
from resonate_store.parallel import each

DEBUG_PK: Final = "debug"
"""The partition of the items for debugging. It has neither promises nor schedules nor retention markers."""
_PAUSE: Final[Item] = {"pk": typed(DEBUG_PK), "sk": typed("pause")}
_MESSAGE_SK: Final = "message#"


class Held(NamedTuple):
    """A message that is held back.

    Attributes:
        address: where the message goes.
        id: the task that it offers, or the settled promise that it shows.
        version: the version of the task; None for a promise.
    """

    address: str
    id: str
    version: int | None = None


class DynamoDebug:
    """The debugging operations of a table.

    Args:
        call: calls DynamoDB.
        table: the name of the table.
        objects: returns the bucket. It is called when a record has large values.
        width: how many requests run at the same time when the table is cleared.
    """

    def __init__(self, call: Call, table: str, objects: Callable[[], Payloads], *, width: int = 1) -> None:
        self._call = call
        self._table = table
        self._objects = objects
        self._width = width

    def pause(self) -> None:
        """Pause the deployment: no timer fires and no message is sent."""
        self._call("put_item", {"TableName": self._table, "Item": _PAUSE})

    def resume(self) -> None:
        """End the pause and release all messages."""
        self._call("delete_item", {"TableName": self._table, "Key": _PAUSE})
        self.release()

    def release(self) -> None:
        """Release all messages that are held back."""
        for held in self.held():
            self._put(held, effects=1)

    def paused(self) -> bool:
        """Return whether the deployment is paused."""
        return "Item" in self._call("get_item", {"TableName": self._table, "Key": _PAUSE, "ConsistentRead": True})

    def hold(self, held: Held) -> None:
        """Hold a message back.

        It replaces an earlier one about the same task, or about the same promise to the same listener.
        """
        self._put(held)

    def held(self) -> list[Held]:
        """Return the messages that are held back, ordered by id."""
        query = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": typed(DEBUG_PK), ":prefix": typed(_MESSAGE_SK)},
        }
        held = [_held_of(item) for item in pages(self._call, "query", query) if "effects" not in item]
        return sorted(held, key=lambda held: (held.id, held.version is None, held.address))

    def forget(self, released: Held) -> None:
        """Delete a released message that has been sent, unless it is held back again."""
        condition = {"ConditionExpression": "attribute_exists(effects)"}
        with suppress(ConditionFailed):
            self._call("delete_item", {"TableName": self._table, "Key": _key_of(released), **condition})

    def entries(self) -> list[Entry]:
        """Return all promises and schedules as they are stored. Large values are claims."""
        return [entry_of(item) for item in self._items() if is_entry(item)]

    def whole(self, promises: list[PromiseView]) -> list[PromiseView]:
        """Return the promises with their large values."""
        claims = [claim for promise in promises for claim in claims_in(promise)]
        if not claims:
            return promises
        values = self._objects().values(claims)
        return [with_values(promise, values) for promise in promises]

    def clear(self) -> None:
        """Delete all items except the pause. The bucket's lifecycle rule deletes the large values later."""
        items = list(self._items())
        entries = [entry_of(item) for item in items if is_entry(item)]
        claims = [claim.key for entry in entries if isinstance(entry, Record) for claim in claims_in(entry)]
        if claims:
            self._objects().disclaim(claims)
        keys = [{"pk": item["pk"], "sk": item["sk"]} for item in items]
        each(self._delete, [key for key in keys if key != _PAUSE], self._width)

    def _delete(self, key: AnyItem) -> None:
        self._call("delete_item", {"TableName": self._table, "Key": key})

    def _put(self, held: Held, **more: int) -> None:
        fields = {"address": held.address, "id": held.id, **more}
        if held.version is not None:
            fields["version"] = held.version
        item = {**_key_of(held), **{name: typed(value) for name, value in fields.items()}}
        self._call("put_item", {"TableName": self._table, "Item": item})

    def _items(self) -> Iterator[AnyItem]:
        return pages(self._call, "scan", {"TableName": self._table, "ConsistentRead": True})


def released_of(item: AnyItem) -> Held | None:
    """Return the message that an item releases. None if the item is something else or is still held back."""
    is_message = item["pk"]["S"] == DEBUG_PK and item["sk"]["S"].startswith(_MESSAGE_SK)
    return _held_of(item) if is_message and "effects" in item else None


def _held_of(item: AnyItem) -> Held:
    version = item.get("version")
    return Held(item["address"]["S"], item["id"]["S"], None if version is None else int(version["N"]))


def _key_of(held: Held) -> Item:
    # A hash, because an id and an address together can be longer than a key.
    subject = f"execute {held.id}" if held.version is not None else f"unblock {held.address} {held.id}"
    return {"pk": typed(DEBUG_PK), "sk": typed(_MESSAGE_SK + hashlib.sha256(subject.encode()).hexdigest())}

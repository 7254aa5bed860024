"""What debugging does to a table: it stops, is looked at as a whole, and is emptied (docs/protocol.md 1.8).

A deployment has no owner in whose memory it could stand that it is stopped, so that stands in the table itself, where
the functions that carry on look before they do anything. The messages that are held back meanwhile stand there, too.
They are no copies: an item names the task or the promise that its message is about, and the message is made when it is
wanted. Letting one go marks it with `effects`, so that the table's stream brings it to the dispatcher like any other
write that something has to follow from.

All of this reads and writes whole tables, without indexes, which follow their table too late for somebody who moves
the time by hand. A deployment does none of it unless it is made for debugging.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from resonate_store.dynamo.client import Call, ConditionFailed, pages
from resonate_store.dynamo.items import AnyItem, Item, entry_of, is_entry, typed
from resonate_store.dynamo.large_values import Payloads, claims_in, with_values
from resonate_store.dynamo.parallel import each
from resonate_store.model.records import Entry, PromiseView, Record

DEBUG_PK: Final = "debug"
"""The partition of what only debugging keeps; no entry and no retention marker lies in it."""
_PAUSE: Final[Item] = {"pk": typed(DEBUG_PK), "sk": typed("pause")}
_MESSAGE_SK: Final = "message#"


class Held(NamedTuple):
    """A message that is held back.

    Attributes:
        address: where it goes.
        id: the task that it offers, or the settled promise that it tells of.
        version: the task's; None if it tells of a promise.
    """

    address: str
    id: str
    version: int | None = None


class DynamoDebug:
    """The table, for whoever debugs the deployment that it belongs to.

    Args:
        call: calls DynamoDB.
        table: the table's name.
        objects: the bucket, asked for when a record has values in it.
        width: requests at the same time when the table is emptied.
    """

    def __init__(self, call: Call, table: str, objects: Callable[[], Payloads], *, width: int = 1) -> None:
        self._call = call
        self._table = table
        self._objects = objects
        self._width = width

    def pause(self) -> None:
        """Have nothing happen by itself any more."""
        self._call("put_item", {"TableName": self._table, "Item": _PAUSE})

    def resume(self) -> None:
        """Have things go on, and let go of all messages."""
        self._call("delete_item", {"TableName": self._table, "Key": _PAUSE})
        self.release()

    def release(self) -> None:
        """Let go of all messages."""
        for held in self.held():
            self._put(held, effects=1)

    def paused(self) -> bool:
        """Whether nothing happens by itself."""
        return "Item" in self._call("get_item", {"TableName": self._table, "Key": _PAUSE, "ConsistentRead": True})

    def hold(self, held: Held) -> None:
        """Hold a message back; a later one to the same listener, or about the same task, takes its place."""
        self._put(held)

    def held(self) -> list[Held]:
        """The messages that are held back, by what they are about."""
        query = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {":pk": typed(DEBUG_PK), ":prefix": typed(_MESSAGE_SK)},
        }
        held = [_held_of(item) for item in pages(self._call, "query", query) if "effects" not in item]
        return sorted(held, key=lambda held: (held.id, held.version is None, held.address))

    def forget(self, released: Held) -> None:
        """Remove a message that was let go of and has been sent, if it is not held back anew."""
        condition = {"ConditionExpression": "attribute_exists(effects)"}
        with suppress(ConditionFailed):
            self._call("delete_item", {"TableName": self._table, "Key": _key_of(released), **condition})

    def entries(self) -> list[Entry]:
        """All promises and schedules, as they are stored, with claims in place of large values."""
        return [entry_of(item) for item in self._items() if is_entry(item)]

    def whole(self, promises: list[PromiseView]) -> list[PromiseView]:
        """The promises with their large values."""
        claims = [claim for promise in promises for claim in claims_in(promise)]
        if not claims:
            return promises
        values = self._objects().values(claims)
        return [with_values(promise, values) for promise in promises]

    def clear(self) -> None:
        """Delete everything; a table that is paused stays so. Large values are left to the bucket's lifecycle."""
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
    """The message that an item lets go of; None if it is something else, or still held back."""
    is_message = item["pk"]["S"] == DEBUG_PK and item["sk"]["S"].startswith(_MESSAGE_SK)
    return _held_of(item) if is_message and "effects" in item else None


def _held_of(item: AnyItem) -> Held:
    version = item.get("version")
    return Held(item["address"]["S"], item["id"]["S"], None if version is None else int(version["N"]))


def _key_of(held: Held) -> Item:
    # Hashed, because ids and addresses together may be longer than a key.
    subject = f"execute {held.id}" if held.version is not None else f"unblock {held.address} {held.id}"
    return {"pk": typed(DEBUG_PK), "sk": typed(_MESSAGE_SK + hashlib.sha256(subject.encode()).hexdigest())}

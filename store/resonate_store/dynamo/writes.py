"""Translation of an outcome into one conditional write, and the meaning of its failure (docs/rules.md D6 to D8).

An outcome with one change is one PutItem, UpdateItem or DeleteItem. Any other outcome is one TransactWriteItems. Each
element has the condition that its record is unchanged, and a token that names the write. If the condition fails,
DynamoDB returns the present image.

If the image has the token of this write, the write has succeeded and its response was lost, because botocore repeats
calls by itself. Otherwise the transition runs again on the image. This module calls nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from resonate_store.dynamo.items import AnyItem, Item, entry_of, item_of, table_key, typed
from resonate_store.machine import Outcome
from resonate_store.machine.effects import Change, Effect, effects
from resonate_store.model.limits import ADVICE
from resonate_store.model.records import Entry, Key, Record, key_of

MAX_ITEM_BYTES: Final = 400 * 1024
MAX_TRANSACTION_BYTES: Final = 4 * 1024 * 1024
MAX_TRANSACTION_ITEMS: Final = 100

_ADVICE: Final = f"set RESONATE_BUCKET if it is not, for large values to lie in S3; all else has to fit: {ADVICE}"


class Element(NamedTuple):
    """One item of a write: an element of a transaction, or the arguments of a single call."""

    action: str
    key: Key
    arguments: dict[str, Any]
    size: int
    announced: bool = False


class Write(NamedTuple):
    """A call of the client that writes.

    `keys` has the key of each element, in the same order. `announced` are the entries whose effects are left to the
    dispatcher.
    """

    operation: str
    arguments: dict[str, Any]
    keys: tuple[Key, ...]
    token: str
    announced: frozenset[Key] = frozenset()


class TooLarge(Exception):
    """Raised when DynamoDB would refuse a write because of its size. The message says why and what to do."""


_OPERATIONS: Final = {"Put": "put_item", "Update": "update_item", "Delete": "delete_item"}


def written(outcome: Outcome) -> dict[Key, Entry | None]:
    """Return the image of each key that an outcome writes. None is a deleted entry."""
    return {
        key_of(entry): change.after
        for change in outcome.changes
        if (entry := change.after or change.before) is not None
    }


Announce = Callable[[Sequence[Effect]], bool]
"""Says whether the effects of a change are left to the dispatcher."""


def write_of(outcome: Outcome, *, table: str, token: str, announce: Announce, shards: int) -> Write:
    """Return the write of an outcome.

    Args:
        outcome: the outcome of a transition. It has changes.
        table: the name of the table.
        token: a new name for this write.
        announce: which effects the dispatcher carries out.
        shards: how many partitions each index has.

    Raises:
        TooLarge: an item or the whole write is larger than DynamoDB allows.
    """
    elements = [_element(change, table, token, announce, shards) for change in outcome.changes]
    written = {element.key for element in elements}
    announced = frozenset(element.key for element in elements if element.announced)
    elements += [_held(record, table) for record in outcome.held if key_of(record) not in written]
    if len(elements) == 1:
        (element,) = elements
        return Write(_OPERATIONS[element.action], element.arguments, (element.key,), token, announced)
    if len(elements) > MAX_TRANSACTION_ITEMS:
        raise TooLarge(f"{len(elements)} records in one transaction, and DynamoDB takes {MAX_TRANSACTION_ITEMS}")
    size = sum(element.size for element in elements)
    if size > MAX_TRANSACTION_BYTES:
        raise TooLarge(
            f"{len(elements)} records of {size} bytes together in one transaction, and DynamoDB takes"
            f" {MAX_TRANSACTION_BYTES}: {_ADVICE}"
        )
    arguments = {
        "TransactItems": [{element.action: element.arguments} for element in elements],
        "ClientRequestToken": token,
    }
    return Write("transact_write_items", arguments, tuple(element.key for element in elements), token, announced)


def _element(change: Change, table: str, token: str, announce: Announce, shards: int) -> Element:
    before, after = change
    if after is None:
        assert before is not None
        return _deletion(before, table)
    outstanding = effects(before, after)
    announced = len(outstanding) if outstanding and announce(outstanding) else 0
    item = item_of(after, token=token, effects=announced, shards=shards)
    size = size_of(item)
    if size > MAX_ITEM_BYTES:
        raise TooLarge(
            f"{key_of(after)[0]} {after.id!r} would be an item of {size} bytes, and DynamoDB takes {MAX_ITEM_BYTES}:"
            f" {_ADVICE}"
        )
    if isinstance(before, Record) and isinstance(after, Record) and only_waits(before, after):
        return Element("Update", key_of(after), _addition(before, after, item, table), size, bool(announced))
    arguments = {"TableName": table, "Item": item, **_unchanged(before)}
    return Element("Put", key_of(after), arguments, size, bool(announced))


def _unchanged(before: Entry | None) -> dict[str, Any]:
    """Return the condition under which a whole image may replace `before`."""
    if before is None:
        return _condition("attribute_not_exists(#pk)", ("pk",), {})
    # A new life of an id begins with `rev` 1, so `rev` and `created_at` together name one image.
    return _condition(
        "#rev = :rev AND #created_at = :created_at",
        ("rev", "created_at"),
        {"rev": before.rev, "created_at": before.created_at},
    )


def _deletion(before: Entry, table: str) -> Element:
    # A missing item has no token that shows our own deletion. It counts as deleted, by us or by another process.
    condition = _condition(
        "attribute_not_exists(#pk) OR (#rev = :rev AND #created_at = :created_at)",
        ("pk", "rev", "created_at"),
        {"rev": before.rev, "created_at": before.created_at},
    )
    return Element("Delete", key_of(before), {"TableName": table, "Key": table_key(key_of(before)), **condition}, 0)


def announcement_of(entry: Entry, table: str) -> dict[str, Any]:
    """Return the update that announces an entry: the dispatcher delivers all effects that are outstanding on it.

    The update changes no field of the machine, not even `rev`. So it disturbs no writer, and the dispatcher recognises
    it. The effects of an entry that was written since, or deleted and created again, are outstanding as well.
    """
    return {
        "TableName": table,
        "Key": table_key(key_of(entry)),
        "UpdateExpression": "ADD #effects :one",
        "ConditionExpression": "attribute_exists(#pk)",
        "ExpressionAttributeNames": {"#effects": "effects", "#pk": "pk"},
        "ExpressionAttributeValues": {":one": typed(1)},
    }


def _held(record: Record, table: str) -> Element:
    """Return a check that the task is still acquired at the version in `record`. Other fields may have changed."""
    assert record.task is not None
    condition = _condition(
        "#task.#state = :acquired AND #task.#version = :version AND #state = :pending",
        ("task", "state", "version"),
        {"acquired": "acquired", "version": record.task.version, "pending": "pending"},
    )
    arguments = {"TableName": table, "Key": table_key(key_of(record)), **condition}
    return Element("ConditionCheck", key_of(record), arguments, size_of(item_of(record)))


def only_waits(before: Record, after: Record) -> bool:
    """Return whether the change only adds callbacks or listeners to a pending promise."""
    same = replace(
        before,
        callbacks=after.callbacks,
        listeners=after.listeners,
        wake_at=after.wake_at,
        written_at=after.written_at,
        rev=after.rev,
    )
    return (
        before.pending
        and same == after
        and (before.callbacks, before.listeners) != (after.callbacks, after.listeners)
        and before.callbacks.keys() <= after.callbacks.keys()
        and before.listeners.keys() <= after.listeners.keys()
    )


def _addition(before: Record, after: Record, item: Item, table: str) -> dict[str, Any]:
    """Return the arguments of an UpdateItem that adds the new callbacks and listeners (docs/rules.md D7).

    The condition does not compare `rev`, so hundreds of waiters of one promise do not conflict. An entry can be added
    while the promise is pending. An outdated `before` is safe, because the deadline does not change in one life of the
    promise. A wait only sets an empty `wake_at` to this deadline. The condition on `token` refuses a repetition of the
    same call.
    """
    entries = [
        (attribute, waiter, since)
        for attribute, earlier, waiters in (
            ("callbacks", before.callbacks, after.callbacks),
            ("listeners", before.listeners, after.listeners),
        )
        for waiter, since in waiters.items()
        if earlier.get(waiter) != since
    ]
    moved = ("wake_at", "wake_shard") if after.wake_at != before.wake_at else ()
    announced = ("effects",) if "effects" in item else ()
    plain = ("token", "written_at", *moved, *announced)
    names = ("state", "timeout_at", "rev", "effects", *plain, *(attribute for attribute, _, _ in entries))
    places = [f"#{attribute}.#waiter{n}" for n, (attribute, _, _) in enumerate(entries)]
    clauses = [f"{place} = :waiter{n}" for n, place in enumerate(places)]
    # Another process may have registered a later version of the same task meanwhile.
    unless_later = "".join(
        f" AND (attribute_not_exists({place}) OR {place} < :waiter{n})" for n, place in enumerate(places)
    )
    clauses += [f"#{name} = :{name}" for name in plain]
    return {
        "TableName": table,
        "Key": table_key(key_of(after)),
        "UpdateExpression": f"SET {', '.join(clauses)}{'' if announced else ' REMOVE #effects'} ADD #rev :one",
        "ConditionExpression": f"#state = :pending AND #timeout_at = :timeout_at AND #token <> :token{unless_later}",
        "ExpressionAttributeNames": {f"#{name}": name for name in names}
        | {f"#waiter{n}": waiter for n, (_, waiter, _) in enumerate(entries)},
        "ExpressionAttributeValues": {f":{name}": item[name] for name in ("timeout_at", *plain)}
        | {f":waiter{n}": typed(since) for n, (_, _, since) in enumerate(entries)}
        | {":pending": typed("pending"), ":one": typed(1)},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _condition(expression: str, names: tuple[str, ...], values: Mapping[str, str | int]) -> dict[str, Any]:
    # Every name is a placeholder, because DynamoDB reserves hundreds of words and adds more.
    arguments: dict[str, Any] = {
        "ConditionExpression": expression,
        "ExpressionAttributeNames": {f"#{name}": name for name in names},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if values:
        arguments["ExpressionAttributeValues"] = {f":{name}": typed(value) for name, value in values.items()}
    return arguments


class WriteFailure(NamedTuple):
    """The failure of a write: the present entries of the failed conditions."""

    entries: dict[Key, Entry | None]
    ours: bool
    """Whether one entry is the image that this write made. The write has then succeeded."""


def failure_of(write: Write, images: Mapping[int, AnyItem | None]) -> WriteFailure:
    """Return the present entries where a write failed, and whether this write made one of them.

    `images` has the present items by their position in the write. None is an item that does not exist.
    """
    ours = any(image is not None and image.get("token") == typed(write.token) for image in images.values())
    entries = {write.keys[position]: None if image is None else entry_of(image) for position, image in images.items()}
    return WriteFailure(entries, ours)


def size_of(item: AnyItem) -> int:
    """Return the size of an item in bytes, as DynamoDB counts it."""
    return sum(_bytes(name) + _size(value) for name, value in item.items())


def _size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return _bytes(content)
        case "N":
            return len(content) // 2 + 2
        case "M":
            return 3 + sum(1 + _bytes(name) + _size(entry) for name, entry in content.items())
        case "L":
            return 3 + sum(1 + _size(entry) for entry in content)
        case _:
            return 1


def _bytes(text: str) -> int:
    # Validation refuses lone surrogates. This function only measures.
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))

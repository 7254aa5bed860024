"""Faster transactions in moto's DynamoDB.

To undo a failed transaction, moto copies the whole table with all its stream records, for every action of every
transaction. This module copies only the items that a transaction names.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table

_transact = DynamoDBBackend.transact_write_items


@contextmanager
def cheap() -> Generator[None]:
    """Use the faster transactions while the block runs."""
    with patch.object(DynamoDBBackend, "transact_write_items", _transact_cheaply):
        yield


def _transact_cheaply(self: Any, transact_items: list[dict[str, Any]]) -> None:
    images = [
        _Image(self.tables[action["TableName"]], action.get("Key") or action.get("Item", {}))
        for item in transact_items
        for action in item.values()
        if action.get("TableName") in self.tables
    ]
    with patch.object(Table, "__deepcopy__", _itself, create=True):
        try:
            _transact(self, transact_items)
        except BaseException:
            for image in images:
                image.restore()
            raise


def _itself(table: Any, _memo: Any) -> Any:
    """Return the table itself as the copy that moto restores after a failure."""
    return table


class _Image:
    """Snapshot of one item of a table, and of the number of records in the table's stream."""

    def __init__(self, table: Any, attributes: dict[str, Any]) -> None:
        self._table = table
        names = [name for name in (table.hash_key_attr, table.range_key_attr) if name]
        # If a part of the key is missing, the transaction will write nothing.
        self._key = [DynamoType(attributes[name]) for name in names if name in attributes]
        self._complete = len(self._key) == len(names)
        self._item = copy.deepcopy(table.get_item(*self._key)) if self._complete else None
        shard = table.stream_shard
        self._records = len(shard.items) if shard is not None else 0

    def restore(self) -> None:
        if self._complete:
            *partition, last = self._key
            items = self._table.items[partition[0]] if partition else self._table.items
            if self._item is None:
                items.pop(last, None)
            else:
                items[last] = self._item
        if self._table.stream_shard is not None:
            del self._table.stream_shard.items[self._records :]

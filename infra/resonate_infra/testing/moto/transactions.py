"""Transactions of moto's DynamoDB, at the price of what they touch.

For a failed transaction to leave no trace, moto copies the whole table, with all records of its stream, and does so
again for every action of every transaction. Here only the items that a transaction names are copied.
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
    """Transactions are cheap for as long as the block runs."""
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
    """What moto takes for a copy, and puts back into its place."""
    return table


class _Image:
    """One item of a table as it is now, and how many records the table's stream has."""

    def __init__(self, table: Any, attributes: dict[str, Any]) -> None:
        self._table = table
        names = [name for name in (table.hash_key_attr, table.range_key_attr) if name]
        # Where part of the key is missing, nothing will be written.
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

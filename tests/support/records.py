"""The items and records that the table of a deployment stores."""

from __future__ import annotations

from typing import Any

from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID

from resonate_infra.testing.stack import OfflineStack
from resonate_store.dynamo.items import entry_of, is_entry
from resonate_store.model.records import Record


def items_of(stack: OfflineStack) -> list[dict[str, Any]]:
    """Return every item of the table. They are read from moto's memory, which is slow at answering scans."""
    region = stack.deployment.stream_arn.split(":")[3]
    table = get_backend("dynamodb")[DEFAULT_ACCOUNT_ID][region].tables[stack.deployment.table_name]
    return [item.to_json()["Attributes"] for item in table.all_items()]


def records_in_table(stack: OfflineStack) -> list[Record]:
    """Return every promise record of the table, in any order."""
    entries = [entry_of(item) for item in items_of(stack) if is_entry(item)]
    return [entry for entry in entries if isinstance(entry, Record)]

"""The items and records that the table of a deployment stores."""

from __future__ import annotations

from typing import Any

from resonate_infra.testing.stack import OfflineStack
from resonate_store.dynamo.items import entry_of, is_entry
from resonate_store.model.records import Record


def items_of(stack: OfflineStack) -> list[dict[str, Any]]:
    """Return every item of the table. The scan is a call of the test, not of the function that may be running."""
    caller, stack.cloud.caller = stack.cloud.caller, ""
    try:
        pages = stack.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=stack.deployment.table_name)
        return list(pages.search("Items[]"))
    finally:
        stack.cloud.caller = caller


def records_in_table(stack: OfflineStack) -> list[Record]:
    """Return every promise record of the table, in any order."""
    entries = [entry_of(item) for item in items_of(stack) if is_entry(item)]
    return [entry for entry in entries if isinstance(entry, Record)]

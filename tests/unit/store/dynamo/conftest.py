from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import ManualClock
from tests.support.dynamo import Table


@pytest.fixture
def store(table: Table, clock: ManualClock) -> DynamoStore:
    return table.store(clock)


@pytest.fixture
def new_table(dynamo: Any) -> Callable[[], Table]:
    """Return what makes an empty table, for tests with a table for each case."""
    return partial(Table, dynamo)

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import ManualClock
from tests.support.dynamo import USUAL_KINDS, Table, dynamo_of


@pytest.fixture(scope="package", params=USUAL_KINDS)
def dynamo(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of each kind with `RESONATE_CI`. `test_store.py` always has both."""
    with dynamo_of(request.param) as client:
        yield client


@pytest.fixture
def store(table: Table, clock: ManualClock) -> DynamoStore:
    return table.store(clock)


@pytest.fixture
def new_table(dynamo: Any) -> Callable[[], Table]:
    """Return what makes an empty table, for tests with a table for each case."""
    return partial(Table, dynamo)

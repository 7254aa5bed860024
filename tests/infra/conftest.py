import pytest

from tests.infra.surroundings import Surroundings
from tests.store.dynamo_fixture import Table, dynamo, table, wire

__all__ = ["dynamo", "table", "wire"]


@pytest.fixture
def surroundings(table: Table) -> Surroundings:
    return Surroundings(table)

import pytest

from tests.unit.infra.surroundings import Surroundings
from tests.unit.store.dynamo_fixture import Table, dynamo, table, wire

__all__ = ["dynamo", "table", "wire"]


@pytest.fixture
def surroundings(table: Table) -> Surroundings:
    return Surroundings(table)

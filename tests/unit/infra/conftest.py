import pytest

from tests.support.dynamo import Table, dynamo, table, wire
from tests.support.infra_world import InfraWorld

__all__ = ["dynamo", "table", "wire"]


@pytest.fixture
def world(table: Table) -> InfraWorld:
    return InfraWorld(table)

from tests.unit.store.dynamo_fixture import dynamo, table, wire

__all__ = ["dynamo", "table", "wire"]

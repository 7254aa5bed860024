from tests.support.dynamo import dynamo, table, wire

__all__ = ["dynamo", "table", "wire"]

from tests.support.dynamo import dynamo, table, wire
from tests.support.substrates import any_store, any_substrate, manual_clock

__all__ = ["any_store", "any_substrate", "dynamo", "manual_clock", "table", "wire"]

"""What only an operator can do to the records of a store in memory: no request of the protocol does it."""

from resonate_store.local.memory import MemoryStore
from resonate_store.model.records import Record


def lose(store: MemoryStore, id: str) -> None:
    """Delete a record, as the end of its retention or an accident does."""
    del store._records[id]


def tamper(store: MemoryStore, record: Record) -> None:
    """Put a record in the place of the one with its id."""
    store._records[record.id] = record

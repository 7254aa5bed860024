"""A store in memory whose records a test can delete and replace: no request of the protocol does so."""

from __future__ import annotations

from resonate_store.local.memory import MemoryStore
from resonate_store.model.records import Record


class OpenMemory(MemoryStore):
    """A store in memory that also does what only an operator can do."""

    def lose(self, id: str) -> None:
        """Delete a record, as the end of its retention or an accident does."""
        del self._records[id]

    def replace(self, record: Record) -> None:
        """Put a record in the place of the one with its id."""
        self._records[record.id] = record

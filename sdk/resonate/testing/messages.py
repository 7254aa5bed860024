"""Messages to executions in a stack, and what executions have published."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

from resonate.client import messages
from resonate_store.interface import Store


class Inboxes(ABC):
    """The methods of a `Stack` about messages and published state."""

    _numbers: Counter[str]

    @property
    @abstractmethod
    def store(self) -> Store:
        """The store, as a program outside of the stack uses it."""

    @abstractmethod
    def pump(self) -> int:
        """Deliver everything that can be delivered now. Return the number of deliveries."""

    def send(self, id: str, name: str, value: Any = None, *, idempotency_key: str | None = None) -> None:
        """Send a message to an execution, and carry out what follows. See `Resonate.send`.

        Args:
            id, name, value: the execution, and the name and value of the message.
            idempotency_key: by default another one for each call.

        Raises:
            MessageError: the message is not accepted.
        """
        key = idempotency_key
        if key is None:
            self._numbers["message"] += 1
            key = f"message {self._numbers['message']}"
        messages.send(self.store, id, name, value, key, compared=idempotency_key is not None)
        self.pump()

    def published(self, id: str) -> dict[str, Any]:
        """Return all values that the execution `id` has published, by key."""
        return messages.all_published(self.store.apply, id)

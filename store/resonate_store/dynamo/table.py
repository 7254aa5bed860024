"""One DynamoDB table: calls with retries, and reads of items by their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any, Final, TypeVar

from resonate_store.dynamo.client import TableClient, TableConnection, Unavailable
from resonate_store.dynamo.items import AnyItem, Item
from resonate_store.interface import StoreClosed
from resonate_store.model.backoff import Backoff
from resonate_store.model.clock import Clock

MAX_BATCH: Final = 100
"""The most items of one BatchGetItem."""
FIRST_PAUSE_MS: Final = 25
"""The longest pause (ms) before the second try. Each further try doubles it, up to `LONGEST_PAUSE_MS`."""
LONGEST_PAUSE_MS: Final = 1_000

T = TypeVar("T")


class RetryingTable:
    """A table for one invocation.

    Args:
        name: the name of the table.
        client: a botocore client for DynamoDB. None creates one from the environment when it is first used.
        clock: the clock for pauses.
        chance: returns random numbers in [0, 1), which spread the pauses of competing processes.
        max_attempts: how often a call is tried.
    """

    def __init__(
        self, name: str, client: TableClient | None, clock: Clock, chance: Callable[[], float], max_attempts: int
    ) -> None:
        self.name = name
        self.max_attempts = max_attempts
        self._clock = clock
        self._backoff = Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS, spread=1, chance=chance)
        self._connection = TableConnection(name, client)
        self._closed = False

    def open(self) -> RetryingTable:
        """Return a table over the same connection. It is closed separately."""
        self.require_open()
        return copy(self)

    def close(self) -> None:
        """Close the table. Every later call raises `StoreClosed`."""
        self._closed = True

    def require_open(self) -> None:
        """Raise `StoreClosed` if the table is closed."""
        if self._closed:
            raise StoreClosed(f"the store of table {self.name!r} is closed: the invocation it belonged to has ended")

    def connect(self) -> None:
        """Create the client now."""
        self._connection.open()

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call DynamoDB, and repeat the same call while it raises `Unavailable`, up to `max_attempts` times."""
        return self.retrying(lambda: self._connection.call(operation, arguments))

    def retrying(self, function: Callable[[], T]) -> T:
        """Call the function, and repeat it while it raises `Unavailable`, up to `max_attempts` times."""
        attempt = 0
        while True:
            self.require_open()
            try:
                return function()
            except Unavailable:
                attempt += 1
                if attempt == self.max_attempts:
                    raise
            self.pause(attempt)

    def pause(self, tries: int) -> None:
        """Wait for the pause that follows the given number of tries."""
        self._clock.sleep(self._backoff.pause_ms(tries))

    def items(self, keys: list[Item]) -> Iterator[AnyItem]:
        """Yield the items with these keys in any order. Missing items are left out."""
        if len(keys) == 1:
            answer = self.call("get_item", {"TableName": self.name, "Key": keys[0], "ConsistentRead": True})
            if "Item" in answer:
                yield answer["Item"]
            return
        fruitless = 0
        while keys:
            asked = keys[:MAX_BATCH]
            request = {self.name: {"Keys": asked, "ConsistentRead": True}}
            answer = self.call("batch_get_item", {"RequestItems": request})
            left = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            # DynamoDB leaves keys unread if the answer becomes too large, or if it is too busy.
            fruitless = fruitless + 1 if len(left) == len(asked) else 0
            if fruitless == self.max_attempts:
                raise Unavailable(f"DynamoDB is busy: it left {len(left)} keys unread")
            if fruitless:
                self.pause(fruitless)
            keys = left + keys[MAX_BATCH:]
            yield from answer["Responses"].get(self.name, [])

"""One table of DynamoDB: calls that are repeated while a failure may pass, and reads of items by their keys."""

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
"""Items of one BatchGetItem."""
FIRST_PAUSE_MS: Final = 25
"""The longest pause before the second try, doubled with every further one."""
LONGEST_PAUSE_MS: Final = 1_000

T = TypeVar("T")


class RetryingTable:
    """A table for the duration of one invocation.

    Args:
        name: the table's name.
        client: a botocore client for DynamoDB; made from the environment when first needed.
        clock: pauses pass on it.
        chance: random numbers in [0, 1) that spread the pauses of those who compete.
        max_attempts: how often anything is tried.
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
        """Return the table over the same connection; it is closed by itself."""
        self.require_open()
        return copy(self)

    def close(self) -> None:
        """Make every later call raise `StoreClosed`."""
        self._closed = True

    def require_open(self) -> None:
        """Raise `StoreClosed` if the table is closed."""
        if self._closed:
            raise StoreClosed(f"the store of table {self.name!r} is closed: the invocation it belonged to has ended")

    def connect(self) -> None:
        """Make the client now."""
        self._connection.open()

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call DynamoDB, and again, the same way, while the reason of a failure may pass."""
        return self.retrying(lambda: self._connection.call(operation, arguments))

    def retrying(self, function: Callable[[], T]) -> T:
        """Call the function, and again while it raises `Unavailable`."""
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
        """Pass the pause after so many tries."""
        self._clock.sleep(self._backoff.pause_ms(tries))

    def items(self, keys: list[Item]) -> Iterator[AnyItem]:
        """Read the items with these keys, in any order; those that are missing are left out."""
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
            # DynamoDB leaves keys out of an answer that grows too large, and when it is too busy for more.
            fruitless = fruitless + 1 if len(left) == len(asked) else 0
            if fruitless == self.max_attempts:
                raise Unavailable(f"DynamoDB is busy: it left {len(left)} keys unread")
            if fruitless:
                self.pause(fruitless)
            keys = left + keys[MAX_BATCH:]
            yield from answer["Responses"].get(self.name, [])

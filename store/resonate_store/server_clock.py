"""The time of a server, computed from its responses.

A worker computes deadlines of sleeps and promises, and the server settles the promises at these deadlines. If the two
clocks differ, a sleep is too short or too long by the difference. The server therefore puts its time into the head of
each response, and clients compute deadlines in that time. Leases, pauses and timeouts of a client use the client's own
clock (docs/decisions/0063).
"""

from __future__ import annotations

from typing import Final

from resonate_store.interface import Store
from resonate_store.model.clock import Clock
from resonate_store.model.requests import PromiseGet

SHORT_MS: Final = 86_400_000
"""For a deadline nearer than this (ms), a client asks the server for its time first, if it has no response yet."""


class ServerClock:
    """A clock that shows the server's time. Before the first response with a time, it shows the machine's time.

    Args:
        clock: the machine's clock.

    Attributes:
        heard: whether a response has arrived, with or without a time.
    """

    def __init__(self, clock: Clock) -> None:
        self.heard = False
        self._clock = clock
        self._ahead = 0

    def now(self) -> int:
        """Return the server's instant in milliseconds since the Unix epoch."""
        return self._clock.now() + self._ahead

    def sleep(self, milliseconds: int) -> None:
        self._clock.sleep(milliseconds)

    def hear(self, sent: int, received: int, theirs: int | None) -> None:
        """Adjust the clock to the time of a response.

        The present difference is kept as long as the response does not contradict it. Two clocks that agree therefore
        stay unadjusted.

        Args:
            sent: when the request was sent, on the machine's clock (ms).
            received: when the response arrived, on the machine's clock (ms).
            theirs: the server's time (ms) in the response; None if it has none.
        """
        self.heard = True
        if theirs is not None:
            self._ahead = min(max(self._ahead, theirs - received), theirs - sent)


def time_of(store: Store, clock: Clock) -> Clock:
    """Return the clock on which deadlines of a store are computed: its server's clock, or `clock` without a server."""
    return store.server_clock or clock


def deadline_in(milliseconds: int, store: Store, clock: Clock, id: str) -> int:
    """Return a deadline in the time of the store.

    Args:
        milliseconds: the time from now to the deadline.
        store: the store that keeps the deadline.
        clock: the machine's clock.
        id: the id of a promise. The store is asked for it if the server's time is unknown and the deadline is near.

    Returns:
        The deadline in milliseconds since the Unix epoch.

    Raises:
        StoreError: the server cannot be asked.
    """
    theirs = time_of(store, clock)
    if isinstance(theirs, ServerClock) and not theirs.heard and milliseconds < SHORT_MS:
        store.apply(PromiseGet(id))
    return theirs.now() + milliseconds

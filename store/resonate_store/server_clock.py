"""The time of a server, as its responses tell it.

A worker computes the deadlines of sleeps and of promises, and the server keeps them. If their clocks differ, a sleep is
too short or too long by the difference. So a server of ours says its time in the head of every response, and clients
compute deadlines in it. Leases, pauses and timeouts of a client stay on its own clock.
"""

from __future__ import annotations

from typing import Final

from resonate_store.interface import Store
from resonate_store.model.clock import Clock
from resonate_store.model.requests import PromiseGet

SHORT_MS: Final = 86_400_000
"""Deadlines that are nearer than this are worth a request, if the server has not been heard of yet."""


class ServerClock:
    """A clock that shows the server's time; the machine's until a response has told it.

    Args:
        clock: the machine's.

    Attributes:
        heard: whether a response has come, with a time or without.
    """

    def __init__(self, clock: Clock) -> None:
        self.heard = False
        self._clock = clock
        self._ahead = 0

    def now(self) -> int:
        """The server's instant in milliseconds since the Unix epoch."""
        return self._clock.now() + self._ahead

    def sleep(self, milliseconds: int) -> None:
        self._clock.sleep(milliseconds)

    def hear(self, sent: int, received: int, theirs: int | None) -> None:
        """Take note of a response: between `sent` and `received` on our clock, it was `theirs` on the server's.

        What is known already stays as long as it can be true, so that clocks that agree are left alone.
        """
        self.heard = True
        if theirs is not None:
            self._ahead = min(max(self._ahead, theirs - received), theirs - sent)


def time_of(store: Store, clock: Clock) -> Clock:
    """The clock that the deadlines of a store are computed on: its server's if it has one, else `clock`."""
    return store.server_clock or clock


def deadline_in(milliseconds: int, store: Store, clock: Clock, id: str) -> int:
    """The instant after so many milliseconds, in the time of the store.

    Args:
        milliseconds: from now.
        store: keeps the deadline.
        clock: the machine's.
        id: of the promise, which is asked for if a server has not been heard of yet and the deadline is near.

    Raises:
        StoreError: the server cannot be asked.
    """
    theirs = time_of(store, clock)
    if isinstance(theirs, ServerClock) and not theirs.heard and milliseconds < SHORT_MS:
        store.apply(PromiseGet(id))
    return theirs.now() + milliseconds

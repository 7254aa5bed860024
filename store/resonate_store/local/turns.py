"""Turns of threads at a lock.

A thread that waits for a lock owns it as soon as it is free, but runs only when the interpreter changes threads, after
up to 5 ms. If the thread that ran before comes back to the lock meanwhile, it must wait for a thread that does not run.
From then on the two change places at every entry. One change costs more time than a request to a store in memory.

So a thread that finds another one at the lock pauses, and looks again when it runs (docs/decisions/0074).
"""

from __future__ import annotations

import threading
from threading import get_ident
from types import TracebackType
from typing import Final

SHORTEST_S: Final = 0.0001
"""The length of the first pause. Each is twice the one before."""
LONGEST_S: Final = 0.01
"""A thread waits for the lock like any other if the next pause would be longer."""

_never = threading.Lock()
_never.acquire()


class Turns:
    """Note of the thread that is at a lock, entered before the lock: `with turns, lock:`.

    It is a hint. Only the lock keeps other threads out, so a note that is wrong, such as after an interrupt, costs a
    few pauses.

    Attributes:
        thread: the thread that is at the lock, or 0.
    """

    __slots__ = ("thread",)

    def __init__(self) -> None:
        self.thread = 0

    def __enter__(self) -> None:
        thread = get_ident()
        if self.thread and self.thread != thread:
            self.pause()
        self.thread = thread

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self.thread == get_ident():
            self.thread = 0

    def pause(self) -> None:
        """Wait until no other thread is at the lock, or for so long that this thread waits for the lock itself."""
        pause_s = SHORTEST_S
        while self.thread and pause_s < LONGEST_S:
            _never.acquire(timeout=pause_s)
            pause_s *= 2

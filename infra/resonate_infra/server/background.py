"""Threads for what the server must not wait for: pushes to workers, and functions that run in its process.

They are daemon threads, unlike those of `concurrent.futures`: a worker that answers minutes later, or never, must not
keep the process from ending. What is asked for twice while it waits is done once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable

logger = logging.getLogger("resonate.server")


class Background:
    """A queue of calls, and the threads that make them.

    Args:
        name: of the threads.
        width: calls that are made at the same time; the threads are started when they are needed.
    """

    def __init__(self, name: str, width: int) -> None:
        self._name = name
        self._width = width
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, Callable[[], None]] = {}
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, key: Hashable, call: Callable[[], None]) -> None:
        """Have `call` made soon; it takes the place of a call with the same key that still waits."""
        with self._changed:
            if self._closed:
                return
            self._waiting[key] = call
            if self._idle >= len(self._waiting):
                self._changed.notify()
            elif self._threads < self._width:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()

    def close(self, seconds: float) -> bool:
        """Make no further call.

        Returns:
            Whether all that were being made have ended within `seconds`.
        """
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._threads == 0, seconds)

    def _work(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except BaseException:  # sys.exit ends a process from its main thread only; elsewhere it would end ours
                logger.exception("a call in the background failed")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._idle -= 1
            if self._closed:
                self._threads -= 1
                self._changed.notify_all()
                return None
            return self._waiting.pop(next(iter(self._waiting)))

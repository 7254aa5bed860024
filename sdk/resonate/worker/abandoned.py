"""Threads of this process that are left behind: each runs a function that has outlived its timeout.

A thread cannot be ended from outside. The workflow continues without it, another thread replaces it in its pool, and
its result is dropped. Their number is limited: once `MAX_ABANDONED` threads are left behind, workers start no functions
and release their tasks (docs/decisions/0043).
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Final

MAX_ABANDONED: Final = 16
"""Number of threads left behind at which the workers of a process start no more functions."""

logger = logging.getLogger("resonate.worker")


class Exhausted(Exception):
    """This process has left behind as many threads as it may, and acquires no tasks."""


class Abandoned:
    """The threads that are left behind, with the names of the functions that they run.

    Attributes:
        full: whether the limit is reached.
    """

    def __init__(self, limit: int = MAX_ABANDONED) -> None:
        self.full = False
        self._limit = limit
        self._lock = threading.Lock()
        self._names: dict[threading.Thread, str] = {}

    def add(self, thread: threading.Thread, name: str) -> bool:
        """Add a thread; return False if the limit was reached before."""
        with self._lock:
            if self.full:
                return False
            self._names[thread] = name
            count = len(self._names)
            self.full = count >= self._limit
        logger.warning(
            "step %s has outlived its timeout and its thread is left behind (%d of %d)", name, count, self._limit
        )
        if self.full:
            logger.error("%s", self)
        return True

    def remove(self, thread: threading.Thread) -> None:
        """Remove a thread whose function has returned after all."""
        with self._lock:
            self._names.pop(thread, None)
            self.full = len(self._names) >= self._limit

    def __len__(self) -> int:
        return len(self._names)

    def __str__(self) -> str:
        with self._lock:
            counts = Counter(self._names.values())
        steps = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(counts.items()))
        return (
            f"{counts.total()} threads are left behind by steps that outlived their timeouts: {steps}; this process"
            " takes no new task and hands its tasks over: restart it, and give what these steps wait for a timeout of"
            " its own"
        )


abandoned = Abandoned()
"""The threads that this process has left behind."""

"""Runner of async functions: one event loop in a thread of its own.

All async functions of a process share the loop. So they can share a client that belongs to a loop, such as an HTTP
session or a connection pool, as a dependency. Any number of them can wait at the same time. The loop starts with the
first async function, and `asyncio` is not imported before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

from resonate.engine.functions.exits import failure_of
from resonate.engine.model import Opening, Outcome, Work
from resonate.worker.abandoned import abandoned

if TYPE_CHECKING:
    from resonate.worker.event_loop import EventLoop

RESPONSE_S = 1.0
"""Maximum time in which a loop must cancel a function; after it, its thread counts as blocked."""


class AsyncFunctions:
    """Runner of async functions, in an event loop that starts on first use, and again after `stop`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: EventLoop | None = None

    def submit(self, work: Work, then: Callable[[Outcome | Opening | None], None]) -> None:
        """Call an async function, in the contextvars of the caller.

        Args:
            work: the function.
            then: called in the thread of the loop with the outcome of the function, or with its first command, or with
                None if it was stopped.
        """
        self._running().submit(work, then)

    def call(self, work: Work) -> Outcome | Opening | None:
        """Call an async function, and wait until it has ended or has become a workflow. Return None if it was stopped.

        Raises:
            BaseException: it raised an error that ends the process.
        """
        answers: SimpleQueue[Outcome | Opening | None] = SimpleQueue()
        self.submit(work, answers.put)
        outcome = answers.get()
        if isinstance(outcome, tuple) and (error := outcome[1]) and not isinstance(error, Exception):
            if (failure := failure_of(error, work.name)) is None:
                raise error
            return None, failure
        return outcome

    def give_up(self, work: Work) -> None:
        """Cancel an async function whose timeout has passed.

        If another function blocks the loop, leave the loop and its thread behind, and replace them.
        """
        loop = self._loop
        if loop is None or loop.give_up(work).wait(RESPONSE_S):
            return
        with self._lock:
            if loop is not self._loop:
                return
            self._loop = None
        loop.leave()
        abandoned.add(loop.thread, f"{work.name} (an event loop that something blocks)")

    def cancel(self) -> None:
        """Cancel all functions, and start none until `stop` has ended the loop.

        A cancelled function has not failed: another worker will run it. If it returns in spite of that, its result
        counts.
        """
        with self._lock:
            if self._loop is not None:
                self._loop.cancel()

    def stop(self) -> None:
        """Cancel all functions and end the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.cancel()
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
            # Do not wait for a function that was given up and does not end.
            loop.thread.join(RESPONSE_S if loop.given_up else None)

    def _running(self) -> EventLoop:
        with self._lock:
            if self._loop is None:
                from resonate.worker.event_loop import EventLoop

                self._loop = EventLoop()
                self._loop.thread.start()
            return self._loop

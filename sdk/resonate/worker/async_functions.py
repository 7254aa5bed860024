"""Where async functions run: one event loop in a thread of its own.

All async functions of a process share it, so that a client which belongs to a loop - an HTTP session, a connection
pool - can be a dependency of all of them, and any number of them wait at the same time. It starts with the first one,
and not even `asyncio` is loaded before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from resonate.engine.exits import failure_of
from resonate.engine.model import Opening, Outcome, Work
from resonate.worker.abandoned import abandoned

if TYPE_CHECKING:
    from resonate.worker.event_loop import EventLoop

RESPONSE_S = 1.0
"""How long a loop may take to cancel a function before its thread counts as blocked."""


class AsyncFunctions:
    """Runs async functions in an event loop that starts when first needed; once stopped it starts anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: EventLoop | None = None

    def submit(self, work: Work, then: Callable[[Outcome | Opening | None], None]) -> None:
        """Call an async function, in the contextvars of the caller.

        Args:
            work: the function.
            then: told how it ended, or that it is a workflow, in the thread of the loop; None if it was stopped.
        """
        self._running().submit(work, then)

    def call(self, work: Work) -> Outcome | Opening | None:
        """Call an async function and wait until it has ended, or turns out to be a workflow; None if it was stopped.

        Raises:
            BaseException: what it raised that would end a process.
        """
        answered = threading.Event()
        answers: list[Outcome | Opening | None] = []

        def answer(outcome: Outcome | Opening | None) -> None:
            answers.append(outcome)
            answered.set()

        self.submit(work, answer)
        answered.wait()
        outcome = answers[0]
        if isinstance(outcome, tuple) and (error := outcome[1]) and not isinstance(error, Exception):
            if (failure := failure_of(error, work.name)) is None:
                raise error
            return None, failure
        return outcome

    def give_up(self, work: Work) -> None:
        """Cancel an async function that is not waited for any longer.

        If another function blocks the loop, leave that behind with its thread, and let a new loop take its place.
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
        """Stop what runs, and let nothing begin until `stop` has ended the loop.

        A function that is stopped has not failed: whatever it raises is for others to find out. One that returns all
        the same has its result.
        """
        with self._lock:
            if self._loop is not None:
                self._loop.cancel()

    def stop(self) -> None:
        """Cancel what still runs and end the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None:
                loop.cancel()
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
            # A function that was given up and goes on all the same is not waited for.
            loop.thread.join(RESPONSE_S if loop.given_up else None)

    def _running(self) -> EventLoop:
        with self._lock:
            if self._loop is None:
                from resonate.worker.event_loop import EventLoop

                self._loop = EventLoop()
                self._loop.thread.start()
            return self._loop

"""Where the development server answers a request: on its event loop, in the writer's thread, or in a thread of its own.

A thread for each request costs two switches between threads, about as much as a recorded step. So a request that
touches a bounded number of records has no thread of its own:

- With promises in memory, the event loop answers it. If another thread uses the store at this moment, such as a search,
  the event loop does not wait for it: the request gets a thread.
- With promises in a file, each write waits for the disk. Bounded requests that have arrived at the same time are stored
  in one transaction, with one write to the disk. The event loop waits for the disk only while the disk is quick.

All other requests get threads, also those of a table in DynamoDB.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Final

from starlette.concurrency import run_in_threadpool

from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import Clock
from resonate_store.protocol.service import is_bounded

Answer = Callable[[bytes], tuple[int, bytes]]
"""Function that takes a request envelope and returns the HTTP status and the response envelope."""

MOST_TOGETHER: Final = 64
"""Maximum number of requests that are stored in one transaction. The event loop answers so many in about 10 ms."""
QUICK_MS: Final = 20
"""A disk is quick if it stores a transaction within this time (ms). The event loop can wait so long."""

_Waiting = tuple[bytes, "asyncio.Future[tuple[int, bytes]]"]


class InThreads:
    """Answers each request in a thread.

    Args:
        answer: answers one envelope.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def begin(self, body: bytes) -> tuple[int, bytes] | Awaitable[tuple[int, bytes]]:
        """Return the answer to an envelope, or what returns it. Called on the event loop."""
        return run_in_threadpool(self._answer, body)

    def close(self) -> None:
        """End the threads that this object has started."""


class OnTheLoop(InThreads):
    """Answers bounded requests on the event loop.

    Args:
        answer: answers one envelope.
        store: the store in memory that `answer` uses.
    """

    def __init__(self, answer: Answer, store: SqliteStore) -> None:
        super().__init__(answer)
        self._store = store

    def begin(self, body: bytes) -> tuple[int, bytes] | Awaitable[tuple[int, bytes]]:
        if is_bounded(body):
            answer = self._store.at_once(partial(self._answer, body))
            if answer is not None:
                return answer
        return super().begin(body)


class Together(InThreads):
    """Answers bounded requests that have arrived at the same time in one transaction, with one write to the disk.

    The event loop makes this write while the disk is quick. When it is slow, or another thread uses the store, one
    thread makes it, the writer. So at most one slow write stops the event loop.

    Args:
        answer: answers one envelope.
        store: the store in a file that `answer` uses.
        clock: measures how quick the disk is.
    """

    def __init__(self, answer: Answer, store: SqliteStore, clock: Clock) -> None:
        super().__init__(answer)
        self._store = store
        self._clock = clock
        self._arrived: list[_Waiting] = []
        self._quick = True
        self._queue: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._writing = 0
        self._thread: threading.Thread | None = None

    def begin(self, body: bytes) -> tuple[int, bytes] | Awaitable[tuple[int, bytes]]:
        if not is_bounded(body):
            return super().begin(body)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        if not self._arrived:
            loop.call_soon(self._write, loop)
        self._arrived.append((body, future))
        return future

    def close(self) -> None:
        """End the writer when it has answered what has arrived."""
        self._queue.put(None)

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what has arrived, or let the writer do it."""
        arrived, self._arrived = self._arrived[:MOST_TOGETHER], self._arrived[MOST_TOGETHER:]
        if self._arrived:
            loop.call_soon(self._write, loop)
        if self._quick and not self._writing:
            answers = self._store.at_once(partial(self._answers, arrived))
            if answers is not None:
                _deliver(arrived, answers)
                return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(loop,), name="resonate-writer", daemon=True)
            self._thread.start()
        self._writing += 1
        self._queue.put(arrived)

    def _answers(self, waiting: Sequence[_Waiting]) -> list[tuple[int, bytes]]:
        began = self._clock.now()
        answers = self._store.together([partial(self._answer, body) for body, _ in waiting])
        self._quick = self._clock.now() - began <= QUICK_MS
        return answers

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (waiting := self._queue.get()) is not None:
            answers = self._answers(waiting)
            try:
                loop.call_soon_threadsafe(self._written, waiting, answers)
            except RuntimeError:  # The loop is closed, so no client waits.
                return

    def _written(self, waiting: Sequence[_Waiting], answers: Sequence[tuple[int, bytes]]) -> None:
        self._writing -= 1
        _deliver(waiting, answers)


def _deliver(waiting: Sequence[_Waiting], answers: Sequence[tuple[int, bytes]]) -> None:
    for (_, future), answer in zip(waiting, answers, strict=True):
        if not future.done():  # The client may have gone.
            future.set_result(answer)

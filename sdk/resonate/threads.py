"""Pools of daemon threads, which a process does not wait for when it ends.

Python joins the threads of `concurrent.futures` before it exits. A program that forgets `stop()`, or is interrupted
while a step waits, would then not end. Work in these pools is durable or need not finish, because a task is offered
again when its lease ends. A caller that stops the threads in time can still wait for them.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

from resonate_store.model.clock import Clock

T = TypeVar("T")

STEP_THREADS = 10_000
"""Width of a pool for steps with a timeout. The number of tasks is the real limit: each runs one such step at once."""


class Pool(Executor):
    """Executor of daemon threads, which start when they are needed.

    Args:
        width: the maximum number of calls that run at the same time.
        name: the name of its threads; a number follows.
        logger: where the failures of calls with a key are logged.
    """

    def __init__(self, width: int, name: str, logger: logging.Logger | None = None) -> None:
        self._width = width
        self._name = name
        self._logger = logger or logging.getLogger(__name__)
        self._changed = threading.Condition()
        self._queue: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._latest: dict[Hashable, Callable[[], None]] = {}
        self._threads: set[threading.Thread] = set()
        self._left: set[threading.Thread] = set()
        self._started = 0
        self._idle = 0
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call `fn(*args, **kwargs)` in a thread of the pool.

        Raises:
            RuntimeError: the pool is shut down.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self._name} is shut down")
            self._queue.append((future, partial(fn, *args, **kwargs)))
            if self._idle >= len(self._queue):
                self._changed.notify()
            elif len(self._threads) < self._width:
                self._add_thread()
        return future

    def submit_latest(self, key: Hashable, call: Callable[[], None]) -> None:
        """Call `call` soon, unless the pool is shut down. It replaces a waiting call with the same key."""
        with self._changed:
            if self._closed:
                return
            waiting = key in self._latest
            self._latest[key] = call
            if not waiting:
                self.submit(self._call_latest, key)

    def _call_latest(self, key: Hashable) -> None:
        with self._changed:
            call = self._latest.pop(key)
        try:
            call()
        except BaseException:  # also sys.exit, which would end this thread and not the process
            self._logger.exception("a call in the background failed")

    def _add_thread(self) -> None:
        self._started += 1
        name = f"{self._name}-{self._started}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls. Calls that wait are still made, unless they are cancelled."""
        with self._changed:
            self._closed = True
            dropped = list(self._queue) if cancel_futures else []
            if cancel_futures:
                self._queue.clear()
            self._changed.notify_all()
        for future, _ in dropped:  # without the lock, which a callback may need
            future.cancel()
        if wait:
            join(self.threads())

    def close(self, timeout_s: float) -> bool:
        """Make no more calls.

        Returns:
            Whether all running calls have ended within `timeout_s` seconds.
        """
        self.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            return self._changed.wait_for(lambda: not self._threads, timeout_s)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that have not ended."""
        with self._changed:
            return list(self._threads)

    def leave(self, thread: threading.Thread) -> None:
        """Leave a thread behind in its call: another thread replaces it, and the thread ends when its call ends."""
        with self._changed:
            if thread in self._threads:
                self._threads.remove(thread)
                self._left.add(thread)
                if len(self._queue) > self._idle and not self._closed:
                    self._add_thread()

    def runs_here(self) -> bool:
        """Return whether the caller's thread is one of the pool's."""
        return threading.current_thread() in self._threads

    def _run(self) -> None:
        while (job := self._next()) is not None:
            future, call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del job, future, call  # otherwise the idle thread keeps them alive
        with self._changed:
            self._threads.discard(threading.current_thread())
            self._changed.notify_all()

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            if self._left and (thread := threading.current_thread()) in self._left:
                self._left.remove(thread)
                return None
            while not self._queue:
                if self._closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._queue.popleft()


def join(threads: Iterable[threading.Thread], clock: Clock | None = None, until: int | None = None) -> None:
    """Wait until all threads but the caller's have ended, or until the instant `until` (ms) of the clock."""
    for thread in threads:
        if thread is threading.current_thread():
            continue
        if clock is None or until is None:
            thread.join()
        else:
            thread.join(max(0.0, (until - clock.now()) / 1000))

"""Pools of daemon threads, which a process does not wait for when it ends.

Python joins the threads of `concurrent.futures` before it exits. A program that forgets `stop()`, or is interrupted
while a step waits, would then not end. Work in these pools is durable or need not finish, because a task is offered
again when its lease ends. A caller that stops the threads in time can still wait for them.

Python code runs in one thread at a time, so short calls that do not block are slower in several threads. A pool with
`patience_s` makes waiting calls one after the other in one thread. Its watcher, a thread of its own, calls more threads
when a call blocks or takes long (docs/decisions/0074).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from resonate_store.local.turns import Turns
from resonate_store.model.clock import Clock

STEP_THREADS = 10_000
"""Width of a pool for steps with a timeout. The number of tasks is the real limit: each runs one such step at once."""
PATIENCE_S = 0.001
"""The usual patience of a pool of calls that rarely block: how long one look of its watcher lasts."""
MANY = 4
"""If so many calls begin during a look, no other thread is needed."""
LONGEST_PAUSE_S = 0.02
"""The longest pause between two looks. Each is twice the one before, until a thread is needed."""
STUCK_S = 0.02
"""If no call begins for so long, another thread is needed, even if Python code runs all the time."""
T = TypeVar("T")

Job = tuple[Callable[[], object], Callable[[], object]]
"""A call that waits, and what to call instead if it is cancelled."""


class Pool(Executor):
    """Executor of daemon threads, which start when they are needed.

    Args:
        width: the maximum number of calls that run at the same time.
        name: the name of its threads; a number follows.
        logger: where the failures of calls with a key are logged.
        patience_s: how long (s) the threads that run may be blocked before another thread makes the calls that wait.
            None means that every call has a thread at once, up to `width`.
    """

    def __init__(
        self, width: int, name: str, logger: logging.Logger | None = None, *, patience_s: float | None = None
    ) -> None:
        self._width = width
        self._name = name
        self._logger = logger or logging.getLogger(__name__)
        self._patience_s = patience_s
        self._lock = threading.RLock()  # reentrant: a signal handler may shut the pool down while it is held
        self._turns = Turns()
        self._ended = threading.Condition(self._lock)
        self._queue: deque[Job] = deque()
        self._latest: dict[Hashable, Callable[[], None]] = {}
        self._threads: set[threading.Thread] = set()
        self._left: set[threading.Thread] = set()
        self._started = 0
        self._taken = 0
        self._idle: list[threading.Lock] = []
        """What each thread waits for that has no call. It is released once, to wake the thread."""
        self._watcher: threading.Thread | None = None
        self._watching = False
        self._nudge = threading.Lock()
        """What the watcher waits for. It is released once, when the watcher is needed or the pool is shut down."""
        self._nudge.acquire()
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call `fn(*args, **kwargs)` in a thread of the pool.

        Raises:
            RuntimeError: the pool is shut down.
        """
        future: Future[T] = Future()
        self.enqueue(partial(_settle, future, partial(fn, *args, **kwargs)), future.cancel)
        return future

    def enqueue(self, call: Callable[[], object], cancelled: Callable[[], object]) -> None:
        """Call `call` in a thread of the pool. This costs less than `submit`.

        Args:
            call: what to call. Its errors are dropped: it must log them.
            cancelled: called instead if the pool is shut down with `cancel_futures` before the call has begun.

        Raises:
            RuntimeError: the pool is shut down.
        """
        with self._turns, self._lock:
            if self._closed:
                raise RuntimeError(f"{self._name} is shut down")
            self._queue.append((call, cancelled))
            if self._patience_s is None or len(self._threads) == len(self._idle):
                self._call_thread()
            elif not self._watching and self._has_room():
                self._watch()

    def submit_latest(self, key: Hashable, call: Callable[[], None]) -> None:
        """Call `call` soon, unless the pool is shut down. It replaces a waiting call with the same key."""
        with self._turns, self._lock:
            if self._closed:
                return
            waiting = key in self._latest
            self._latest[key] = call
            if not waiting:
                self.submit(self._call_latest, key)

    def _call_latest(self, key: Hashable) -> None:
        with self._turns, self._lock:
            call = self._latest.pop(key)
        try:
            call()
        except BaseException:  # also sys.exit, which would end this thread and not the process
            self._logger.exception("a call in the background failed")

    # What follows until `shutdown` is called with the lock held.

    def _has_room(self) -> bool:
        return bool(self._idle) or len(self._threads) < self._width

    def _call_thread(self) -> None:
        """Wake or start a thread for a waiting call. If all are busy, the next one that is free makes it."""
        if self._idle:
            self._idle.pop().release()
        elif len(self._threads) < self._width:
            self._add_thread()

    def _add_thread(self) -> None:
        self._started += 1
        name = f"{self._name}-{self._started}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _watch(self) -> None:
        """Let the watcher look at the threads from now on, until no call waits."""
        self._watching = True
        if self._watcher is not None:
            self._nudge.release()
            return
        self._watcher = threading.Thread(target=self._keep_watch, name=f"{self._name}-watcher", daemon=True)
        self._watcher.start()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls. Calls that wait are still made, unless they are cancelled."""
        with self._turns, self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().release()
            if self._nudge.locked():
                self._nudge.release()
        while cancel_futures and (job := self._take()) is not None:  # without the lock, which a callback may need
            job[1]()
        if wait:
            join(self.threads())

    def close(self, timeout_s: float) -> bool:
        """Make no more calls.

        Returns:
            Whether all running calls have ended within `timeout_s` seconds.
        """
        self.shutdown(wait=False, cancel_futures=True)
        with self._turns, self._lock:
            return self._ended.wait_for(lambda: not self._threads and self._watcher is None, timeout_s)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that have not ended."""
        with self._turns, self._lock:
            return [*self._threads, *([] if self._watcher is None else [self._watcher])]

    def leave(self, thread: threading.Thread) -> None:
        """Leave a thread behind in its call: another thread replaces it, and the thread ends when its call ends."""
        with self._turns, self._lock:
            if thread in self._threads:
                self._threads.remove(thread)
                self._left.add(thread)
                if self._queue and not self._closed:
                    self._call_thread()

    def runs_here(self) -> bool:
        """Return whether the caller's thread is one of the pool's."""
        return threading.current_thread() in self._threads

    def _run(self) -> None:
        while (job := self._next()) is not None:
            call, _ = job
            with suppress(BaseException):
                call()
            del job, call, _  # otherwise the idle thread keeps them alive
        with self._turns, self._lock:
            self._threads.discard(threading.current_thread())
            self._ended.notify_all()

    def _next(self) -> Job | None:
        while True:
            if not self._left and (job := self._take()) is not None:
                return job
            with self._turns, self._lock:
                if self._left and (thread := threading.current_thread()) in self._left:
                    self._left.remove(thread)
                    return None
                if (job := self._take()) is not None:
                    return job
                if self._closed:
                    return None
                call = threading.Lock()
                call.acquire()
                self._idle.append(call)
            # Without the lock: a thread that wakes up with it would own it before it can run.
            call.acquire()

    def _take(self) -> Job | None:
        """Remove the first waiting call. This needs no lock, for which busy threads would wait."""
        try:
            job = self._queue.popleft()
        except IndexError:
            return None
        self._taken += 1  # two threads may count one call only: the watcher needs to see a change
        return job

    def _keep_watch(self) -> None:
        """Call more threads while calls wait and the interpreter is free, or no call has begun for `STUCK_S`."""
        assert self._patience_s is not None
        wanted, pause_s = 0, 0.0
        taken, changed_at = self._taken, time.perf_counter()
        while True:
            with self._turns, self._lock:
                if self._closed:
                    self._watcher = None
                    self._ended.notify_all()
                    return
                for _ in range(min(wanted, len(self._queue))):
                    self._call_thread()
                self._watching = watching = bool(self._queue) and self._has_room()
            if not watching:
                self._nudge.acquire()
                wanted, pause_s, changed_at = 0, 0.0, time.perf_counter()
                continue
            if pause_s and self._nudge.acquire(timeout=pause_s):
                continue  # the pool is shut down
            before, began = self._taken, time.perf_counter()
            self._nudge.acquire(timeout=self._patience_s)
            now = time.perf_counter()
            if taken != self._taken:
                taken, changed_at = self._taken, now
            # If this thread runs late, other threads run Python code, and one more would not make them faster.
            free = now - began < 2 * self._patience_s and taken - before < MANY
            if free or now - changed_at > STUCK_S:
                wanted, pause_s = max(1, 2 * wanted), 0.0
            else:
                wanted, pause_s = 0, min(max(2 * pause_s, self._patience_s), LONGEST_PAUSE_S)


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    """Make a call, and pass its outcome to a future, unless that is cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
        del future  # the traceback refers to this frame
    else:
        future.set_result(result)


def join(threads: Iterable[threading.Thread], clock: Clock | None = None, until: int | None = None) -> None:
    """Wait until all threads but the caller's have ended, or until the instant `until` (ms) of the clock."""
    for thread in threads:
        if thread is threading.current_thread():
            continue
        if clock is None or until is None:
            thread.join()
        else:
            thread.join(max(0.0, (until - clock.now()) / 1000))

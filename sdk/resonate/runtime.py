"""What keeps executions going in this process: a pool that works on tasks, and one thread that minds the time.

With the store in memory it is also where messages arrive - an execute message for this group starts a worker, an
unblock message wakes whoever waits on a handle - and the thread wakes what is due. With a store elsewhere the thread
only keeps the leases of what runs here. Threads start with the first piece of work and are gone after `stop`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from resonate.errors import ResonateHaltedError, ResonateShutdownError, ResonateStoreError
from resonate.options import Options
from resonate.worker import Report, Worker
from resonate_store.addresses import group_of
from resonate_store.clock import Clock
from resonate_store.interface import Store, StoreError
from resonate_store.memory import MemoryStore
from resonate_store.records import Promise, Task
from resonate_store.requests import (
    PromiseGet,
    PromiseRegisterListener,
    Response,
    TaskHeartbeat,
    TaskReference,
)

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

logger = logging.getLogger("resonate.runtime")

GLANCE = 1.0
"""Seconds between two looks at a promise that nobody tells us about; also how soon a halted task is noticed."""
FIRST_LOOK = 0.02
"""Seconds before the first of them; each pause is half as long again as the one before."""


def underlying(store: Store) -> Store:
    """The store itself, without what encrypts for it."""
    return getattr(store, "underlying", store)


class Runtime:
    """Runs tasks and waits for promises.

    Args:
        store: where promises live.
        worker: works on tasks.
        clock: the source of time.
        group, pid: who this process is; messages for the group, or for the process in it, arrive here.
        ttl: the lease that tasks are acquired with, in milliseconds; half of it is the heartbeat's interval.
        threads: how many tasks are worked on at the same time.
    """

    def __init__(
        self, store: Store, worker: Worker, clock: Clock, group: str, pid: str, ttl: int, threads: int
    ) -> None:
        self._store = store
        inner = underlying(store)
        self._memory = inner if isinstance(inner, MemoryStore) else None
        self._worker = worker
        self._clock = clock
        self._group = group
        self._address = f"poll://uni@{group}/{pid}"
        self._pid = pid
        self._ttl = ttl
        self._threads = threads
        self._condition = threading.Condition()
        self._held: dict[str, int] = {}
        self._events: dict[str, threading.Event] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._timekeeper: threading.Thread | None = None
        self._planned: int | None = None
        self._news = False
        self._stopping = False
        if self._memory is not None:
            self._memory.send = self._receive
            self._memory.on_wake = self._plan

    def start(self) -> None:
        """Start the threads; does nothing while they run."""
        # Loaded with the first piece of work: a program that only registers functions, or asks, needs no pools.
        from concurrent.futures import ThreadPoolExecutor

        with self._condition:
            if self._pool is None:
                self._stopping = False
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="resonate-task")
                if self._threads > 1:
                    self._worker.functions = ThreadPoolExecutor(self._threads, thread_name_prefix="resonate-function")
                self._timekeeper = threading.Thread(target=self._keep_time, name="resonate-time", daemon=True)
                self._timekeeper.start()

    def stop(self) -> None:
        """Stop the threads; functions that are running finish first, handles that wait are told."""
        with self._condition:
            pool, timekeeper = self._pool, self._timekeeper
            self._pool = self._timekeeper = None
            self._stopping = True
            self._condition.notify_all()
            functions, self._worker.functions = self._worker.functions, None
            events, self._events = self._events, {}
        for event in events.values():
            event.set()
        if timekeeper is not None:
            timekeeper.join()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        if functions is not None:
            functions.shutdown(wait=True)

    def submit(self, task: Task, promise: Promise, options: Options) -> None:
        """Work on a task that this process has acquired, in the background."""
        self._enqueue(lambda: self.work(task, promise, options))

    def work(self, task: Task, promise: Promise, options: Options) -> None:
        """Work on a task that this process has acquired, in the caller's thread."""
        self.start()
        self._holding(task.id, task.version, lambda: self._worker.run_acquired(task, promise, options=options))

    def settled(self, id: str, timeout: float | None) -> Promise | None:
        """See `Awaiter.settled`."""
        give_up = None if timeout is None else self._clock.now() + round(timeout * 1000)
        response = self._subscribe(id)
        pause = FIRST_LOOK
        while True:
            promise = response.promise
            if promise is None:
                raise ResonateStoreError("The specified promise was not found", 40400, {"id": id})
            if not promise.pending:
                self._events.pop(id, None)
                return promise
            if response.task is not None and response.task.state == "halted":
                raise ResonateHaltedError(id, response.task.error or "no reason was given")
            if self._stopping:
                raise ResonateShutdownError(f"stopped while waiting for {id}")
            left = None if give_up is None else (give_up - self._clock.now()) / 1000
            if left is not None and left <= 0:
                return None
            pause = self._pause(id, pause, left)
            response = self._store.apply(PromiseGet(id))

    def _subscribe(self, id: str) -> Response:
        if self._memory is not None:
            self.start()
            self._events.setdefault(id, threading.Event())
            response = self._store.apply(PromiseRegisterListener(id, self._address))
            if response.promise is None or not response.promise.pending:
                return response
        return self._store.apply(PromiseGet(id))

    def _pause(self, id: str, pause: float, left: float | None) -> float:
        """Wait for news of a promise, and return how long to wait the next time."""
        event = self._events.get(id)
        if event is not None:
            event.wait(GLANCE if left is None else min(GLANCE, left))
            return pause
        self._clock.sleep(round(1000 * (pause if left is None else min(pause, left))))
        return min(pause * 1.5, GLANCE)

    def _receive(self, address: str, message: dict[str, Any]) -> None:
        if group_of(address) != self._group or self._stopping:
            return
        data = message["data"]
        if message["kind"] == "unblock":
            event = self._events.get(data["promise"]["id"])
            if event is not None:
                event.set()
            return
        id, version = data["task"]["id"], data["task"]["version"]
        self._enqueue(lambda: self._holding(id, version + 1, lambda: self._worker.run(id, version, self._ttl)))

    def _enqueue(self, job: Callable[[], None]) -> None:
        self.start()
        with self._condition:
            if self._pool is not None:
                self._pool.submit(job)

    def _holding(self, id: str, version: int, work: Callable[[], Report]) -> None:
        """Do work on a task while its lease is kept alive."""
        with self._condition:
            self._held[id] = version
            if len(self._held) == 1 and self._memory is None:
                self._condition.notify_all()
        try:
            work()
        except StoreError as error:
            logger.error("task %s: %s", id, error)
        finally:
            with self._condition:
                if self._held.get(id) == version:
                    del self._held[id]

    def _plan(self, at: int) -> None:
        """The store has something to do at `at`: have the thread up by then."""
        if not self._stopping and (self._planned is None or at < self._planned):
            self.start()
            with self._condition:
                self._news = True
                self._condition.notify_all()

    def _keep_time(self) -> None:
        beat = self._clock.now() + self._ttl // 2
        while True:
            self._news = False
            now = self._clock.now()
            if now >= beat:
                self._heartbeat()
                beat = now + self._ttl // 2
            due = self._memory.next_wake_at() if self._memory is not None else None
            if due is not None and due <= now and self._memory is not None:
                self._memory.tick()
                continue
            with self._condition:
                if self._stopping:
                    return
                if self._news:
                    continue
                instants = [at for at in (due, beat if self._held else None) if at is not None]
                self._planned = min(instants, default=None)
                self._condition.wait(None if self._planned is None else max(0.0, (self._planned - now) / 1000))
                self._planned = None

    def _heartbeat(self) -> None:
        with self._condition:
            tasks = tuple(TaskReference(id, version) for id, version in self._held.items())
        if not tasks:
            return
        try:
            self._store.apply(TaskHeartbeat(self._pid, tasks))
        except StoreError as error:
            logger.warning("the leases of %d tasks could not be extended: %s", len(tasks), error)

"""Runtime of a process: a pool of threads that run tasks, and one timer thread.

With a store in this process, one thread runs tasks as long as they do not block (`resonate.threads`).

Messages arrive from a source. An execute message starts a worker, and an unblock message wakes the callers that wait
for a promise (`promise_waiter`). The source of a store in this process is the store itself, and the timer thread fires
what is due in it. With a server the source is a connection to the server. In both cases the timer thread extends the
leases (`held_tasks`).

Threads start with the first task and have ended after `stop`. It waits for the functions that run, but starts none:
their tasks are released with `handover`. Async functions have `GRACE_MS` to finish and are then cancelled. The threads
do not keep the process alive.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from resonate.engine.blocking import WORTH_SUSPENDING_HERE_MS
from resonate.message_sources.in_process import InProcess
from resonate.message_sources.source import Messages
from resonate.process.announcement import Announcement
from resonate.process.held_tasks import HeldTasks
from resonate.process.promise_waiter import Waits
from resonate.worker.abandoned import abandoned
from resonate.worker.lease import Lease
from resonate.worker.resources import Resources
from resonate.worker.task_run import Report
from resonate.worker.worker import Worker
from resonate_store.interface import StoreError
from resonate_store.model.clock import LONGEST_WAIT_S
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import PromiseGet, Request, Response, TaskRelease
from resonate_store.model.tags import FUNC

if TYPE_CHECKING:
    from resonate.threads import Pool

logger = logging.getLogger("resonate.runtime")

_forks = 0
"""Number of forks that led to this process. Reading it is faster than a request for the process id at every call."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)

REQUESTS = 8
"""Maximum number of requests to a server that one task makes at the same time."""
PAUSED_S = 1.0
"""Interval at which a process that acquires no tasks checks whether it may again."""
GRACE_MS = 5_000
"""How long `stop` waits for async functions before it cancels them."""
FAREWELL_MS = 1_000
"""How long a process that ends waits for functions that are running."""


class Runtime:
    """Runtime of one process: runs tasks and waits for promises.

    Args:
        resources: what the tasks share; their threads start and end with this runtime's.
        worker: runs tasks.
        group, pid: the worker group and the name of this process; messages for either arrive here.
        ttl_ms: the lease that tasks are acquired with; half of it is the heartbeat's interval.
        threads: how many tasks are worked on at the same time.
        source: where messages come from; by default a store in this process.
    """

    def __init__(
        self,
        resources: Resources,
        worker: Worker,
        group: str,
        pid: str,
        ttl_ms: int,
        threads: int,
        source: Messages | None = None,
    ) -> None:
        self._embedded = resources.store.embedded
        self._distant = resources.store.distant
        self._resources = resources
        self._store = resources.store
        self._clock = resources.clock
        self._worker = worker
        self._ttl_ms = ttl_ms
        self._threads = threads
        self._condition = threading.Condition()
        self._held = HeldTasks(
            self._clock, pid, ttl_ms, keeps_begun=self._embedded is not None, began=self._begin_heartbeats
        )
        self._tasks: Pool | None = None
        self._timekeeper: threading.Thread | None = None
        self._planned: int | None = None
        self._news = False
        self._ending = self._paused = False
        self._process, self._forks = os.getpid(), _forks
        resources.exhausted = self._pause
        self._farewell = functools.partial(_farewell, weakref.ref(self))
        if source is None and self._embedded is not None:
            # The timer thread fires the timers of the store, so during a sleep the worker can run another task.
            resources.worth_suspending_ms = WORTH_SUSPENDING_HERE_MS
            source = InProcess(self._embedded, group, pid, self._plan, self._held.has_begun, self._knows)
            self._waits = Waits(resources, source)
            source.start(self._receive, self._connection_changed)
        else:
            self._waits = Waits(resources, source)
        self._source = source
        self._announcement: Announcement | None = None
        if self._distant is not None:
            self._announcement = Announcement(self._distant, worker.registry, group, pid, self._clock)

    def serve_every_target(self) -> None:
        """Also serve targets that no other connection serves, if the store is in this process."""
        if isinstance(self._source, InProcess):
            self._source.serve_every_target()

    def start(self) -> None:
        """Start the threads; does nothing while they run, or while `stop` waits for them.

        Raises:
            RuntimeError: they run in the process that this one was forked from.
        """
        if self._tasks is not None:
            self.refuse_fork()
            return
        # Imported here, because a program that only registers functions, or reads promises, does not need pools.
        from resonate.process import interrupts
        from resonate.threads import PATIENCE_S, STEP_THREADS, Pool

        with self._condition:
            if self._tasks is not None or self._ending:
                return
            if self._distant is not None:
                self._distant.insistent = True
            self._resources.resume(
                functions=Pool(self._threads, "resonate-function") if self._threads > 1 else None,
                steps=Pool(STEP_THREADS, "resonate-step"),
                requests=Pool(REQUESTS, "resonate-request") if self._distant is not None else None,
            )
            self._paused = False
            self._process, self._forks = os.getpid(), _forks
            # Requests to a store in this process do not wait for a server, so most tasks do not block.
            self._tasks = Pool(self._threads, "resonate-task", patience_s=PATIENCE_S if self._embedded else None)
            self._timekeeper = threading.Thread(target=self._keep_time, name="resonate-time", daemon=True)
            self._timekeeper.start()
            atexit.register(self._farewell)
            interrupts.begin()
        if self._source is not None:
            self._source.start(self._receive, self._connection_changed)

    def refuse_fork(self) -> None:
        """Raise RuntimeError if this process was forked after the threads were started: they do not run here."""
        if self._forked():
            raise RuntimeError(
                f"this Resonate was started in process {self._process}, and its threads did not come along into the"
                f" forked process {os.getpid()}, so nothing would run here: make a Resonate after the fork, or fork"
                " before it is started or first used"
            )

    def _forked(self) -> bool:
        return self._tasks is not None and self._forks != _forks

    def stop(self, within_ms: int | None = None) -> None:
        """Stop the threads. Functions that are running finish first; handles that wait get an error.

        A function that has outlived its timeout is not waited for. An async function that has not finished after
        `GRACE_MS` is cancelled, and its task released with `handover`.

        Args:
            within_ms: how long to wait for functions that are running; without limit if None.
        """
        if self._forked():
            return  # the threads and the connection belong to the other process
        until = None if within_ms is None else self._clock.now() + within_ms
        if self._source is not None:
            # First, so that tasks released from now on are offered to other processes, or kept until the next start.
            self._source.stop()
        if self._announcement is not None:
            self._announcement.end()
        with self._condition:
            tasks, self._tasks = self._tasks, None
            others = self._resources.stop()
            if tasks is None:
                return
            self._ending = True
            self._waits.stop()
        try:
            self._end(tasks, others, until)
        finally:
            from resonate.process import interrupts

            interrupts.end()
            self._ending = False

    def _end(self, tasks: Pool, others: list[Pool], until: int | None) -> None:
        from resonate.threads import join

        atexit.unregister(self._farewell)
        if self._distant is not None:
            self._distant.insistent = False
        tasks.shutdown(wait=False, cancel_futures=True)
        grace = self._clock.now() + GRACE_MS
        join(tasks.threads(), self._clock, grace if until is None else min(grace, until))
        self._resources.async_functions.cancel()
        join(tasks.threads(), self._clock, until)
        for pool in others:
            pool.shutdown(wait=False)
            join(pool.threads(), self._clock, until)
        with self._condition:
            # Until here, the timer thread has extended the leases of running tasks.
            timekeeper, self._timekeeper = self._timekeeper, None
            self._condition.notify_all()
        watchers = self._waits.watchers()
        join(watchers if timekeeper is None else [timekeeper, *watchers], self._clock, until)
        self._resources.async_functions.stop()

    def submit(self, task: Task, promise: PromiseView, asked_at: int | None = None) -> None:
        """Run a task that this process has acquired, in the background; see `work` for the arguments."""
        lease = self._lease(task, asked_at)
        self.start()
        self._held.hold(lease, begun=True)
        if not self._enqueue(lambda: self._work_on(task, promise, lease), lambda: self._give_back(task, lease)):
            self._give_back(task, lease)

    def work(self, task: Task, promise: PromiseView, asked_at: int | None = None) -> PromiseView | None:
        """Run a task that this process has acquired, and return when the run has ended.

        It runs in the caller's thread. If the process runs one task at a time, the task is queued instead, and this
        function returns at once.

        Args:
            task, promise: as they were acquired.
            asked_at: the instant (ms) of the request that acquired it, at which the lease began; now by default.

        Returns:
            The settled promise, if the run has completed the task.
        """
        lease = self._lease(task, asked_at)
        self.start()
        if abandoned.full:
            self._give_back(task, lease)
            return None
        tasks = self._tasks
        if self._threads == 1 and tasks is not None and not tasks.runs_here():
            self.submit(task, promise, asked_at)
            return None
        self._held.hold(lease, begun=True)
        report = self._work_on(task, promise, lease)
        return None if report is None else report.promise

    def settled(self, id: str, timeout: float | None) -> PromiseView | None:
        """Wait for a promise; see `Awaiter.settled`."""
        if self._source is not None:
            self.start()
        return self._waits.settled(id, timeout)

    def ask(self, request: Request) -> Response:
        """Make a request to the store; see `Awaiter.ask`."""
        return self._store.apply(request)

    # Messages

    def _connection_changed(self) -> None:
        self._waits.look_again()
        if self._announcement is not None and self._source is not None:
            self._announcement.changed(self._source)

    def _receive(self, message: dict[str, Any]) -> None:
        if message["kind"] == "unblock":
            self._waits.unblock(message["data"]["promise"])
            return
        if message["kind"] != "execute":
            logger.warning("a message of an unknown kind was ignored: %s", message["kind"])
            return
        id, version = message["data"]["task"]["id"], message["data"]["task"]["version"]
        if not isinstance(id, str) or not isinstance(version, int):
            raise TypeError("a task has a text as its id and a number as its version")
        if abandoned.full:
            self._pause()
            self._decline(message)
            return
        if self._embedded is None and not self._worker.registry.names():
            logger.warning(
                "task %s was offered here, where no function is registered: name the worker's group in the call, by"
                " options(target=...), and give processes that do no work a group of their own",
                id,
            )
            return
        if not self._enqueue(lambda: self._accept(id, version), lambda: self._decline(message)):
            self._decline(message)

    def _decline(self, message: dict[str, Any]) -> None:
        """Return an offer to the store, for another process. A server repeats it when the stream has ended."""
        if isinstance(self._source, InProcess):
            self._source.decline(message)

    def _pause(self) -> None:
        """Receive no messages while too many threads are left behind, so that other processes get the offers."""
        with self._condition:
            if self._paused or self._resources.stopping:
                return
            self._paused = True
            self._condition.notify_all()
        if self._source is not None:
            self._source.stop()

    def _resume(self) -> None:
        """Receive messages again, because some of the threads that were left behind have ended."""
        with self._condition:
            if not self._paused or self._resources.stopping:
                return
            self._paused = False
        if self._source is not None:
            self._source.start(self._receive, self._connection_changed)

    # Tasks

    def _enqueue(self, job: Callable[[], object], otherwise: Callable[[], None]) -> bool:
        """Submit a job to the pool of tasks.

        Args:
            job: what to run.
            otherwise: called if the runtime stops before the job has begun.

        Returns:
            False, and the job is dropped, if the runtime is stopping or too many threads are left behind.
        """
        if self._resources.stopping or abandoned.full:
            return False
        self.start()
        with self._condition:
            if self._tasks is None:
                return False
            self._tasks.enqueue(job, otherwise)
        return True

    def _accept(self, id: str, version: int) -> None:
        """Acquire the task that a message offers, at the next version, and run it."""
        lease = Lease(id, version + 1, self._clock.now(), self._ttl_ms)
        if self._held.accept(lease):
            self._holding(lease, lambda: self._worker.run(id, version, self._ttl_ms, lease=lease))

    def _work_on(self, task: Task, promise: PromiseView, lease: Lease) -> Report | None:
        return self._holding(lease, lambda: self._worker.run_acquired(task, promise, lease=lease))

    def _knows(self, id: str) -> bool:
        """Return whether the function that a promise calls is registered here."""
        promise = self._resources.underlying.apply(PromiseGet(id)).promise
        return promise is not None and promise.tags.get(FUNC) in self._worker.registry.names()

    def _lease(self, task: Task, asked_at: int | None) -> Lease:
        """Return the lease of a task that this process has just created."""
        return Lease(task.id, task.version, self._clock.now() if asked_at is None else asked_at, self._ttl_ms)

    def _holding(self, lease: Lease, work: Callable[[], Report]) -> Report | None:
        """Run `work` for a task that is held, and stop extending its lease afterwards."""
        over = False
        try:
            report = work()
            over = report.status in ("completed", "lost")
            if report.status == "halted":
                self._waits.look_again(lease.id)
            return report
        except StoreError as error:
            logger.error("task %s: %s", lease.id, error)
            return None
        except BaseException as error:
            # An interrupt or exit is not an error of the program.
            level = logging.ERROR if isinstance(error, Exception) else logging.INFO
            logger.log(level, "task %s is offered again when its lease ends: %s", lease.id, type(error).__name__)
            raise
        finally:
            self._held.let_go(lease, over=over)

    def _give_back(self, task: Task, lease: Lease) -> None:
        """Release a task that has not been run."""
        self._held.let_go(lease)
        try:
            self._store.apply(TaskRelease(task.id, task.version, handover=True))
        except StoreError as error:
            logger.warning("task %s is offered again when its lease ends: %s", task.id, error)

    # Time

    def _plan(self, at: int) -> None:
        """Wake the timer thread by `at`, when something in the store is due."""
        if not self._resources.stopping and (self._planned is None or at < self._planned):
            self.start()
            with self._condition:
                self._news = True
                self._condition.notify_all()

    def _begin_heartbeats(self) -> None:
        """Make the timer thread extend leases, because a first task is held."""
        if self._embedded is None:
            with self._condition:
                self._condition.notify_all()

    def _keep_time(self) -> None:
        thread = threading.current_thread()
        beat = self._clock.now() + self._ttl_ms // 2
        while True:
            self._news = False
            now = self._clock.now()
            if now >= beat:
                # After a failure there is time for several retries before the leases end.
                store = self._store if self._distant is None else self._distant.within(self._ttl_ms / 2000)
                beat = now + self._ttl_ms // (2 if self._held.extend(store) else 10)
            if self._paused and not abandoned.full:
                self._resume()
            due = None if self._embedded is None or self._resources.stopping else self._embedded.next_wake_at()
            if due is not None and due <= now and self._embedded is not None:
                self._embedded.tick()
                continue
            with self._condition:
                if self._timekeeper is not thread:
                    return
                if self._news:
                    continue
                instants = [at for at in (due, beat if self._held else None) if at is not None]
                self._planned = min(instants, default=None)
                left = LONGEST_WAIT_S if self._planned is None else (self._planned - now) / 1000
                self._condition.wait(min(max(0.0, left), PAUSED_S if self._paused else LONGEST_WAIT_S))
                self._planned = None


def _farewell(reference: weakref.ref[Runtime]) -> None:
    """Stop a runtime at the end of the process, and wait `FAREWELL_MS` for what is running."""
    runtime = reference()
    if runtime is not None:
        with suppress(KeyboardInterrupt):  # a second Ctrl-C ends the wait
            runtime.stop(FAREWELL_MS)

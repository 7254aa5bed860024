"""Calls of the user's functions that one task makes.

A plain function is called in the thread of the task, if it has all the time that the thread has. One that `begin_run`
begins, and that other functions may run beside, is called in a thread of a pool. One whose deadline is near is called
in another thread, too, and left behind there when its time is up. Async functions run in the event loop
(`async_functions`). What functions come to is passed to the execution in the thread of the task.
"""

from __future__ import annotations

import contextvars
import heapq
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from resonate.engine.exits import failure_of
from resonate.engine.interpreter import Execution
from resonate.engine.model import Kind, Opening, Outcome, Work, close_workflow
from resonate.worker.abandoned import abandoned
from resonate.worker.async_functions import RESPONSE_S, AsyncFunctions
from resonate.worker.lease import Lease, Lost
from resonate.worker.resources import Resources
from resonate_store.interface import StoreError
from resonate_store.model.requests import PromiseGet

if TYPE_CHECKING:
    from resonate.threads import Pool

Answer = Outcome | Opening | Lost | StoreError | None
"""What calling a function came to; None if it did not get to run, or was stopped."""

WATCHED_MS = 30 * 86_400_000
"""A step whose deadline is farther away than this runs in the thread of its workflow, to its end."""
SIGNALS_S = 1.0
"""How often a thread that waits wakes up: a signal that arrives while it begins to wait is seen then."""


class WatchedCall:
    """A call of a function that is waited for until the instant `ends_at` (ms).

    Args:
        answer: given what it came to, if that was in time.

    Attributes:
        thread: the thread that makes the call, once it has begun.
        returned: set when the function has returned.
    """

    def __init__(self, work: Work, ends_at: int, answer: Callable[[Answer], None]) -> None:
        self.work = work
        self.ends_at = ends_at
        self.thread: threading.Thread | None = None
        self.returned = threading.Event()
        self._answer = answer
        self._lock = threading.Lock()
        self._over = False

    def begin(self) -> bool:
        """Note the thread that makes the call; False if it is no longer waited for."""
        with self._lock:
            self.thread = threading.current_thread()
            return not self._over

    def end(self, answer: Answer) -> None:
        """Pass on what the function came to, unless its time was up: then it counts for nothing."""
        with self._lock:
            late, self._over = self._over, True
        self.returned.set()
        if not late:
            self._answer(answer)
            return
        if self.thread is not None:
            abandoned.remove(self.thread)
        if isinstance(answer, Opening):
            close_workflow(answer.coroutine, self.work.name)

    def give_up(self) -> bool:
        """Wait for it no longer; False if it has just ended."""
        with self._lock:
            if self._over:
                return False
            self._over = True
            return True


class FunctionCalls:
    """Calls the functions of one task, and tells its execution what they come to.

    Args:
        resources: what the tasks of the process share.
        lease: the hold of this process on the task.
        execution: the task's.
        deadline: the instant (ms) after which no function is started, if there is one.

    Attributes:
        running: how many functions run beside the thread of the task, whose results have not been taken.
        late: whether a function was not started, because this process is to begin nothing more.
    """

    def __init__(self, resources: Resources, lease: Lease, execution: Execution, deadline: int | None) -> None:
        self.running = 0
        self.late = False
        self._resources = resources
        self._clock = clock = resources.clock
        self._time = time = resources.time
        self._functions = resources.functions
        self._steps = resources.steps
        self._async_functions = resources.async_functions
        self._lease = lease
        self._execution = execution
        self._results: queue.SimpleQueue[tuple[Work, Answer]] = queue.SimpleQueue()
        self._watched: list[tuple[int, int, WatchedCall]] = []
        if deadline is None:
            self._ends_at = sys.maxsize
            deadline = clock.now() + WATCHED_MS
        else:
            self._ends_at = deadline
        self._watched_until = deadline if resources.one_clock else deadline + time.now() - clock.now()

    def ends_by(self, now: int) -> bool:
        """Whether no function is started any more at the instant `now` (ms)."""
        return self._resources.stopping or now >= self._ends_at

    def start(self, work: Work, now: int) -> None:
        """Call a function at the instant `now` (ms), here or beside this thread, unless it is too late for that."""
        if self.late or self._resources.stopping or abandoned.full or now >= self._ends_at:
            self.late = True
            return
        if now > self._lease.sure_until:
            self._lease.check(self._resources.store, self._clock)
        watched = False
        if work.node.timeout_at <= self._watched_until:
            if self._here(work.node.timeout_at) > now:
                watched = self._steps is not None
            elif self._is_over(work):
                return
        if work.concurrent and (functions := self._functions) is not None:
            self.running += 1
            if watched:
                self._submit_watched(work, functions)
            elif work.kind is Kind.ASYNC:
                self._async_functions.submit(work, lambda outcome: self._results.put((work, outcome)))
            else:
                functions.submit(self._call_beside, work)
        elif watched:
            self._call_watched(work)
        elif (outcome := call(work, self._async_functions)) is None:
            self.late = True
        else:
            self._execution.ran(work, outcome, self._time.now())

    def take_next(self) -> None:
        """Wait for the next function to return. A retry that is due meanwhile waits for it: a pause is a minimum."""
        while True:
            patience_s = SIGNALS_S
            if self._watched:
                left_ms = self._watched[0][0] - self._clock.now()
                if left_ms <= 0:
                    given = heapq.heappop(self._watched)[2]
                    if given.give_up():
                        self.running -= 1
                        self._go_on_without(given, self._functions)
                        return
                    continue
                patience_s = min(SIGNALS_S, left_ms / 1000)
            try:
                work, answer = self._results.get(timeout=patience_s)
            except queue.Empty:
                continue
            break
        self.running -= 1
        self._take(work, answer)

    def refresh(self, ids: Sequence[str]) -> None:
        """Read promises that may have been settled."""
        store = self._resources.store
        for response in self._resources.map(lambda id: store.apply(PromiseGet(id)), ids):
            if response.promise is not None and not response.promise.pending:
                self._execution.settled(response.promise)

    def _here(self, instant: int) -> int:
        """An instant of the store's time, such as a deadline, as this machine's clock shows it."""
        return instant if self._resources.one_clock else instant - self._time.now() + self._clock.now()

    def _is_over(self, work: Work) -> bool:
        """Whether the work's time was up before its function began, by the store's clock as well as by ours."""
        now = self._unless_over()
        above = self._execution.timed_out_above(work, now)
        if above is not None:
            self.refresh((above.id,))
            return above.settled
        over = work.created and work.node is not self._execution.root.node
        if over:
            self._execution.overdue(work, now)
        return over

    def _unless_over(self) -> int:
        """Return the store's time; raise `Lost` if that of the task's own promise is up."""
        now = self._time.now()
        if now >= self._execution.root.node.timeout_at:
            self._lease.verify(self._resources.store, self._clock.now())
        return now

    def _submit_watched(self, work: Work, functions: Pool) -> None:
        """Have a function called beside others, and go on without it when its time is up."""
        given = WatchedCall(work, self._here(work.node.timeout_at), lambda answer: self._results.put((work, answer)))
        heapq.heappush(self._watched, (given.ends_at, id(given), given))
        if work.kind is Kind.ASYNC:
            self._async_functions.submit(work, given.end)
        else:
            functions.submit(self._call_in_time, given)

    def _call_watched(self, work: Work) -> None:
        """Call a function in a thread of its own, and go on without it when its time is up."""
        assert self._steps is not None
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        given = WatchedCall(work, self._here(work.node.timeout_at), answers.put)
        self._steps.submit(contextvars.copy_context().run, self._call_in_time, given)
        while True:
            left_ms = given.ends_at - self._clock.now()
            if left_ms <= 0 and given.give_up():
                self._go_on_without(given, self._steps)
                return
            try:
                answer = answers.get(timeout=max(0.0, min(SIGNALS_S, left_ms / 1000)))
            except queue.Empty:
                continue
            break
        self._take(work, answer)

    def _go_on_without(self, given: WatchedCall, pool: Pool | None) -> None:
        """Leave a function behind whose time is up, and resume its workflow."""
        work, thread = given.work, given.thread
        if work.kind is Kind.ASYNC:
            self._async_functions.give_up(work)
            if thread is not None and given.returned.wait(RESPONSE_S):
                thread = None
        if thread is not None:
            if pool is not None:
                # It needs no replacement for a thread that has ended meanwhile.
                pool.leave(thread)
            room = abandoned.add(thread, work.name)
            if given.returned.is_set():
                abandoned.remove(thread)
            if abandoned.full:
                self._resources.exhausted()
            if not room:
                self.late = True
                return
        now = self._unless_over()
        above = self._execution.timed_out_above(work, now)
        if above is not None:
            self.refresh((above.id,))
        if above is None or not above.settled:
            self._execution.overdue(work, now)

    def _take(self, work: Work, answer: Answer) -> None:
        """Tell the execution what a function came to, unless it did not get to run, or was stopped."""
        if type(answer) is not tuple or answer[1] is not None:  # rarely
            if isinstance(answer, (Lost, StoreError)):
                raise answer
            if answer is None:
                self.late = True
                return
            if not isinstance(answer, Opening) and (error := answer[1]) and not isinstance(error, Exception):
                failure = failure_of(error, work.name)
                if failure is None:
                    raise error
                answer = None, failure
        self._execution.ran(work, answer, self._time.now())

    def _call_beside(self, work: Work) -> None:
        """Call the user's function in a thread of the pool."""
        self._results.put((work, self._called(work)))

    def _call_in_time(self, given: WatchedCall) -> None:
        """Call the user's function in a thread of a pool, if it is still waited for."""
        if given.begin():
            given.end(self._called(given.work))

    def _called(self, work: Work) -> Answer:
        """What the user's function comes to in this thread; what would end a process ends this run."""
        if self._resources.stopping:
            return None
        try:
            if self._clock.now() > self._lease.sure_until:  # it may have waited long for this thread
                self._lease.check(self._resources.store, self._clock)
        except (Lost, StoreError) as error:
            return error
        try:
            return call(work, self._async_functions)
        except BaseException as error:
            return None, error


def call(work: Work, async_functions: AsyncFunctions) -> Outcome | Opening | None:
    """Call the user's function and catch what it raises, unless that ends the process.

    Returns:
        Its outcome. An async function may turn out to be a workflow, and is None if it was stopped.
    """
    if work.kind is Kind.ASYNC:
        return async_functions.call(work)
    try:
        return work.func(work.context, *work.args, **work.kwargs), None
    except BaseException as error:
        failure = failure_of(error, work.name)
        if failure is None:
            raise
        return None, failure

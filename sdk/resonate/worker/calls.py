"""Calls of the user's functions that one task makes.

A plain function runs in the thread of the task, if its deadline is far away. A function of `begin_run` runs in a thread
of a pool, so that several can run at the same time. A function whose deadline is near, or whose attempts have a time
limit, also runs in another thread, where it is left behind when that has passed. Async functions run in the event loop
(`async_functions`). Outcomes are passed to the execution in the thread of the task.
"""

from __future__ import annotations

import contextvars
import heapq
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from resonate.engine.functions.exits import failure_of
from resonate.engine.functions.interception import run_step
from resonate.engine.interpreter import Execution
from resonate.engine.model import AttemptLimits, Opening, Outcome, Work, close_workflow
from resonate.errors import AttemptTimeout
from resonate.worker.abandoned import abandoned
from resonate.worker.async_functions import RESPONSE_S, AsyncFunctions
from resonate.worker.lease import Lease, Lost
from resonate.worker.marks import record_mark
from resonate.worker.resources import Resources
from resonate_store.interface import StoreError
from resonate_store.model.requests import PromiseGet

if TYPE_CHECKING:
    from resonate.threads import Pool

Answer = Outcome | Opening | Lost | StoreError | None
"""Result of a call; None if the function did not start, or was stopped."""

WATCHED_MS = 30 * 86_400_000
"""A step with a deadline beyond this runs in the thread of its workflow, to its end."""
SIGNALS_S = 1.0
"""Interval at which a waiting thread wakes up, so that it handles a signal that arrived just before it waited."""


class WatchedCall:
    """Call of a function that is waited for until the instant `ends_at` (ms).

    Args:
        work: the function.
        ends_at: the end of the wait.
        answer: called with the result, if it arrives in time.
        limit_ms: the limit of the attempt, if the wait ends with that; 0 if it ends with the deadline of the function.
        pool: the threads in which it runs. Without them it has a thread of its own.

    Attributes:
        thread: the thread that makes the call, once it has begun.
        returned: set when the function has returned.
    """

    def __init__(
        self, work: Work, ends_at: int, answer: Callable[[Answer], None], limit_ms: int, pool: Pool | None
    ) -> None:
        self.work = work
        self.ends_at = ends_at
        self.limit_ms = limit_ms
        self.pool = pool
        self.thread: threading.Thread | None = None
        self.returned = threading.Event()
        self._answer = answer
        self._lock = threading.Lock()
        self._over = False

    def begin(self) -> bool:
        """Note the thread that makes the call; return False if it is not waited for any more."""
        with self._lock:
            self.thread = threading.current_thread()
            return not self._over

    def end(self, answer: Answer) -> None:
        """Pass on the result of the function, or drop it if it is late."""
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

    def too_long(self) -> AttemptTimeout:
        """Return the error of an attempt that has reached its limit."""
        return AttemptTimeout(self.work.name, self.work.attempt, self.limit_ms / 1000)

    def give_up(self) -> bool:
        """End the wait; return False if the function has just ended."""
        with self._lock:
            if self._over:
                return False
            self._over = True
            return True


class FunctionCalls:
    """Caller of one task's functions, which passes their results to the execution.

    Args:
        resources: what the tasks of the process share.
        lease: the lease of this process on the task.
        execution: the task's.
        deadline: the instant (ms) after which no function is started, if there is one.

    Attributes:
        running: the number of functions in other threads whose results have not been handled.
        late: whether a function was not started, because this process starts no more.
    """

    def __init__(self, resources: Resources, lease: Lease, execution: Execution, deadline: int | None) -> None:
        self.running = 0
        self.late = False
        self._resources = resources
        self._clock = clock = resources.clock
        self._time = resources.time
        self._functions = resources.functions
        self._steps = resources.steps
        self._async_functions = resources.async_functions
        self._lease = lease
        self._execution = execution
        self._results: queue.SimpleQueue[tuple[Work, Answer]] = queue.SimpleQueue()
        self._next: tuple[Work, Answer] | None = None
        """A result that is handled before those in the queue."""
        self._watched: list[tuple[int, int, WatchedCall]] = []
        self._deadline = deadline
        self._ends_at = sys.maxsize if deadline is None else deadline
        self._watched_until = self._watch_until(clock.now())

    def restart(self, now: int) -> bool:
        """Begin again with the next history of the task at the instant `now` (ms).

        Returns:
            False if functions of the history that has ended may still run. The next one then needs a new object.
        """
        if self.running or self.late or self._watched or self._next is not None:
            return False
        self._watched_until = self._watch_until(now)
        return True

    def _watch_until(self, now: int) -> int:
        """Return the last deadline, by the store's clock, of a function that is left behind when that has passed."""
        until = now + WATCHED_MS if self._deadline is None else self._deadline
        return until if self._resources.one_clock else until + self._time.now() - now

    def ends_within(self, pause_ms: int = 0) -> bool:
        """Return whether no function is started any more after a pause from now on."""
        if self._deadline is not None and self._clock.now() + pause_ms >= self._deadline:
            return True
        return self._resources.stopping

    def start(self, work: Work, now: int) -> None:
        """Call a function at the instant `now` (ms), in this or another thread. If it is too late, only set `late`."""
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
        if work.limits is not None:
            self._start_limited(work, work.limits, watched=watched)
        elif work.concurrent and (functions := self._functions) is not None:
            self.running += 1
            if watched:
                self._submit_watched(work, functions)
            elif work.kind == "async":
                self._async_functions.submit(work, lambda outcome: self._results.put((work, outcome)))
            else:
                functions.enqueue(partial(self._call_beside, work), _drop)
        elif watched:
            self._call_watched(work)
        elif (outcome := call(work, self._async_functions)) is None:
            self.late = True
        else:
            self._execution.ran(work, outcome, self._time.now())

    def take_next(self) -> None:
        """Wait for the next function to return, and handle its result.

        Further results that have arrived are handled too, so that they are recorded together. A retry that becomes due
        meanwhile waits until then, because a pause is only a minimum.
        """
        self.running -= 1
        if self._next is not None:
            (work, answer), self._next = self._next, None
        elif (result := self._next_result()) is not None:
            work, answer = result
        else:
            return
        self._take(work, answer)
        while not self._results.empty():
            work, answer = self._results.get()
            if not _is_outcome(answer):  # it may raise an error, so what has returned is recorded before
                self._next = (work, answer)
                break
            self.running -= 1
            self._take(work, answer)

    def _next_result(self) -> tuple[Work, Answer] | None:
        """Wait for the next result. Return None if a function is left behind instead."""
        while True:
            patience_s = SIGNALS_S
            if self._watched:
                left_ms = self._watched[0][0] - self._clock.now()
                if left_ms <= 0:
                    given = heapq.heappop(self._watched)[2]
                    if given.give_up():
                        self._go_on_without(given)
                        return None
                    continue
                patience_s = min(SIGNALS_S, left_ms / 1000)
            try:
                return self._results.get(timeout=patience_s)
            except queue.Empty:
                continue

    def refresh(self, ids: Sequence[str]) -> None:
        """Read promises that may have been settled."""
        store = self._resources.store
        for response in self._resources.map(lambda id: store.apply(PromiseGet(id)), ids):
            if response.promise is not None and not response.promise.pending:
                self._execution.settled(response.promise)

    def _here(self, instant: int) -> int:
        """Return an instant of the store's time, such as a deadline, on this machine's clock."""
        return instant if self._resources.one_clock else instant - self._time.now() + self._clock.now()

    def _is_over(self, work: Work) -> bool:
        """Return whether the function has timed out before it began, also by the store's clock."""
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
        """Return the store's time. If the task's own promise has timed out, raise `Lost`."""
        now = self._time.now()
        if now >= self._execution.root.node.timeout_at:
            self._lease.verify(self._resources.store, self._clock.now())
        return now

    def _submit_watched(self, work: Work, functions: Pool) -> None:
        """Call a function in another thread, and continue without it when its deadline passes."""
        given = self._watched_call(work, lambda answer: self._results.put((work, answer)), functions)
        heapq.heappush(self._watched, (given.ends_at, id(given), given))
        if work.kind == "async" and work.limits is None:
            self._async_functions.submit(work, given.end)
        else:
            functions.submit(self._call_in_time, given)

    def _watched_call(self, work: Work, answer: Callable[[Answer], None], pool: Pool | None) -> WatchedCall:
        """Return the call of a function that is waited for until its deadline, or the limit of its attempt."""
        ends_at, limit_ms = self._here(work.node.timeout_at), 0
        if work.limits is not None and work.limits.limit_ms:
            attempt_ends_at = self._clock.now() + work.limits.limit_ms
            if attempt_ends_at < ends_at:
                ends_at, limit_ms = attempt_ends_at, work.limits.limit_ms
        return WatchedCall(work, ends_at, answer, limit_ms, pool)

    def _start_limited(self, work: Work, limits: AttemptLimits, *, watched: bool) -> None:
        """Call a step whose attempts have limits. If they have a time limit, the step has a thread of its own."""
        functions = self._functions
        watched = watched or limits.limit_ms > 0
        if work.concurrent and functions is not None:
            self.running += 1
            if watched:
                # With a limit, the attempt must begin now, so it does not wait for a thread among `functions`.
                self._submit_watched(work, self._steps or functions)
            else:
                functions.enqueue(partial(self._call_beside, work), _drop)
        elif watched:
            self._call_watched(work)
        else:
            self._take(work, self._called(work))

    def _call_watched(self, work: Work) -> None:
        """Call a function in another thread and wait for it; continue without it when its deadline passes."""
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        given = self._watched_call(work, answers.put, self._steps)
        begin = partial(contextvars.copy_context().run, self._call_in_time, given)
        if self._steps is not None:
            self._steps.submit(begin)
        else:
            threading.Thread(target=begin, name=f"resonate-{work.name}", daemon=True).start()
        while True:
            left_ms = given.ends_at - self._clock.now()
            if left_ms <= 0 and given.give_up():
                self._go_on_without(given)
                return
            try:
                answer = answers.get(timeout=max(0.0, min(SIGNALS_S, left_ms / 1000)))
            except queue.Empty:
                continue
            break
        self._take(work, answer)

    def _go_on_without(self, given: WatchedCall) -> None:
        """Leave a function behind whose deadline, or time for this attempt, has passed. Continue its workflow."""
        work, thread, pool = given.work, given.thread, given.pool
        if work.kind == "async":
            self._async_functions.give_up(work)
            if thread is not None and given.returned.wait(RESPONSE_S):
                thread = None
        if thread is not None:
            if pool is not None:
                # The pool replaces the thread, unless that has ended meanwhile.
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
        if above is not None and above.settled:
            return
        if given.limit_ms:
            self._execution.ran(work, (None, given.too_long()), now)
        else:
            self._execution.overdue(work, now)

    def _take(self, work: Work, answer: Answer) -> None:
        """Pass the result of a function to the execution, unless the function did not start, or was stopped."""
        if type(answer) is not tuple or answer[1] is not None:  # a rare case
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
            answer = self._called(given.work, given.begin)
            if given.limit_ms and self._clock.now() >= given.ends_at and _is_outcome(answer):
                answer = None, given.too_long()
            given.end(answer)

    def _called(self, work: Work, is_awaited: Callable[[], bool] | None = None) -> Answer:
        """Return the result of the user's function in this thread, even an error that ends the process.

        Args:
            work: the function.
            is_awaited: returns whether its result is still waited for.
        """
        if self._resources.stopping:
            return None
        try:
            if self._clock.now() > self._lease.sure_until:  # the call may have waited long for this thread
                self._lease.check(self._resources.store, self._clock)
            if work.limits is not None and work.limits.mark is not None:
                refused = record_mark(self._resources.store, work, work.limits.mark)
                if refused is not None:
                    return None, refused
                if is_awaited is not None and not is_awaited():
                    return None  # the record of the mark took too long
        except (Lost, StoreError) as error:
            return error
        try:
            return call(work, self._async_functions)
        except BaseException as error:
            return None, error


def _is_outcome(answer: Answer) -> bool:
    """Return whether a function has returned, or raised an error that does not end the process."""
    return type(answer) is tuple and (answer[1] is None or isinstance(answer[1], Exception))


def _drop() -> None:
    """Do nothing: a process that stops ignores the calls that have not begun, and releases their tasks."""


def call(work: Work, async_functions: AsyncFunctions) -> Outcome | Opening | None:
    """Call the user's function, and catch its errors, unless they end the process.

    Returns:
        Its outcome. For an async function it may also be its first command, or None if it was stopped.
    """
    if work.kind == "async":
        return async_functions.call(work)
    try:
        if work.interceptors is not None:
            return run_step(work.interceptors, work), None
        return work.func(work.context, *work.args, **work.kwargs), None
    except BaseException as error:
        failure = failure_of(error, work.name)
        if failure is None:
            raise
        return None, failure

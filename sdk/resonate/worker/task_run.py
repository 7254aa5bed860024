"""The drive: one run of an execution against a store, with the user's functions.

The interpreter says what it wants done; here it is done, and what came of it is told back, until the task is fulfilled
or suspended or this process has to leave it to others.

User code may run on a pool, store requests on another; everything else happens in the caller's thread.

What a workflow begins for others to see is created before it goes on. Of calls that it begins in a row only the first
is waited for like that, where requests have a pool: the others are on their way while it goes on, and answered before
anything else happens to it (docs/decisions/0036).
"""

from __future__ import annotations

import contextvars
import heapq
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NoReturn, cast

from msgspec import Struct

from resonate.engine.actions import Action, Create, Finished, ReadChildren, ReadPromise, RecordOutcome, Run
from resonate.engine.exits import failure_of
from resonate.engine.interpreter import Execution
from resonate.engine.model import Kind, Opening, Outcome, Work, close_workflow
from resonate.errors import refusal
from resonate.payloads import codec
from resonate.process.store_choice import underlying
from resonate.worker.abandoned import abandoned
from resonate.worker.lease import Lease, Lost
from resonate_store.interface import StoreError
from resonate_store.model import addresses, ids
from resonate_store.model.limits import excess
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseSettle,
    Request,
    Response,
    TaskFulfill,
    TaskSuspend,
)
from resonate_store.model.tags import TARGET

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from resonate.worker.event_loop import EventLoop
    from resonate.worker.worker import Worker

Status = Literal["completed", "suspended", "released", "lost", "halted"]

Answer = Outcome | Opening | Lost | StoreError | None
"""What calling a function came to; None if it did not get to run, or was stopped."""

WATCHED_MS = 30 * 86_400_000
"""A step whose deadline is farther away than this (ms) runs in the thread of its workflow, to its end."""
RESPONSE_S = 1.0
"""How long an async function may take to end when it is cancelled (s)."""
GLANCE = 1.0
"""Seconds: a signal that arrives while the main thread begins to wait is seen when it looks again."""
FEW = 10
"""Of more promises than this it is cheaper to read all children again than to ask about each."""


class HandOver(Exception):
    """Time is running out, and there is work left that another invocation should begin."""


class Report(Struct, frozen=True):
    """How an invocation's work for a task ended.

    `error` says why it was released or halted; `promise` is the task's, settled, when it was completed.
    """

    status: Status
    error: str | None = None
    promise: PromiseView | None = None


class Loops:
    """The event loop of a process, which is not even loaded before an async function is called."""

    def __init__(self) -> None:
        self._loop: EventLoop | None = None

    def get(self) -> EventLoop:
        """The loop."""
        if self._loop is None:
            from resonate.worker.event_loop import EventLoop

            self._loop = EventLoop()
        return self._loop

    def give_up(self, work: Work) -> None:
        """Cancel an async function; if another blocks the loop, leave that behind and let a new one take its place."""
        loop = self._loop
        if loop is not None and not loop.give_up(work) and loop is self._loop:
            self._loop = None
            thread = loop.leave()
            if thread is not None:
                abandoned.add(thread, f"{work.name} (an event loop that something blocks)")

    def cancel(self) -> None:
        """Stop the functions that run on it."""
        if self._loop is not None:
            self._loop.cancel()

    def stop(self) -> None:
        """End it; it starts anew when it is needed again."""
        if self._loop is not None:
            self._loop.stop()


class _Call:
    """A call of a function that is waited for until the instant `ends_at` (ms).

    Args:
        answer: given what it came to, if that was in time.
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
        """Hand out what the function came to, unless its time was up: then it counts for nothing."""
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


class Drive:
    """One run of an execution against a store."""

    def __init__(self, worker: Worker, lease: Lease, task: Task, execution: Execution, deadline: int | None) -> None:
        self._worker = worker
        self._store = worker.store
        self._clock = worker.clock
        self._time = worker.time
        self._one_clock = worker.time is worker.clock
        self._functions = worker.functions
        self._lease = lease
        self._fences_by: Callable[[str, int], bool] | None
        self._fences_by = getattr(underlying(worker.store), "fences_records_by", None)
        self._fenced = self._fences_by is not None
        self._task = task
        self._execution = execution
        self._running = 0
        self._steps = worker.steps
        self._results: queue.SimpleQueue[tuple[Work, Answer]] = queue.SimpleQueue()
        self._ends_at = sys.maxsize if deadline is None else deadline
        watched_until = self._clock.now() + WATCHED_MS if deadline is None else deadline
        self._watched_until = watched_until + (0 if self._one_clock else self._time.now() - self._clock.now())
        self._watched: list[tuple[int, int, _Call]] = []
        self._late = False
        self._on_their_way: list[tuple[Create, Future[Response | Sequence[PromiseView]]]] = []

    def to_the_end(self) -> Report:
        """Go on until the task is fulfilled or suspended.

        Raises:
            HandOver: there is no time left for all of it.
            Lost: another worker holds the task, it is halted or settled, or its lease has ended here.
            NonDeterminismError: the workflow is not the one that is recorded.
            ResultTypeError: a result is not what the workflow asks for.
            StoreError: the store cannot answer.
        """
        try:
            return self._to_the_end()
        finally:
            for _, answer in self._on_their_way:
                if not answer.cancel():
                    answer.exception()  # nothing is written by whoever has let go of the task

    def _to_the_end(self) -> Report:
        execution = self._execution
        while True:
            actions = execution.advance(self._time.now())
            if execution.ready:
                self._begin([action for action in actions if isinstance(action, Create)])
                continue
            if self._on_their_way:
                self._arrive()
            elif actions:
                self._perform(actions, execution.now if self._one_clock else None)
                while not execution.ready and (actions := execution.actions()):
                    self._perform(actions, None)  # as a step has run and is to be recorded
            elif execution.finished is not None:
                return self._fulfill(execution.finished)
            elif self._running:
                if (result := self._next_result()) is not None:
                    execution.ran(*result, self._time.now())
            elif self._late:
                raise HandOver
            elif (report := self._wait()) is not None:
                return report

    def _begin(self, creations: list[Create]) -> None:
        """Create what workflows begin that go on at once."""
        pool = self._worker.requests
        if self._clock.now() > self._lease.sure_until:
            self._lease.check(self._store, self._clock)
        now: list[Create] = []
        for creation in creations:
            if pool is not None and creation.in_row and not _is_refused(creation.request):
                self._execution.sent(creation)
                self._on_their_way.append((creation, pool.submit(self._request, creation)))
            else:
                now.append(creation)
        for creation, answer in zip(now, self._worker.map(self._request, now), strict=True):
            self._tell(creation, answer)

    def _arrive(self) -> None:
        """Wait for the answers to what is on its way."""
        for creation, answer in self._on_their_way:
            self._tell(creation, answer.result())
        self._on_their_way.clear()

    def _perform(self, actions: list[Action], now: int | None) -> None:
        """Make all requests first, together, and then call functions: what was begun is stored before anything runs."""
        if len(actions) == 1:  # as in a sequence of steps
            (action,) = actions
            if isinstance(action, Run):
                self._start(action.work, self._clock.now() if now is None else now)
            elif isinstance(action, RecordOutcome):
                request = action.request
                if self._fenced or type(request) is not PromiseRecord:
                    asked_at = self._clock.now()
                    self._kept(action, self._answer(request), asked_at)
                elif (stored := (response := self._answer(request)).promise) and stored.tags is request.tags:
                    self._execution.kept(action.node, response)  # it is ours, as in nearly every case
                else:
                    self._kept(action, response, 0)
            else:
                self._before([action])
                self._tell(action, self._request(action))
            return
        requests = [action for action in actions if not isinstance(action, Run)]
        if requests:
            self._before(requests)
            for action, answer in zip(requests, self._worker.map(self._request, requests), strict=True):
                self._tell(action, answer)
        beside = self._functions is not None
        now = self._clock.now()
        for action in actions:
            if isinstance(action, Run):
                if not (beside and action.work.concurrent):
                    now = self._clock.now()  # the function before it may have taken its time
                self._start(action.work, now)

    def _before(self, requests: Sequence[Create | RecordOutcome | ReadPromise | ReadChildren]) -> None:
        """Have no other worker begin anything for a task that this one holds no longer."""
        if self._clock.now() > self._lease.sure_until and any(
            isinstance(action, Create) and TARGET in action.request.tags for action in requests
        ):
            self._lease.check(self._store, self._clock)

    def _kept(self, action: RecordOutcome, response: Response, asked_at: int) -> None:
        """Take what the store has as the outcome; if it is another worker's, see first who holds the task."""
        promise, request = response.promise, action.request
        if self._fences_by is not None and isinstance(request, PromiseRecord):
            ours = asked_at and request.id.startswith(f"{self._task.id}.")
            # The store fences by the newest version that this process holds, which may be another attempt's.
            if response.ok and ours and self._fences_by(self._task.id, self._task.version):
                self._lease.confirm(asked_at)
        elif promise is not None and _is_of_another(promise, request):
            self._lease.verify(self._store, self._clock.now(), consistent=True)
        self._execution.kept(action.node, response)

    def _tell(
        self, action: Create | RecordOutcome | ReadPromise | ReadChildren, answer: Response | Sequence[PromiseView]
    ) -> None:
        if isinstance(action, RecordOutcome):
            self._kept(action, cast("Response", answer), 0)
        elif isinstance(action, Create):
            self._execution.created(action, cast("Response", answer))
        elif isinstance(action, ReadPromise):
            self._execution.fetched(action.node, cast("Response", answer))
        else:
            self._execution.loaded(action.work, cast("Sequence[PromiseView]", answer))

    def _request(self, action: Create | RecordOutcome | ReadPromise | ReadChildren) -> Response | Sequence[PromiseView]:
        if isinstance(action, ReadChildren):
            return self._store.children(action.work.node.id)
        return self._answer(action.request)

    def _answer(self, request: Request) -> Response:
        response = self._store.apply(request)
        if response.status == 409:
            # Only a store that fences every write says so.
            raise Lost
        if response.status >= 500 or response.status == 401:
            raise StoreError(response.error or f"the store answered {response.status}")
        return response

    def _out_of_time(self, now: int) -> bool:
        return self._worker.stopping or now >= self._ends_at

    def _start(self, work: Work, now: int) -> None:
        if self._late or self._worker.stopping or abandoned.full or now >= self._ends_at:
            self._late = True
            return
        if now > self._lease.sure_until:
            self._lease.check(self._store, self._clock)
        watched = False
        if work.node.timeout_at <= self._watched_until:
            if self._here(work.node.timeout_at) > now:
                watched = self._steps is not None
            elif self._is_over(work):
                return
        if work.concurrent and (functions := self._functions) is not None:
            self._running += 1
            if watched and (work.kind is Kind.ASYNC or hasattr(functions, "leave")):
                self._submit_watched(work, functions)
            elif work.kind is Kind.ASYNC:
                self._worker.loops.get().submit(work, lambda outcome: self._results.put((work, outcome)))
            else:
                functions.submit(self._call_apart, work)
        elif watched:
            self._call_watched(work)
        elif (outcome := call(work, self._worker.loops)) is None:
            self._late = True
        else:
            self._execution.ran(work, outcome, self._time.now())

    def _here(self, instant: int) -> int:
        """An instant of the store's time, such as a deadline, as this machine's clock shows it."""
        return instant if self._one_clock else instant - self._time.now() + self._clock.now()

    def _is_over(self, work: Work) -> bool:
        """Whether the work's time was up before its function began, by the store's clock as well as by ours."""
        now = self._unless_over()
        above = self._execution.timed_out_above(work, now)
        if above is not None:
            self._refresh((above.id,))
            return above.settled
        over = work.created and work.node is not self._execution.root.node
        if over:
            self._execution.overdue(work, now)
        return over

    def _unless_over(self) -> int:
        """Return the store's time; raise `Lost` if that of the task's own promise is up."""
        now = self._time.now()
        if now >= self._execution.root.node.timeout_at:
            self._lease.verify(self._store, self._clock.now())
        return now

    def _submit_watched(self, work: Work, functions: Executor) -> None:
        """Have a function called beside others, and go on without it when its time is up."""
        given = _Call(work, self._here(work.node.timeout_at), lambda outcome: self._results.put((work, outcome)))
        heapq.heappush(self._watched, (given.ends_at, id(given), given))
        if work.kind is Kind.ASYNC:
            self._worker.loops.get().submit(work, given.end)
        else:
            functions.submit(self._call_in_time, given)

    def _call_watched(self, work: Work) -> None:
        """Call a function in a thread of its own, and go on without it when its time is up."""
        assert self._steps is not None
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        given = _Call(work, self._here(work.node.timeout_at), answers.put)
        self._steps.submit(contextvars.copy_context().run, self._call_in_time, given)
        while True:
            left = given.ends_at - self._clock.now()
            if left <= 0 and given.give_up():
                self._go_on_without(given, self._steps)
                return
            try:
                outcome = answers.get(timeout=max(0.0, min(GLANCE, left / 1000)))
            except queue.Empty:
                continue
            break
        if (result := self._checked(work, outcome)) is not None:
            self._execution.ran(*result, self._time.now())

    def _go_on_without(self, given: _Call, pool: object) -> None:
        """Leave a function behind whose time is up, and resume its workflow."""
        work, thread = given.work, given.thread
        if work.kind is Kind.ASYNC:
            self._worker.loops.give_up(work)
            if thread is not None and given.returned.wait(RESPONSE_S):
                thread = None
        if thread is not None:
            # Its pool needs no replacement for a thread that has ended meanwhile, or that was never one of its own.
            leave: Callable[[threading.Thread], None] | None = getattr(pool, "leave", None)
            if leave is not None:
                leave(thread)
            room = abandoned.add(thread, work.name)
            if given.returned.is_set():
                abandoned.remove(thread)
            if abandoned.full:
                self._worker.exhausted()
            if not room:
                self._late = True
                return
        now = self._unless_over()
        above = self._execution.timed_out_above(work, now)
        if above is not None:
            self._refresh((above.id,))
        if above is None or not above.settled:
            self._execution.overdue(work, now)

    def _next_result(self) -> tuple[Work, Outcome | Opening] | None:
        """The next function to return. A retry that is due meanwhile waits for it: a pause is a minimum.

        None is one whose turn came too late, that was stopped, or that has outlived its time.
        """
        while True:
            patience = GLANCE
            if self._watched:
                left = self._watched[0][0] - self._clock.now()
                if left <= 0:
                    given = heapq.heappop(self._watched)[2]
                    if given.give_up():
                        self._running -= 1
                        self._go_on_without(given, self._functions)
                        return None
                    continue
                patience = min(GLANCE, left / 1000)
            try:
                work, outcome = self._results.get(timeout=patience)
            except queue.Empty:
                continue
            break
        self._running -= 1
        return self._checked(work, outcome)

    def _checked(self, work: Work, outcome: Answer) -> tuple[Work, Outcome | Opening] | None:
        """What a function came to; None if it did not get to run, or was stopped."""
        if type(outcome) is tuple and outcome[1] is None:
            return work, outcome
        if isinstance(outcome, (Lost, StoreError)):
            raise outcome
        if outcome is None:
            self._late = True
            return None
        if not isinstance(outcome, Opening) and (error := outcome[1]) and not isinstance(error, Exception):
            failure = failure_of(error, work.name)
            if failure is None:
                raise error
            return work, (None, failure)
        return work, outcome

    def _call_apart(self, work: Work) -> None:
        """Call the user's function in a thread of the pool."""
        self._results.put((work, self._called(work)))

    def _call_in_time(self, given: _Call) -> None:
        """Call the user's function in a thread of a pool, if it is still waited for."""
        if given.begin():
            given.end(self._called(given.work))

    def _called(self, work: Work) -> Answer:
        """What the user's function comes to in this thread; what would end a process ends this run."""
        if self._worker.stopping:
            return None
        try:
            if self._clock.now() > self._lease.sure_until:  # it may have waited long for this thread
                self._lease.check(self._store, self._clock)
        except (Lost, StoreError) as error:
            return error
        try:
            return call(work, self._worker.loops)
        except BaseException as error:
            return None, error

    def _wait(self) -> Report | None:
        """Nothing is left to do here: wait a moment if that is all it takes, or suspend."""
        blocked = self._execution.blocked(self._worker.worth_suspending)
        if blocked.until is not None:
            pause = blocked.until - self._time.now()
            now = self._clock.now()
            if self._out_of_time(now + pause):
                raise HandOver
            if now > self._lease.sure_until:
                self._lease.check(self._store, self._clock)
            self._clock.sleep(pause)
            self._refresh(blocked.timers)
            return None
        if not blocked.ids:
            raise RuntimeError(f"task {self._task.id} waits for itself: one of its promises awaits its own completion")
        asked_at = self._clock.now()
        response = self._store.apply(TaskSuspend(self._task.id, self._task.version, blocked.ids))
        if response.ok:
            return Report("suspended")
        if response.status != 300:
            self._unless_lost(response, "suspend")
        self._lease.confirm(asked_at)
        for promise in response.preload:
            self._execution.settled(promise)
        if not response.preload:
            self._refresh(blocked.ids)
        if self._execution.outstanding() > FEW:
            # Whoever awaits many one by one would learn of each by a suspension of its own that is refused.
            for promise in self._store.children(self._task.id):
                self._execution.settled(promise)
        return None

    def _refresh(self, ids: Sequence[str]) -> None:
        """Read promises that may have been settled."""
        for response in self._worker.map(lambda id: self._store.apply(PromiseGet(id)), ids):
            if response.promise is not None and not response.promise.pending:
                self._execution.settled(response.promise)

    def _fulfill(self, finished: Finished) -> Report:
        task = self._task
        response = self._store.apply(
            TaskFulfill(task.id, task.version, PromiseSettle(task.id, finished.state, finished.value))
        )
        if response.status == 413:
            payload = codec.encode_error(refusal(413, response.error or "the result is too large"))
            settle = PromiseSettle(task.id, "rejected", payload)
            response = self._store.apply(TaskFulfill(task.id, task.version, settle))
        if not response.ok:
            self._unless_lost(response, "fulfill")
        return Report("completed", promise=response.promise)

    def _unless_lost(self, response: Response, what: str) -> NoReturn:
        if response.status in (404, 409):
            raise Lost
        raise StoreError(f"cannot {what} task {self._task.id}: {response.status} {response.error}")


def _is_refused(request: PromiseCreate) -> bool:
    """Whether stores refuse this creation for its id, address or size: then its workflow waits for the answer."""
    return (
        ids.problem_with(request.id) is not None
        or addresses.problem_with(request.tags[TARGET]) is not None
        or excess(request.id, "param", request.param) is not None
    )


def _is_of_another(promise: PromiseView, request: PromiseRecord | PromiseSettle) -> bool:
    """Whether what is stored is the outcome that another worker has found."""
    if isinstance(request, PromiseRecord) and promise.created_at != request.created_at:
        return True
    if promise.state not in ("resolved", "rejected"):  # which no worker writes
        return False
    return promise.state != request.state or promise.value != request.value


def call(work: Work, loops: Loops) -> Outcome | Opening | None:
    """Call the user's function and catch what it raises, unless that ends the process.

    Returns:
        Its outcome. An async function may turn out to be a workflow, and is None if it was stopped.
    """
    if work.kind is Kind.ASYNC:
        return loops.get().call(work)
    try:
        return work.func(work.context, *work.args, **work.kwargs), None
    except BaseException as error:
        failure = failure_of(error, work.name)
        if failure is None:
            raise
        return None, failure

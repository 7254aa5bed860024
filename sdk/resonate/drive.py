"""The drive: one run of an execution against a store, with the user's functions.

The interpreter says what it wants done; here it is done, and what came of it is told back, until the task is fulfilled
or suspended or this process has to leave it to others.

User code may run on a pool, store requests on another; everything else happens in the caller's thread.

What a workflow begins for others to see is created before it goes on. Of calls that it begins in a row only the first
is waited for like that, where requests have a pool: the others are on their way while it goes on, and answered before
anything else happens to it (docs/decisions/0036).
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NoReturn, cast

from msgspec import Struct

from resonate import codec
from resonate.computation import (
    Action,
    Create,
    Fetch,
    Finished,
    Keep,
    Kind,
    Load,
    Opening,
    Outcome,
    Run,
    Work,
)
from resonate.environment import underlying
from resonate.errors import refusal
from resonate.exits import failure_of
from resonate.lease import Lease, Lost
from resonate.replay import Execution
from resonate_store import addresses, ids
from resonate_store.interface import StoreError
from resonate_store.limits import excess
from resonate_store.records import TARGET, Promise, Task
from resonate_store.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseSettle,
    Request,
    Response,
    TaskFulfill,
    TaskSuspend,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

    from resonate.event_loop import EventLoop
    from resonate.worker import Worker

Status = Literal["completed", "suspended", "released", "lost", "halted"]

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
    promise: Promise | None = None


class Loops:
    """The event loop of a process, which is not even loaded before an async function is called."""

    def __init__(self) -> None:
        self._loop: EventLoop | None = None

    def get(self) -> EventLoop:
        """The loop."""
        if self._loop is None:
            from resonate.event_loop import EventLoop

            self._loop = EventLoop()
        return self._loop

    def cancel(self) -> None:
        """Stop the functions that run on it."""
        if self._loop is not None:
            self._loop.cancel()

    def stop(self) -> None:
        """End it; it starts anew when it is needed again."""
        if self._loop is not None:
            self._loop.stop()


class Drive:
    """One run of an execution against a store."""

    def __init__(self, worker: Worker, lease: Lease, task: Task, execution: Execution, deadline: int | None) -> None:
        self._worker = worker
        self._store = worker.store
        self._clock = worker.clock
        self._functions = worker.functions
        self._lease = lease
        self._fenced = bool(getattr(underlying(worker.store), "fences_records", False))
        self._task = task
        self._execution = execution
        self._deadline = deadline
        self._running = 0
        self._results: queue.SimpleQueue[tuple[Work, Outcome | Opening | Lost | StoreError | None]] = (
            queue.SimpleQueue()
        )
        self._late = False
        self._on_their_way: list[tuple[Create, Future[Response | Sequence[Promise]]]] = []

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
            actions = execution.advance(self._clock.now())
            if execution.ready:
                self._begin([action for action in actions if isinstance(action, Create)])
                continue
            if self._on_their_way:
                self._arrive()
            elif actions:
                self._perform(actions)
                while not execution.ready and (actions := execution.actions()):
                    self._perform(actions)  # as a step has run and is to be recorded
            elif execution.finished is not None:
                return self._fulfill(execution.finished)
            elif self._running:
                if (result := self._next_result()) is not None:
                    execution.ran(*result, self._clock.now())
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

    def _perform(self, actions: list[Action]) -> None:
        """Make all requests first, together, and then call functions: what was begun is stored before anything runs."""
        if len(actions) == 1:  # as in a sequence of steps
            (action,) = actions
            if isinstance(action, Run):
                self._start(action.work)
            elif isinstance(action, Keep):
                asked_at = self._clock.now() if self._fenced else 0
                self._kept(action, self._answer(action.request), asked_at)
            else:
                self._before([action])
                self._tell(action, self._request(action))
            return
        requests = [action for action in actions if not isinstance(action, Run)]
        if requests:
            self._before(requests)
            for action, answer in zip(requests, self._worker.map(self._request, requests), strict=True):
                self._tell(action, answer)
        for action in actions:
            if isinstance(action, Run):
                self._start(action.work)

    def _before(self, requests: Sequence[Create | Keep | Fetch | Load]) -> None:
        """Have no other worker begin anything for a task that this one holds no longer."""
        if self._clock.now() > self._lease.sure_until and any(
            isinstance(action, Create) and TARGET in action.request.tags for action in requests
        ):
            self._lease.check(self._store, self._clock)

    def _kept(self, action: Keep, response: Response, asked_at: int) -> None:
        """Take what the store has as the outcome; if it is another worker's, see first who holds the task."""
        promise, request = response.promise, action.request
        if self._fenced and isinstance(request, PromiseRecord):
            if response.ok and asked_at and request.id.startswith(f"{self._task.id}."):
                self._lease.confirm(asked_at)
        elif promise is not None and _is_of_another(promise, request):
            self._lease.verify(self._store, self._clock.now(), consistent=True)
        self._execution.kept(action.node, response)

    def _tell(self, action: Create | Keep | Fetch | Load, answer: Response | Sequence[Promise]) -> None:
        if isinstance(action, Keep):
            self._kept(action, cast("Response", answer), 0)
        elif isinstance(action, Create):
            self._execution.created(action, cast("Response", answer))
        elif isinstance(action, Fetch):
            self._execution.fetched(action.node, cast("Response", answer))
        else:
            self._execution.loaded(action.work, cast("Sequence[Promise]", answer))

    def _request(self, action: Create | Keep | Fetch | Load) -> Response | Sequence[Promise]:
        if isinstance(action, Load):
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
        return self._worker.stopping or (self._deadline is not None and now >= self._deadline)

    def _start(self, work: Work) -> None:
        now = self._clock.now()
        if self._late or self._worker.stopping or (self._deadline is not None and now >= self._deadline):
            self._late = True
            return
        if now > self._lease.sure_until:
            self._lease.check(self._store, self._clock)
        if work.concurrent and self._functions is not None:
            self._running += 1
            if work.kind is Kind.ASYNC:
                self._worker.loops.get().submit(work, lambda outcome: self._results.put((work, outcome)))
            else:
                self._functions.submit(self._call_apart, work)
        elif (outcome := call(work, self._worker.loops)) is None:
            self._late = True
        else:
            self._execution.ran(work, outcome, self._clock.now())

    def _next_result(self) -> tuple[Work, Outcome | Opening] | None:
        """The next function to return. A retry that is due meanwhile waits for it: a pause is a minimum.

        None is one whose turn came too late, or that was stopped.
        """
        while True:
            try:
                work, outcome = self._results.get(timeout=GLANCE)
            except queue.Empty:
                continue
            break
        self._running -= 1
        if isinstance(outcome, (Lost, StoreError)):
            raise outcome
        if outcome is None:
            self._late = True
            return None
        if not isinstance(outcome, Opening) and (error := outcome[1]) and not isinstance(error, Exception):
            raise error
        return work, outcome

    def _call_apart(self, work: Work) -> None:
        """Call the user's function in a thread of the pool; what would end a process ends this run."""
        if self._worker.stopping:
            self._results.put((work, None))
            return
        try:
            self._lease.check(self._store, self._clock)  # it may have waited long for this thread
        except (Lost, StoreError) as error:
            self._results.put((work, error))
            return
        try:
            outcome = call(work, self._worker.loops)
        except BaseException as error:
            outcome = None, error
        self._results.put((work, outcome))

    def _wait(self) -> Report | None:
        """Nothing is left to do here: wait a moment if that is all it takes, or suspend."""
        blocked = self._execution.blocked(self._worker.worth_suspending)
        if blocked.until is not None:
            if self._out_of_time(blocked.until):
                raise HandOver
            self._clock.sleep(blocked.until - self._clock.now())
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


def _is_of_another(promise: Promise, request: PromiseRecord | PromiseSettle) -> bool:
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

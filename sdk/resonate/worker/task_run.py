"""Run of an execution against a store, with the user's functions.

The interpreter returns actions. A `TaskRun` makes their requests, calls their functions (`calls`), and passes the
results to the interpreter. It ends when the task is fulfilled or suspended, or when another process must continue it.

Functions may run in a pool or in the event loop, and requests in another pool. The execution itself is advanced in the
caller's thread only.

A call that other programs can see is created before its workflow continues. If a workflow begins several calls in a row
and requests have a pool, this holds only for the first call. The creations of the next ones are sent while the workflow
continues, and answered before the workflow does anything else (docs/decisions/0036).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NoReturn, cast

from msgspec import Struct

from resonate.engine.actions import (
    Action,
    Ask,
    CancelCall,
    Continued,
    Create,
    Finished,
    Look,
    ReadChildren,
    ReadPromise,
    RecordOutcome,
    Run,
)
from resonate.engine.blocking import Blocked
from resonate.engine.interpreter import Execution
from resonate.engine.model import Work
from resonate.errors import refusal
from resonate.payloads import codec
from resonate.worker.calls import FunctionCalls
from resonate.worker.generations import begin_next
from resonate.worker.inbox import InboxRequests
from resonate.worker.lease import Lease, Lost
from resonate.worker.resources import Resources
from resonate_store.interface import StoreError
from resonate_store.model import ids
from resonate_store.model.records import PromiseView, Task, Value, shown_wait
from resonate_store.model.requests import (
    AwaitedCreate,
    FulfillAndTakeOver,
    PromiseAwait,
    PromiseRecord,
    PromiseSettle,
    Request,
    Response,
    TaskFulfill,
    TaskSuspend,
    TaskSuspendRegistered,
)
from resonate_store.model.tags import TARGET

if TYPE_CHECKING:
    from concurrent.futures import Future


Requested = CancelCall | Create | RecordOutcome | ReadPromise | ReadChildren | Ask | Look
"""The actions that are requests to the store."""
Status = Literal["completed", "suspended", "released", "lost", "halted", "continued"]

MOST_UNAWAITED = 10
"""How many promises a suspended task can name that it has a callback on and does not await."""
MOST_ASKED_SINGLY = 10
"""Above this number of promises, one read of all children is cheaper than one read of each."""


class HandOver(Exception):
    """The time is running out, and work is left for another invocation."""


class Report(Struct, frozen=True):
    """How an invocation's work for a task ended.

    `error` is why it was released or halted. `promise` is the task's settled promise, if it was completed.
    `caller` is the task that waited for it, with its promise, if this process has acquired that. `arguments` are those
    of the next history, if it was continued: the worker then runs that, and reports how that ended. `waiting` are the
    messages that it can still take, of the first `seen` that were accepted.
    """

    status: Status
    error: str | None = None
    promise: PromiseView | None = None
    caller: tuple[Task, PromiseView] | None = None
    arguments: Value | None = None
    waiting: Sequence[PromiseView] = ()
    seen: int = 0


class TaskRun:
    """One run of an execution against a store.

    Args:
        resources: what the tasks of the process share.
        lease: the lease of this process on the task.
        task: the task, acquired.
        execution: its execution.
        deadline: the instant (ms) after which no function is started, if there is one.

    Attributes:
        execution: the task's.
    """

    def __init__(
        self, resources: Resources, lease: Lease, task: Task, execution: Execution, deadline: int | None
    ) -> None:
        self._resources = resources
        self._store = resources.store
        self._clock = resources.clock
        self._time = resources.time
        self._one_clock = resources.one_clock
        self._fenced = resources.fences_records
        self._lease = lease
        self._task = task
        self.execution = execution
        self._calls = FunctionCalls(resources, lease, execution, deadline)
        self._on_their_way: list[tuple[Create, Future[Response | Sequence[PromiseView]]]] = []
        self._inbox = InboxRequests(self._store, self._clock, lease, task, execution)
        self._registers = resources.store.registers_singly
        self._registered: dict[str, PromiseView] = {}
        """The promises that have a callback of this task at this version."""
        self._deadline = deadline

    def restart(self, task: Task, root: Work) -> None:
        """Begin again with the next history of `task`, whose function is `root`."""
        self._task = task
        self.execution.restart(root)
        self._inbox.restart(task)
        self._registered.clear()
        if not self._calls.restart(self.execution.now if self._one_clock else self._clock.now()):
            self._calls = FunctionCalls(self._resources, self._lease, self.execution, self._deadline)

    def to_the_end(self) -> Report:
        """Run the execution, which has just been started, until the task is fulfilled or suspended.

        Raises:
            HandOver: the time does not suffice.
            Lost: another worker holds the task, it is halted or settled, or its lease has ended here.
            NonDeterminismError: the workflow does not repeat its recorded commands.
            ResultTypeError: a result does not fit the `result_type` of the workflow.
            StoreError: the store cannot answer.
        """
        try:
            return self._to_the_end()
        finally:
            for _, answer in self._on_their_way:
                if not answer.cancel():
                    answer.exception()  # wait for it: a released task must not be written to

    def _to_the_end(self) -> Report:
        execution, calls, lease = self.execution, self._calls, self._lease
        actions = execution.advance(execution.now)
        while True:
            if execution.ready:
                self._begin([action for action in actions if isinstance(action, Create)])
            elif self._on_their_way:
                self._arrive()
            elif (execution.canceled is not None or lease.cancel is not None) and self._interrupts(actions):
                execution.interrupt(actions)
            elif actions:
                self._perform(actions, execution.now if self._one_clock else None)
                while not execution.ready and (actions := execution.actions()):
                    self._perform(actions, None)  # such as to record a step that has run
            elif execution.finished is not None:
                return self._end(execution.finished)
            elif calls.running:
                calls.take_next()
            elif calls.late:
                raise HandOver
            elif (report := self._wait()) is not None:
                return report
            actions = execution.advance(self._time.now())

    def _interrupts(self, actions: list[Action]) -> bool:
        """Return whether to interrupt the workflows now, because the execution is cancelled (docs/rules.md X2)."""
        execution = self.execution
        if execution.canceled is None:
            execution.note_cancellation(self._lease.cancel)
        return execution.finished is None and not self._calls.running and execution.can_interrupt(actions)

    def _begin(self, creations: list[Create]) -> None:
        """Create what workflows have begun, so that they can continue."""
        pool = self._resources.requests
        if self._clock.now() > self._lease.sure_until:
            self._lease.check(self._store, self._clock)
        now: list[Create] = []
        for creation in creations:
            if pool is not None and creation.in_row and not creation.is_refused():
                self.execution.sent(creation)
                self._on_their_way.append((creation, pool.submit(self._request, creation)))
            else:
                now.append(creation)
        if len(creations) == 1 and now and now[0].node.kind == "promise" and not self._registered:
            # Most workflows await it next. If this one does not, its suspension says so.
            self._create_alone(now[0])
            return
        for creation, answer in zip(now, self._resources.map(self._request, now), strict=True):
            self._tell(creation, answer)

    def _create_alone(self, creation: Create) -> None:
        """Create a promise after which nothing can run, and register the callback on it in the same request.

        The suspension that follows is then one write (docs/rules.md W19).
        """
        request, node = creation.request, creation.node
        short = node.timer and node.timeout_at - self._time.now() <= self._resources.worth_suspending_ms
        if short or not node.external or not self._registers or self._calls.running or self._on_their_way:
            self._tell(creation, self._request(creation))
            return
        fields = (request.id, request.timeout_at, request.param, request.tags)
        response = self._answer(AwaitedCreate(*fields, awaiter=self._task.id, version=self._task.version))
        self._note(response)
        self._tell(creation, response)

    def _note(self, response: Response) -> None:
        if response.awaited and response.promise is not None:
            self._registered[response.promise.id] = response.promise

    def _arrive(self) -> None:
        """Wait for the answers to the creations that were sent ahead."""
        for creation, answer in self._on_their_way:
            self._tell(creation, answer.result())
        self._on_their_way.clear()

    def _perform(self, actions: list[Action], now: int | None) -> None:
        """Make all requests in parallel, then call functions: what was begun is stored before a function runs."""
        if len(actions) == 1:  # the fast way of a sequence of steps
            (action,) = actions
            if isinstance(action, Run):
                self._calls.start(action.work, self._clock.now() if now is None else now)
            elif isinstance(action, RecordOutcome):
                request = action.request
                if self._fenced or type(request) is not PromiseRecord:
                    asked_at = self._clock.now()
                    self._kept(action, self._answer(request), asked_at)
                elif (stored := (response := self._answer(request)).promise) and stored.tags is request.tags:
                    self.execution.kept(action.node, response)  # this worker's outcome, as in nearly every case
                else:
                    self._kept(action, response, 0)
            elif isinstance(action, Create):
                self._before([action])
                self._create_alone(action)
            else:
                self._tell(action, self._request(action))
            return
        requests = [action for action in actions if not isinstance(action, Run)]
        if requests:
            asked_at = self._before(requests)
            for action, answer in zip(requests, self._resources.map(self._request, requests), strict=True):
                self._tell(action, answer, asked_at)
        beside = self._resources.functions is not None
        now = self._clock.now()
        for action in actions:
            if isinstance(action, Run):
                if not (beside and action.work.concurrent):
                    now = self._clock.now()  # the function before it may have run long
                self._calls.start(action.work, now)

    def _before(self, requests: Sequence[Requested]) -> int:
        """Check the lease before calls are created: other workers must not run calls of a task that is lost.

        Returns:
            The present instant (ms).
        """
        now = self._clock.now()
        if now > self._lease.sure_until and any(
            isinstance(action, Create) and TARGET in action.request.tags for action in requests
        ):
            self._lease.check(self._store, self._clock)
        return now

    def _kept(self, action: RecordOutcome, response: Response, asked_at: int) -> None:
        """Adopt the stored outcome. If it is another worker's, first check that this one still holds the task."""
        promise, request = response.promise, action.request
        if self._fenced and isinstance(request, PromiseRecord):
            ours = asked_at and request.id.startswith(f"{self._task.id}.")
            # The store fences by the newest version that this process holds, perhaps that of another attempt.
            if response.ok and ours and self._store.fences_records_by(self._task.id, self._task.version):
                self._lease.confirm(asked_at)
        elif promise is not None and _is_of_another(promise, request):
            self._lease.verify(self._store, self._clock.now(), consistent=True)
        self.execution.kept(action.node, response)

    def _tell(self, action: Requested, answer: Response | Sequence[PromiseView], asked_at: int = 0) -> None:
        if isinstance(action, RecordOutcome):
            self._kept(action, cast("Response", answer), asked_at)
        elif isinstance(action, Create):
            self.execution.created(action, cast("Response", answer))
        elif isinstance(action, CancelCall):
            self.execution.told(action, cast("Response", answer))
        elif isinstance(action, ReadPromise):
            self.execution.fetched(action.node, cast("Response", answer))
        elif isinstance(action, Ask):
            self.execution.answered(action, cast("Response", answer))
        elif isinstance(action, Look):
            self._inbox.look(cast("Response", answer))
            self.execution.looked(action)
        else:
            self.execution.loaded(action.work, cast("Sequence[PromiseView]", answer))

    def _request(self, action: Requested) -> Response | Sequence[PromiseView]:
        if isinstance(action, (Ask, Look)):
            return self._inbox.request(action)
        if isinstance(action, ReadChildren):
            return self._store.children(action.work.node.id)
        return self._answer(action.request)

    def _answer(self, request: Request) -> Response:
        response = self._store.apply(request)
        status = response.status
        if status == 200:
            return response
        if status == 409:
            # Only a store that fences every write answers this.
            raise Lost
        if status >= 500 or status == 401:
            raise StoreError(response.error or f"the store answered {status}")
        return response

    def _wait(self) -> Report | None:
        """Wait, if the execution is blocked by a short pause; else suspend the task."""
        blocked = self.execution.blocked(self._resources.worth_suspending_ms)
        if blocked.until is not None:
            pause_ms = blocked.until - self._time.now()
            now = self._clock.now()
            if self._calls.ends_within(pause_ms):
                raise HandOver
            if now > self._lease.sure_until:
                self._lease.check(self._store, self._clock)
            self._clock.sleep(pause_ms)
            if blocked.receives:
                self._inbox.look()
            self._calls.refresh(blocked.timers)
            return None
        if not blocked.ids and not blocked.receives:
            raise RuntimeError(f"task {self._task.id} waits for itself: one of its promises awaits its own completion")
        if self._registers and self._register(blocked.ids):
            return None
        asked_at = self._clock.now()
        response = self._store.apply(self._suspension(blocked))
        if response.ok:
            return Report("suspended")
        if response.status != 300:
            self._unless_lost(response, "suspend")
        self._lease.confirm(asked_at)
        if response.task is not None and response.task.cancel is not None:
            self.execution.note_cancellation(response.task.cancel)
        for promise in response.preload:
            self.execution.settled(promise)
        if not response.preload:
            self._calls.refresh(blocked.ids)
        self._read_children_of_many()
        if blocked.receives:
            self._inbox.look(response)
        return None

    def _register(self, awaited: tuple[str, ...]) -> bool:
        """Register a callback on each awaited promise that has none of this version (docs/rules.md W19).

        Returns:
            Whether one of them is settled, so that the execution can continue.
        """
        id, version = self._task.id, self._task.version
        left = [PromiseAwait(each, id, version) for each in awaited if each not in self._registered]
        settled = False
        for request, response in zip(left, self._resources.map(self._answer, left), strict=True):
            promise = response.promise
            if promise is None:
                raise StoreError(f"cannot suspend task {id}: {request.id}: {response.status} {response.error}")
            self._note(response)
            if not promise.pending:
                self.execution.settled(promise)
                settled = True
        if settled:
            self._read_children_of_many()
        return settled

    def _read_children_of_many(self) -> None:
        """Read all children at once if many are pending.

        Otherwise a workflow that awaits many promises, one by one, would ask for each.
        """
        if self.execution.outstanding() > MOST_ASKED_SINGLY:
            for promise in self._store.children(self._task.id, ids.below(self._task.generation)):
                self.execution.settled(promise)

    def _suspension(self, blocked: Blocked) -> TaskSuspend | TaskSuspendRegistered:
        """Return the request that suspends the task: one write, if every callback is registered."""
        id, version, awaited = self._task.id, self._task.version, blocked.ids
        cancel_seen, receives, seen = self.execution.canceled is not None, blocked.receives, self._inbox.seen
        promises = [self._registered[each] for each in awaited if each in self._registered]
        if len(promises) < len(awaited) or not self._registers:
            return TaskSuspend(id, version, awaited, cancel_seen, receives, seen)
        until = min((promise.timeout_at for promise in promises if ids.is_below(promise.id, id)), default=None)
        sleeps = all(promise.timer for promise in promises)
        nodes = self.execution.nodes
        pending = (each for each in self._registered.keys() - set(awaited) if each in nodes and not nodes[each].settled)
        unawaited = tuple(sorted(pending)[:MOST_UNAWAITED])
        more = (cancel_seen, receives, seen, shown_wait(promises))
        return TaskSuspendRegistered(id, version, until, sleeps, unawaited, *more)

    def _end(self, finished: Finished | Continued) -> Report:
        if not isinstance(finished, Continued):
            return self._fulfill(finished)
        arguments = begin_next(finished, self._store, self._clock, self._lease, self._answer)
        if not isinstance(arguments, PromiseView):
            return self._fulfill(Finished("rejected", codec.encode_error(arguments)))
        if self._calls.ends_within():
            raise HandOver
        waiting = tuple(self.execution.records.messages.values())
        return Report("continued", arguments=arguments.value, waiting=waiting, seen=self._inbox.seen)

    def _fulfill(self, finished: Finished) -> Report:
        task = self._task
        settle = PromiseSettle(task.id, finished.state, finished.value)
        successor = self._resources.successor() if self._store.hands_over_callers else None
        if successor is None:
            response = self._store.apply(TaskFulfill(task.id, task.version, settle))
        else:
            response = self._store.apply(FulfillAndTakeOver(task.id, task.version, settle, successor))
        if response.status == 413:
            payload = codec.encode_error(refusal(413, response.error or "the result is too large"))
            settle = PromiseSettle(task.id, "rejected", payload)
            response = self._store.apply(TaskFulfill(task.id, task.version, settle))
        if not response.ok:
            self._unless_lost(response, "fulfill")
        caller = (response.task, response.preload[0]) if response.task is not None and response.preload else None
        return Report("completed", promise=response.promise, caller=caller)

    def _unless_lost(self, response: Response, what: str) -> NoReturn:
        if response.status in (404, 409):
            raise Lost
        raise StoreError(f"cannot {what} task {self._task.id}: {response.status} {response.error}")


def _is_of_another(promise: PromiseView, request: PromiseRecord | PromiseSettle) -> bool:
    """Return whether the stored outcome is that of another worker."""
    if isinstance(request, PromiseRecord) and promise.created_at != request.created_at:
        return True
    if promise.state not in ("resolved", "rejected"):  # a state that workers do not write
        return False
    return promise.state != request.state or promise.value != request.value

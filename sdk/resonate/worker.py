"""The worker: one task, from its acquisition to the moment this process has nothing left to do for it.

It drives the interpreter: what the interpreter asks for is done here, against a store and with the user's functions,
and what came of it is told back. A task ends in exactly one way (DESIGN 6): *completed*, its promise is settled;
*suspended*, it waits for promises that others settle; *released*, it is handed over because time is running out, or
given back because of a failure that is not the workflow's; *lost*, somebody else holds it; *halted*, going on would do
harm until somebody has looked.

User code may run on a pool, store requests on another; everything else happens in the caller's thread.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, cast

from msgspec import Struct, ValidationError, convert

from resonate import codec
from resonate.computation import (
    FUNC,
    Action,
    Create,
    Fetch,
    Finished,
    Keep,
    Kind,
    Lineage,
    Load,
    Node,
    Opening,
    Outcome,
    Run,
    Work,
    kind_of,
)
from resonate.context import Context, Info
from resonate.encoders import Encoder
from resonate.errors import DecryptionError, NonDeterminismError, PayloadError
from resonate.options import DEFAULT_TARGET, Options
from resonate.promises import CREATE_KEY
from resonate.registry import Registry
from resonate.replay import Execution
from resonate_store.clock import Clock
from resonate_store.interface import Store, StoreError
from resonate_store.records import ORIGIN, PREFIX, Promise, Task
from resonate_store.requests import (
    PromiseGet,
    PromiseSettle,
    Response,
    TaskAcquire,
    TaskFulfill,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from resonate.event_loop import EventLoop

Status = Literal["completed", "suspended", "released", "lost", "halted"]

FEW = 10
"""Of more promises than this it is cheaper to read all children again than to ask about each."""

logger = logging.getLogger("resonate.worker")
A = TypeVar("A")
B = TypeVar("B")


class Lost(Exception):
    """Somebody else holds the task, or its promise is settled: nothing that we do for it counts any more."""


class HandOver(Exception):
    """Time is running out, and there is work left that another invocation should begin."""


class Report(Struct, frozen=True):
    """How an invocation's work for a task ended.

    `error` says why it was released or halted; `promise` is the task's, settled, when it was completed.
    """

    status: Status
    error: str | None = None
    promise: Promise | None = None


class Call(Struct):
    """What the param of a task's promise says."""

    func: str
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    version: int | None = None


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

    def stop(self) -> None:
        """End it; it starts anew when it is needed again."""
        if self._loop is not None:
            self._loop.stop()


class Worker:
    """Works on tasks.

    Args:
        store: where promises live.
        registry: the functions that can be run.
        dependencies: what contexts hand out.
        clock: the source of time.
        pid: the process that acquires tasks.
        default_target: where calls go that name no target.
        functions: runs `begin_run` functions; without it they run in the caller's thread, in creation order.
        requests: runs independent store requests in parallel; without it they run one after the other.
        loops: gives the event loop that async functions run on, when one is needed.

    Attributes:
        stopping: whether no function is started any more, and tasks with functions left to run are handed over.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        dependencies: Mapping[str, Any],
        clock: Clock,
        pid: str,
        default_target: str = DEFAULT_TARGET,
        functions: Executor | None = None,
        requests: Executor | None = None,
        loops: Loops | None = None,
    ) -> None:
        self.store = store
        self.registry = registry
        self.dependencies = dependencies
        self.clock = clock
        self.pid = pid
        self.default_target = default_target
        self.functions = functions
        self.requests = requests
        self.loops = loops or Loops()
        self.encoders: dict[str, Encoder[Any, str | None]] = {}
        """Those that calls from this process were written with, by promise id."""
        self.stopping = False

    def run(self, id: str, version: int, ttl: int, deadline: int | None = None) -> Report:
        """Acquire the task that an execute message offers, and work on it.

        Args:
            id, version: as the message gives them.
            ttl: the lease in milliseconds; it must outlive the time that this process may still run.
            deadline: the instant (milliseconds) after which no function is started.

        Raises:
            StoreError: the store cannot answer; the lease will bring the task back.
        """
        try:
            response = self.store.apply(TaskAcquire(id, version, self.pid, ttl))
        except DecryptionError as error:
            logger.error("task %s is released: %s", id, error)
            return Report("released", str(error))
        if response.task is None or response.promise is None:
            return _refused(response, "acquire")
        return self.run_acquired(response.task, response.promise, deadline)

    def run_acquired(
        self, task: Task, promise: Promise, deadline: int | None = None, options: Options | None = None
    ) -> Report:
        """Work on a task that this process holds; `options` are the caller's for the root, such as a retry policy."""
        try:
            root = self._root(promise, options or Options())
        except (PayloadError, ValueError) as error:
            return self._release(task, str(error))
        execution = Execution(root, self.registry, self.dependencies, self.default_target)
        drive = Drive(self, task, execution, deadline)
        try:
            children = self.store.children(task.id) if task.version > 1 else ()
            execution.start(children, self.clock.now())
            return drive.to_the_end()
        except Lost:
            return Report("lost")
        except HandOver:
            response = self.store.apply(TaskRelease(task.id, task.version, handover=True))
            return Report("released") if response.ok else _refused(response, "release")
        except NonDeterminismError as error:
            response = self.store.apply(TaskHalt(task.id, task.version, str(error)))
            logger.error("task %s is halted: %s", task.id, error)
            return Report("halted", str(error)) if response.ok else _refused(response, "halt")
        except StoreError as error:
            logger.error("task %s is released: %s", task.id, error)
            return self._release(task, f"{type(error).__name__}: {error}")
        except Exception as error:
            logger.exception("task %s is released", task.id)
            return self._release(task, f"{type(error).__name__}: {error}")
        finally:
            execution.close()

    def _release(self, task: Task, error: str) -> Report:
        response = self.store.apply(TaskRelease(task.id, task.version, error=error))
        return Report("released", error) if response.ok else _refused(response, "release")

    def _root(self, promise: Promise, options: Options) -> Work:
        """The function that the task's promise calls for.

        Raises:
            PayloadError: the call cannot be read.
            ValueError: the function is not registered here.
        """
        encoder = options.encoder or self.encoders.get(promise.id)
        if encoder is None:
            encoder = self.registry.encoders.get(promise.tags.get(FUNC, ""))
        try:
            call = convert(codec.decode(promise.param, encoder=encoder), Call)
        except ValidationError as error:
            raise PayloadError(
                f"the param of promise {promise.id} is not a call ({error}): it needs a JSON object"
                ' {"func": name, "args": [...], "kwargs": {...}, "version": number}'
            ) from None
        registered = self.registry.get(call.func, call.version or 0)
        signature = codec.signature_of(registered.func)
        args, kwargs = signature.arguments(call.args or [], call.kwargs or {})
        node = Node(promise.id, promise.timeout_at)
        node.annotation = signature.result
        node.encoder = encoder
        key = promise.tags.get(CREATE_KEY, promise.id)
        info = Info(1, promise.timeout_at / 1000, promise.tags, registered.version, key)
        context = Context(promise.id, info, self.registry, self.dependencies)
        lineage = Lineage.of(
            promise.id, promise.tags.get(ORIGIN, promise.id), promise.tags.get(PREFIX, promise.id), promise.timeout_at
        )
        kind = kind_of(registered.func)
        return Work(
            node,
            registered.func,
            registered.name,
            tuple(args),
            kwargs,
            context,
            lineage,
            promise.tags,
            options.retry_policy,
            options.non_retryable_exceptions or (),
            promise.id,
            kind,
            kind is Kind.WORKFLOW,
        )

    def map(self, function: Callable[[A], B], items: Sequence[A]) -> Iterable[B]:
        """Apply `function` to every item, in parallel where there is an executor for store requests."""
        if self.requests is None or len(items) < 2:
            return [function(item) for item in items]
        return list(self.requests.map(function, items))


class Drive:
    """One run of an execution against a store."""

    def __init__(self, worker: Worker, task: Task, execution: Execution, deadline: int | None) -> None:
        self._worker = worker
        self._store = worker.store
        self._clock = worker.clock
        self._functions = worker.functions
        self._task = task
        self._execution = execution
        self._deadline = deadline
        self._running = 0
        self._results: queue.SimpleQueue[tuple[Work, Outcome | Opening | None]] = queue.SimpleQueue()
        self._late = False

    def to_the_end(self) -> Report:
        execution = self._execution
        while True:
            actions = execution.advance(self._clock.now())
            if actions:
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

    def _perform(self, actions: list[Action]) -> None:
        """Make all requests first, together, and then call functions: what was begun is stored before anything runs."""
        if len(actions) == 1:  # as in a sequence of steps
            (action,) = actions
            if isinstance(action, Run):
                self._start(action.work)
            else:
                self._tell(action, self._request(action))
            return
        requests = [action for action in actions if not isinstance(action, Run)]
        if requests:
            for action, answer in zip(requests, self._worker.map(self._request, requests), strict=True):
                self._tell(action, answer)
        for action in actions:
            if isinstance(action, Run):
                self._start(action.work)

    def _tell(self, action: Create | Keep | Fetch | Load, answer: Response | Sequence[Promise]) -> None:
        if isinstance(action, Keep):
            self._execution.kept(action.node, cast("Response", answer))
        elif isinstance(action, Create):
            self._execution.created(action.node, cast("Response", answer))
        elif isinstance(action, Fetch):
            self._execution.fetched(action.node, cast("Response", answer))
        else:
            self._execution.loaded(action.work, cast("Sequence[Promise]", answer))

    def _request(self, action: Create | Keep | Fetch | Load) -> Response | Sequence[Promise]:
        if isinstance(action, Load):
            return self._store.children(action.work.node.id)
        response = self._store.apply(action.request)
        if response.status == 409:
            # Only a store that fences every write says so.
            raise Lost
        if response.status >= 500 or response.status == 401:
            raise StoreError(response.error or f"the store answered {response.status}")
        return response

    def _out_of_time(self, now: int) -> bool:
        return self._worker.stopping or (self._deadline is not None and now >= self._deadline)

    def _start(self, work: Work) -> None:
        if self._late or self._worker.stopping or (self._deadline is not None and self._clock.now() >= self._deadline):
            self._late = True
        elif work.concurrent and self._functions is not None:
            self._running += 1
            if work.kind is Kind.ASYNC:
                self._worker.loops.get().submit(work, lambda outcome: self._results.put((work, outcome)))
            else:
                self._functions.submit(self._call_apart, work)
        else:
            self._execution.ran(work, call(work, self._worker.loops), self._clock.now())

    def _next_result(self) -> tuple[Work, Outcome | Opening] | None:
        """The next function to return. A retry that is due meanwhile waits for it: a pause is a minimum.

        None is one whose turn came too late.
        """
        work, outcome = self._results.get()
        self._running -= 1
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
            outcome = call(work, self._worker.loops)
        except BaseException as error:
            outcome = None, error
        self._results.put((work, outcome))

    def _wait(self) -> Report | None:
        """Nothing is left to do here: wait a moment if that is all it takes, or suspend."""
        blocked = self._execution.blocked()
        if blocked.until is not None:
            if self._out_of_time(blocked.until):
                raise HandOver
            self._clock.sleep(blocked.until - self._clock.now())
            self._refresh(blocked.timers)
            return None
        if not blocked.ids:
            raise RuntimeError(f"task {self._task.id} waits for itself: one of its promises awaits its own completion")
        response = self._store.apply(TaskSuspend(self._task.id, self._task.version, blocked.ids))
        if response.ok:
            return Report("suspended")
        if response.status != 300:
            self._unless_lost(response, "suspend")
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
            payload = codec.encode_error(PayloadError(response.error or "the result is too large"))
            settle = PromiseSettle(task.id, "rejected", payload)
            response = self._store.apply(TaskFulfill(task.id, task.version, settle))
        if not response.ok:
            self._unless_lost(response, "fulfill")
        return Report("completed", promise=response.promise)

    def _unless_lost(self, response: Response, what: str) -> NoReturn:
        if response.status in (404, 409):
            raise Lost
        raise StoreError(f"cannot {what} task {self._task.id}: {response.status} {response.error}")


def call(work: Work, loops: Loops) -> Outcome | Opening:
    """Call the user's function and catch what it raises; an async function may turn out to be a workflow."""
    if work.kind is Kind.ASYNC:
        return loops.get().call(work)
    try:
        return work.func(work.context, *work.args, **work.kwargs), None
    except Exception as error:
        return None, error


def _refused(response: Response, what: str) -> Report:
    if response.status in (404, 409):
        return Report("lost")
    raise StoreError(f"cannot {what}: {response.status} {response.error}")

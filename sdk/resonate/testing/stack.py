"""A system under test: start executions, move the clock, cause faults, read the records.

`Stack` is the common interface of the stack in memory (`resonate.testing.MemoryStack`) and of the offline stack
(`resonate_infra.testing.stack.OfflineStack`). A test that takes a `Stack` runs on both. The common behaviour is here.
Each stack adds how messages are delivered, what is due next, and where records are. Time does not pass between two
calls of a test: when a call returns, everything has happened that needs no time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self, Unpack

from resonate.client.client import Resonate
from resonate.client.handle import Handle
from resonate.errors import refusal
from resonate.payloads import codec
from resonate.testing.diagnosis import Endless, Stuck, Wait, lines_of, missing, only_retries, stuck_at, waits_of
from resonate.testing.faults import FailPoint, FailPoints, Killed, MessageFaults
from resonate.testing.functions import place_of
from resonate.testing.history import History, export_history
from resonate.testing.messages import Inboxes
from resonate.workflow.options import DEFAULT_TIMEOUT, Options, StartOptions, by_name
from resonate_store.interface import Store, whole
from resonate_store.model.clock import Clock
from resonate_store.model.ids import problem_with
from resonate_store.model.records import PromiseView, Record, SettledState, Value
from resonate_store.model.requests import PromiseGet, PromiseSettle, Request, Response

_DEFAULT_LIFE_MS = round(DEFAULT_TIMEOUT * 1000)


class Stack(Inboxes):
    """A system under test.

    Attributes:
        clock: the stack's time.
        invocations: how often each worker, or Lambda function, has been invoked.
        requests: how often the workers have made each kind of request, such as `promise.record`, to their store.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.invocations: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._fail_points = FailPoints()
        self._messages = MessageFaults()
        self._numbers: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the stack: faults do not happen any more."""
        self._forget()

    # What each stack implements

    @property
    @abstractmethod
    def store(self) -> Store:
        """The store, as a program outside of the stack uses it."""

    @abstractmethod
    def pump(self) -> int:
        """Deliver everything that can be delivered now, without moving the clock. Return the number of deliveries."""

    @abstractmethod
    def next_event_at(self) -> int | None:
        """Return the earliest instant (ms since the epoch) at which something is due; None if nothing is."""

    @abstractmethod
    def mock(self, name: str, function: Callable[..., Any], *, target: str | None = None, version: int = 1) -> None:
        """Serve calls of a remote function that is not part of the test.

        Args:
            name: the name under which it is called.
            function: called with the call's arguments and without a context. Its result or error becomes the call's
                outcome; it is not retried. It may be async. A `unittest.mock.Mock` or `AsyncMock` also shows what it
                was called with.
            target: the group or address that the calls go to. The offline stack requires it. In memory, a mock without
                a target serves all targets that do not serve the function.
            version: the version that is called; 1 by default.
        """

    @abstractmethod
    def clear(self) -> None:
        """Delete everything that is stored and sent, all counts and all faults. It is faster than a new stack."""

    @abstractmethod
    def _proceed_to(self, at: int) -> None:
        """Move the clock to `at`, and carry out what is due then."""

    @abstractmethod
    def _records(self) -> list[Record]:
        """Return every promise record."""

    @abstractmethod
    def _record(self, id: str) -> Record | None:
        """Return a promise record."""

    @abstractmethod
    def _called(self, workflow: Callable[..., Any] | str, version: int | None) -> tuple[str, int, str]:
        """Return name, version and target of the function that a test runs."""

    @abstractmethod
    def _result_type(self, name: str, version: int) -> Any:
        """Return the annotated result of a function, or Any."""

    def _unserved(self) -> dict[str, str]:
        """Return the target of each offered task that has no worker, by the task's id."""
        return {}

    # Executions

    @by_name(lambda _: "Stack.options", StartOptions)
    def options(self, **options: Unpack[StartOptions]) -> Starter:
        """Set options of an execution: `stack.options(timeout=60).run(workflow)`.

        Args:
            timeout: seconds, or a `timedelta`, until the execution times out; a year by default.
            tags: a `dict` of `str`, stored with its promise.
            target: the worker group or address that runs it; by default the function's group.
            version: the version of the function; the latest by default.
        """
        return Starter(self, Options().merge(**options))

    def start(
        self, workflow: Callable[..., Any] | str, *args: Any, id: str | None = None, **kwargs: Any
    ) -> Handle[Any]:
        """Start an execution, and run it as far as it gets without time passing.

        Args:
            workflow: a function, or its registered name.
            args, kwargs: its arguments.
            id: the id of the execution; by default the function's name and the next unused number, such as `trial-1`.

        Returns:
            A handle. Its `result()` moves the clock as `run_until_complete` does.

        Raises:
            ValueError: the function is not known here, or the id is not valid.
            PayloadTooLargeError: the arguments are too large.
            ResonateStoreError: the store refuses the promise.
        """
        return self.options().start(workflow, *args, id=id, **kwargs)

    def run(self, workflow: Callable[..., Any] | str, *args: Any, id: str | None = None, **kwargs: Any) -> Any:
        """Start an execution, move the clock until it has an outcome, and return its result.

        The arguments are those of `start`.

        Raises:
            Stuck: the execution will not have an outcome.
            Exception: the execution failed with it.
        """
        return self.start(workflow, *args, id=id, **kwargs).result()

    def result(self, id: str) -> Any:
        """Return the result of the execution `id` as plain data, or raise its error.

        Raises:
            AssertionError: it is pending, or does not exist.
        """
        promise = self._promise(id)
        if promise.pending:
            raise AssertionError(f"{id} is still pending{lines_of(self._waits(id))}")
        return codec.outcome_of(promise)

    def client(self, **arguments: Any) -> Resonate:
        """Return a client outside of the workers, at the stack's store; the `arguments` are those of `Resonate`."""
        settings: dict[str, Any] = {"store": self.store, "clock": self.clock, **arguments}
        return Resonate(**settings)

    def start_with(
        self,
        options: Options,
        workflow: Callable[..., Any] | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        id: str | None,
    ) -> Handle[Any]:
        """Start an execution with `options`, `args` and `kwargs`. Tests use `options(...).start`; see `start`."""
        name, version, target = self._called(workflow, options.version)
        id = self._next_id(name) if id is None else id
        if problem := problem_with(id):
            raise ValueError(problem)
        client = self.client().options(timeout=options.timeout, tags=options.tags)
        # The promise is built as the client builds it; `begin_rpc` would start threads.
        creation = client._creation(  # pyright: ignore[reportPrivateUsage]
            id, name, version, args, kwargs, options.target or target
        )
        response = self.store.apply(creation)
        if response.promise is None:
            raise refusal(response.status, response.error)
        self.pump()
        return Handle(id, _Awaiter(self), self._result_type(name, version))

    # Time

    def advance(
        self, *, weeks: float = 0, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Move the clock by `weeks`, `days`, `hours`, `minutes` and `seconds`. What is due happens at its time."""
        span = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
        end = self.clock.now() + round(span.total_seconds() * 1000)
        self.pump()
        while (at := self.next_event_at()) is not None and at <= end:
            self._proceed_to(at)
        self.clock.sleep(end - self.clock.now())
        self.pump()

    def run_until_complete(self, id: str, *, days: float | None = None) -> PromiseView:
        """Move the clock from event to event until the execution has an outcome.

        It does not wait for what cannot happen in the stack. A promise that another program settles is awaited until
        its deadline, but not if that is the default of a year. A step that always fails is not retried for a whole
        year: the wait ends after 100 attempts, if nothing else happens or is due.

        Args:
            id: the execution, or any promise.
            days: the maximum time to move the clock by, in days, however often a step fails; without limit by default.

        Returns:
            The settled promise.

        Raises:
            Stuck: it will not have an outcome, or not within `days`, or only by its default deadline. The error names
                what it waits for.
        """
        self.pump()
        began = self.clock.now()
        endless: Endless | None = None
        while (promise := self._promise(id)).pending:
            unlimited = promise.timeout_at - promise.created_at == _DEFAULT_LIFE_MS
            if endless is None and unlimited and days is None:
                endless = Endless(_DEFAULT_LIFE_MS)
            if endless is not None and endless.due() and (failing := endless.failing(self._records())):
                raise only_retries(id, failing)
            limits = [promise.timeout_at - 1] if unlimited else []
            limits += [] if days is None else [began + round(days * 86_400_000)]
            end = min(limits, default=None)
            at = self.next_event_at()
            if at is None or (end is not None and at > end):
                raise self._stuck(id, at)
            if self._unserved() and self._hopeless(id, end):
                raise self._stuck(id, None)
            self._proceed_to(at)
        return promise

    # Promises

    def resolve(self, id: str, value: Any = None) -> None:
        """Resolve a promise that an execution waits for, and carry out what follows.

        Args:
            id: the promise.
            value: its value, encoded like the result of a workflow.

        Raises:
            AssertionError: the promise does not exist, or is settled already. A `Stuck` names those that wait.
        """
        self._settle(id, "resolved", codec.encode(value, f"the value of promise {id}"))

    def reject(self, id: str, error: BaseException) -> None:
        """Reject a promise with the exception `error`; see `resolve`."""
        self._settle(id, "rejected", codec.encode_error(error))

    def cancel(self, id: str) -> None:
        """Cancel a promise or an execution; see `resolve`."""
        self._settle(id, "rejected_canceled", Value())

    # Faults

    def fail(
        self,
        step: str | Callable[..., Any],
        *,
        error: BaseException | type[BaseException] | None = None,
        times: int = 1,
    ) -> FailPoint:
        """Make calls of a step fail, without running it. Its retry policy decides what follows.

        Args:
            step: the step's function, its name, or the id of its promise. With a kind of request, such as
                `promise.record`, that request fails; give an error that a store raises, such as
                `resonate_store.interface.StoreError`.
            error: an exception or its type; by default a `RuntimeError` that names this test fault.
            times: how many calls fail; 1 by default.

        Returns:
            The fail-point, which counts its hits.
        """
        where = place_of(step)
        raised = error() if isinstance(error, type) else error or RuntimeError(f"{where} fails in this test")
        return self._fail_points.add(FailPoint(where, "instead", times, raised))

    def crash(
        self,
        *,
        before: str | Callable[..., Any] | None = None,
        after: str | Callable[..., Any] | None = None,
        id: str | None = None,
        times: int = 1,
    ) -> FailPoint:
        """Kill the worker at a place. Its task is offered again when its lease ends.

        Args:
            before, after: give one of them. It names the place: a step's function, its name, the id of its promise, or
                a kind of request such as `promise.record`, `task.suspend` or `task.fulfill`. `after` a step, its
                outcome is not recorded yet; `after` a request, the store has carried it out.
            id: only for this promise; for any by default.
            times: how often; 1 by default.

        Returns:
            The fail-point, which counts its hits.

        Raises:
            TypeError: no place is given, or both are.
        """
        moment, place = ("after", after) if before is None else ("before", before)
        if place is None or (before is not None and after is not None):
            raise TypeError("crash() needs one place: before=... or after=...")
        return self._fail_points.add(FailPoint(place_of(place), moment, times, Killed("killed by the test"), id))

    def duplicate_messages(self, enabled: bool = True) -> None:
        """Deliver every message to a worker twice from now on, if `enabled`, else once."""
        self._messages.twice = enabled

    def lose_messages(self, times: int | None = None) -> None:
        """Lose the next `times` messages to workers; None loses all from now on, and 0 none."""
        self._messages.lose(times)

    # What happened

    def history(self, id: str) -> History:
        """Return the records of the execution `id`: its root and everything below it.

        Raises:
            ResonateStoreError: the promise does not exist (code 100.404).
        """
        return export_history(self.store, id)

    def reset_counts(self) -> None:
        """Set the counts of requests and invocations to zero."""
        self.requests.clear()
        self.invocations.clear()

    # Parts

    def _forget(self) -> None:
        self._fail_points.clear()
        self._messages.clear()
        self._numbers.clear()
        self.reset_counts()

    def _next_id(self, name: str) -> str:
        while True:  # an id that the test has used would name its execution
            self._numbers[name] += 1
            if self._record(id := f"{name}-{self._numbers[name]}") is None:
                return id

    def _promise(self, id: str) -> PromiseView:
        record = self._record(id)
        if record is None:
            raise Stuck(id, f"there is no promise {id}")
        return record.promise() if record.pending else whole(record.promise(), self.store)

    def _settle(self, id: str, state: SettledState, value: Value) -> None:
        if self._record(id) is None:
            raise missing(id, self._records())
        promise = self._promise(id)
        if not promise.pending:
            raise AssertionError(f"the promise {id} is {promise.state} already")
        self.store.apply(PromiseSettle(id, state, value))
        self.pump()

    def _waits(self, id: str) -> list[Wait]:
        return waits_of(id, {record.id: record for record in self._records()}, self._unserved())

    def _hopeless(self, id: str, end: int | None) -> bool:
        """Return whether nothing but offers to targets without a worker will happen until `end`."""
        if end is None:
            return False
        waits = self._waits(id)
        return all(wait.kind in ("unserved", "promise", "message", "halted") and wait.deadline > end for wait in waits)

    def _advice(self, texts: list[str]) -> str:  # noqa: ARG002 - for stacks that have workers of their own
        """Return what an error with these texts says in addition."""
        return ""

    def _stuck(self, id: str, at: int | None) -> Stuck:
        waits = self._waits(id)
        return stuck_at(id, waits, at, self._promise(id).timeout_at, self._advice([wait.text for wait in waits]))


class Starter:
    """Starter of executions with options, in a stack. `Stack.options` makes it.

    Args:
        stack: the stack.
        options: the options.
    """

    def __init__(self, stack: Stack, options: Options) -> None:
        self._stack = stack
        self._options = options

    def start(
        self, workflow: Callable[..., Any] | str, *args: Any, id: str | None = None, **kwargs: Any
    ) -> Handle[Any]:
        """Start an execution; see `Stack.start`."""
        return self._stack.start_with(self._options, workflow, args, kwargs, id)

    def run(self, workflow: Callable[..., Any] | str, *args: Any, id: str | None = None, **kwargs: Any) -> Any:
        """Run an execution; see `Stack.run`."""
        return self.start(workflow, *args, id=id, **kwargs).result()


class _Awaiter:
    """Awaiter of the stack's handles. It moves the clock until the promise is settled."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def settled(self, id: str, timeout: float | None) -> PromiseView | None:
        if timeout is None:
            return self._stack.run_until_complete(id)
        if timeout > 0:
            self._stack.advance(seconds=timeout)
        promise = self._stack.store.apply(PromiseGet(id)).promise
        return promise if promise is not None and not promise.pending else None

    def ask(self, request: Request) -> Response:
        response = self._stack.store.apply(request)
        self._stack.pump()
        return response

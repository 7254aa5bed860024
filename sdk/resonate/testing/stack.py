"""What a test can do with a whole system, wherever it runs: start executions, move the clock, make trouble, look.

`Stack` is the one vocabulary of the stack in memory (`resonate.testing.MemoryStack`) and of the offline stack
(`resonate_infra.testing.stack.OfflineStack`), so a test that takes a `Stack` runs on both. What they share is here; a
stack says how messages are delivered, what is due next, and where records are.

Nothing happens by itself: time stands still between two calls, and everything that needs no time has happened when a
call returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, Unpack

from resonate.client.client import Resonate
from resonate.client.handle import Handle
from resonate.errors import refusal
from resonate.payloads import codec
from resonate.testing.diagnosis import Endless, Failing, Wait, instant, lines_of, waits_of
from resonate.testing.faults import FailPoint, FailPoints, Killed, MessageFaults
from resonate.testing.functions import place_of
from resonate.testing.history import History, export_history
from resonate.workflow.options import DEFAULT_TIMEOUT, Options, StartOptions, by_name
from resonate_store.interface import Store, whole
from resonate_store.model.clock import Clock
from resonate_store.model.ids import problem_with
from resonate_store.model.records import PromiseView, Record, SettledState, Value
from resonate_store.model.requests import PromiseGet, PromiseSettle

S = TypeVar("S", bound="Stack")
_DEFAULT_LIFE_MS = round(DEFAULT_TIMEOUT * 1000)


class Stuck(AssertionError):
    """Nothing in the stack will ever make the execution go on.

    Attributes:
        id: the execution.
        waits: the ids that it waits for; those of steps that fail over and over.
    """

    def __init__(self, id: str, message: str, waits: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.id = id
        self.waits = waits


class Stack(ABC):
    """A system under test.

    Attributes:
        clock: the stack's time.
        invocations: how often each worker, or function, has been invoked.
        requests: how often the workers have asked each kind of request of their store, such as `promise.record`.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.invocations: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._fail_points = FailPoints()
        self._messages = MessageFaults()
        self._numbers: Counter[str] = Counter()

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        """End the stack; what was arranged happens no more."""
        self._forget()

    # What differs

    @property
    @abstractmethod
    def store(self) -> Store:
        """Where promises live, as a program outside of the stack reaches it."""

    @abstractmethod
    def pump(self) -> int:
        """Deliver everything that can be delivered now, without moving the clock, and return how much it was."""

    @abstractmethod
    def next_event_at(self) -> int | None:
        """The earliest instant (milliseconds since the epoch) at which something will happen by itself."""

    @abstractmethod
    def mock(self, name: str, function: Callable[..., Any], *, target: str | None = None, version: int = 1) -> None:
        """Serve calls of a remote function that is not part of the test.

        Args:
            name: the name under which it is called.
            function: called with the call's arguments, and without a context; its result, or error, is the call's,
                without any further attempt. It may be async. A `unittest.mock.Mock`, or an `AsyncMock`, also tells
                afterwards what it was called with.
            target: the group, or address, that the calls go to.
            version: the version that is called.
        """

    @abstractmethod
    def clear(self) -> None:
        """Forget everything that was stored, sent, counted or arranged: as good as a new stack, but sooner had."""

    @abstractmethod
    def _proceed_to(self, at: int) -> None:
        """Let time pass until `at`, and what is due then happen."""

    @abstractmethod
    def _records(self) -> list[Record]:
        """Every promise record, as it is stored."""

    @abstractmethod
    def _record(self, id: str) -> Record | None:
        """A promise record, as it is stored."""

    @abstractmethod
    def _called(self, workflow: Callable[..., Any] | str, version: int | None) -> tuple[str, int, str]:
        """The name, the version and the target of what a test wants to run, in the wanted version if there is one."""

    @abstractmethod
    def _result_type(self, name: str, version: int) -> Any:
        """The annotated result of a function, or Any."""

    def _unserved(self) -> dict[str, str]:
        """The targets of tasks that were offered to somebody who does not exist here, by id."""
        return {}

    # Executions

    @by_name(lambda _: "Stack.options", StartOptions)
    def options(self, **options: Unpack[StartOptions]) -> Starter:
        """Give options to an execution: `stack.options(timeout=60).run(workflow)`; a number is in seconds."""
        return Starter(self, Options().merge(**options))

    def start(
        self, workflow: Callable[..., Any] | str, *args: Any, id: str | None = None, **kwargs: Any
    ) -> Handle[Any]:
        """Start an execution, and let it go as far as it gets without time passing.

        Args:
            workflow: a function, or the name that it is registered under.
            id: names the execution; its function's name and a number if not given.

        Returns:
            A handle, whose `result()` lets time pass as `run_until_complete` does.

        Raises:
            ValueError: the function is not known here, or the id is not a possible one.
            PayloadTooLargeError: the arguments are too large.
            ResonateStoreError: the store refuses the promise.
        """
        return self.options().start(workflow, *args, id=id, **kwargs)

    def run(self, workflow: Callable[..., Any] | str, *args: Any, id: str | None = None, **kwargs: Any) -> Any:
        """Start an execution, let time pass until it has an outcome, and return that or raise its error.

        The arguments are those of `start`.

        Raises:
            Stuck: it will never have one.
        """
        return self.start(workflow, *args, id=id, **kwargs).result()

    def result(self, id: str) -> Any:
        """The outcome of an execution that has one: its result as plain data, or its error raised.

        Raises:
            AssertionError: it is still pending, or there is none with this id.
        """
        promise = self._promise(id)
        if promise.pending:
            raise AssertionError(f"{id} is still pending{lines_of(self._waits(id))}")
        return codec.outcome_of(promise)

    def client(self, **arguments: Any) -> Resonate:
        """A program outside of the workers that uses the stack's store; arguments are those of `Resonate`."""
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
        """Start an execution with options; `start` and `options(...).start` say it shorter."""
        name, version, target = self._called(workflow, options.version)
        id = self._next_id(name) if id is None else id
        if problem := problem_with(id):
            raise ValueError(problem)
        client = self.client().options(timeout=options.timeout, tags=options.tags)
        # The client's own rule of what the promise of an execution looks like; its `begin_rpc` would start threads.
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
        """Let time pass, and everything happen in it at its time."""
        span = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
        end = self.clock.now() + round(span.total_seconds() * 1000)
        self.pump()
        while (at := self.next_event_at()) is not None and at <= end:
            self._proceed_to(at)
        self.clock.sleep(end - self.clock.now())
        self.pump()

    def run_until_complete(self, id: str, *, days: float | None = None) -> PromiseView:
        """Move the clock to whatever is due next, again and again, until the execution has an outcome.

        It does not wait for what nobody will do: a promise that only somebody outside settles is waited for until its
        deadline if it was given one, and not at all if its deadline is the year that everything has. Nor does it let
        a step fail all that year: a hundred attempts, while nothing else happens or is due, are enough.

        Args:
            id: the execution, or any promise.
            days: how far time may go, however often a step fails; as far as it takes if not given.

        Returns:
            The settled promise.

        Raises:
            Stuck: it will not have one, or not within `days`; the error tells what it waits for.
        """
        self.pump()
        began = self.clock.now()
        endless: Endless | None = None
        while (promise := self._promise(id)).pending:
            unlimited = promise.timeout_at - promise.created_at == _DEFAULT_LIFE_MS
            if endless is None and unlimited and days is None:
                endless = Endless(_DEFAULT_LIFE_MS)
            if endless is not None and endless.due() and (failing := endless.failing(self._records())):
                raise self._endless(id, failing)
            limits = [promise.timeout_at - 1] if unlimited else []
            if days is not None:
                limits.append(began + round(days * 86_400_000))
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
        """Resolve a promise that an execution waits for, and let what follows happen.

        Raises:
            AssertionError: there is no such promise, or it is settled already.
        """
        self._settle(id, "resolved", codec.encode(value, f"the value of promise {id}"))

    def reject(self, id: str, error: BaseException) -> None:
        """Reject a promise with an error, as `resolve` resolves one."""
        self._settle(id, "rejected", codec.encode_error(error))

    def cancel(self, id: str) -> None:
        """Cancel a promise, or an execution, as `resolve` resolves one."""
        self._settle(id, "rejected_canceled", Value())

    # Trouble

    def fail(
        self,
        step: str | Callable[..., Any],
        *,
        error: BaseException | type[BaseException] | None = None,
        times: int = 1,
    ) -> FailPoint:
        """Make a step fail in the place of running, as often as told; its retry policy decides what comes of it.

        Args:
            step: the step's function, its name, or the id of the step's promise. A kind of request, such as
                `promise.record`, makes that request fail; a store fails with `resonate_store.interface.StoreError`.
            error: what it fails with; a RuntimeError that says where it comes from if not given.
            times: how many calls fail.
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
        """Kill the worker at a place; its task comes back when its lease is over.

        Args:
            before, after: one of them names the place: a step's function, its name or the id of its promise (`after`
                it has run, its outcome is not recorded yet), or a kind of request such as `promise.record`,
                `task.suspend` or `task.fulfill` (`after` it, the store has carried it out).
            id: the promise that it has to be about, if not any.
            times: how often.

        Raises:
            TypeError: none or both of the places are given.
        """
        place = after if before is None else before
        if place is None or (before is not None and after is not None):
            raise TypeError("crash() needs one place: before=... or after=...")
        moment = "after" if before is None else "before"
        return self._fail_points.add(FailPoint(place_of(place), moment, times, Killed("killed by the test"), id))

    def duplicate_messages(self, enabled: bool = True) -> None:
        """Deliver every message to a worker twice, from now on."""
        self._messages.twice = enabled

    def lose_messages(self, times: int | None = None) -> None:
        """Lose the next messages to workers; all of them, until told otherwise, without a number."""
        self._messages.lose(times)

    # What happened

    def history(self, id: str) -> History:
        """The records of an execution: its root, and all that is below it.

        Raises:
            ResonateStoreError: there is no such promise (code 100.404).
        """
        return export_history(self.store, id)

    def reset_counts(self) -> None:
        """Count requests and invocations from zero."""
        self.requests.clear()
        self.invocations.clear()

    # Parts

    def _forget(self) -> None:
        self._fail_points.clear()
        self._messages.clear()
        self._numbers.clear()
        self.reset_counts()

    def _next_id(self, name: str) -> str:
        self._numbers[name] += 1
        return f"{name}-{self._numbers[name]}"

    def _promise(self, id: str) -> PromiseView:
        record = self._record(id)
        if record is None:
            raise Stuck(id, f"there is no promise {id}")
        return record.promise() if record.pending else whole(record.promise(), self.store)

    def _settle(self, id: str, state: SettledState, value: Value) -> None:
        promise = self._promise(id)
        if not promise.pending:
            raise AssertionError(f"the promise {id} is {promise.state} already")
        self.store.apply(PromiseSettle(id, state, value))
        self.pump()

    def _waits(self, id: str) -> list[Wait]:
        return waits_of(id, {record.id: record for record in self._records()}, self._unserved())

    def _hopeless(self, id: str, end: int | None) -> bool:
        """Whether nothing but offers to nobody will happen until `end`."""
        if end is None:
            return False
        waits = self._waits(id)
        return all(wait.kind in ("unserved", "promise", "halted") and wait.deadline > end for wait in waits)

    def _endless(self, id: str, failing: list[Failing]) -> Stuck:
        lines = "".join(f"\n  {each}" for each in failing)
        message = f"{id} is pending and nothing else happens to it but retries; say days=... to wait for more{lines}"
        return Stuck(id, message, tuple(each.id for each in failing))

    def _stuck(self, id: str, at: int | None) -> Stuck:
        waits = self._waits(id)
        later = "" if at is None else f"; the next thing is due at {instant(at)}"
        message = f"{id} is pending and nothing will happen to it{later}. It waits for{lines_of(waits) or ' nobody'}"
        return Stuck(id, message, tuple(wait.id for wait in waits))


class Starter:
    """Starts executions in a stack, with options."""

    def __init__(self, stack: Stack, options: Options) -> None:
        self._stack = stack
        self._options = options

    def start(
        self, workflow: Callable[..., Any] | str, *args: Any, id: str | None = None, **kwargs: Any
    ) -> Handle[Any]:
        """See `Stack.start`."""
        return self._stack.start_with(self._options, workflow, args, kwargs, id)

    def run(self, workflow: Callable[..., Any] | str, *args: Any, id: str | None = None, **kwargs: Any) -> Any:
        """See `Stack.run`."""
        return self.start(workflow, *args, id=id, **kwargs).result()


class _Awaiter:
    """Waits for handles by moving the clock."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def settled(self, id: str, timeout: float | None) -> PromiseView | None:
        if timeout is None:
            return self._stack.run_until_complete(id)
        if timeout > 0:
            self._stack.advance(seconds=timeout)
        promise = self._stack.store.apply(PromiseGet(id)).promise
        return promise if promise is not None and not promise.pending else None

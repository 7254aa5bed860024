"""One worker over a memory store, driven by hand: nothing runs, and no time passes, unless a test says so.

The store's execute messages are collected as offers, and the worker is run for one at a time in the test's own thread.
Between the worker and the store sits a tap that notes every request, and where a test can answer a request itself or
kill the worker: `Killed` is no `Exception`, so like the end of a process it passes everything by.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from resonate.engine.functions.exits import EndOfProcess
from resonate.errors import ResonateHaltedError
from resonate.payloads import codec
from resonate.threads import Pool
from resonate.worker.resources import Resources
from resonate.worker.task_run import Report
from resonate.worker.worker import Worker
from resonate.workflow.options import Options
from resonate.workflow.registry import Registry
from resonate_store.interface import Store, StoreClosed
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import PromiseView, Record, SettledState, Task, Value
from resonate_store.model.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseSettle,
    Request,
    Response,
    TaskCreate,
    TaskGet,
)
from resonate_store.model.tags import TARGET
from tests.support.open_memory import OpenMemory

Flow = Generator[Any, Any, Any]
"""What a workflow is, where a test does not care about its result's type."""
Func = TypeVar("Func", bound=Callable[..., Any])

SECOND = 1_000
DAY = 86_400.0
"""How long an execution may take unless a test says otherwise (s)."""
TTL = 60 * SECOND


class Killed(EndOfProcess):
    """The worker's process ends here."""


class Tap(Store):
    """A store that notes what passes through it.

    Attributes:
        requests: every request so far; the reading of children is noted as the text `children:{id}`.
        answer: asked before each request; a response means that the store is not reached.
        after: called after each request that reached the store, with what was noted.
        closed: whether the invocation that this store was opened for has ended.
        joins: whether the worker may make one request of two that it makes to most stores.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.requests: list[Request | str] = []
        self.answer: Callable[[Request | str], Response | None] = lambda _: None
        self.after: Callable[[Request | str], None] = lambda _: None
        self.opened: list[Tap] = []
        self.closed = False
        self.joins = False

    @property
    def has_generations(self) -> bool:
        return self.store.has_generations

    @property
    def continues_at_once(self) -> bool:
        return self.joins and self.store.continues_at_once

    @property
    def takes_messages(self) -> bool:
        return self.store.takes_messages

    def apply(self, request: Request) -> Response:
        if self.closed:
            raise StoreClosed("the invocation is over")
        self.requests.append(request)
        answer = self.answer(request)
        if answer is None:
            answer = self.store.apply(request)
            self.after(request)
        return answer

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        if self.closed:
            raise StoreClosed("the invocation is over")
        noted = f"children:{id}"
        self.requests.append(noted)
        self.answer(noted)
        found = self.store.children(id, separator)
        self.after(noted)
        return found

    def open(self) -> Tap:
        opened = Tap(self.store)
        opened.answer, opened.after, opened.requests = self.answer, self.after, self.requests
        opened.joins = self.joins
        self.opened.append(opened)
        return opened

    def close(self) -> None:
        self.closed = True

    def kinds(self) -> list[str]:
        """The kinds of the requests so far."""
        return [request if isinstance(request, str) else request.kind for request in self.requests]


Drivers = Callable[..., "Driver"]
"""What makes drivers in memory, one for each case of a test."""


class Asking(ABC):
    """What drivers of executions have in common: questions to the store, and answers from outside.

    Attributes:
        rpc_target: the address that a workflow's calls go to which name no target.
        lateness: seconds by which a timer that lasts longer than its worker may be late.
    """

    store: Any
    rpc_target: str
    lateness: float

    @abstractmethod
    def begin(self, id: str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Create an execution."""

    @abstractmethod
    def deploy(self, **functions: Callable[..., Any]) -> None:
        """Put a new version of the program in place of the present one."""

    @abstractmethod
    def create(self, id: str, call: Any) -> None:
        """Create an execution of any call."""

    @abstractmethod
    def work(self) -> list[str]:
        """Do what can be done now; returns how the invocations of the worker ended."""

    @abstractmethod
    def finish(self, id: str) -> Any:
        """Let time pass until the execution has its outcome."""

    @abstractmethod
    def records(self) -> list[Record]:
        """Every promise, as it is stored, by id."""

    @abstractmethod
    def expire(self, id: str) -> None:
        """Let a promise be gone, as if its time had been over for long."""

    def ids(self) -> list[str]:
        """The ids of all promises."""
        return [record.id for record in self.records()]

    def run(self, id: str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Begin and finish."""
        self.begin(id, func, *args, **kwargs)
        return self.finish(id)

    def start(self, id: str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str]:
        """Begin and work."""
        self.begin(id, func, *args, **kwargs)
        return self.work()

    def serve(self, id: str, **functions: Callable[..., Any]) -> list[str]:
        """Deploy functions, create an execution of the first one, and work."""
        self.deploy(**functions)
        self.create(id, {"func": next(iter(functions))})
        return self.work()

    def settle(self, id: str, value: Any = None, state: SettledState = "resolved") -> None:
        """Settle a promise from outside; an exception for a value travels as an error."""
        payload = codec.encode_error(value) if isinstance(value, Exception) else codec.encode(value, "a value")
        assert self.store.apply(PromiseSettle(id, state, payload)).ok

    def promise(self, id: str) -> PromiseView:
        promise = self.store.apply(PromiseGet(id)).promise
        assert promise is not None, f"there is no promise {id}"
        return promise

    def task(self, id: str) -> Task | None:
        return self.store.apply(TaskGet(id)).task

    def record(self, id: str) -> Record:
        record = self.store.record(id)
        assert record is not None, f"there is no record {id}"
        return record


class Driver(Asking):
    """The store, its clock, and one worker.

    Attributes:
        offers: (task id, version) of the execute messages that nobody has acted on.
        reports: how each invocation ended.
        time: seconds after which an invocation starts no function any more, if there is a limit.
    """

    rpc_target = "poll://any@default"
    lateness = 0.0

    def __init__(self, *, functions: Pool | None = None, requests: Pool | None = None) -> None:
        self.clock = ManualClock()
        self.store = OpenMemory(self.clock, self.send)
        self.tap = Tap(self.store)
        self.registry = Registry()
        self.dependencies: dict[str, Any] = {}
        self.use(Resources(self.tap, self.clock, functions=functions, requests=requests))
        self.offers: deque[tuple[str, int]] = deque()
        self.reports: list[Report] = []
        self.time: float | None = None

    def use(self, resources: Resources) -> None:
        """Have a worker with these resources take the place of the present one."""
        self.resources = resources
        self.worker = Worker(resources, self.registry, self.dependencies, "p1")

    def register(self, func: Func) -> Func:
        """Make a function known; also a decorator."""
        self.registry.add(func)
        return func

    def deploy(self, **functions: Callable[..., Any]) -> None:
        """Put a new version of the program in place of the present one."""
        self.registry = self.worker.registry = Registry()
        for name, func in functions.items():
            self.registry.add(func, name)

    def begin(
        self,
        id: str,
        func: Callable[..., Any],
        *args: Any,
        timeout: float = DAY,
        tags: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Create an execution of `func`, which is registered if it is not; its task is offered."""
        try:
            name = self.registry.get(func).name
        except ValueError:
            name = self.registry.add(func).name
        self.create(id, {"func": name, "args": args, "kwargs": kwargs}, timeout=timeout, tags=tags)

    def create(self, id: str, call: Any, *, timeout: float = DAY, tags: dict[str, str] | None = None) -> None:
        """Create a task whose param is `call`."""
        param = call if isinstance(call, Value) else codec.encode(call, "a call")
        tags = {TARGET: "poll://any@default", **(tags or {})}
        assert self.store.apply(PromiseCreate(id, self.after(timeout), param, tags)).ok

    def begin_here(self, id: str, func: Callable[..., Any], *args: Any, options: Options) -> None:
        """Run `func` as `Resonate.run` does: its task is acquired at once, and options reach the root."""
        name = self.registry.add(func).name
        param = codec.encode({"func": name, "args": args}, "a call")
        creation = PromiseCreate(id, self.after(options.timeout or DAY), param, {TARGET: "poll://any@default"})
        response = self.store.apply(TaskCreate("p1", TTL, creation))
        assert response.task is not None
        assert response.promise is not None
        self.worker.remember(id, options)
        self.reports.append(self.worker.run_acquired(response.task, response.promise))

    def invoke(self) -> Report:
        """Run the worker for the oldest offer."""
        id, version = self.offers.popleft()
        deadline = None if self.time is None else self.after(self.time)
        report = self.worker.run(id, version, TTL, deadline)
        self.reports.append(report)
        return report

    def work(self) -> list[str]:
        """Run the worker for every offer until there is none; returns how the invocations ended."""
        before = len(self.reports)
        while self.offers:
            self.invoke()
        return [report.status for report in self.reports[before:]]

    def pass_time(self, seconds: float) -> None:
        """Move the clock and do what falls due on the way, each at its time; nothing is run."""
        end = self.after(seconds)
        while (at := self.store.next_wake_at()) is not None and at <= end:
            self.clock.advance_to(at)
            self.store.tick()
        self.clock.advance_to(end)

    def finish(self, id: str) -> Any:
        """Work, and move the clock whenever there is nothing else to do, until the execution has its outcome."""
        while True:
            self.work()
            promise, task = self.promise(id), self.task(id)
            if not promise.pending:
                return codec.outcome_of(promise)
            if task is not None and task.state == "halted":
                raise ResonateHaltedError(id, task.error or "")
            at = self.store.next_wake_at()
            assert at is not None, f"{id} hangs: nothing is due, ever"
            self.clock.advance_to(at)
            self.store.tick()

    def records(self) -> list[Record]:
        return self.store.records()

    def expire(self, id: str) -> None:
        self.store.lose(id)

    def elapsed(self) -> float:
        """Seconds since the beginning of the test."""
        return (self.clock.now() - ManualClock().now()) / SECOND

    def after(self, seconds: float) -> int:
        return self.clock.now() + round(seconds * SECOND)

    def send(self, _address: str, message: dict[str, Any]) -> None:
        if message["kind"] == "execute":
            task = message["data"]["task"]
            self.offers.append((task["id"], task["version"]))

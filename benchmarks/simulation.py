"""Discrete-event simulation: threads in simulated time, and the graph of what follows from what.

One thread runs at a time, always the one with the earliest instant. While a thread waits, the other threads run, until
the clock has reached the end of its wait. Two runs with the same seed are equal.

A run is recorded as a graph. Each instant in it is the latest of some earlier instants, plus a latency. `Graph.redraw`
draws the latencies again and computes the instants from them. That gives thousands of runs for the time of one.
`benchmarks/model.py` connects the offline stack with the simulation.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

A = TypeVar("A")

SPREAD = 3.0
"""The 99th percentile of a latency, as a multiple of its median. The distribution is log-normal."""
QUANTILE = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""
WIDTH = 8
"""How many requests an invocation makes at the same time (`RESONATE_REQUESTS`)."""


class Draw(NamedTuple):
    """Random latency: its value in the recorded run (ms), and its number in the graph."""

    value: float
    number: int


class Mark(NamedTuple):
    """Marked instant of a run: in ms, and its number in the graph."""

    instant: float
    node: int


class Graph:
    """Instants of a run, and how each follows from earlier ones. The first instant is number 0.

    Args:
        medians: the median (ms) of each latency, by name.
        seed: the seed of the latencies.
        spread: their 99th percentile, as a multiple of the median. 1 makes them constant.
    """

    def __init__(self, medians: Mapping[str, float], seed: int, spread: float = SPREAD) -> None:
        self._medians = medians
        self._sigma = math.log(spread) / QUANTILE
        self._random = random.Random(seed)
        self.clear()

    def clear(self) -> None:
        """Forget the run."""
        self._draws: list[str] = []
        self._nodes: list[tuple[tuple[int, ...], int, float, float]] = [((), -1, 0.0, 0.0)]

    def draw(self, name: str) -> Draw:
        """Draw a latency of the recorded run."""
        self._draws.append(name)
        return Draw(self._latency(name), len(self._draws) - 1)

    def after(self, *earlier: int, draw: Draw | None = None, share: float = 1.0, constant: float = 0.0) -> int:
        """Add the instant that follows the latest of some instants by a share of a latency, and by a constant (ms)."""
        if len(earlier) == 1 and draw is None and not constant:
            return earlier[0]
        self._nodes.append((earlier, -1 if draw is None else draw.number, share, constant))
        return len(self._nodes) - 1

    def end(self) -> int:
        """Add the instant after everything."""
        return self.after(*range(len(self._nodes)))

    def redraw(self, since: int, until: int, times: int) -> list[float]:
        """Return the time (ms) between two instants for new latencies, so many times."""
        nodes = self._nodes[: max(since, until) + 1]
        taken: list[float] = []
        for _ in range(times):
            latencies = [self._latency(name) for name in self._draws]
            at: list[float] = []
            for earlier, number, share, constant in nodes:
                latest = at[earlier[0]] if len(earlier) == 1 else max([at[each] for each in earlier], default=0.0)
                at.append(latest + constant if number < 0 else latest + constant + share * latencies[number])
            taken.append(at[until] - at[since])
        return taken

    def _latency(self, name: str) -> float:
        return self._medians[name] * math.exp(self._random.gauss(0.0, self._sigma))


class Slots:
    """Places for the requests that one invocation makes at the same time."""

    def __init__(self) -> None:
        self.free = WIDTH
        self.waiting: deque[Callable[[], None]] = deque()


class Task:
    """Thread of the simulation: an invocation, one of its requests, or a client.

    Attributes:
        node: its present instant in the graph.
        slots: limits the requests of its invocation.
        surroundings: the state of the process while it runs.
        rest: what is left of the latency of its call after the effect.
    """

    def __init__(self, run: Callable[[], object], node: int, slots: Slots, surroundings: Any) -> None:
        self.node = node
        self.slots = slots
        self.surroundings = surroundings
        self.rest: tuple[Draw, float] | None = None
        self.turn = threading.Semaphore(0)
        self.thread = threading.Thread(target=run, daemon=True)


_running: Simulation | None = None


def mark(id: str, name: str) -> None:
    """Note the instant at which a workflow reaches a place for the first time. A replay does not change it."""
    assert _running is not None
    _running.mark(id, name)


class Simulation:
    """Clock and scheduler of the threads. It is a `Clock`.

    Args:
        graph: records the run.
        start: the first instant (ms since 1970).

    Attributes:
        instant: the present (ms), which has fractions.
        task: the thread that runs. None outside of the simulation.
        marks: the marked instants, in ms and as numbers in the graph.
        save, restore: read and set the state of the process that belongs to a thread.
    """

    def __init__(self, graph: Graph, start: int = 1_750_000_000_000) -> None:
        self.graph = graph
        self.instant = float(start)
        self.task: Task | None = None
        self.marks: dict[tuple[str, str], Mark] = {}
        self.save: Callable[[], Any] = lambda: None
        self.restore: Callable[[Any], None] = lambda _: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._returned = threading.Semaphore(0)
        self._failure: BaseException | None = None
        self._outside: Any = None

    def now(self) -> int:
        return int(self.instant)

    def sleep(self, milliseconds: int) -> None:
        if self.task is None:
            self.instant += max(0, milliseconds)  # outside of a run, such as in the setup of the stack
        else:
            self._hold(milliseconds, self.graph.after(self.task.node, constant=milliseconds))

    @property
    def current(self) -> Task:
        """The thread that runs."""
        assert self.task is not None
        return self.task

    def mark(self, id: str, name: str) -> None:
        """Note the present under a name, unless it is taken."""
        self.marks.setdefault((id, name), Mark(self.instant, self.current.node))

    def hold(self, draw: Draw, share: float = 1.0) -> None:
        """Spend a share of a latency in the current thread."""
        self._hold(share * draw.value, self.graph.after(self.current.node, draw=draw, share=share))

    def _hold(self, milliseconds: float, node: int) -> None:
        task = self.current
        task.node = node
        self.at(self.instant + milliseconds, partial(self._switch, task))
        self._pause(task)

    def wait(self, future: SimulatedFuture[Any]) -> None:
        """Wait in the current thread until a future is done."""
        task = self.current
        if not future.done():
            future.add_done_callback(lambda _: self.at(self.instant, partial(self._switch, task)))
            self._pause(task)
        task.node = self.graph.after(task.node, future.node) if future.node != task.node else task.node

    def at(self, instant: float, action: Callable[[], None]) -> None:
        """Call a function at an instant (ms). It must not wait."""
        heapq.heappush(self._events, (instant, next(self._numbers), action))

    def begin(
        self, body: Callable[[], object], node: int, at: float | None = None, *, parent: Task | None = None
    ) -> None:
        """Run a function in a thread of its own.

        Args:
            body: the function. If it raises an error, `run` raises it.
            node, at: the instant at which it begins. Default: the present.
            parent: the task whose request it is. It shares its surroundings and its slots.
        """

        def run() -> None:
            try:
                body()
            except BaseException as error:
                self._failure = self._failure or error
            self._returned.release()

        slots, surroundings = (Slots(), self._outside) if parent is None else (parent.slots, self.save())
        task = Task(run, node, slots, surroundings)
        self.at(self.instant if at is None else at, partial(self._switch, task))

    def run(self) -> None:
        """Run until nothing is planned any more."""
        while self._events:
            self.instant, _, action = heapq.heappop(self._events)
            action()
            if self._failure is not None:
                raise self._failure

    @contextmanager
    def running(self) -> Generator[None]:
        """Make this the simulation of `mark` while the block runs."""
        global _running
        _running, self._outside = self, self.save()
        try:
            yield
        finally:
            _running = None

    def _switch(self, task: Task) -> None:
        """Run a thread until it waits or ends."""
        self.task = task
        self.restore(task.surroundings)
        if task.thread.ident is None:
            task.thread.start()
        else:
            task.turn.release()
        self._returned.acquire()
        self.task = None

    def _pause(self, task: Task) -> None:
        task.surroundings = self.save()
        self._returned.release()
        task.turn.acquire()


class SimulatedFuture(Future[A]):
    """Future whose waiting takes simulated time. Attribute: `node`, the instant at which it is done."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self.node = 0
        self._simulation = simulation

    def result(self, timeout: float | None = None) -> A:  # noqa: ARG002 - nothing here takes real time
        self._simulation.wait(self)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:  # noqa: ARG002
        self._simulation.wait(self)
        return super().exception(0)


class Requests(Executor):
    """Threads for the requests of an invocation, in place of `resonate.threads.Pool`."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def submit(self, fn: Callable[..., A], /, *args: Any, **kwargs: Any) -> Future[A]:
        simulation, parent = self._simulation, self._simulation.current
        future: SimulatedFuture[A] = SimulatedFuture(simulation)
        slots, submitted = parent.slots, parent.node

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args, **kwargs)
                except BaseException as error:
                    future.node = simulation.current.node
                    future.set_exception(error)
                else:
                    future.node = simulation.current.node
                    future.set_result(result)
            slots.free += 1
            if slots.waiting:
                slots.waiting.popleft()()

        def begin() -> None:
            slots.free -= 1
            node = simulation.graph.after(*{submitted: None, simulation.current.node: None})
            simulation.begin(call, node, parent=parent)

        if slots.free:
            begin()
        else:
            slots.waiting.append(begin)
        return future

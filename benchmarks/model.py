"""Offline stack in simulated time: every call and every delivery has a latency.

The offline stack alone does one thing at a time, and no time passes meanwhile. Here each invocation has a thread of its
own, and so has each of its parallel requests: at most `WIDTH`, as in a deployed function. A thread that
calls AWS waits for the end of the call, and the rest runs meanwhile. So invocations overlap, records change between two
calls of an invocation, and conditional writes fail as they do on AWS. A call takes effect in the middle of its latency.

When latencies are drawn again, the order of the writes to one record stays that of the recorded run, and a replay reads
what it read there.

The model does not show:

- processor time: Python code takes no time here;
- cold starts, throttling, and the limits of AWS, which `benchmarks/load.py` computes;
- conflicts of a transaction with another request at the same instant, because moto carries each request out at once;
- the sweep, because nothing gets lost here.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

from benchmarks.simulation import SPREAD, WIDTH, Graph, Requests, Simulation, Task
from resonate import threads
from resonate.payloads import codec
from resonate_infra.deployed import wiring
from resonate_infra.testing.filters import FilterCriteria
from resonate_infra.testing.moto.cloud import CountedCall, Moment
from resonate_infra.testing.process import LimitedClock
from resonate_infra.testing.pumps import Invoke, QueuePump
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.addresses import expand
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.tags import TARGET

A = TypeVar("A")
B = TypeVar("B")

LANES = 10
"""How many batches of a shard of the stream are in work at the same time (`ParallelizationFactor`)."""

DEADLINE_MS = 1_000_000_000
"""How long an execution may take."""

CALLS = {
    ("dynamodb", "GetItem"): "DynamoDB read",
    ("dynamodb", "BatchGetItem"): "DynamoDB read",
    ("dynamodb", "Query"): "DynamoDB query",
    ("dynamodb", "PutItem"): "DynamoDB write",
    ("dynamodb", "UpdateItem"): "DynamoDB write",
    ("dynamodb", "DeleteItem"): "DynamoDB write",
    ("dynamodb", "TransactWriteItems"): "DynamoDB transaction",
    ("lambda", "Invoke"): "invoke: call",
    ("sqs", "SendMessage"): "SQS send",
    ("scheduler", "CreateSchedule"): "Scheduler create",
}
"""The name of the latency of each call. Any other call is an error of the model."""
UNSEEN = ("ReceiveMessage", "DeleteMessage")
"""Calls of the event source of a queue. The latency `SQS receive` includes them."""


class Stream:
    """Stream of the table and its event source: a record reaches the dispatcher after the latency `stream`.

    The records of an execution share a lane, because they share a partition key. A lane has one batch in work.
    """

    def __init__(self, simulation: Simulation, stack: OfflineStack, invoke: Invoke) -> None:
        self._simulation = simulation
        self._stack = stack
        self._invoke = invoke
        (self._source,) = (each for each in stack.deployment.event_sources if each.kind == "stream")
        self._criteria = FilterCriteria.parse(self._source.filters)
        self._lanes: list[deque[tuple[float, int, dict[str, Any]]]] = [deque() for _ in range(LANES)]
        self._busy = [False] * LANES
        self._done: list[tuple[int, ...]] = [()] * LANES

    def collect(self) -> list[dict[str, Any]]:
        """Take the records of what was just written, and return them."""
        simulation, graph = self._simulation, self._simulation.graph
        records = self._stack.cloud.take_changes(self._source.arn)
        for record in filter(self._criteria.keep, records):
            number = zlib.crc32(record["dynamodb"]["Keys"]["pk"]["S"].encode()) % LANES
            lane = self._lanes[number]
            draw = graph.draw("stream to function")
            due, node = simulation.instant + draw.value, graph.after(simulation.current.node, draw=draw)
            if lane:
                due, node = max(due, lane[-1][0]), graph.after(node, lane[-1][1])
            lane.append((due, node, record))
            simulation.at(due, partial(self._poll, number))
        return records

    def clear(self) -> None:
        """Forget the instants of a run that has ended."""
        self._done = [()] * LANES

    def _poll(self, number: int) -> None:
        simulation, lane = self._simulation, self._lanes[number]
        if self._busy[number] or not lane or lane[0][0] > simulation.instant:
            return
        batch: list[tuple[float, int, dict[str, Any]]] = []
        while lane and lane[0][0] <= simulation.instant and len(batch) < self._source.batch_size:
            batch.append(lane.popleft())
        self._busy[number] = True

        def deliver() -> None:
            records = [record for _, _, record in batch]
            response = self._invoke(self._source.function, {"Records": records})
            assert not response["batchItemFailures"], response
            self._busy[number] = False
            self._done[number] = (simulation.current.node,)
            simulation.at(simulation.instant, partial(self._poll, number))

        simulation.begin(deliver, simulation.graph.after(batch[-1][1], *self._done[number]))


class Model:
    """Offline stack with latencies. It has just been opened, with the simulation as its clock.

    Args:
        simulation: the simulation.
        stack: the stack.

    Attributes:
        invocations: the function and the duration (ms) of each invocation that has ended in this run.
        changes: the images of each write of this run, as on the stream.
        calls: how often the functions and clients have made each call.
        workers_run: whether asynchronous invocations are carried out. Otherwise they are dropped.
    """

    def __init__(self, simulation: Simulation, stack: OfflineStack) -> None:
        self.simulation = simulation
        self.stack = stack
        self.invocations: list[tuple[str, float]] = []
        self.changes: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()
        self.workers_run = True
        self._written: dict[str, int] = {}
        self._stream = Stream(simulation, stack, self.invoke)
        deployment = stack.deployment
        urls = {queue.arn: queue.url for queue in deployment.queues.values()}
        self._queues = [
            QueuePump(stack.cloud, urls[source.arn], source, self.invoke)
            for source in deployment.event_sources
            if source.kind == "queue"
        ]
        for name, function in deployment.functions.items():
            environment = {**function.environment, "RESONATE_REQUESTS": str(WIDTH)}
            deployment.functions[name] = replace(function, environment=environment)
        stack.cloud.fault = self._pass
        simulation.save, simulation.restore = self._save, self._restore

    def clear(self) -> None:
        """Begin a new run, with an empty graph. The stack keeps its content."""
        self.simulation.graph.clear()
        self.simulation.marks.clear()
        self.invocations.clear()
        self.changes.clear()
        self.calls.clear()
        self._written.clear()
        self._stream.clear()

    def creation(self, id: str, function: str, *arguments: Any) -> PromiseCreate:
        """Return the request with which a client starts an execution now."""
        call = codec.encode_call(function, arguments, {}, 1)
        return PromiseCreate(id, self.simulation.now() + DEADLINE_MS, call, {TARGET: expand("worker")})

    def request(self, act: Callable[[], object], pause_ms: int = 0) -> None:
        """Run a client after everything that has happened and a pause, until nothing is planned any more."""
        graph, at = self.simulation.graph, self.simulation.instant + pause_ms
        self.simulation.begin(act, graph.after(graph.end(), constant=pause_ms), at)
        self.simulation.run()

    def invoke(self, function: str, event: Any, trace: str = "", /) -> Any:
        """Invoke a function, and note how long it takes."""
        began = self.simulation.instant
        response = self.stack.invoke(function, event, trace)
        self.invocations.append((self.stack.function(function).logical_id, self.simulation.instant - began))
        return response

    def hold(self, latency: str) -> None:
        """Spend a latency in the current thread."""
        self.simulation.hold(self.simulation.graph.draw(latency))

    def _pass(self, moment: Moment, call: CountedCall) -> None:
        simulation = self.simulation
        if simulation.task is None or call.operation in UNSEEN:
            return
        task = simulation.task
        if moment == "before":
            self.calls[call.operation] += 1
            draw = simulation.graph.draw(CALLS[call[:2]])
            # A message counts from the response to the call that sent it.
            share = 0.5 if call.service == "dynamodb" else 1.0
            task.rest = (draw, 1 - share) if share < 1 else None
            simulation.hold(draw, share)
        elif moment == "after":
            self._follow(call, task)
            if task.rest is not None:
                rest, task.rest = task.rest, None
                simulation.hold(*rest)

    def _follow(self, call: CountedCall, task: Task) -> None:
        """Plan what follows from a call that has just taken effect."""
        graph, cloud = self.simulation.graph, self.stack.cloud
        if call.service == "dynamodb":
            records = self._stream.collect()
            self.changes += [record["dynamodb"] for record in records]
            keys = [str(record["dynamodb"]["Keys"]) for record in records]
            # It comes after the writes that it has seen, also when the latencies are drawn again.
            seen: Iterable[str] = self._written if call.operation == "Query" else keys
            before = [self._written[key] for key in seen if key in self._written]
            if before:
                task.node = graph.after(task.node, *before)
            self._written.update(dict.fromkeys(keys, task.node))
            self._mark(records)
        elif call.service == "lambda":
            waiting, cloud.invocations = cloud.invocations, []
            for invocation in waiting if self.workers_run else ():
                self._later(partial(self.invoke, *invocation), "invoke: start")
        elif call.service == "sqs":
            for queue in self._queues:
                if (visible := queue.next_at()) is not None:
                    self._later(queue.pump, "SQS receive", max(0.0, visible - self.simulation.instant))

    def _mark(self, records: list[dict[str, Any]]) -> None:
        """Mark the instants at which the table has a new promise, and at which it has its outcome."""
        for record in records:
            image = record["dynamodb"].get("NewImage", {})
            if "state" in image:
                id = image["sk"]["S"].partition("#")[2]
                self.simulation.mark(id, "created")
                if image["state"]["S"] != "pending":
                    self.simulation.mark(id, "settled")

    def _later(self, act: Callable[[], object], latency: str, delay_ms: float = 0.0) -> None:
        simulation, draw = self.simulation, self.simulation.graph.draw(latency)
        node = simulation.graph.after(simulation.current.node, draw=draw, constant=delay_ms)
        simulation.begin(act, node, simulation.instant + draw.value + delay_ms)

    def _save(self) -> Any:
        return self.stack.cloud.caller, dict(os.environ), sys.modules.get("app")

    def _restore(self, saved: Any) -> None:
        self.stack.cloud.caller, environment, app = saved
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)
        if app is None:
            sys.modules.pop("app", None)
        else:
            sys.modules["app"] = app


@contextmanager
def simulated(seed: int, medians: Mapping[str, float], spread: float = SPREAD, **arguments: Any) -> Generator[Model]:
    """Open an offline stack whose calls and deliveries take time.

    Args:
        seed: the seed of all randomness.
        medians: the median (ms) of each latency.
        spread: the 99th percentile of a latency, as a multiple of its median.
        arguments: those of `OfflineStack`.
    """
    simulation = Simulation(Graph(medians, seed, spread))
    seeds = itertools.count(seed + 1)
    pool, generator = threads.Pool, random.Random

    def pool_of(width: int, name: str, *more: Any) -> Any:
        return Requests(simulation) if name == "resonate_requests" else pool(width, name, *more)

    def each(function: Callable[[A], B], items: Sequence[A], _width: int) -> list[B]:
        return [function(item) for item in items] if len(items) < 2 else list(Requests(simulation).map(function, items))

    with (
        patch.object(threads, "Pool", pool_of),
        patch.object(wiring, "each", each),
        # An invocation that ends must not take the deadline of another one away.
        patch.object(LimitedClock, "limited", lambda _clock, _deadline: nullcontext()),
        # The pauses of competing processes are random.
        patch.object(random, "Random", lambda *given: generator(*given or (next(seeds),))),
        OfflineStack(clock=simulation, **arguments) as stack,
    ):
        model = Model(simulation, stack)
        with simulation.running():
            yield model

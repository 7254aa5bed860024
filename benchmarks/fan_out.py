"""Number of invocations of a workflow that awaits 1,000 remote calls, which all finish within a second.

    python benchmarks/fan_out.py [--check] [--children N]

The Lambda handler runs on the store in memory, in simulated time. A request of the parent takes milliseconds, and other
workers run meanwhile. The stream and the invoke after a write take 100 ms. Each child takes up to a second.

Prints the figures for four orders in which the children finish. The hardest order for a parent that awaits its children
one by one is this same order. With `--check` the exit code is 1 when the parent is invoked ten times or more.
"""

import argparse
import functools
import heapq
import itertools
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import Any

from resonate import Context, Resonate
from resonate.payloads import codec
from resonate_store.interface import StoreWrapper
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseCreate, Request, Response
from resonate_store.model.tags import TARGET

LIMIT = 10
"""The number of invocations of the parent at which the check fails."""
DELIVERY = 100
"""The time (ms) from a write to the invocation that follows it: the stream, the dispatcher, the invoke."""
REQUEST = 4
"""The time (ms) of one request of the parent."""
WIDTH = 8
"""The number of promises that the parent creates at the same time, as its handler does in Lambda."""
TAKES = 1000
"""The longest time (ms) that a child takes."""
PARENT = "fan-out"


class World:
    """Simulated time, with the actions that are planned in it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._agenda: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def plan(self, delay: int, action: Callable[[], object]) -> None:
        """Plan an action after `delay` milliseconds."""
        heapq.heappush(self._agenda, (self.clock.now() + delay, next(self._numbers), action))

    def pass_time(self, milliseconds: int) -> None:
        """Move the clock, and run what is planned meanwhile."""
        end = self.clock.now() + milliseconds
        while self._agenda and self._agenda[0][0] <= end:
            self._next()
        self.clock.advance_to(end)

    def run(self) -> None:
        """Run all planned actions, each at its time."""
        while self._agenda:
            self._next()

    def _next(self) -> None:
        at, _, action = heapq.heappop(self._agenda)
        self.clock.advance_to(at)
        action()


class Remote(StoreWrapper):
    """Store of the parent, at the other end of a simulated network."""

    def __init__(self, store: MemoryStore, world: World) -> None:
        self.requests: Counter[str] = Counter()
        super().__init__(store)
        self._world = world

    def apply(self, request: Request) -> Response:
        self._pass(request.kind)
        return self._store.apply(request)

    def children(self, id: str, separator: str = ".") -> Sequence[PromiseView]:
        self._pass("children")
        return self._store.children(id, separator)

    def open(self) -> "Remote":
        return self

    def close(self) -> None:
        """Keep the store open: it outlives the invocations of the parent."""

    def _pass(self, kind: str) -> None:
        self.requests[kind] += 1
        if kind != "promise.create" or self.requests[kind] % WIDTH == 0:
            self._world.pass_time(REQUEST)


def parent(ctx: Context, count: int) -> Generator[Any, Any, int]:
    promises: list[Any] = []
    for n in range(count):
        promises.append((yield ctx.begin_rpc("child", n).options(target="lambda://child")))
    total = 0
    for promise in promises:
        total += yield promise
    return total


def child(_: Context, n: int) -> int:
    return n


def simulate(children: int, pauses: Sequence[int]) -> dict[str, Any]:
    """Run the workflow once in simulated time.

    Args:
        children: the number of children.
        pauses: the milliseconds that each child takes.

    Returns:
        The numbers of invocations and requests, and the simulated seconds.
    """
    world = World()
    store = MemoryStore(world.clock)
    remote = Remote(store, world)
    handlers: dict[str, Callable[[Any, Any], Any]] = {}
    for name, seen in (("parent", remote), ("child", store)):
        resonate = Resonate(store=seen, clock=world.clock)
        resonate.register(parent)
        resonate.register(child)
        handlers[name] = resonate.handler()
    invocations: Counter[str] = Counter()

    def invoke(name: str, message: dict[str, Any]) -> None:
        invocations[name] += 1
        handlers[name](message, None)

    def send(address: str, message: dict[str, Any]) -> None:
        name = address.removeprefix("lambda://")
        pause = pauses[int(message["data"]["task"]["id"].rpartition(".")[2]) - 1] if name == "child" else 0
        world.plan(DELIVERY + pause, functools.partial(invoke, name, message))

    store.subscribe(send=send)
    began = world.clock.now()
    call = codec.encode({"func": "parent", "args": [children], "kwargs": {}, "version": 1}, "the call")
    store.apply(PromiseCreate(PARENT, began + 86_400_000, call, {TARGET: "lambda://parent"}))
    world.run()
    record = store.record(PARENT)
    assert record is not None
    result = codec.decode(record.value)
    assert result == children * (children - 1) // 2, record
    return {
        "parent_invocations": invocations["parent"],
        "child_invocations": invocations["child"],
        "seconds": ((record.settled_at or 0) - began) / 1000,
        "parent_requests": dict(remote.requests),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Invocations of a workflow that awaits 1,000 remote calls.")
    parser.add_argument("--check", action="store_true", help=f"fail at {LIMIT} invocations")
    parser.add_argument("--children", type=int, default=1000)
    arguments = parser.parse_args()
    os.environ |= {"RESONATE_FUNCTIONS": "1", "RESONATE_REQUESTS": "1"}
    children: int = arguments.children
    numbers = random.Random(0)
    orders = {
        "random": [numbers.randrange(TAKES) for _ in range(children)],
        "one_by_one": [TAKES * n // children for n in range(children)],
        "backwards": [TAKES - TAKES * n // children for n in range(children)],
        "at_once": [0] * children,
    }
    figures = {name: simulate(children, pauses) for name, pauses in orders.items()}
    print(json.dumps({"children": children, "limit": LIMIT, **figures}, indent=2))
    over = [name for name, each in figures.items() if each["parent_invocations"] >= LIMIT]
    return 1 if over and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

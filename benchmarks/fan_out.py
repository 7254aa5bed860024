"""How often a workflow is invoked that awaits 1,000 remote calls, all of which finish within a second.

    python benchmarks/fan_out.py [--check] [--children N]

The Lambda handler runs on the store in memory, in simulated time: a request of the parent's takes milliseconds, in
which other workers go on; the stream and the invoke that follow a write take a while; each child takes up to a second.
Children finish in a random order, as a rule; the hardest order for a parent that awaits them one by one is the very
order in which it does. With `--check` the exit code is 1 when the parent is invoked ten times or more.
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
"""The parent is invoked less often than that."""
DELIVERY = 100
"""From a write to the invocation that follows it: the stream, the dispatcher, the invoke (ms)."""
REQUEST = 4
"""One request of the parent's (ms)."""
WIDTH = 8
"""How many promises the parent creates at the same time, as its handler does in Lambda."""
TAKES = 1000
"""The longest that a child takes (ms)."""
PARENT = "fan-out"


class World:
    """Simulated time, and what is going to happen in it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._agenda: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def plan(self, delay: int, action: Callable[[], object]) -> None:
        heapq.heappush(self._agenda, (self.clock.now() + delay, next(self._numbers), action))

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass, and others do what they do in it."""
        end = self.clock.now() + milliseconds
        while self._agenda and self._agenda[0][0] <= end:
            self._next()
        self.clock.advance_to(end)

    def run(self) -> None:
        while self._agenda:
            self._next()

    def _next(self) -> None:
        at, _, action = heapq.heappop(self._agenda)
        self.clock.advance_to(at)
        action()


class Remote(StoreWrapper):
    """The store as the parent sees it: at the other end of a network."""

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
        """The store outlives the parent's invocations."""

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
    """Run the workflow once; child number n takes `pauses[n]` milliseconds."""
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

"""What a step costs in memory, and what replaying a long workflow does.

    python benchmarks/steps.py [--workflows N] [--steps N] [--history N]

Prints the microseconds per step of 500 workflows of 10 steps, from starting to having the result, and the milliseconds
that a worker takes to replay a workflow of 10,000 finished steps, from being offered the task to suspending again.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate, codec
from resonate_store.memory import MemoryStore
from resonate_store.records import TARGET
from resonate_store.requests import PromiseCreate, PromiseSettle

ROUNDS = 5


def step(_: Context, n: int) -> int:
    return n + 1


def work(ctx: Context, steps: int) -> Generator[Any, Any, int]:
    n = 0
    for _ in range(steps):
        n = yield ctx.run(step, n)
    return n


def work_and_wait(ctx: Context, steps: int) -> Generator[Any, Any, int]:
    n = yield from work(ctx, steps)
    for _ in range(ROUNDS):
        yield (yield ctx.promise())
    return n


def microseconds_per_step(workflows: int, steps: int) -> float:
    """Starting, running and reading workflows one after the other, by way of the client."""
    resonate = Resonate.local(log_level="WARNING")
    resonate.register(work)
    began = time.perf_counter()
    for n in range(workflows):
        assert resonate.run(f"w{n}", work, steps) == steps
    took = time.perf_counter() - began
    resonate.stop()
    return took * 1e6 / (workflows * steps)


def milliseconds_of_replay(steps: int) -> float:
    """Invocations of the Lambda handler that find everything done but the last."""
    store = MemoryStore()
    resonate = Resonate(store=store)
    resonate.register(work_and_wait)
    messages: list[dict[str, Any]] = []
    store.send = lambda _, message: messages.append(message)
    handler = resonate.handler()
    call = codec.encode({"func": "work_and_wait", "args": [steps], "kwargs": {}, "version": 1}, "the call")
    store.apply(PromiseCreate("w", store.clock.now() + 86_400_000, call, {TARGET: "lambda://worker"}))
    handler(messages.pop(), None)
    taken: list[float] = []
    for n in range(ROUNDS):
        store.apply(PromiseSettle(f"w.{steps + n + 1}", "resolved"))
        message = messages.pop()
        began = time.perf_counter()
        status = handler(message, None)["status"]
        taken.append((time.perf_counter() - began) * 1000)
        assert status == ("suspended" if n < ROUNDS - 1 else "completed")
    return statistics.median(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description="What a step costs in memory.")
    parser.add_argument("--workflows", type=int, default=500)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--history", type=int, default=10_000)
    arguments = parser.parse_args()
    os.environ |= {"RESONATE_FUNCTIONS": "1", "RESONATE_REQUESTS": "1"}
    per_step = [microseconds_per_step(arguments.workflows, arguments.steps) for _ in range(ROUNDS)]
    figures = {
        "workflows": arguments.workflows,
        "steps": arguments.steps,
        "us_per_step": round(statistics.median(per_step), 1),
        "replayed_steps": arguments.history,
        "replay_ms": round(milliseconds_of_replay(arguments.history), 1),
    }
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

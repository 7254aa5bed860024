"""Costs of the programming model in memory: steps, fan-out, maps, long workflows, replay, generations, and space.

    python benchmarks/steps.py [--check] [--workflows N] [--steps N] [--children N] [--history N]
        [--generations N] [--items N]

Prints these figures as JSON, each with its limit. A figure in sends is a CPU time, divided by that of one `send` to a
generator in the same run. So a slow machine has the same limits as a fast one:

- `sends_per_step`: a step; 500 workflows of 10 trivial steps, from their start to their result
- `begun_over_run`: the time of the same workflows if they are all begun by `begin_run` and then read, divided by the
  time if they run one after the other
- `sends_per_child`: a child; a fan-out of 1,000 `begin_run` steps, which are then awaited
- `long_over_short`: the cost of a step in a workflow of 20,000 steps, divided by that in a workflow of 1,000 steps
- `sends_per_replayed_step`: a finished step in a replay of 10,000, from the offer of the task to its next suspension
- `bytes_per_step`: bytes of memory that a finished step keeps
- `sends_per_generation`: a generation of `ctx.continue_as` with one step, over 100,000 generations
- `bytes_per_generation`: bytes of memory that each further generation keeps
- `sends_per_item`: an item of `ctx.map` that is a local step, over 10,000 items with 100 under way

For information it also prints times of this machine: `us_per_send`, `us_per_step`, `us_per_child`, `replay_ms` of the
10,000 steps, and `us_per_step_async`, a step of an async workflow.

If the peers are installed (by the extra `peers`), they are measured in the same run. The output names a missing peer.
With `--check` the exit code is 1 when a figure is over its limit.
"""

import argparse
import gc
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from resonate import Context, Resonate
from resonate.payloads import codec
from resonate_store.local.memory import MemoryStore
from resonate_store.model.requests import PromiseCreate, PromiseSettle
from resonate_store.model.tags import TARGET

ROUNDS = 5
ROUNDS_OF_THREADS = 15
LIMITS = {
    "sends_per_step": 1_200,
    "begun_over_run": 1.2,
    "sends_per_child": 1_800,
    "long_over_short": 1.3,
    "sends_per_replayed_step": 300,
    "bytes_per_step": 1024,
    "sends_per_generation": 1_600,
    "bytes_per_generation": 1,
    "sends_per_item": 2_000,
}


def step(_: Context, n: int) -> int:
    return n + 1


def work(ctx: Context, steps: int) -> Generator[Any, Any, int]:
    n = 0
    for _ in range(steps):
        n = yield ctx.run(step, n)
    return n


def fan_out(ctx: Context, children: int) -> Generator[Any, Any, int]:
    promises: list[Any] = []
    for n in range(children):
        promises.append((yield ctx.begin_run(step, n)))
    total = 0
    for promise in promises:
        total += yield promise
    return total


def work_and_wait(ctx: Context, steps: int) -> Generator[Any, Any, int]:
    n = yield from work(ctx, steps)
    for _ in range(ROUNDS):
        yield (yield ctx.promise())
    return n


async def async_work(ctx: Context, steps: int) -> int:
    n = 0
    for _ in range(steps):
        n = await ctx.run(step, n)
    return n


def generation(ctx: Context, n: int, most: int) -> Generator[Any, Any, int]:
    n = yield ctx.run(step, n)
    if n < most:
        return ctx.continue_as(n, most)
    return n


def mapped(ctx: Context, items: int, slots: int) -> Generator[Any, Any, int]:
    result = yield ctx.map(step, range(items), max_concurrency=slots)
    result.raise_if_failed()
    return sum(result.values)


def echo() -> Generator[Any, Any, None]:
    while True:
        yield


def microseconds(
    func: Callable[..., Any], workflows: int, steps: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the microseconds a step of workflows that a client starts and reads one after the other."""
    resonate = Resonate.local(log_level="WARNING")
    resonate.register(func)
    began = clock()
    for n in range(workflows):
        resonate.run(f"w{n}", func, steps)
    took = clock() - began
    resonate.stop()
    return took * 1e6 / (workflows * steps)


def microseconds_begun(func: Callable[..., Any], workflows: int, steps: int) -> float:
    """Return the microseconds a step of workflows that a client starts all together, and then reads."""
    resonate = Resonate.local(log_level="WARNING")
    resonate.register(func)
    began = time.perf_counter()
    for handle in [resonate.begin_run(f"w{n}", func, steps) for n in range(workflows)]:
        handle.result()
    took = time.perf_counter() - began
    resonate.stop()
    return took * 1e6 / (workflows * steps)


def begun_over_run(workflows: int, steps: int) -> float:
    """Return the cost of workflows begun together, divided by that of workflows run one after the other.

    The two take turns, so that a busy machine slows both.
    """
    ratios = [
        microseconds_begun(work, workflows, steps) / microseconds(work, workflows, steps)
        for _ in range(ROUNDS_OF_THREADS)
    ]
    return statistics.median(ratios)


def median(func: Callable[..., Any], workflows: int, steps: int) -> float:
    return statistics.median(microseconds(func, workflows, steps) for _ in range(ROUNDS))


def long_over_short(short: int, long: int) -> float:
    """Return the cost of a step in a long workflow, divided by that in short workflows.

    The two take turns, with the same number of steps, so that a busy machine slows both.
    """
    ratios = [microseconds(work, 1, long) / microseconds(work, long // short, short) for _ in range(ROUNDS)]
    return statistics.median(ratios)


def replays(steps: int) -> Iterator[tuple[float, float]]:
    """Yield the seconds, and the seconds of CPU, of invocations of the Lambda handler that find all steps finished."""
    store = MemoryStore()
    resonate = Resonate(store=store)
    resonate.register(work_and_wait)
    messages: list[dict[str, Any]] = []
    store.subscribe(send=lambda _, message: messages.append(message))
    handler = resonate.handler()
    call = codec.encode({"func": "work_and_wait", "args": [steps], "kwargs": {}, "version": 1}, "the call")
    store.apply(PromiseCreate("w", store.clock.now() + 86_400_000, call, {TARGET: "lambda://worker"}))
    handler(messages.pop(), None)
    for n in range(ROUNDS):
        store.apply(PromiseSettle(f"w.{steps + n + 1}", "resolved"))
        message = messages.pop()
        began, began_cpu = time.perf_counter(), time.process_time()
        status = handler(message, None)["status"]
        yield time.perf_counter() - began, time.process_time() - began_cpu
        assert status == ("suspended" if n < ROUNDS - 1 else "completed")


def costs_of_replay(steps: int) -> dict[str, float]:
    """Return the milliseconds of a replay, and the CPU time of a replayed step in units of a `send`."""
    milliseconds: list[float] = []
    sends: list[float] = []
    before = us_per_send()
    for took, took_cpu in replays(steps):
        after = us_per_send()
        milliseconds.append(took * 1000)
        sends.append(took_cpu * 1e6 / steps / statistics.mean((before, after)))
        before = after
    return {"replay_ms": statistics.median(milliseconds), "sends_per_replayed_step": statistics.median(sends)}


def bytes_per_step(steps: int) -> float:
    """Return the bytes that a workflow and its store hold for each step, when the last step has just finished."""
    held: list[int] = []

    def measured(ctx: Context, steps: int) -> Generator[Any, Any, None]:
        yield ctx.run(step, 0)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        yield from work(ctx, steps)
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0] - before)

    resonate = Resonate.local(log_level="WARNING")
    resonate.register(measured)
    tracemalloc.start()
    resonate.run("w", measured, steps)
    tracemalloc.stop()
    resonate.stop()
    return held[0] / steps


def us_per_send(count: int = 200_000) -> float:
    """Return the microseconds of CPU of one `send` to a generator that yields at once."""
    send = echo().send
    send(None)
    began = time.process_time()
    for n in range(count):
        send(n)
    return (time.process_time() - began) * 1e6 / count


def in_sends(microseconds: Callable[[], float]) -> float:
    """Return CPU time in units of a `send`. The two take turns."""
    ratios: list[float] = []
    before = us_per_send()
    for _ in range(ROUNDS):
        took = microseconds()
        after = us_per_send()
        ratios.append(took / statistics.mean((before, after)))
        before = after
    return statistics.median(ratios)


def sends_per_step(func: Callable[..., Any], workflows: int, steps: int) -> float:
    """Return the CPU time of a step in units of a `send`."""
    return in_sends(lambda: microseconds(func, workflows, steps, time.process_time))


def us_per(many: int, func: Callable[..., Any], *args: Any, left: Sequence[str]) -> float:
    """Return the microseconds of CPU of one of `many` things that a workflow does.

    Args:
        many: how often the workflow `w` does the thing.
        func: the workflow.
        args: its arguments.
        left: the ids of the records that the store has in the end.
    """
    store = MemoryStore()
    resonate = Resonate(store=store, log_level="WARNING")
    resonate.register(func)
    began = time.process_time()
    resonate.run("w", func, *args)
    took = (time.process_time() - began) * 1e6 / many
    resonate.stop()
    assert [record.id for record in store.records()] == sorted(left)
    return took


def sends_per_generation(generations: int) -> float:
    """Return the CPU time of a generation in units of a `send`. Only the records of the last generation are left."""
    many = generations // ROUNDS
    left = ["w", f"w.{many}+0", f"w.{many}+1"]
    return in_sends(lambda: us_per(many, generation, 0, many, left=left))


def sends_per_item(items: int) -> float:
    """Return the CPU time of an item of a map, with 100 under way, in units of a `send`."""
    left = ["w", "w.1", *(f"w.1.{number + 1}" for number in range(items))]
    return in_sends(lambda: us_per(items, mapped, items, 100, left=left))


def bytes_per_generation(generations: int) -> float:
    """Return the bytes that a process holds for each generation after the first thousand."""
    held: list[int] = []

    def measured(ctx: Context, n: int, most: int) -> Generator[Any, Any, None]:
        n = yield ctx.run(step, n)
        if n in (1_000, most):
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        if n < most:
            return ctx.continue_as(n, most)

    resonate = Resonate.local(log_level="WARNING")
    resonate.register(measured)
    tracemalloc.start()
    resonate.run("w", measured, 0, 1_000 + generations)
    tracemalloc.stop()
    resonate.stop()
    return (held[1] - held[0]) / generations


def us_per_step_of_aws(workflows: int, steps: int) -> float:
    """Measure the AWS durable execution SDK in its local test runner. It polls, so the figure is an upper bound."""
    from aws_durable_execution_sdk_python import DurableContext, durable_execution, durable_step
    from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner

    @durable_step
    def add(_: Any, n: int) -> int:
        return n + 1

    @durable_execution
    def handler(_: Any, context: DurableContext) -> int:
        n = 0
        for _ in range(steps):
            n = context.step(add(n))
        return n

    with DurableFunctionTestRunner(handler) as runner:
        began = time.perf_counter()
        for _ in range(workflows):
            runner.run(input="{}", execution_timeout=60)
        took = time.perf_counter() - began
    return took * 1e6 / (workflows * steps)


def us_per_step_of_dbos(workflows: int, steps: int) -> float:
    """Measure DBOS on SQLite, as it has no store in memory. The file is in a memory file system if there is one."""
    from dbos import DBOS

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        url = f"sqlite:///{directory}/steps.sqlite"
        DBOS(config={"name": "steps", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})

        @DBOS.step()
        def add(n: int) -> int:
            return n + 1

        @DBOS.workflow()
        def work(steps: int) -> int:
            n = 0
            for _ in range(steps):
                n = add(n)
            return n

        DBOS.launch()
        try:
            began = time.perf_counter()
            for _ in range(workflows):
                work(steps)
            took = time.perf_counter() - began
        finally:
            DBOS.destroy()
    return took * 1e6 / (workflows * steps)


PEERS: dict[str, tuple[str, Callable[[int, int], float]]] = {
    "aws-durable-execution-sdk-python": ("aws_durable_execution_sdk_python_testing", us_per_step_of_aws),
    "dbos": ("dbos", us_per_step_of_dbos),
}
"""For each peer's distribution, the module that must be installed and the function that measures it."""


def us_per_step_of_peers(workflows: int, steps: int) -> dict[str, float | str]:
    return {
        name: round(measure(workflows, steps), 1) if importlib.util.find_spec(module) else "not installed"
        for name, (module, measure) in PEERS.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="What the programming model costs in memory.")
    parser.add_argument("--check", action="store_true", help="fail when a limit is exceeded")
    parser.add_argument("--workflows", type=int, default=500)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--children", type=int, default=1_000)
    parser.add_argument("--history", type=int, default=10_000)
    parser.add_argument("--generations", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=10_000)
    arguments = parser.parse_args()
    os.environ |= {"RESONATE_FUNCTIONS": "1", "RESONATE_REQUESTS": "1"}
    replay = costs_of_replay(arguments.history)
    figures = {
        "sends_per_step": round(sends_per_step(work, arguments.workflows, arguments.steps)),
        "begun_over_run": round(begun_over_run(arguments.workflows, arguments.steps), 2),
        "sends_per_child": round(sends_per_step(fan_out, 3, arguments.children)),
        "long_over_short": round(long_over_short(1_000, 20_000), 2),
        "sends_per_replayed_step": round(replay["sends_per_replayed_step"]),
        "bytes_per_step": round(bytes_per_step(arguments.history)),
        "sends_per_generation": round(sends_per_generation(arguments.generations)),
        "bytes_per_generation": round(bytes_per_generation(arguments.generations // 10), 1),
        "sends_per_item": round(sends_per_item(arguments.items)),
    }
    more = {
        "us_per_send": round(us_per_send(), 4),
        "us_per_step": round(median(work, arguments.workflows, arguments.steps), 1),
        "us_per_child": round(median(fan_out, 3, arguments.children), 1),
        "replay_ms": round(replay["replay_ms"], 1),
        "us_per_step_async": round(median(async_work, 5, 1_000), 1),
        "us_per_step_of_peers": us_per_step_of_peers(min(20, arguments.workflows), arguments.steps),
    }
    print(json.dumps({**figures, "limits": LIMITS, **more}, indent=2))
    over = [name for name, limit in LIMITS.items() if figures[name] > limit]
    for name in over:
        print(f"{name} is over its limit", file=sys.stderr)
    return 1 if over and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

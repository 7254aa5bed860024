"""What executions cost on AWS: tables of docs/costs.md, measured on the offline stack.

    python -m benchmarks.costs [--check | --json | --trace]

Prints what each thing uses with `Delivery=writer`, the default, and with `Delivery=stream`. Every figure but the first
is the difference between an execution with the thing and one without it. `metering` says what is counted. Run it from
the root of the project.

- `--check` prints the targets beside the figures, and the exit code is 1 if a figure is over its target.
- `--json` prints the figures of both ways.
- `--trace` prints each write of each execution, and when it was made.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.metering import RETENTION_DAYS, Meter, Run, Usage
from resonate import Canceled, Context, Resonate
from resonate_infra.testing.stack import OfflineStack
from resonate_store.model.requests import PromiseSettle

# The prices of other services, in dollars for a million.
DURABLE_OPERATIONS = 8.00
STATE_TRANSITIONS = 25.00

EXECUTION = "an execution, from its start until it is deleted"
STEP = "a local step"
LARGE_STEP = "a local step with a result of 100 KB"
NESTED = "a nested workflow"
REMOTE = "a remote call (`ctx.rpc`), waited for"
SHORT_SLEEP = "a sleep of 20 seconds"
SLEEP = "a sleep of 10 minutes"
LONG_SLEEP = "a sleep of a day"
PROMISE = "a promise, settled from outside at once"
LATE_PROMISE = "a promise, settled from outside after two hours"
GENERATION = "a further generation (`ctx.continue_as`), without its steps"
MESSAGE = "a message from outside, waited for"
PUBLISH = "a value that is published (`ctx.publish`)"
ALL_STEPS = "`ctx.all` of three local steps"
ALL_CALLS = "`ctx.all` of three remote calls"
RACE = "`ctx.race` of two remote calls that sleep 20 seconds and a day, with `cancel_losers`"
WAIT = "`ctx.wait` for a promise that is settled in time, beyond the wait without a limit"
MAP_STEPS = "`ctx.map` of 10 items as local steps, five at a time"
MAP_CALLS = "`ctx.map` of 10 items as remote calls, five at a time"
MAP_STEP = "a further item of it, as a local step"
MAP_CALL = "a further item of it, as a remote call"
CANCELLATION = "a cancellation of an execution that awaits a promise, with one compensating step"
ONCE = "a local step with `at_most_once`"
PATCH = "the first answer of `ctx.patched`, if it is true"
SAGA = "a saga of three local steps that fails after them"
COMBINED = (
    *(ALL_STEPS, ALL_CALLS, RACE, WAIT, MAP_STEPS, MAP_STEP, MAP_CALLS, MAP_CALL),
    *(CANCELLATION, ONCE, PATCH, SAGA),
)
"""The commands that are made of the things above, or add to one. They have tables of their own."""

resonate = Resonate()


def step(_ctx: Context) -> str:
    return "done"


@resonate.register
def steps(ctx: Context, count: int) -> Generator[Any, Any, None]:
    for _ in range(count):
        yield ctx.run(step)


def bulk(_ctx: Context) -> str:
    return "x" * 100_000


@resonate.register
def bulky(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.run(bulk)


def inner(_ctx: Context) -> Generator[Any, Any, None]:
    return
    yield


@resonate.register
def nested(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.run(inner)


@resonate.register
def remote(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.rpc("steps", 0)


@resonate.register
def sleeping(ctx: Context, secs: float) -> Generator[Any, Any, None]:
    yield ctx.sleep(secs)


@resonate.register
def asking(ctx: Context) -> Generator[Any, Any, None]:
    yield (yield ctx.promise())


@resonate.register
def continued(ctx: Context, times: int) -> Generator[Any, Any, None]:
    yield ctx.sleep(20.0)
    if times:
        return ctx.continue_as(times - 1)


@resonate.register
def listening(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.receive("m")


@resonate.register
def publishing(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.publish("progress", 1)


@resonate.register
def gathering(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.all(ctx.run(step) for _ in range(3))


@resonate.register
def calling(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.all(ctx.rpc("steps", 0) for _ in range(3))


@resonate.register
def racing(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.race(ctx.rpc("sleeping", 20.0), ctx.rpc("sleeping", 86_400.0), cancel_losers=True)


@resonate.register
def impatient(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.wait((yield ctx.promise()), timeout=600.0)


def item_step(_ctx: Context, _item: int) -> str:
    return "done"


@resonate.register
def mapping(ctx: Context, items: int) -> Generator[Any, Any, None]:
    yield ctx.map(item_step, range(items), max_concurrency=5)


@resonate.register
def mapping_calls(ctx: Context, items: int) -> Generator[Any, Any, None]:
    yield ctx.map("steps", [0] * items, max_concurrency=5, remote=True)


@resonate.register
def compensating(ctx: Context) -> Generator[Any, Any, None]:
    try:
        yield (yield ctx.promise())
    except Canceled:
        yield ctx.run(step)
        raise


@resonate.register
def marked(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.run(step).options(at_most_once=True)


@resonate.register
def patched(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.patched("taxes-2")


@resonate.register
def undoing(ctx: Context) -> Generator[Any, Any, None]:
    saga = ctx.saga()
    for _ in range(3):
        yield saga.run(step, undo=(step,))
    raise ValueError("undo all of it")


handler = resonate.handler()


def settle(stack: OfflineStack, id: str) -> None:
    stack.store.apply(PromiseSettle(f"{id}.1", "resolved"))


def send(stack: OfflineStack, id: str) -> None:
    stack.client().send(id, "m", "hello")


def cancel(stack: OfflineStack, id: str) -> None:
    stack.client().cancel(id, "not needed")


class Target(NamedTuple):
    """Limit of what a thing costs with `Delivery=writer`. `dollars` is the cost of a million."""

    write_units: int
    invocations: int
    dollars: float


TARGETS = {
    EXECUTION: Target(11, 2, 8.50),
    STEP: Target(2, 0, 1.25),
    NESTED: Target(3, 0, 2.12),
    REMOTE: Target(9, 1, 7.50),
    SHORT_SLEEP: Target(9, 2, 8.80),
    SLEEP: Target(11, 2, 10.10),
    LONG_SLEEP: Target(11, 4, 12.00),
    PROMISE: Target(10, 1, 7.50),
    LATE_PROMISE: Target(12, 1, 9.00),
}


def measured(delivery: str) -> dict[str, Run]:
    """Return what each thing uses, by its name in the documentation.

    Args:
        delivery: the value of the template's parameter `Delivery`.
    """
    parameters: dict[str, str | int] = {"Delivery": delivery, "RetentionDays": RETENTION_DAYS}
    with OfflineStack(code={"WorkerFunction": Path(__file__)}, parameters=parameters) as stack:
        meter = Meter(stack)
        with meter.metering():
            empty, one, two = (meter.run("steps", count) for count in (0, 1, 2))
            second, third = (meter.run("continued", times) for times in (1, 2))
            added = {
                LARGE_STEP: meter.run("bulky"),
                NESTED: meter.run("nested"),
                REMOTE: meter.run("remote"),
                SHORT_SLEEP: meter.run("sleeping", 20.0),
                SLEEP: meter.run("sleeping", 600.0),
                LONG_SLEEP: meter.run("sleeping", 86_400.0),
                PROMISE: meter.run("asking", then=settle),
                LATE_PROMISE: meter.run("asking", then=settle, after_hours=2),
                MESSAGE: meter.run("listening", then=send),
                PUBLISH: meter.run("publishing"),
                ALL_STEPS: meter.run("gathering"),
                ALL_CALLS: meter.run("calling"),
                RACE: meter.run("racing"),
                MAP_STEPS: meter.run("mapping", 10),
                MAP_CALLS: meter.run("mapping_calls", 10),
                CANCELLATION: meter.run("compensating", then=cancel),
                ONCE: meter.run("marked"),
                PATCH: meter.run("patched"),
                SAGA: meter.run("undoing"),
            }
            # Each beside the same execution with one thing less. Both executions of a generation sleep, so that each
            # deletion is delivered by itself.
            beside = {
                WAIT: (meter.run("impatient", then=settle), added[PROMISE]),
                MAP_STEP: (meter.run("mapping", 11), added[MAP_STEPS]),
                MAP_CALL: (meter.run("mapping_calls", 11), added[MAP_CALLS]),
            }
    generation = third.usage.less(second.usage).less(added[SHORT_SLEEP].usage.less(empty.usage))
    runs = {
        EXECUTION: empty,
        STEP: Run(two.usage.less(one.usage), two.writes),
        **{name: Run(run.usage.less(empty.usage), run.writes) for name, run in added.items()},
        **{name: Run(run.usage.less(less.usage), run.writes) for name, (run, less) in beside.items()},
        GENERATION: Run(generation, third.writes),
    }
    return {name: runs[name] for name in (*(each for each in runs if each not in COMBINED), *COMBINED)}


def single(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Return the runs of the first tables: those of single things."""
    return {name: run for name, run in runs.items() if name not in COMBINED}


def combined(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Return the runs of the tables of `COMBINED`."""
    return {name: runs[name] for name in COMBINED}


def audit(runs: Mapping[str, Run], name: str) -> list[str]:
    """Return the first cells of the rows of an audit: the writes that a thing adds to an execution."""
    rows = [write.row for write in runs[name].writes]
    if name != EXECUTION:
        for write in runs[EXECUTION].writes:
            rows.remove(write.row)
    return rows


def table(runs: Mapping[str, Run]) -> str:
    """Return the first table of the documentation: the usage and the cost of each thing."""
    columns = ("what", *(field.replace("_", " ") for field in Usage._fields), "dollars a million")
    rows = [f"| {' | '.join(columns)} |", f"{'|---' * len(columns)}|"]
    for name, (usage, _) in runs.items():
        rows.append(f"| {name} | {' | '.join(map(str, usage))} | {usage.dollars:.2f} |")
    return "\n".join(rows)


def short_table(runs: Mapping[str, Run]) -> str:
    """Return the table of the other delivery: the most important columns of the first table."""
    rows = ["| what | write units | invocations | dollars a million |", "|---|---|---|---|"]
    for name, (usage, _) in runs.items():
        rows.append(f"| {name} | {usage.write_units} | {usage.invocations} | {usage.dollars:.2f} |")
    return "\n".join(rows)


def comparison(runs: Mapping[str, Run]) -> str:
    """Return the cost of each thing, and of whole workflows, here and in other services."""
    dollars = {name: run.usage.dollars for name, run in single(runs).items()}
    # Besides a call, the services count the start of the called function.
    rows = {name: (cost, 2 if name == REMOTE else 1) for name, cost in dollars.items()}
    ten = dollars[EXECUTION] + 10 * dollars[STEP]
    rows |= {
        "a workflow of 10 steps": (ten, 11),
        "a workflow of 10 steps and a sleep of 10 minutes": (ten + dollars[SLEEP], 12),
        "a workflow of 100 steps": (dollars[EXECUTION] + 100 * dollars[STEP], 101),
        "a workflow of 10 remote calls": (dollars[EXECUTION] + 10 * dollars[REMOTE], 21),
    }
    lines = ["| a million of | here | durable functions | Step Functions |", "|---|---|---|---|"]
    for name, (here, operations) in rows.items():
        durable, transitions = operations * DURABLE_OPERATIONS, operations * STATE_TRANSITIONS
        lines.append(f"| {name} | ${here:.2f} | ${durable:.0f} | ${transitions:.0f} |")
    return "\n".join(lines)


def checked(usages: Mapping[str, Usage], targets: Mapping[str, Target]) -> tuple[str, bool]:
    """Return the targets beside the figures, and whether every figure is within its target."""
    rows = ["| what | write units | invocations | dollars a million | within |", "|---|---|---|---|---|"]
    good = True
    for name, target in targets.items():
        usage = usages[name]
        figures = Target(usage.write_units, usage.invocations, round(usage.dollars, 2))
        within = all(figure <= limit for figure, limit in zip(figures, target, strict=True))
        cells = [f"{figure:g} of {limit:g}" for figure, limit in zip(figures, target, strict=True)]
        rows.append(f"| {name} | {' | '.join(cells)} | {'yes' if within else 'NO'} |")
        good &= within
    return "\n".join(rows), good


def main() -> int:
    parser = argparse.ArgumentParser(description="What executions cost on AWS.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare with the targets, and fail if one is exceeded")
    what.add_argument("--json", action="store_true", help="figures instead of tables")
    what.add_argument("--trace", action="store_true", help="each write of each execution")
    arguments = parser.parse_args()
    runs = measured("writer")
    if arguments.check:
        text, good = checked({name: run.usage for name, run in runs.items()}, TARGETS)
        print(text)
        return 0 if good else 1
    if arguments.trace:
        for name, (_, writes) in runs.items():
            print(name)
            for write in writes:
                print(f"  {(write.at - writes[0].at) / 1000:10.3f} s {write.row}")
        return 0
    stream = measured("stream")
    if arguments.json:
        ways = {"writer": runs, "stream": stream}
        figures = {
            way: {name: {**usage._asdict(), "dollars": round(usage.dollars, 2)} for name, (usage, _) in each.items()}
            for way, each in ways.items()
        }
        print(json.dumps(figures, indent=2))
    else:
        print(table(single(runs)), short_table(single(stream)), comparison(runs), sep="\n\n")
        print(table(combined(runs)), short_table(combined(stream)), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Latency of a deployment, modelled: the offline stack in simulated time, with a latency for every call and delivery.

    python -m benchmarks.latency [--check] [--seed N]

Prints the tables of docs/latency.md: median and 99th percentile (ms) of what users wait for, with both values of the
parameter `Delivery`. With `--check` it prints the targets beside the figures, and exits with code 1 if one is missed.

Each scenario runs once on the offline stack, with the functions of template.yaml. Then its latencies are drawn again
many times. `benchmarks/model.py` says what the model shows and what it does not. One execution runs at a time, on
functions that are warm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.model import Model, simulated
from benchmarks.simulation import mark
from resonate import Context, Resonate
from resonate_store.model.requests import PromiseSettle
from resonate_store.protocol.wire import VERSION, encode_request


class Latency(NamedTuple):
    """Median of a latency (ms), and where the figure comes from."""

    median_ms: float
    source: str


MESSAGING = "https://bitesizedserverless.com/bite/serverless-messaging-latency-compared/"
DYNAMODB = "https://aws.amazon.com/blogs/database/understanding-amazon-dynamodb-latency/"
LATENCIES = {
    "DynamoDB read": Latency(3, f"GetItem; AWS says single-digit ms ({DYNAMODB})"),
    "DynamoDB write": Latency(4, f"PutItem or UpdateItem; AWS says single-digit ms ({DYNAMODB})"),
    "DynamoDB query": Latency(5, "Query of one page; assumed, a little more than a read"),
    "DynamoDB transaction": Latency(12, "TransactWriteItems; assumed, two phases at three writes together"),
    "stream to function": Latency(225, f"from a write to the dispatcher; 213 measured, 552 at the 99th ({MESSAGING})"),
    "invoke: call": Latency(12, "until Lambda has accepted an asynchronous invocation; assumed"),
    "invoke: start": Latency(30, f"from there to the warm handler; assumed. SNS to a function is 73 ({MESSAGING})"),
    "SQS send": Latency(6, "SendMessage; assumed"),
    "SQS receive": Latency(
        30, f"from the end of the delay to the handler; 16 with the send, 105 at the 99th ({MESSAGING})"
    ),
    "Scheduler create": Latency(40, "CreateSchedule; assumed"),
    "API": Latency(15, "API Gateway and a warm synchronous invocation, without the calls of the function; assumed"),
}
"""Every latency of the model. Each has a log-normal distribution, whose 99th percentile is three times its median."""
REDRAWS = 1_000
SEED = 1
MODES = ("writer", "stream")
SLEEPS_S = (2, 2.1)
PAUSE_MS = 5_000
"""How long after the suspension the answer from outside comes."""

resonate = Resonate()
Workflow = Generator[Any, Any, None]


def step(_ctx: Context, id: str) -> None:
    mark(id, "step")


@resonate.register
def empty(_ctx: Context) -> Workflow:
    return
    yield


@resonate.register
def stepping(ctx: Context) -> Workflow:
    yield ctx.run(step, ctx.id)


@resonate.register
def calling(ctx: Context, count: int) -> Workflow:
    mark(ctx.id, "before")
    for _ in range(count):
        yield ctx.rpc("empty")
    mark(ctx.id, "after")


@resonate.register
def fanning(ctx: Context, count: int) -> Workflow:
    mark(ctx.id, "before")
    promises: list[Any] = []
    for _ in range(count):
        promises.append((yield ctx.begin_rpc("empty")))
    yield from promises
    mark(ctx.id, "after")


@resonate.register
def asking(ctx: Context) -> Workflow:
    yield (yield ctx.promise())
    mark(ctx.id, "after")


@resonate.register
def sleeping(ctx: Context, secs: float) -> Workflow:
    mark(ctx.id, "before")
    yield ctx.sleep(secs)
    mark(ctx.id, "after")


handler = resonate.handler()


class Scenario(NamedTuple):
    """Something that users wait for.

    Attributes:
        function, arguments: the workflow that shows it.
        since, until: the marks between which it is. Each is the end of an id, and a name.
        without_ms: a part of this time that is not counted (ms).
        target_ms: what the median may be with delivery by the writer.
        redraws: how often the latencies are drawn.
        by_api: whether the client uses the API. Otherwise it writes to the table itself.
    """

    function: str
    arguments: tuple[Any, ...]
    since: tuple[str, str]
    until: tuple[str, str]
    without_ms: float = 0
    target_ms: float | None = None
    redraws: int = REDRAWS
    by_api: bool = False


SCENARIOS = {
    "start to first step": Scenario("stepping", (), ("", "created"), ("", "step"), target_ms=60),
    "the same through the API, from the request": Scenario("stepping", (), ("", "asked"), ("", "step"), by_api=True),
    "start to result of an empty workflow": Scenario("empty", (), ("", "created"), ("", "settled")),
    "a remote call": Scenario("calling", (1,), ("", "before"), ("", "after"), target_ms=100),
    "10 remote calls, one after the other": Scenario("calling", (10,), ("", "before"), ("", "after"), target_ms=1_000),
    "a fan-out of 100 remote calls": Scenario("fanning", (100,), ("", "before"), ("", "after"), redraws=200),
    "resume after an answer from outside": Scenario("asking", (), (".1", "settled"), ("", "after"), target_ms=70),
    **{
        f"lateness of a sleep of {secs} s": Scenario(
            "sleeping", (secs,), ("", "before"), ("", "after"), without_ms=secs * 1000
        )
        for secs in SLEEPS_S
    },
}


class Figure(NamedTuple):
    """Median and 99th percentile of a scenario (ms)."""

    median: float
    p99: float


def start(model: Model, id: str, scenario: Scenario) -> Callable[[], object]:
    """Return what a client does to start an execution."""

    def act() -> object:
        model.simulation.mark(id, "asked")
        creation = model.creation(id, scenario.function, *scenario.arguments)
        if not scenario.by_api:
            return model.stack.store.apply(creation)
        model.hold("API")
        kind, data = encode_request(creation)
        envelope = {"kind": kind, "head": {"corrId": id, "version": VERSION}, "data": data}
        return model.stack.api(msgspec.json.encode(envelope))

    return act


def run(model: Model, id: str, scenario: Scenario) -> None:
    """Run an execution to its end, and record the run."""
    model.clear()
    model.request(start(model, id, scenario))
    if scenario.function == "asking":
        model.request(lambda: model.stack.store.apply(PromiseSettle(f"{id}.1", "resolved")), PAUSE_MS)
    record = model.stack.store.record(id)
    assert record is not None
    assert record.state == "resolved", record


def figure(taken: list[float], without_ms: float = 0) -> Figure:
    """Return median and 99th percentile of times (ms)."""
    ordered = sorted(taken)
    return Figure(*(ordered[round(share * (len(ordered) - 1))] - without_ms for share in (0.5, 0.99)))


def measured(mode: str, seed: int = SEED) -> dict[str, Figure]:
    """Return the figure of each scenario for a value of `Delivery`."""
    figures: dict[str, Figure] = {}
    medians = {name: latency.median_ms for name, latency in LATENCIES.items()}
    with simulated(seed, medians, code={"WorkerFunction": Path(__file__)}, parameters={"Delivery": mode}) as model:
        for number, (name, scenario) in enumerate(SCENARIOS.items()):
            id = f"{mode}-{number}"
            run(model, id, scenario)
            marks = model.simulation.marks
            since, until = (marks[id + end, place].node for end, place in (scenario.since, scenario.until))
            taken = model.simulation.graph.redraw(since, until, scenario.redraws)
            figures[name] = figure(taken, scenario.without_ms)
    return figures


def table(figures: Mapping[str, Mapping[str, Figure]]) -> str:
    """Return the table of the documentation, from the figures of each mode."""
    columns = [f"{mode}: {column}" for mode in figures for column in ("median", "99th percentile")]
    rows = [f"| ms | {' | '.join(columns)} |", f"{'|---' * (1 + len(columns))}|"]
    for name in SCENARIOS:
        cells = [f"{value:,.0f}" for by_name in figures.values() for value in by_name[name]]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def latencies() -> str:
    """Return the table of the assumed latencies."""
    rows = [f"| {name} | {each.median_ms} | {each.source} |" for name, each in LATENCIES.items()]
    return "\n".join(["| latency | median, ms | what it is |", "|---|---|---|", *rows])


def checked(figures: Mapping[str, Figure]) -> tuple[str, list[str]]:
    """Return the table of targets, and the names of those that are missed."""
    rows = ["| ms | target | median | |", "|---|---|---|---|"]
    missed: list[str] = []
    for name, scenario in SCENARIOS.items():
        if scenario.target_ms is None:
            continue
        if figures[name].median > scenario.target_ms:
            missed.append(name)
        verdict = "missed" if name in missed else "met"
        rows.append(f"| {name} | {scenario.target_ms:,.0f} | {figures[name].median:,.0f} | {verdict} |")
    return "\n".join(rows), missed


def main() -> int:
    parser = argparse.ArgumentParser(description="Latency of a deployment, modelled.")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    parser.add_argument("--seed", type=int, default=SEED, help="the seed of the latencies")
    arguments = parser.parse_args()
    figures = {mode: measured(mode, arguments.seed) for mode in MODES}
    print(table(figures), latencies(), sep="\n\n")
    if not arguments.check:
        return 0
    targets, missed = checked(figures["writer"])
    print(targets, sep="\n\n")
    for name in missed:
        print(f"{name} takes longer than its target", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Load on a deployment, computed: what queues, for how long, what it costs, and which limit binds first.

    python -m benchmarks.load

Prints the tables of the second part of docs/latency.md. `benchmarks/needs.py` measures what one execution needs. The
rest is arithmetic, second by second. In each second the deployment does as much as the scarcest of its `LIMITS` allows,
and the rest waits in order. What happens behind the first bottleneck is not computed.

The limits are the defaults of a new account in a large region. AWS raises most of them on request. A table on demand
often grows faster than AWS promises.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple

from benchmarks.latency import LATENCIES, MODES
from benchmarks.metering import GB_SECOND, INVOCATION_GB, LAMBDA_REQUESTS, READ_UNITS
from benchmarks.model import LANES
from benchmarks.needs import STEP_MS, STEPS, Need, Needs, measured
from benchmarks.simulation import WIDTH
from resonate_infra.effects.tick import MAX_WAKES
from resonate_store.dynamo.items import SHARDS as SHARDS_OF_INDEX


class Limit(NamedTuple):
    """Limit of AWS or of the template."""

    name: str
    value: int
    source: str


AWS = "https://docs.aws.amazon.com/"
PARTITIONS = AWS + "amazondynamodb/latest/developerguide/warm-throughput-scenarios.html"
ON_DEMAND = AWS + "amazondynamodb/latest/developerguide/on-demand-capacity-mode.html"
SQS = AWS + "lambda/latest/dg/services-sqs-scaling.html"
QUOTAS = AWS + "lambda/latest/dg/gettingstarted-limits.html"
EVENTS = AWS + "lambda/latest/dg/invocation-async-error-handling.html"
SCHEDULER = AWS + "scheduler/latest/UserGuide/scheduler-quotas.html"

NEW_TABLE = Limit("write units a second, new table", 4_000, ON_DEMAND)
DOUBLING = Limit("seconds until a table has twice as many", 1_800, ON_DEMAND)
PARTITION = Limit("write units a second, one partition", 1_000, PARTITIONS)
SHARDS = Limit("shards of the index of due records", SHARDS_OF_INDEX, "`SHARDS` of the store")
CONCURRENCY = Limit("concurrent invocations, account", 1_000, QUOTAS)
AGE = Limit("age of an asynchronous event, s", 900, "`MaximumEventAgeInSeconds` of the worker")
LONGEST_GAP = Limit("longest pause between tries of such an event, s", 300, EVENTS)
FIRST_BATCHES = Limit("batches of timers at once, at first", 5, SQS)
MORE_BATCHES = Limit("further batches each minute", 300, SQS)
TIMERS_AT_ONCE = Limit("batches of timers at once, at most", 100, "`TimerConcurrency`")
BATCH = Limit("timers in a batch", 10, "`BatchSize` of the timer queue")
LANES_OF = Limit("batches of a shard of the stream at once", LANES, "`ParallelizationFactor`")
FIRINGS = Limit("firings of Scheduler a second", 1_000, SCHEDULER)
EARLY = Limit("seconds that Scheduler fires early", 120, "rule C3")
SWEEP = Limit("seconds of a sweep", 55, "the timeout of tick, less 5 s")
LIMITS = (
    NEW_TABLE,
    DOUBLING,
    PARTITION,
    SHARDS,
    CONCURRENCY,
    AGE,
    LONGEST_GAP,
    FIRST_BATCHES,
    MORE_BATCHES,
    TIMERS_AT_ONCE,
    BATCH,
    LANES_OF,
    FIRINGS,
    EARLY,
    SWEEP,
)
HORIZON_S = 6 * 3600
WARM_UNITS = 40_000
"""Write units a second of a table that an operator has warmed."""
OFFERS_S = (30, 60, 120, 240, 300, 300, 300)
"""Seconds between two offers of a task that no worker acquires (rule L8)."""
NAMES = {
    f"execution of {STEPS} steps of {STEP_MS} ms": "execution",
    "end of a sleep": "timer",
    "remote call of many": "call",
    "repeated offer": "offer",
}
SWEEP_EVERY_S = 60
PAUSE_S = 600
"""How long (s) no worker starts."""
PAUSED_RATE = 100
"""Starts a second meanwhile."""
REFUSED_S = 0.015
"""Assumed duration of an invocation whose task another one has acquired (s)."""


class Bottleneck(NamedTuple):
    """Limit in a scenario: how much one thing needs of it, and how much there is in a second after the start."""

    name: str
    need: float
    capacity: Callable[[int], float]


class Outcome(NamedTuple):
    """What happens in a scenario.

    Attributes:
        binds: the limit that is reached first. Empty if none is.
        most: how many a second the scarcest limit allows at the end.
        waiting: the highest number of things that wait.
        longest_s: the longest that one waits.
        until_s: when nothing waits any more. None if that is not within `HORIZON_S`.
        dollars: what everything costs.
    """

    binds: str
    most: float
    waiting: float
    longest_s: float
    until_s: int | None
    dollars: float


def flow(arrivals: Sequence[float], limits: Sequence[Bottleneck], dollars: float) -> Outcome:
    """Compute second by second what is done and what waits.

    Args:
        arrivals: how many things come in each second.
        limits: what limits them.
        dollars: the cost of everything.
    """
    binds, most, waiting, longest, second = "", 0.0, 0.0, 0.0, 0
    left: deque[tuple[int, float]] = deque()
    for second in range(HORIZON_S):
        if second >= len(arrivals) and waiting < 0.5:
            break
        if second < len(arrivals):
            left.append((second, arrivals[second]))
        rate, scarce = min((limit.capacity(second) / limit.need, limit.name) for limit in limits if limit.need > 0)
        done = rate
        while left and done > 0:
            came, number = left.popleft()
            if number > done:
                left.appendleft((came, number - done))
            longest = max(longest, float(second - came)) if number else longest
            done -= min(number, done)
        waiting = sum(number for _, number in left)
        if waiting > 0.5 and not binds:
            binds = scarce
        most = max(most, waiting)
    else:
        return Outcome(binds, rate, most, longest, None, dollars)
    return Outcome(binds, rate, most, longest, second, dollars)


def table_of(need: Need, warm: bool) -> list[Bottleneck]:
    """Return the limits of the table and of its indexes, new or warmed."""
    units_a_second, doubling = NEW_TABLE.value, DOUBLING.value
    sharded = SHARDS.value * PARTITION.value

    def units_at(second: int) -> float:
        return WARM_UNITS if warm else units_a_second * 2.0 ** (second // doubling)

    def index_at(second: int) -> float:
        return min(sharded, units_at(second))

    return [
        Bottleneck("write units of the table", need.table_units, units_at),
        Bottleneck("the shards of the index `wake`", need.index_units, index_at),
        Bottleneck("the shards of the index `executions`", need.other_units, index_at),
    ]


def constant(name: str, need: float, value: float) -> Bottleneck:
    """Return a limit that does not change."""
    return Bottleneck(name, need, lambda _: value)


def batched(need: Need, a_second: float, warm: bool) -> Need:
    """Return the need with stream records in batches, as they are when so many things happen in a second.

    One thing has one record for each invocation of the dispatcher that it needs alone.
    """
    if not need.dispatches:
        return need
    lanes = LANES_OF.value * (WARM_UNITS if warm else NEW_TABLE.value) / PARTITION.value
    poll_s = LATENCIES["stream to function"].median_ms / 1000
    batch = min(100, max(1, round(need.dispatches * a_second / lanes * poll_s)))
    rounds = -(-batch // WIDTH)
    return need._replace(dispatches=need.dispatches / batch, dispatch_s=need.dispatch_s * rounds / batch)


def starts(needs: Needs, warm: bool) -> Outcome:
    """Compute 1,000 starts a second for an hour."""
    rate, seconds = 1_000, 3_600
    need = batched(needs.execution, rate, warm)
    limits = [*table_of(need, warm), constant(CONCURRENCY.name, need.seconds, CONCURRENCY.value)]
    return flow([rate] * seconds, limits, rate * seconds * need.dollars)


def timers(needs: Needs, warm: bool) -> Outcome:
    """Compute 100,000 timers of one instant."""
    count = 100_000
    limits = table_of(needs.timer, warm)
    need = batched(needs.timer, min(limit.capacity(0) / limit.need for limit in limits), warm)
    batch = BATCH.value
    rounds = -(-batch // WIDTH)

    def polled(second: int) -> float:
        pollers = FIRST_BATCHES.value + MORE_BATCHES.value / 60 * second
        return min(pollers, TIMERS_AT_ONCE.value) * batch / (rounds * need.tick_s)

    limits += [
        Bottleneck("batches of the timer queue", 1, polled),
        constant(CONCURRENCY.name, need.seconds, CONCURRENCY.value),
    ]
    return flow([count], limits, count * need.dollars)


def hot(needs: Needs, writer: bool, count: int = 10_000) -> Outcome:
    """Compute one execution that begins 10,000 remote calls at once."""
    need = needs.call
    request_s = (LATENCIES["DynamoDB write"].median_ms + writer * LATENCIES["invoke: call"].median_ms) / 1000
    limits = [
        constant("the partition of the execution", need.table_units, PARTITION.value),
        constant("the parallel requests of its worker", request_s, WIDTH),
        constant(CONCURRENCY.name, need.seconds, CONCURRENCY.value),
    ]
    return flow([count], limits, count * need.dollars)


def offers_of(created: int) -> list[int]:
    """Return when a task is offered that no worker acquires (s): at its creation, and by the sweep of each minute."""
    offers = [created]
    for gap in OFFERS_S:
        offers.append(-(-(offers[-1] + gap) // SWEEP_EVERY_S) * SWEEP_EVERY_S)
    return offers


def throttled(needs: Needs) -> Outcome:
    """Compute the starts of ten minutes in which Lambda starts no worker.

    Lambda tries the event of each offer again, at growing intervals. The first event that it tries after the pause runs
    the task.
    """
    arrivals: Counter[int] = Counter()
    repeated, longest = 0, 0
    for created in range(PAUSE_S):
        offers = offers_of(created)
        begins = min(at for offer in offers for at in tries(offer) if at >= PAUSE_S)
        repeated += PAUSED_RATE * sum(offer < begins for offer in offers[1:])
        arrivals[begins - PAUSE_S] += PAUSED_RATE
        longest = max(longest, begins - created)
    need = needs.execution
    refused = (LAMBDA_REQUESTS + READ_UNITS) / 1_000_000 + REFUSED_S * INVOCATION_GB * GB_SECOND
    count = PAUSED_RATE * PAUSE_S
    dollars = count * need.dollars + repeated * (needs.offer.dollars + refused)
    limits = [constant(CONCURRENCY.name, need.seconds, CONCURRENCY.value)]
    after = flow([arrivals[second] for second in range(max(arrivals) + 1)], limits, dollars)
    assert after.until_s is not None
    return Outcome(CONCURRENCY.name, after.most, count, longest + after.longest_s, PAUSE_S + after.until_s, dollars)


def sweeps(needs: Mapping[str, Needs]) -> str:
    """Return the table of what the sweep can offer, and of what it would have to offer in the pause."""
    minutes = Counter(offer for created in range(PAUSE_S) for offer in offers_of(created)[1:] if offer <= PAUSE_S)
    wanted = PAUSED_RATE * max(minutes.values())
    columns = ("delivery", "ms an offer", "offers of one sweep", "offers a minute, with those of the shards", "wanted")
    rows = [f"| {' | '.join(columns)} |", f"{'|---' * len(columns)}|"]
    for mode, need in needs.items():
        each = min(MAX_WAKES, SWEEP.value / need.sweep_s)
        rows.append(
            f"| {mode} | {need.sweep_s * 1000:.0f} | {each:,.0f} | {each * (1 + SHARDS.value):,.0f} | {wanted:,} |"
        )
    return "\n".join(rows)


def tries(event: int) -> Generator[int]:
    """Yield the instants (s) at which Lambda tries an event, while it starts no function."""
    at, gap = event, 1
    while at <= event + AGE.value:
        yield at
        at, gap = at + gap, min(2 * gap, LONGEST_GAP.value)


def scenarios(needs: Mapping[str, Needs]) -> dict[tuple[str, str], Outcome]:
    """Return the outcome of each scenario, by its name and the value of `Delivery`."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    for mode, need in needs.items():
        outcomes["1,000 starts a second for an hour, new table", mode] = starts(need, warm=False)
        outcomes["the same, warmed table", mode] = starts(need, warm=True)
        outcomes["100,000 timers of one instant, new table", mode] = timers(need, warm=False)
        outcomes["the same timers, warmed table", mode] = timers(need, warm=True)
        outcomes["one execution begins 10,000 calls", mode] = hot(need, mode == "writer")
        outcomes["100 starts a second, no worker for ten minutes", mode] = throttled(need)
    return dict(
        sorted(outcomes.items(), key=lambda item: list(dict.fromkeys(n for n, _ in outcomes)).index(item[0][0]))
    )


def table(outcomes: Mapping[tuple[str, str], Outcome]) -> str:
    """Return the table of the documentation."""
    columns = (
        "load",
        "delivery",
        "binds first",
        "at most a second",
        "wait at once",
        "longest wait",
        "none waits after",
        "dollars",
    )
    rows = [f"| {' | '.join(columns)} |", f"{'|---' * len(columns)}|"]
    for (name, mode), each in outcomes.items():
        until = f"more than {HORIZON_S // 3600} h" if each.until_s is None else duration(each.until_s)
        cells = [name, mode, each.binds or "nothing", f"{each.most:,.0f}", f"{each.waiting:,.0f}"]
        cells += [duration(each.longest_s), until, f"{each.dollars:,.2f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def duration(seconds: float) -> str:
    """Return a duration in s, or in min if it is long."""
    return f"{seconds:,.0f} s" if seconds < 180 else f"{seconds / 60:,.0f} min"


def needs_table(needs: Mapping[str, Needs]) -> str:
    """Return the table of what one thing needs."""
    columns = ("table", "`wake`", "`executions`", "reads", "worker", "tick", "dispatch", "seconds")
    rows = [f"| one | delivery | {' | '.join(columns)} |", f"{'|---' * (2 + len(columns))}|"]
    for name, field in NAMES.items():
        for mode, each in needs.items():
            need: Need = getattr(each, field)
            figures = (*need[:4], need.workers, need.ticks, need.dispatches, need.seconds)
            cells = [f"{figure:.2f}".rstrip("0").rstrip(".") for figure in figures]
            rows.append(f"| {name} | {mode} | {' | '.join(cells)} |")
    return "\n".join(rows)


def limits_table() -> str:
    """Return the table of the limits."""
    rows = [f"| {limit.name} | {limit.value:,} | {limit.source} |" for limit in LIMITS]
    return "\n".join(["| limit | value | source |", "|---|---|---|", *rows])


def main() -> int:
    argparse.ArgumentParser(description="Load on a deployment, computed.").parse_args()
    needs = {mode: measured(mode) for mode in MODES}
    print(table(scenarios(needs)), needs_table(needs), sweeps(needs), limits_table(), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

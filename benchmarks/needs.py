"""What executions need on AWS, measured on the offline stack in simulated time, for `benchmarks/load.py`.

Write units are computed as in `benchmarks/metering.py`, for the table and for each index apart. Durations are those
of the calls, with the latencies of `benchmarks/latency.py`, and an assumed processor time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.latency import LATENCIES, SEED
from benchmarks.metering import (
    GB_SECOND,
    INDEXES,
    INVOCATION_GB,
    LAMBDA_REQUESTS,
    READ_UNITS,
    SQS_REQUESTS,
    WRITE_UNITS,
    units,
)
from benchmarks.model import Model, simulated
from resonate import Context, Resonate
from resonate_store.model.clock import ambient

PROCESSOR_MS = 10
"""Assumed processor time of an invocation. The simulation counts only the time of calls."""
STEPS = 3
STEP_MS = 100
NAP_S = 60
FEW, MANY = 30, 40
"""The sizes of two fan-outs. The difference shows what one call needs. Smaller ones are suspended meanwhile."""
OFFERED = 10
"""How many tasks the sweep offers that shows what one offer needs."""
FUNCTIONS = ("WorkerFunction", "TickFunction", "DispatchFunction")

resonate = Resonate()
Workflow = Generator[Any, Any, None]


def step(_ctx: Context) -> None:
    ambient().sleep(STEP_MS)


@resonate.register
def working(ctx: Context) -> Workflow:
    for _ in range(STEPS):
        yield ctx.run(step)


@resonate.register
def napping(ctx: Context) -> Workflow:
    yield ctx.sleep(NAP_S)


@resonate.register
def empty(_ctx: Context) -> Workflow:
    return
    yield


@resonate.register
def fanning(ctx: Context, count: int) -> Workflow:
    promises: list[Any] = []
    for _ in range(count):
        promises.append((yield ctx.begin_rpc("empty")))
    yield from promises


handler = resonate.handler()


class Need(NamedTuple):
    """What something needs. Numbers are for one of it.

    Attributes:
        table_units, index_units: write units of the table, and of the index of due records.
        other_units: write units of the other index.
        reads: read units.
        items: records that are deleted after the retention, for a write unit each.
        messages: SQS messages.
        worker_s, tick_s, dispatch_s: seconds of invocations.
        workers, ticks, dispatches: invocations.
    """

    table_units: float
    index_units: float
    other_units: float
    reads: float
    items: float
    messages: float
    worker_s: float
    tick_s: float
    dispatch_s: float
    workers: float
    ticks: float
    dispatches: float

    def less(self, other: Need, times: float = 1) -> Need:
        """Return a share of the difference from another need."""
        return Need(*((mine - theirs) / times for mine, theirs in zip(self, other, strict=True)))

    @property
    def seconds(self) -> float:
        """Seconds of all invocations."""
        return self.worker_s + self.tick_s + self.dispatch_s

    @property
    def dollars(self) -> float:
        """The cost of one, with its deletion after the retention."""
        million = (
            (self.table_units + self.index_units + self.other_units + self.items) * WRITE_UNITS
            + self.reads * READ_UNITS
            + (self.workers + self.ticks + self.dispatches) * LAMBDA_REQUESTS
            + self.messages * 3 * SQS_REQUESTS
        )
        return million / 1_000_000 + self.seconds * INVOCATION_GB * GB_SECOND


def start(model: Model, id: str, function: str, *arguments: Any) -> None:
    """Start an execution, and run it to its end."""
    model.request(lambda: model.stack.store.apply(model.creation(id, function, *arguments)))


def needed(model: Model) -> Need:
    """Return what the run needed."""
    changes, calls = model.changes, model.calls
    parts = Counter[str]()
    for change in changes:
        bare = {side: without_indexes(change.get(side, {})) for side in ("OldImage", "NewImage")}
        parts["table"] += units(*bare.values())
        for keys in INDEXES:
            image = {side: {**bare[side], **partition_of(change.get(side, {}), keys[0])} for side in bare}
            parts[keys[0]] += max(0, units(*image.values()) - units(*bare.values()))
    items = len({str(change["Keys"]) for change in changes if "state" in change.get("NewImage", {})})
    counts = Counter(function for function, _ in model.invocations)
    durations = {function: counts[function] * PROCESSOR_MS / 1000 for function in FUNCTIONS}
    for function, milliseconds in model.invocations:
        durations[function] += milliseconds / 1000
    writes = sum(calls[operation] for operation in ("PutItem", "UpdateItem", "DeleteItem"))
    # A write whose condition fails costs a unit and is not on the stream. A transaction has two items.
    failed = max(0, writes + 2 * calls["TransactWriteItems"] - len(changes))
    return Need(
        # An item in a transaction costs a unit more.
        parts["table"] + failed + 2 * calls["TransactWriteItems"],
        parts["wake_shard"],
        parts["execution_state"],
        calls["GetItem"] + calls["Query"],
        items,
        calls["SendMessage"],
        *(durations[function] for function in FUNCTIONS),
        *(counts[function] for function in FUNCTIONS),
    )


def without_indexes(image: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image without the attributes that place it in an index."""
    partitions = [partition for partition, _ in INDEXES]
    return {name: value for name, value in image.items() if name not in partitions}


def partition_of(image: Mapping[str, Any], partition: str) -> dict[str, Any]:
    """Return the attribute that places an image in an index, if it has it."""
    return {partition: image[partition]} if partition in image else {}


class Needs(NamedTuple):
    """What the things of the scenarios need.

    Attributes:
        execution: an execution of `STEPS` steps.
        timer: the end of a sleep, from the message to the end of the workflow.
        call: one remote call of many that an execution begins at once.
        offer: a task that the sweep offers again.
        sweep_s: seconds of a sweep for one offer.
    """

    execution: Need
    timer: Need
    call: Need
    offer: Need
    sweep_s: float


def measured(mode: str) -> Needs:
    """Return what everything needs with a value of `Delivery`."""
    medians = {name: latency.median_ms for name, latency in LATENCIES.items()}
    arguments = {"code": {"WorkerFunction": Path(__file__)}, "parameters": {"Delivery": mode}}
    with simulated(SEED, medians, 1.0, **arguments) as model:

        def run(id: str, function: str, *arguments: Any) -> Need:
            model.clear()
            start(model, f"{mode}-{id}", function, *arguments)
            return needed(model)

        execution = run("a", "working")
        empty_nap = run("b", "napping")
        begun = begun_of(model, f"{mode}-c")
        few, many = run("d", "fanning", FEW), run("e", "fanning", MANY)
        return Needs(execution, empty_nap.less(begun), many.less(few, MANY - FEW), *offered(model, mode))


def begun_of(model: Model, id: str) -> Need:
    """Return what a sleeping workflow needs until it sleeps."""
    model.clear()
    ends = model.simulation.instant + NAP_S * 500
    needs: list[Need] = []
    model.simulation.at(ends, lambda: needs.append(needed(model)))
    start(model, id, "napping")
    return needs[0]


def offered(model: Model, mode: str) -> tuple[Need, float]:
    """Return what the repeated offer of a task needs, and the seconds of a sweep for it."""
    model.workers_run = False
    for number in range(OFFERED):
        start(model, f"{mode}-f{number}", "empty")
    model.clear()

    def sweep() -> object:
        return model.invoke("TickFunction", {"kind": "sweep"})

    model.request(sweep, 31_000)
    full, seconds = needed(model), model.invocations[0][1]
    model.clear()
    model.request(sweep, 1_000)
    idle, idle_seconds = needed(model), model.invocations[0][1]
    model.workers_run = True
    return full.less(idle, OFFERED), (seconds - idle_seconds) / 1000 / OFFERED

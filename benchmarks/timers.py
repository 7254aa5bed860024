"""Benchmark of a million timers, and of schedules, on a clock that is moved: each fires once, at its instant.

    python benchmarks/timers.py [--check] [--timers N] [--schedules N] [--sleepers N]

Prints how many there were, and the seconds that the store in memory took to create them and to run through a year. A
firing at another instant than its own, a missing firing or a second one is an error.

Also prints the bytes that each of ten thousand sleeping workflows takes beyond its records. With `--check` the exit
code is 1 when these are too many.
"""

import argparse
import gc
import json
import random
import sys
import threading
import time
import tracemalloc
from collections.abc import Generator
from typing import Any, cast

import msgspec

from resonate import Context, Resonate
from resonate.payloads import codec
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.cron import next_occurrence
from resonate_store.model.records import Record
from resonate_store.model.requests import PromiseCreate
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleDelete
from resonate_store.model.tags import ORIGIN, TARGET, TIMER

YEAR = 365 * 86_400_000
DAY = 86_400
CRONS = ("0 9 * * mon-fri", "30 2 * * *", "0 0 1,15 * fri", "@weekly", "@monthly", "15 */8 * * *")
MOST_BYTES = 2_048
"""The number of bytes beyond its records at which a sleeping workflow fails the check."""
ZONES = (None, "America/New_York", "Europe/Berlin", "Asia/Kathmandu")


def simulate(timers: int, schedules: int, seed: int = 0, span: int = YEAR) -> dict[str, float]:
    """Create random timers and schedules, and move the clock over a span of time.

    Args:
        timers: the number of timers.
        schedules: the number of schedules.
        seed: of the random numbers.
        span: milliseconds.

    Returns:
        How many there were, and the seconds that it took to create them and to run through the span.

    Raises:
        AssertionError: a timer or a schedule fired early, late, twice or not at all.
    """
    numbers = random.Random(seed)
    clock = ManualClock()
    store = MemoryStore(clock)
    begin = clock.now()
    began = time.perf_counter()
    deadlines: dict[str, int] = {}
    for n in range(timers):
        # Many are due at the same instant, some at once, some after the end.
        at = begin + numbers.choice((0, 1, 1000, 60_000, span, numbers.randrange(span), numbers.randrange(2 * span)))
        deadlines[f"t.{n}"] = at
        store.apply(PromiseCreate(f"t.{n}", at, tags={TIMER: "true", ORIGIN: "t"}))
    definitions: dict[str, tuple[str, str | None]] = {}
    for n in range(schedules):
        id, cron, zone = f"s{n}", numbers.choice(CRONS), numbers.choice(ZONES)
        definitions[id] = cron, zone
        # The promises time out at once, so that they need no worker.
        store.apply(
            ScheduleCreate(id, cron, "{{.id}}.{{.timestamp}}", 0, promise_tags={TARGET: "http://w"}, timezone=zone)
        )
    created = time.perf_counter() - began
    began = time.perf_counter()
    while (at := store.next_wake_at()) is not None and at <= begin + span:
        clock.advance_to(at)
        store.tick()
    passed = time.perf_counter() - began
    occurrences = _check(store, deadlines, definitions, begin, begin + span)
    for id in definitions:
        store.apply(ScheduleDelete(id))
    return {"timers": timers, "schedules": schedules, "occurrences": occurrences, "create_s": created, "pass_s": passed}


def nap(ctx: Context) -> Generator[Any, Any, str]:
    yield ctx.sleep(DAY)
    return "rested"


def _size_of(records: list[Record]) -> int:
    """Return the bytes that records and their values take in memory. Shared values count once."""
    seen: set[int] = set()
    total, open_ = 0, cast("list[object]", list(records))
    while open_:
        each = open_.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        match each:
            case msgspec.Struct():
                open_ += [getattr(each, name) for name in each.__struct_fields__]
            case dict():
                open_ += [*each.keys(), *each.values()]
            case tuple() | list():
                open_ += each
            case _:
                pass
    return total


def sleepers(count: int) -> float:
    """Start workflows that sleep for a day, and return the bytes that each takes beyond its records.

    Raises:
        AssertionError: they took a thread, or were not resumed.
    """
    clock = ManualClock()
    store = MemoryStore(clock)
    offered: list[dict[str, Any]] = []
    resonate = Resonate(store=store)
    resonate.register(nap)
    store.subscribe(send=lambda _, message: offered.append(message))
    store.subscribe(on_wake=lambda _: None)  # this function moves the clock
    handler = resonate.handler()
    call = codec.encode({"func": "nap", "args": [], "kwargs": {}, "version": 1}, "the call")

    def begin(id: str) -> None:
        store.apply(PromiseCreate(id, clock.now() + 10 * DAY * 1000, call, {TARGET: "lambda://worker"}))
        assert handler(offered.pop(), None)["status"] == "suspended"

    begin("first")  # imports and caches are filled once
    threads = threading.active_count()
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for n in range(count):
            begin(f"w{n}")
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        beyond = (after - before - _size_of(store.records())) / count
    finally:
        tracemalloc.stop()
    assert threading.active_count() == threads, "threads wait"
    clock.advance(DAY * 1000)
    store.tick()
    assert len(offered) == count + 1, "not all were woken"
    assert handler(offered.pop(), None)["status"] == "completed"
    return beyond


def _check(
    store: MemoryStore, deadlines: dict[str, int], definitions: dict[str, tuple[str, str | None]], begin: int, end: int
) -> int:
    for id, at in deadlines.items():
        record = store.record(id)
        assert record is not None, f"{id} is lost"
        if at > end:
            assert record.pending, f"{id} is early"
            continue
        # A timer that is due when it is created is stored settled. Any other is written twice.
        assert (record.state, record.settled_at, record.written_at) == ("resolved", at, at), f"{id}: {record}"
        assert record.rev == (1 if at == begin else 2), f"{id} was settled {record.rev} times"
    expected: set[str] = set()
    for id, (cron, zone) in definitions.items():
        at = begin
        while (at := next_occurrence(cron, at, zone)) <= end:
            expected.add(f"{id}.{at}")
            record = store.record(f"{id}.{at}")
            assert record is not None, f"{id}.{at} is lost"
            assert (record.created_at, record.written_at) == (at, at), f"{id}.{at} is late: {record}"
    assert len(store.records()) == len(deadlines) + len(expected), "more happened than should"
    return len(expected)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help=f"fail at {MOST_BYTES} bytes for a sleeping workflow")
    parser.add_argument("--timers", type=int, default=1_000_000)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--sleepers", type=int, default=10_000)
    options = parser.parse_args()
    result = simulate(options.timers, options.schedules)
    result |= {"sleepers": options.sleepers, "bytes_beyond_records": sleepers(options.sleepers)}
    print(json.dumps({name: round(value, 1) for name, value in result.items()}, indent=2))
    sys.exit(1 if options.check and result["bytes_beyond_records"] >= MOST_BYTES else 0)

"""Timers and schedules by the million under a clock that is moved: none early, none lost, none twice.

    python benchmarks/timers.py [--timers N] [--schedules N]

Prints how many there were, and how long the store in memory took to create them and to let a year pass. Anything that
happened at another instant than it should, or not once, ends it with an error.
"""

import argparse
import json
import random
import time

from resonate_store.clock import ManualClock
from resonate_store.cron import next_occurrence
from resonate_store.memory import MemoryStore
from resonate_store.records import ORIGIN, TARGET, TIMER
from resonate_store.requests import PromiseCreate, ScheduleCreate, ScheduleDelete

YEAR = 365 * 86_400_000
CRONS = ("0 9 * * mon-fri", "30 2 * * *", "0 0 1,15 * fri", "@weekly", "@monthly", "15 */8 * * *")
ZONES = (None, "America/New_York", "Europe/Berlin", "Asia/Kathmandu")


def simulate(timers: int, schedules: int, seed: int = 0, span: int = YEAR) -> dict[str, float]:
    """Create random timers and schedules, and let `span` milliseconds pass.

    Raises:
        AssertionError: something happened early, late, twice or not at all.
    """
    numbers = random.Random(seed)
    clock = ManualClock()
    store = MemoryStore(clock)
    begin = clock.now()
    began = time.perf_counter()
    deadlines: dict[str, int] = {}
    for n in range(timers):
        # Many at the same instant, some at once, some after the end.
        at = begin + numbers.choice((0, 1, 1000, 60_000, span, numbers.randrange(span), numbers.randrange(2 * span)))
        deadlines[f"t.{n}"] = at
        store.apply(PromiseCreate(f"t.{n}", at, tags={TIMER: "true", ORIGIN: "t"}))
    definitions: dict[str, tuple[str, str | None]] = {}
    for n in range(schedules):
        id, cron, zone = f"s{n}", numbers.choice(CRONS), numbers.choice(ZONES)
        definitions[id] = cron, zone
        # Over at once, so that no worker is waited for.
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


def _check(
    store: MemoryStore, deadlines: dict[str, int], definitions: dict[str, tuple[str, str | None]], begin: int, end: int
) -> int:
    for id, at in deadlines.items():
        record = store.record(id)
        assert record is not None, f"{id} is lost"
        if at > end:
            assert record.pending, f"{id} is early"
            continue
        # A timer that is over when it is created is stored settled; any other is written twice.
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
    parser.add_argument("--timers", type=int, default=1_000_000)
    parser.add_argument("--schedules", type=int, default=200)
    options = parser.parse_args()
    result = simulate(options.timers, options.schedules)
    print(json.dumps({name: round(value, 1) for name, value in result.items()}, indent=2))

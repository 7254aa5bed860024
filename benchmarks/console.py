"""Time of two pages of the console, beside `GET /health` in the same run.

    python -m benchmarks.console [--check] [--executions N] [--steps N] [--requests N]

A file of the development server has 100,000 executions, and one execution of 10,000 steps. Prints the time (ms) of the
list, of opening the long execution, and of its rows in the middle, for which all records are read. Each is divided by
`GET /health` of the same moments: the 95th percentiles of the list, the medians of the opening. With `--check` the exit
code is 1 when a ratio is over its limit. The templates are loaded before.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.executions import T0, fill, health, served
from resonate.payloads.codec import encode, encode_call
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import END_OF_TIME
from resonate_store.model.requests import PromiseCreate, PromiseRecord, PromiseSettle
from resonate_store.model.tags import BRANCH, FUNC, ORIGIN, PARENT, PREFIX, SCOPE, TARGET

LIMITS = {"list": 30, "open": 100}
"""The largest ratio of each page."""
LONG = "long"
"""The id of the execution with many steps."""


def add_long(path: Path, steps: int) -> None:
    """Add an execution with many steps to a file."""
    clock = ManualClock(T0)
    store = SqliteStore(path, clock, synchronous="off")
    lineage = dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), LONG)
    tags = {**lineage, TARGET: "poll://any@worker", FUNC: "stocktake"}
    store.apply(PromiseCreate(LONG, END_OF_TIME, encode_call("stocktake", (), {}, 1), tags))

    def step(number: int) -> None:
        of_step = {**lineage, SCOPE: "local", FUNC: "count"}
        value = encode({"shelf": number}, "a value")
        store.apply(PromiseRecord(f"{LONG}.{number}", END_OF_TIME, clock.now(), "resolved", value, tags=of_step))

    def some(start: int) -> Callable[[], object]:
        return lambda: [step(number) for number in range(start, min(start + 500, steps + 1))]

    for start in range(1, steps + 1, 500):
        clock.advance(500)
        store.together([some(start), list])
    store.apply(PromiseSettle(LONG, "resolved"))
    store.close()


def opened(connection: http.client.HTTPConnection, path: str) -> float:
    """Open a page, and return how long that took, in milliseconds."""
    begin = time.perf_counter()
    connection.request("GET", f"/console{path}")
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise SystemExit(f"{path} answers {response.status}: {body[:200]!r}")
    return (time.perf_counter() - begin) * 1000


def healths(connection: http.client.HTTPConnection, requests: int) -> list[float]:
    """Return the times of several `GET /health`, in milliseconds."""
    times: list[float] = []
    for _ in range(requests):
        begin = time.perf_counter()
        health(connection)
        times.append((time.perf_counter() - begin) * 1000)
    return times


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]


def measured(path: Path, requests: int) -> dict[str, Any]:
    """Return the times (ms) and ratios of the pages of a server on a file."""
    with served(path) as connection:
        healths(connection, requests)
        opened(connection, "/execution?id=e7")
        opened(connection, "/executions")
        times: dict[str, list[float]] = {"list": [], "open": [], "health": []}
        for _ in range(requests):
            times["list"].append(opened(connection, "/executions"))
            times["open"].append(opened(connection, f"/execution?id={LONG}"))
            times["health"] += healths(connection, 2)
        middle = opened(connection, f"/execution?id={LONG}&part=rows&from=50")
    lists, opening, base = p95(times["list"]), statistics.median(times["open"]), times["health"]
    return {
        "ms": {
            "health": statistics.median(base),
            "health p95": p95(base),
            "list p95": lists,
            "open": opening,
            "all records": middle,
        },
        "ratios": {"list": lists / p95(base), "open": opening / statistics.median(base)},
        "limits": LIMITS,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a ratio is over its limit")
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "promises.db"
        fill(path, options.executions)
        add_long(path, options.steps)
        figures = measured(path, options.requests)
    print(json.dumps(figures, indent=2))
    over = [name for name, limit in LIMITS.items() if figures["ratios"][name] > limit]
    return 1 if options.check and over else 0


if __name__ == "__main__":
    sys.exit(main())

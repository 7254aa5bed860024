"""Time of a page of executions on the development server, beside `GET /health` in the same run.

    python benchmarks/executions.py [--check] [--executions N] [--requests N]

A file of the development server has 100,000 executions: most have ended, some have failed, and 1,000 are pending in
each of three statuses. Prints the median and the 95th percentile (ms) of each question of a list, and their ratios to
those of `GET /health`. The ratio of the percentiles of the common questions has a limit. With `--check` the exit code
is 1 when one is over it.

A question by function or tag has no index, so the server reads at most 1,000 executions for one page. Its ratio is
shown and has no limit.
"""

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from resonate.payloads.codec import encode, encode_error
from resonate_store.local.sqlite import SqliteStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import END_OF_TIME
from resonate_store.model.requests import PromiseCreate, PromiseSettle, TaskCreate, TaskHalt, TaskSuspend
from resonate_store.model.tags import BRANCH, FUNC, ORIGIN, PARENT, PREFIX, TARGET, TIMER

ROOT = Path(__file__).parents[1]
LIMIT = 15
"""The largest 95th percentile of a common question, divided by that of `GET /health`."""
PAGE = 50
"""How many executions a page has."""
PENDING = 1_000
"""How many executions wait for a promise, how many wait for their next attempt, and how many are halted."""
T0 = 1_790_000_000_000

COMMON: dict[str, tuple[str, dict[str, Any]]] = {
    "all": ("execution.search", {}),
    "failed": ("execution.search", {"state": "failed"}),
    "pending": ("execution.search", {"state": "pending"}),
    "retrying": ("execution.search", {"state": "retrying"}),
    "failed in a time": ("execution.search", {"state": "failed", "since": T0 + 1_000, "until": T0 + 50_000}),
    "one": ("execution.get", {"id": "e7"}),
}
"""The questions that an index answers, as kind and data of the request."""
OTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "a rare function": ("execution.search", {"func": "rare"}),
    "an id prefix": ("execution.search", {"id": "e7"}),
    "counts": ("execution.count", {}),
}


def fill(path: Path, executions: int) -> None:
    """Write a file with executions."""
    clock = ManualClock(T0)
    store = SqliteStore(path, clock, synchronous="off")
    param = encode(
        {"func": "order", "args": [1, {"customer": "c-17", "items": [1, 2, 3]}], "kwargs": {}, "version": 1}, "param"
    )
    value, error = encode({"charged": 30, "currency": "EUR"}, "value"), encode_error(ValueError("no stock of item 7"))

    def one(number: int) -> None:
        id = f"e{number}"
        lineage = {ORIGIN: id, BRANCH: id, PARENT: id, PREFIX: id}
        root = {**lineage, TARGET: "poll://any@worker", FUNC: "rare" if number == 0 else "order"}
        creation = PromiseCreate(id, END_OF_TIME, param, root)
        kind = number // PENDING
        if kind > 2:
            store.apply(creation)
            failed = number % 50 == 0
            store.apply(PromiseSettle(id, "rejected" if failed else "resolved", error if failed else value))
            return
        store.apply(TaskCreate("p", 60_000, creation))
        if kind == 2:
            store.apply(TaskHalt(id, 1, "halted"))
            return
        awaited = f"{id}.1~1" if kind == 1 else f"{id}.1"
        tags = {**lineage, TIMER: "true"}
        store.apply(PromiseCreate(awaited, END_OF_TIME, error if kind == 1 else param, tags))
        store.apply(TaskSuspend(id, 1, (awaited,)))

    for start in range(0, executions, 500):
        clock.advance(500)
        store.together([partial(one, number) for number in range(start, min(start + 500, executions))])
    store.close()


@contextmanager
def served(path: Path) -> Generator[http.client.HTTPConnection]:
    """Start a development server on a file, and yield a connection to it."""
    program = [sys.executable, "-m", "resonate_infra.cli", "dev", "--port", "0", "--data", str(path)]
    server = subprocess.Popen(program, stderr=subprocess.PIPE, cwd=ROOT, text=True, start_new_session=True)
    assert server.stderr is not None
    try:
        listening = re.search(r"listening on http://(\S+),", server.stderr.readline())
        if listening is None:
            raise SystemExit("the development server does not start")
        with closing(http.client.HTTPConnection(listening[1], timeout=60)) as connection:
            yield connection
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        server.stderr.close()


def health(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/health")
    connection.getresponse().read()


def question(connection: http.client.HTTPConnection, kind: str, data: dict[str, Any]) -> Any:
    if kind == "execution.search":
        data = {"limit": PAGE, **data}
    envelope = {"kind": kind, "head": {"corrId": "1", "version": "2026-04-01"}, "data": data}
    connection.request("POST", "/", json.dumps(envelope), {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = json.loads(response.read())
    if response.status != 200:
        raise SystemExit(f"{kind} {data}: {body}")
    return body["data"]


def taken_ms(calls: list[Callable[[], object]], requests: int) -> list[tuple[float, float]]:
    """Return the median and the 95th percentile of each call (ms). The calls take turns: a busy machine slows all."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(requests):
        for call, times in zip(calls, taken, strict=True):
            began = time.perf_counter()
            call()
            times.append((time.perf_counter() - began) * 1000)
    return [(statistics.median(times), statistics.quantiles(times, n=20)[-1]) for times in taken]


def measure(executions: int, requests: int) -> dict[str, dict[str, float]]:
    """Return the median and the 95th percentile (ms) of each question, and their ratios to those of `GET /health`."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "promises.sqlite"
        fill(path, executions)
        with served(path) as connection:
            asked = {**COMMON, **OTHER}
            calls: list[Callable[[], object]] = [lambda: health(connection)]
            calls += [lambda kind=kind, data=data: question(connection, kind, data) for kind, data in asked.values()]
            taken_ms(calls, 5)
            taken = taken_ms(calls, requests)
    (base, base_p95), *_ = taken
    return {
        name: {
            "median_ms": round(median, 3),
            "p95_ms": round(p95, 3),
            "median_ratio": round(median / base, 1),
            "ratio": round(p95 / base_p95, 1),
        }
        for name, (median, p95) in zip(("GET /health", *asked), taken, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with code 1 if a ratio is over its limit")
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=300)
    options = parser.parse_args()
    figures = measure(options.executions, options.requests)
    print(json.dumps(figures, indent=2))
    over = [name for name in COMMON if figures[name]["ratio"] > LIMIT]
    if options.check and over:
        raise SystemExit(f"over {LIMIT} times GET /health: {', '.join(over)}")


if __name__ == "__main__":
    main()

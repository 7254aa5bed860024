"""Time of a step over HTTP, beside restate-server in the same run.

    python benchmarks/remote.py [--check] [--workflows N] [--steps N] [--rounds N]

A client starts 200 workflows of 10 trivial steps one after the other, and waits for the result of each. Prints the
time (us) of a step on the development server, with promises in memory and with `--data`, and their ratios to
restate-server. Both ratios have a limit.

The peer is `restate-server` of npm (`@restatedev/restate-server`, on the path or in `node_modules`) with its Python
SDK (the extra `peers`). It has its own settings, so it writes to the disk. Its service runs in a process of its own,
and the client calls its ingress. On our side the client is also the worker. If the peer is not installed, the output
names it. With `--check` the exit code is 1 when a ratio is over its limit.

The sides take turns in rounds, so that a busy machine slows all of them. Each ratio is the median of the ratios of the
rounds. The files of both products are in the directory for temporary files (`TMPDIR`).
"""

import argparse
import asyncio
import functools
import http.client
import importlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from resonate import Context, Resonate

ROOT = Path(__file__).parents[1]
PEER = "restate-server"
LIMITS = {"memory": 0.5, "data": 0.75}
"""The largest time of a step on each of our stores, divided by that of the peer."""
PATIENCE_S = 60.0
"""Seconds after which a server that does not answer is given up."""

Run = Callable[[int], object]
"""Runs one workflow with this number of steps."""
numbers = count(1)


def step(_: Context, n: int) -> int:
    return n + 1


def work(ctx: Context, steps: int) -> Generator[Any, Any, int]:
    n = 0
    for _ in range(steps):
        n = yield ctx.run(step, n)
    return n


@contextmanager
def process(*command: str, environment: dict[str, str] | None = None, log: Any = subprocess.DEVNULL) -> Generator[Any]:
    """Run a program while the block runs. It is killed with the programs that it has started."""
    env = None if environment is None else {**os.environ, **environment}
    program = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=log, env=env, cwd=ROOT, text=True, start_new_session=True
    )
    try:
        yield program
    finally:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


@contextmanager
def ours(directory: Path | None) -> Generator[Run]:
    """Start a development server, and yield the function that runs a workflow on it."""
    kept = () if directory is None else ("--data", str(directory / "promises.sqlite"))
    program = ("-m", "resonate_infra.cli", "dev", "--port", "0", *kept)
    with process(sys.executable, *program, log=subprocess.PIPE) as server:
        listening = re.search(r"listening on (\S+),", server.stderr.readline())
        if listening is None:
            raise SystemExit("the development server does not start")
        resonate = Resonate.remote(url=listening[1], log_level="WARNING")
        resonate.register(work)
        try:
            yield lambda steps: resonate.run(f"w{next(numbers)}", work, steps)
        finally:
            resonate.stop()
            server.stderr.close()


def program_of_peer() -> str | None:
    """Return the peer's program if it and its SDK are installed."""
    places = os.pathsep.join([os.environ.get("PATH", ""), str(ROOT / "node_modules" / ".bin")])
    installed = all(importlib.util.find_spec(module) for module in ("restate", "hypercorn"))
    return shutil.which(PEER, path=places) if installed else None


@contextmanager
def peer(program: str, directory: Path) -> Generator[Run]:
    """Start the peer with a service, and yield the function that runs a workflow on it."""
    ingress, admin, node, service = free_ports(4)
    settings = {
        "RESTATE_BASE_DIR": str(directory / "restate"),
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "RESTATE_BIND_PORT": str(node),
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
    }
    with (
        open(directory / "restate.log", "w") as log,
        process(program, environment=settings, log=log),
        process(sys.executable, __file__, "--service", str(service), log=log),
    ):
        wait_for(admin, "GET", "/health")
        wait_for(service, "GET", "/health")
        wait_for(admin, "POST", "/deployments", {"uri": f"http://127.0.0.1:{service}"})
        wait_for(ingress, "POST", "/Work/run", 1)
        connection = http.client.HTTPConnection("127.0.0.1", ingress)
        yield lambda steps: posted(connection, "POST", "/Work/run", steps)
        connection.close()


def free_ports(many: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(many)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(port: int, method: str, path: str, content: Any = None) -> None:
    """Make a request until it succeeds."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            posted(http.client.HTTPConnection("127.0.0.1", port, timeout=5), method, path, content)
            return
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > end:
                raise SystemExit(f"{PEER} does not answer {method} {path}: {error}") from error
            time.sleep(0.1)


def posted(connection: http.client.HTTPConnection, method: str, path: str, content: Any) -> bytes:
    """Make one request of the peer, and return the body of its answer."""
    headers = {} if content is None else {"Content-Type": "application/json"}
    connection.request(method, path, None if content is None else json.dumps(content), headers)
    response = connection.getresponse()
    body = response.read()
    if response.status >= 300:
        raise http.client.HTTPException(f"{response.status} {body[:200]!r}")
    return body


def serve_peer(port: int) -> None:
    """Serve the peer's service: the same workflow, written for its SDK."""
    hypercorn: Any = importlib.import_module("hypercorn")
    serve: Any = importlib.import_module("hypercorn.asyncio").serve
    restate: Any = importlib.import_module("restate")
    service = restate.Service("Work")

    @service.handler()
    async def run(ctx: Any, steps: int) -> int:
        n = 0
        for number in range(steps):
            n = await ctx.run_typed(f"step {number}", functools.partial(add, n))
        return n

    async def add(n: int) -> int:
        return n + 1

    config = hypercorn.Config()
    config.bind = [f"127.0.0.1:{port}"]
    asyncio.run(serve(restate.app([service]), config))


def microseconds(run: Run, workflows: int, steps: int) -> float:
    """Return the time (us) of a step of workflows that run one after the other."""
    began = time.perf_counter()
    for _ in range(workflows):
        run(steps)
    return (time.perf_counter() - began) * 1e6 / (workflows * steps)


def measure(workflows: int, steps: int, rounds: int) -> dict[str, Any]:
    """Return the times (us) of a step, and the ratios to the peer if it is installed."""
    program = program_of_peer()
    taken: dict[str, list[float]] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        sides = {"memory": stack.enter_context(ours(None)), "data": stack.enter_context(ours(directory))}
        if program is not None:
            sides[PEER] = stack.enter_context(peer(program, directory))
        for name, run in sides.items():
            microseconds(run, 5, steps)  # open connections
            taken[name] = []
        for _ in range(rounds):
            for name, run in sides.items():
                taken[name].append(microseconds(run, max(1, workflows // rounds), steps))
    us: dict[str, Any] = {name: round(statistics.median(each), 1) for name, each in taken.items()}
    if program is None:
        return {"us_per_step": {**us, PEER: "not installed"}, "limits": LIMITS}
    ratios = {
        name: round(statistics.median(a / b for a, b in zip(taken[name], taken[PEER], strict=True)), 2)
        for name in LIMITS
    }
    return {"us_per_step": us, "ratios": ratios, "limits": LIMITS}


def main() -> int:
    parser = argparse.ArgumentParser(description="What a step over HTTP takes, beside restate-server.")
    parser.add_argument("--check", action="store_true", help="fail when a ratio is over its limit")
    parser.add_argument("--workflows", type=int, default=200, help="workflows of all rounds")
    parser.add_argument("--steps", type=int, default=10, help="steps of each workflow")
    parser.add_argument("--rounds", type=int, default=10, help="how often the sides take turns")
    parser.add_argument("--service", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.service is not None:
        serve_peer(arguments.service)
        return 0
    figures = measure(arguments.workflows, arguments.steps, arguments.rounds)
    print(json.dumps(figures, indent=2))
    over = [name for name, ratio in figures.get("ratios", {}).items() if ratio > LIMITS[name]]
    for name in over:
        print(f"{name} is over its limit", file=sys.stderr)
    return 1 if over and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

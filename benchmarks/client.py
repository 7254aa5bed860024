"""Compare the processor time of the project's DynamoDB client with that of boto3.

    python benchmarks/client.py [--check] [--steps N] [--runs N]

The program prints two ratios as JSON, with their limits and the times that they are computed from:

- `step_over_put`: a recorded step, divided by one `put_item` of boto3 that writes the same item. The step is one
  request to the store, which calls DynamoDB once.
- `start_over_boto3`: the start of a worker, divided by the start of boto3, each in a new interpreter. The worker
  imports its function, makes its first call, and loads the certificates of TLS. The other interpreter imports boto3
  and creates a client of DynamoDB. It makes no call.

A server in another process of this machine takes the place of DynamoDB. It answers every request with `{}`, without
TLS. The programs that are compared take turns, so that a busy machine slows all of them. Processor time is that of
user and system. With `--check` the exit code is 1 if a ratio is above its limit.
"""

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

ROOT = Path(__file__).parents[1]
LIMITS = {"step_over_put": 0.35, "start_over_boto3": 0.6}
ROUNDS = 7

BODY = b"{}"
RESPONSE = b"\r\n".join(
    [
        b"HTTP/1.1 200 OK",
        b"Server: Server",
        b"Date: Mon, 30 Nov 2026 05:00:00 GMT",
        b"Content-Type: application/x-amz-json-1.0",
        b"Content-Length: %d" % len(BODY),
        b"Connection: keep-alive",
        b"x-amzn-RequestId: 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123",
        b"x-amz-crc32: %d" % crc32(BODY),
        b"",
        BODY,
    ]
)

WORKER = (
    "import os; os.environ['AWS_LAMBDA_RUNTIME_API'] = '127.0.0.1:9001'; import functions.worker.app as app;"
    "app.handler._store.record('w')"
)
TLS = "from resonate_store.aws.connections import tls_context; tls_context()"
PROGRAMS = {
    "bare": "pass",
    "boto3": "import boto3; boto3.client('dynamodb')",
    "worker": f"{WORKER}; {TLS}",
    "worker_on_boto3": f"import os; os.environ['RESONATE_CLIENT'] = 'boto3'; {WORKER}",
}
END = "\nimport os; os._exit(0)"


def serve() -> None:
    """Print the port, and answer every request with `RESPONSE`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    content = b""
    while more := connection.recv(65_536):
        content += more
        head, found, body = content.partition(b"\r\n\r\n")
        if not found:
            continue
        (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) >= int(length.partition(b":")[2]):
            content = b""
            connection.sendall(RESPONSE)


@contextmanager
def dynamodb() -> Generator[dict[str, str]]:
    """Start the server, and yield the environment variables of a program that calls it."""
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.stdout.readline().strip()}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "s" * 40,
            "AWS_SESSION_TOKEN": "t" * 800,  # about as long as the token of a role
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "RESONATE_TABLE": "promises",
            "RESONATE_CLIENT": "auto",
        }
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def microseconds(function: Callable[[], object], times: int) -> float:
    """Return the mean processor time (us) of one call of a function."""
    began = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - began) * 1e6 / times


class Recorder:
    """Client that keeps the arguments of the latest `put_item`."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}

    def put_item(self, **arguments: Any) -> dict[str, Any]:
        self.arguments = arguments
        return {}


def of_steps(times: int) -> dict[str, float]:
    """Return the median processor time (us) of a recorded step, and of its `put_item`, with each client."""
    from resonate_store.aws.clients import boto3_client, client_of
    from resonate_store.aws.dynamodb import DynamoClient
    from resonate_store.dynamo.client import LIMITS as CALL_LIMITS
    from resonate_store.dynamo.store import DynamoStore
    from resonate_store.model.records import Value
    from resonate_store.model.requests import PromiseRecord

    numbers = itertools.count(1)

    def step(store: DynamoStore) -> None:
        now = store.clock.now()
        tags = {"resonate:origin": "order-1", "resonate:scope": "local", "resonate:func": "charge"}
        value, param = Value(None, "eyJyZXN1bHQiOiJwYWlkIn0="), Value(None, "eyJmdW5jIjoiY2hhcmdlIiwiYXJncyI6WzQyXX0=")
        request = PromiseRecord(f"order-1.{next(numbers)}", now + 86_400_000, now, "resolved", value, param, tags)
        assert store.apply(request).ok

    recorder = Recorder()
    step(DynamoStore("promises", client=recorder))  # pyright: ignore[reportArgumentType]
    own, boto3 = client_of("dynamodb", CALL_LIMITS), boto3_client("dynamodb", CALL_LIMITS)
    assert isinstance(own, DynamoClient)
    stores = {"step": DynamoStore("promises", client=own), "step_on_boto3": DynamoStore("promises", client=boto3)}
    measured: dict[str, Callable[[], object]] = {
        "put_of_boto3": lambda: boto3.put_item(**recorder.arguments),
        "put": lambda: own.put_item(**recorder.arguments),
        "step": lambda: step(stores["step"]),
        "step_on_boto3": lambda: step(stores["step_on_boto3"]),
    }
    taken: dict[str, list[float]] = {name: [] for name in measured}
    for run in range(ROUNDS + 1):
        for name, function in measured.items():
            took = microseconds(function, times)
            if run:  # the first one opens connections
                taken[name].append(took)
    return {name: statistics.median(each) for name, each in taken.items()}


def milliseconds(program: str, environment: Mapping[str, str]) -> float:
    """Return the processor time (ms) of a new interpreter that runs a program."""
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", f"{program}{END}"], dict(environment))
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"this program failed: {program}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def of_starts(runs: int) -> dict[str, float]:
    """Return the median processor time (ms) of each program."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for run in range(runs + 1):
        for name, program in PROGRAMS.items():
            took = milliseconds(program, environment)
            if run:  # the first run compiles bytecode and fills the disk's cache
                taken[name].append(took)
    return {name: statistics.median(each) for name, each in taken.items()}


def measure(steps: int, runs: int) -> dict[str, dict[str, float]]:
    """Return the ratios, and the times that they are computed from."""
    for name in ("http_proxy", "HTTP_PROXY", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    with dynamodb() as environment:
        os.environ |= environment
        us, ms = of_steps(steps), of_starts(runs)
    ratios = {"step_over_put": us["step"] / us["put_of_boto3"], "start_over_boto3": ms["worker"] / ms["boto3"]}
    return {
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "limits": LIMITS,
        "us": {name: round(took, 1) for name, took in us.items()},
        "ms": {name: round(took, 1) for name, took in ms.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the processor time of the DynamoDB client with boto3's.")
    parser.add_argument("--check", action="store_true", help="fail if a ratio is above its limit")
    parser.add_argument("--steps", type=int, default=300, help="steps of each round")
    parser.add_argument("--runs", type=int, default=11, help="new interpreters for each figure")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    figures = measure(arguments.steps, arguments.runs)
    print(json.dumps(figures, indent=2))
    over = [name for name, limit in LIMITS.items() if figures["ratios"][name] > limit]
    for name in over:
        print(f"{name} is above its limit", file=sys.stderr)
    return 1 if over and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

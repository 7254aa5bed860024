"""Time that importing this project adds to a cold start, in milliseconds.

    python benchmarks/imports.py [--check] [--runs N]

Each figure is the difference of two medians:

- `import resonate`, less the bare interpreter
- the worker function, less boto3 with one DynamoDB client, which every Lambda function that uses DynamoDB has to create

Every run is a fresh interpreter, and the programs take turns. The time is processor time (user and system), so that a
busy machine has less influence. On an idle machine it equals real time. Bytecode is compiled before, as in the layer.
The interpreters exit without cleanup, because a cold start has none. With `--check` the exit code is 1 when a budget
is exceeded.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUDGETS = {"resonate": 50.0, "worker": 80.0}
"""The most milliseconds that each may add."""

CLIENT = "import boto3; boto3.client('dynamodb')"
# In Lambda the worker creates the same client when it is imported. So the difference is what this project adds.
WORKER = "import os; os.environ['AWS_LAMBDA_RUNTIME_API'] = '127.0.0.1:9001'; import functions.worker.app"
PROGRAMS = {"bare": "pass", "resonate": "import resonate", "client": CLIENT, "worker": WORKER}
END = "\nimport os; os._exit(0)"
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "offline",
    "AWS_SECRET_ACCESS_KEY": "offline",
    "RESONATE_TABLE": "promises",
    "RESONATE_GROUPS": '{"default": "lambda://worker"}',
}


def milliseconds(program: str) -> float:
    """Return the processor time (ms) of a fresh interpreter that runs a program."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", f"{program}{END}"], environment)
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"this program failed: {program}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def measure(runs: int) -> dict[str, float]:
    """Return the median time (ms) of each program. They take turns, so that a busy machine slows all of them."""
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for run in range(runs + 1):
        for name, program in PROGRAMS.items():
            took = milliseconds(program)
            if run:  # the first run compiles bytecode and warms the disk's cache
                taken[name].append(took)
    return {name: statistics.median(each) for name, each in taken.items()}


def report(medians: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return what importing this project adds, with its budget."""
    added = {
        "resonate": medians["resonate"] - medians["bare"],
        "worker": medians["worker"] - medians["client"],
    }
    return {
        "medians_ms": {name: round(took, 1) for name, took in medians.items()},
        "added_ms": {name: round(took, 1) for name, took in added.items()},
        "budgets_ms": BUDGETS,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="What a cold start pays for importing us.")
    parser.add_argument("--check", action="store_true", help="fail when a budget is exceeded")
    parser.add_argument("--runs", type=int, default=11, help="fresh interpreters for each figure")
    arguments = parser.parse_args()
    figures = report(measure(max(7, arguments.runs)))
    print(json.dumps(figures, indent=2))
    over = [name for name, budget in BUDGETS.items() if figures["added_ms"][name] > budget]
    for name in over:
        print(f"{name} is over its budget", file=sys.stderr)
    return 1 if over and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

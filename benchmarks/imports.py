"""Time of a cold start, in milliseconds: importing this project, the worker function with its client, the command line.

    python benchmarks/imports.py [--check] [--runs N]

Each figure is the least time of several runs, without that of the bare interpreter:

- `resonate`: `import resonate`
- `worker`: the worker function, which creates its client of DynamoDB when it is imported, as in Lambda

The limits are shares of `boto3` with one client of DynamoDB, measured in the same run.

`cli` is the whole process of `resonate --version`, beside a process that only imports Typer. A help text takes longer,
because Typer draws it by Rich. A command with arguments takes longer, because Typer reads them by pydantic.

Every run is a fresh interpreter, and the programs take turns. The time is processor time (user and system), so that a
busy machine has less influence. On an idle machine it equals real time. Bytecode is compiled before, as in the layer.
The interpreters exit without cleanup, because a cold start has none. With `--check` the exit code is 1 when a share is
above its limit.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMITS = {"resonate": 0.36, "worker": 0.6}
"""The largest share of the time of boto3."""

CLI_LIMIT = 1.5
"""The largest ratio of the command line to a process that imports Typer."""

CLIENT = "import boto3; boto3.client('dynamodb')"
WORKER = "import os; os.environ['AWS_LAMBDA_RUNTIME_API'] = '127.0.0.1:9001'; import functions.worker.app"
CLI = """import os, sys; sys.stdout = open(os.devnull, 'w')
from resonate_infra.cli.main import main; main(['--version'])"""
PROGRAMS = {
    "bare": "pass",
    "resonate": "import resonate",
    "boto3": CLIENT,
    "worker": WORKER,
    "typer": "import typer",
    "cli": CLI,
}
END = "\nimport os; os._exit(0)"
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "offline",
    "AWS_SECRET_ACCESS_KEY": "offline",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "RESONATE_TABLE": "promises",
    "RESONATE_GROUPS": '{"default": "lambda://worker"}',
}

# Settings of a machine that would make the worker use boto3.
REMOVED = ("AWS_PROFILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "https_proxy")


def milliseconds(program: str) -> float:
    """Return the processor time (ms) of a fresh interpreter that runs a program."""
    here = {name: value for name, value in os.environ.items() if name not in REMOVED}
    environment = {**here, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", f"{program}{END}"], environment)
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"this program failed: {program}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def measure(runs: int) -> dict[str, float]:
    """Return the least time (ms) of each program. They take turns, so that a busy machine slows all of them."""
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for run in range(runs + 1):
        for name, program in PROGRAMS.items():
            took = milliseconds(program)
            if run:  # the first run compiles bytecode and warms the disk's cache
                taken[name].append(took)
    return {name: min(each) for name, each in taken.items()}


def report(least: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return what each program takes beyond the bare interpreter, and its shares, with the limits."""
    added = {name: took - least["bare"] for name, took in least.items() if name != "bare"}
    return {
        "added_ms": {name: round(took, 1) for name, took in added.items()},
        "of_boto3": {name: round(added[name] / added["boto3"], 3) for name in LIMITS},
        "limits": LIMITS,
        "cli": {"of_typer": round(least["cli"] / least["typer"], 3), "limit": CLI_LIMIT},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="What a cold start pays for importing us.")
    parser.add_argument("--check", action="store_true", help="fail when a share is above its limit")
    parser.add_argument("--runs", type=int, default=11, help="fresh interpreters for each figure")
    arguments = parser.parse_args()
    figures = report(measure(max(7, arguments.runs)))
    print(json.dumps(figures, indent=2))
    over = [name for name, limit in LIMITS.items() if figures["of_boto3"][name] > limit]
    over += ["cli"] if figures["cli"]["of_typer"] > CLI_LIMIT else []
    for name in over:
        print(f"{name} is above its limit", file=sys.stderr)
    return 1 if over and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

"""Time of a test whose workflow waits for 30 days.

    python benchmarks/testing.py [--check] [--rounds N]

Prints the median milliseconds of one such test on a new stack in memory, on an existing stack in memory, and through
the Lambda functions on moto. For moto it also prints the processor time, and the times to create the offline stack and
to clear it between two tests. With `--check` the exit code is 1 when a figure is over its limit.
"""

import argparse
import contextlib
import io
import json
import statistics
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

from resonate import Context, Resonate
from resonate.testing import MemoryStack, Stack
from resonate_infra.testing.stack import OfflineStack

MONTH = 30 * 86_400.0
LIMITS = {"memory_ms": 5, "offline_ms": 150}

app = Resonate(group="worker")


@app.register
def sleeping_workflow(ctx: Context, wf_id: str, secs: float) -> Generator[Any, Any, str]:
    """Sleep, like the workflow of this name in functions/worker/app.py, but print nothing."""
    yield ctx.sleep(secs)
    return f"Workflow {wf_id} completed after sleeping for {secs} seconds."


def wait_a_month(stack: Stack) -> None:
    before = stack.clock.now()
    assert stack.run("sleeping_workflow", "w", MONTH) == f"Workflow w completed after sleeping for {MONTH} seconds."
    assert stack.clock.now() - before >= MONTH * 1000


def milliseconds(act: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    act()
    return (clock() - began) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description="What a test of a workflow costs that waits for 30 days.")
    parser.add_argument("--check", action="store_true", help="fail when a limit is exceeded")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    rounds = range(arguments.rounds)
    wait_a_month(MemoryStack(app))
    existing = MemoryStack(app)
    figures = {
        "memory_new_stack_ms": [milliseconds(lambda: wait_a_month(MemoryStack(app))) for _ in rounds],
        "memory_ms": [milliseconds(lambda: wait_a_month(existing)) for _ in rounds],
    }
    with contextlib.redirect_stdout(io.StringIO()), contextlib.ExitStack() as stacks:
        offline = OfflineStack()
        figures["offline_create_ms"] = [milliseconds(lambda: stacks.enter_context(offline))]
        wait_a_month(offline)
        figures["offline_clear_ms"] = [milliseconds(offline.clear) for _ in rounds]
        figures["offline_ms"] = [milliseconds(lambda: wait_a_month(offline)) for _ in rounds]
        used = [milliseconds(lambda: wait_a_month(offline), time.process_time) for _ in rounds]
        figures["offline_processor_ms"] = used
    medians = {name: round(statistics.median(taken), 2) for name, taken in figures.items()}
    print(json.dumps({**medians, "limits": LIMITS}, indent=2))
    over = [name for name, limit in LIMITS.items() if medians[name] > limit]
    for name in over:
        print(f"{name} is over its limit", file=sys.stderr)
    return 1 if over and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

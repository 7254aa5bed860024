"""Times at which sleeps end under the real Lambda runtime. Workflows start together, and each sleeps for five seconds.

    python -m benchmarks.sleeps [--check] [--sleeps N] [--seconds S]

The functions of template.yaml run in awslambdaric under AWS's runtime interface emulator, in one execution environment
each. The table, the stream and the timer queue are moto's, behind one port. Time is real. So a sleep takes its whole
way, with the semantics of SQS: worker, stream, dispatcher, delayed message, tick, stream, dispatcher, worker. Only the
network times of AWS are missing. The functions are warm, as in a deployment in use.

Prints the seconds from the creation of each sleep's timer promise until its workflow has ended. With `--check` the exit
code is 1 when a workflow ends before the time of its sleep, or more than two seconds after it. Run it from the root of
the project, because the emulator is in `tests`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from tests.support.lambda_runtime.stack import RuntimeStack

LATENESS = 2.0
"""The most seconds from the end of a sleep to the end of its workflow."""
PATIENCE = 60.0
"""The seconds after the end of the sleeps in which the workflows have to end."""


def measure(stack: RuntimeStack, sleeps: int, seconds: float) -> list[float]:
    """Start workflows that sleep. Return the seconds from each sleep to the end of its workflow, the shortest first."""
    client = stack.client()
    warm = client.begin_rpc("warm", "sleeping_workflow", "warm", 0.0)
    stack.function("TickFunction").invoke({"kind": "sweep"})
    stack.work(warm.done, within=PATIENCE)
    ids = [f"sleep-{n}" for n in range(sleeps)]
    handles = [client.begin_rpc(id, "sleeping_workflow", id, seconds) for id in ids]

    for handle in handles:
        stack.work(handle.done, within=seconds + PATIENCE)

    took: list[float] = []
    for id in ids:
        workflow, sleep = stack.record(id), stack.record(f"{id}.1")
        assert (workflow.state, sleep.state, sleep.timer) == ("resolved", "resolved", True), (workflow, sleep)
        took.append(((workflow.settled_at or 0) - sleep.created_at) / 1000)
    return sorted(took)


def main() -> int:
    parser = argparse.ArgumentParser(description="When sleeps end under the real Lambda runtime.")
    parser.add_argument("--check", action="store_true", help="fail when one ends too early or too late")
    parser.add_argument("--sleeps", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    with RuntimeStack() as stack:
        took = measure(stack, arguments.sleeps, arguments.seconds)
    limits = {"first": arguments.seconds, "last": arguments.seconds + LATENESS}
    figures = {"first": took[0], "median": round(statistics.median(took), 3), "last": took[-1]}
    print(json.dumps({"sleeps": len(took), "seconds": arguments.seconds, **figures, "limits": limits}, indent=2))
    within = limits["first"] <= took[0] and took[-1] <= limits["last"]
    return 1 if arguments.check and not within else 0


if __name__ == "__main__":
    sys.exit(main())

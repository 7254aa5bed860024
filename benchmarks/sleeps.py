"""When sleeps end under the real Lambda runtime: workflows that are started together and sleep for five seconds each.

    python -m benchmarks.sleeps [--check] [--sleeps N] [--seconds S]

The functions of template.yaml run in awslambdaric under AWS's runtime interface emulator, one execution environment of
each; table, stream and timer queue are moto's, behind one port, and time is real. So this is the whole way of a sleep
on the semantics of SQS - worker, stream, dispatcher, delayed message, tick, stream, dispatcher, worker - without the
distances in AWS between its parts. The functions are warm, as those of a deployment in use are.

Prints the seconds from the creation of each sleep - its timer promise - until its workflow had gone on and was over.
With `--check` the exit code is 1 when one went on before its time, or was over later than two seconds after. Run it
from the root of the project: the emulator is the tests'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from tests.support.lambda_runtime.stack import RuntimeStack

LATENESS = 2.0
"""How long after its time a workflow may have gone on (s)."""
PATIENCE = 60.0
"""How long after their time workflows that do not end are waited for (s)."""


def measure(stack: RuntimeStack, sleeps: int, seconds: float) -> list[float]:
    """Start workflows that sleep, and return after how long each had gone on (s), the shortest first."""
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

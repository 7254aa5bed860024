"""External job that takes hours: the workflow starts it, asks for its progress, and stops it if it is cancelled.

No process runs between two questions.
"""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Canceled, Context, Resonate

MAX_DELAY_S = 3600.0

resonate = Resonate(group="worker")


@resonate.register
def export(ctx: Context, table: str, delay: float) -> Generator[Any, Any, str]:
    """Export a table, and return the name of the file. The first question is asked after `delay` seconds."""
    # If the step is repeated, the service recognises the job by this name.
    job = f"export-of-{table}"
    question = 0
    try:
        yield ctx.run(start, job)
        while True:
            yield ctx.sleep(delay)
            question += 1
            percent = yield ctx.run(progress_of, job, question).options(attempt_timeout=30)
            yield ctx.publish("percent", percent)
            if percent == 100:
                return f"{job}.csv"
            delay = min(2 * delay, MAX_DELAY_S)
    except Canceled:
        yield ctx.run(stop, job)
        raise


# Steps. Each would be a request to the service.


def start(_: Context, job: str) -> None:
    print(f"start {job}")


def progress_of(_: Context, job: str, question: int) -> int:
    percent = min(25 * question, 100)
    print(f"{job}: {percent} percent")
    return percent


def stop(_: Context, job: str) -> None:
    print(f"stop {job}")


handler = resonate.handler()

if __name__ == "__main__":
    table, delay = sys.argv[1:] or ("orders", "0.05")
    try:
        print(export.run(f"export-{table}", table, float(delay)))
    finally:
        resonate.stop()

"""Loop of a step and a sleep. The delay may be a minute or a year: no process runs while the workflow sleeps."""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def countdown(ctx: Context, count: int, delay: float) -> Generator[Any, Any, str]:
    for i in range(count, 0, -1):
        yield ctx.run(notify, i)
        yield ctx.sleep(delay)
    return "Done!"


def notify(_: Context, i: int) -> None:
    print(f"Countdown: {i}")


handler = resonate.handler()

if __name__ == "__main__":
    count, delay = sys.argv[1:] or ("3", "0.1")
    try:
        print(countdown.run("countdown.1", int(count), float(delay)))
    finally:
        resonate.stop()

"""Classes and functions that a workflow defines, and does not call."""

import time

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    class Clock:
        def now(self) -> float:
            return time.time()

    def unused() -> float:
        return time.time()

    yield ctx.run(keep, Clock, unused)


def keep(ctx: Context, *what: object) -> None:
    print(*what)

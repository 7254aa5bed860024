"""A helper that a workflow calls directly is replayed too."""

import time

from resonate import Context, Resonate

resonate = Resonate(group="worker")


def age(since: float) -> float:
    return time.time() - since  # RS001


@resonate.register
def wait(ctx: Context, since: float):
    if age(since) > 60:
        yield ctx.sleep(60)

"""A generator that a workflow delegates to."""

from datetime import datetime

from resonate import Context, Resonate

resonate = Resonate(group="worker")


def pauses(ctx: Context, count: int):
    for _ in range(count):
        yield ctx.sleep(60)
        print(datetime.now())  # RS001


@resonate.register
def rest(ctx: Context, count: int):
    yield from pauses(ctx, count)

"""Continuations that are returned."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def monitor(ctx: Context, day: int):
    yield ctx.sleep(60)
    if day > 3:
        following = ctx.continue_as(1)
        return following
    return ctx.continue_as(day + 1) if day else None

"""Continuations that are not returned."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def monitor(ctx: Context, day: int):
    yield ctx.sleep(60)
    if day == 1:
        ctx.continue_as(2)  # RS102
    if day == 2:
        yield ctx.continue_as(3)  # RS102
    following = ctx.continue_as(4)  # RS102


@resonate.register
async def watch(ctx: Context, day: int) -> None:
    await ctx.sleep(60)
    await ctx.continue_as(day + 1)  # RS102

"""A command is always true."""

from resonate import Context


async def order(ctx: Context, item: str) -> int:
    ready = True
    if ready and ctx.run(check, item):  # RS101
        await ctx.sleep(1)
    while not ctx.run(check, item):  # RS101
        await ctx.sleep(1)
    assert ctx.run(check, item)  # RS101
    first = ctx.run(check, item)["first"]  # RS101
    return len(ctx.run(check, item)) if ctx.run(check, item) else first  # RS101 RS101


def check(ctx: Context, item: str) -> list[str]:
    return [item]

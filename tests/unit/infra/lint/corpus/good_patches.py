"""Patches that are yielded."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    if (yield ctx.patched("taxes-2")):
        yield ctx.run(look, item)
    new = yield ctx.patched("taxes-3")
    yield ctx.deprecate_patch("taxes-1")
    return new


@resonate.register
async def later(ctx: Context, item: str) -> str:
    if await ctx.patched("taxes-2"):
        return await ctx.run(look, item)
    while not await ctx.run(look, item):
        await ctx.sleep(1)
    return (await ctx.run(look, item))[0]


def look(ctx: Context, item: str) -> str:
    return item

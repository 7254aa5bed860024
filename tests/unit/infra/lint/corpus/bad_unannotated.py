"""The name `ctx`, without annotations or a registration."""

import time


def order(ctx, item):
    begun = time.time()  # RS001
    yield ctx.run(pack, item, begun)


async def later(ctx, item):
    begun = time.time()  # RS001
    await ctx.run(pack, item, begun)


def pack(ctx, item, begun):
    return item, begun, time.time()

"""An async function that passes its context to another is a workflow as well."""

import asyncio

from resonate import Context, Resonate

resonate = Resonate(group="worker")


async def charge(ctx: Context, item: str) -> str:
    return await ctx.run(receipt, item)


@resonate.register
async def order(ctx: Context, item: str) -> str:
    await asyncio.sleep(1)  # RS005
    return await charge(ctx, item)


def receipt(ctx: Context, item: str) -> str:
    return item

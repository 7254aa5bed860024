"""Tasks and time limits of asyncio."""

import asyncio

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
async def both(ctx: Context) -> list[str]:
    task = asyncio.create_task(other())  # RS006
    found = await asyncio.gather(ctx.run(look, "a"), ctx.run(look, "b"))  # RS006
    await asyncio.wait_for(ctx.run(look, "c"), 3)  # RS006
    async with asyncio.timeout(3):  # RS006
        await ctx.run(look, "d")
    return [*found, await task]


async def other() -> str:
    return "other"


def look(ctx: Context, name: str) -> str:
    return name

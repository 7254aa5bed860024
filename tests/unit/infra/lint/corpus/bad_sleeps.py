"""Sleeps that are not durable."""

import asyncio
import time
from time import sleep

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
async def pause(ctx: Context) -> None:
    await asyncio.sleep(60)  # RS005
    await ctx.sleep(60)


@resonate.register
def nap(ctx: Context):
    time.sleep(1)  # RS005
    sleep(1)  # RS005
    yield ctx.sleep(60)

"""Async functions that issue no command are steps."""

import asyncio
import time

import httpx

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
async def fetch(ctx: Context, url: str) -> str:
    ctx.logger.info("fetch %s", url)
    async with httpx.AsyncClient() as client, asyncio.timeout(3):
        response = await client.get(url)
    await pause()
    return f"{response.text} {time.time()} {ctx.info.attempt}"


async def pause() -> None:
    await asyncio.sleep(1)


@resonate.register
async def order(ctx: Context, url: str) -> str:
    return await ctx.run(fetch, url)

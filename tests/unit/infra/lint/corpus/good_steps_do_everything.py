"""Steps may read clocks, draw numbers, and do input and output."""

import os
import random
import time
import uuid

import requests

from resonate import Context, Resonate

resonate = Resonate(group="worker")
log: list[str] = []


@resonate.register
def order(ctx: Context, item: str):
    return (yield ctx.run(pack, item))


def pack(ctx: Context, item: str) -> str:
    log.append(item)
    time.sleep(0.1)
    with open("orders.txt") as file:
        file.read()
    return f"{requests.get('https://example.com')} {uuid.uuid4()} {random.random()} {os.environ['X']} {time.time()}"


@resonate.register
async def fetch(ctx: Context, item: str) -> str:
    import asyncio

    await asyncio.sleep(1)
    return os.environ["X"] + str(await asyncio.gather(asyncio.sleep(1)))

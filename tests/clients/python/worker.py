"""Worker of the default group with the official SDK, whose workflow uses the commands of the SDK.

With the second argument `stuck` it has short leases, and its step `ask` does not end.
"""

import asyncio
import sys
from datetime import timedelta
from typing import Any

from resonate.context import Context

from resonate.resonate import Resonate

STUCK = "stuck" in sys.argv[2:]


async def order(ctx: Context, item: str) -> dict[str, Any]:
    reserved = await ctx.run(reserve, item)
    price = await ctx.rpc("price", reserved["quantity"])
    await ctx.sleep(timedelta(seconds=1.5))
    approval = ctx.promise()
    await ctx.run(ask, await approval.id())
    approved = await approval
    await ctx.detached("audit", item, approved["by"])
    return {"item": item, "price": price, "approvedBy": approved["by"]}


async def reserve(_: Context, item: str) -> dict[str, Any]:
    print(f"reserve {item}", flush=True)
    return {"item": item, "quantity": 7}


async def ask(_: Context, id: str) -> None:
    print(f"approve {id}", flush=True)
    if STUCK:
        await asyncio.Event().wait()


async def price(_: Context, quantity: int) -> int:
    print(f"price {quantity}", flush=True)
    return quantity * 6


async def audit(_: Context, item: str, by: str) -> None:
    print(f"audit {item} by {by}", flush=True)


async def main(url: str) -> None:
    resonate = Resonate(url=url, ttl=timedelta(seconds=1 if STUCK else 4))
    for func in (order, price, audit):
        resonate.register(func)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))

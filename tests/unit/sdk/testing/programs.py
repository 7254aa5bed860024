"""Programs under test, as users write them."""

import asyncio
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate
from resonate.retry_policies import Constant

Flow = Generator[Any, Any, Any]

shop = Resonate(group="shop", dependencies={"currency": "EUR"})
warehouse = Resonate(group="warehouse", dependencies={"shelf": "B4"})


def charge(ctx: Context, amount: int) -> str:
    return f"charged {amount} {ctx.get_dependency('currency', '-')}"


def notify(_: Context, text: str) -> str:
    return f"told: {text}"


@shop.register
def trial(ctx: Context, user: str, days: float = 30) -> Flow:
    """Welcomes, waits, and charges."""
    yield ctx.run(notify, f"welcome {user}")
    yield ctx.sleep(days * 86_400)
    return (yield ctx.run(charge, 9))


@shop.register
def approval(ctx: Context, timeout: float | None = None) -> Flow:
    promise = yield ctx.promise(timeout=timeout, data={"question": "ship it?"})
    return (yield promise)


@shop.register
def order(ctx: Context, item: str) -> Flow:
    """Call the warehouse, which picks the item, and a carrier without a program here, which ships it."""
    picked = yield ctx.rpc("pick", item).options(target="warehouse")
    shipped = yield ctx.rpc("ship", picked, fast=True).options(target="carrier")
    return f"{picked}, {shipped}"


@warehouse.register
def pick(ctx: Context, item: str) -> str:
    return f"{item} from {ctx.get_dependency('shelf')}"


def rest(ctx: Context, secs: float) -> Flow:
    yield ctx.sleep(secs)
    return (yield ctx.run(notify, "rested"))


@shop.register
def branching(ctx: Context) -> Flow:
    """Two nested workflows at a time, a step with an id of its own, and a detached call."""
    one = yield ctx.begin_run(rest, 60)
    two = yield ctx.begin_run(rest, 120)
    yield ctx.detached("trial", "ada", 1)
    yield ctx.run(charge, 5).options(id="the-charge")
    return [(yield one), (yield two)]


@shop.register
def stubborn(ctx: Context) -> Flow:
    """A step that is retried after a minute each time."""
    return (yield ctx.run(charge, 1).options(retry_policy=Constant(60, 5)))


async def fetch(_: Context, page: int) -> str:
    """An async step."""
    await asyncio.sleep(0)
    return f"page {page}"


async def chapter(ctx: Context, page: int) -> str:
    """An async workflow."""
    first = await ctx.run(fetch, page)
    await ctx.sleep(3600)
    return f"{first}, {await ctx.run(fetch, page + 1)}"


@shop.register
async def book(ctx: Context, secs: float = 60) -> list[str]:
    """Async all the way down: nested, side by side, and with a step that has an id of its own."""
    pages = [await ctx.begin_run(chapter, page) for page in (1, 3)]
    await ctx.sleep(secs)
    cover = await ctx.run(fetch, 0).options(id="the-cover")
    return [cover, *[await page for page in pages]]

"""A worker behind the official Lambda shim; the test serves its handler at a function's URL."""

from typing import Any

from resonate.context import Context
from resonate_aws import Resonate

resonate = Resonate(group="lambda")


@resonate.register
async def total(ctx: Context, numbers: list[int]) -> int:
    doubled = [await ctx.run(double, number) for number in numbers]
    return sum(doubled) + await ctx.rpc("bonus", len(numbers))


async def double(_: Context, number: int) -> int:
    print(f"double {number}", flush=True)
    return 2 * number


@resonate.register
async def bonus(_: Context, count: int) -> int:
    print(f"bonus {count}", flush=True)
    return 100 * count


handler = resonate.handler()

"""Worker with the official Lambda shim. `function_url.py` serves its handler."""

from resonate.context import Context
from resonate_aws import Resonate

resonate = Resonate()


@resonate.register
async def total(ctx: Context, numbers: list[int]) -> int:
    doubled = [await ctx.run(double, number) for number in numbers]
    # The function calls itself, in another invocation.
    discount = await ctx.rpc("discount", len(numbers))
    approval = ctx.promise()
    await ctx.run(ask, await approval.id())
    return sum(doubled) - discount + await approval


async def double(_: Context, number: int) -> int:
    print(f"double {number}", flush=True)
    return 2 * number


async def ask(_: Context, id: str) -> None:
    print(f"approve {id}", flush=True)


@resonate.register
async def discount(_: Context, count: int) -> int:
    print(f"discount {count}", flush=True)
    return count


handler = resonate.handler()

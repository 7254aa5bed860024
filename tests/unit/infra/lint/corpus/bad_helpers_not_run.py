"""Generators and async functions that are called, and whose code never runs."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


def tell(ctx: Context, items: list[str]):
    for item in items:
        yield ctx.run(show, item)


async def tell_async(ctx: Context, item: str) -> None:
    await ctx.run(show, item)


@resonate.register
def order(ctx: Context, items: list[str]):
    tell(ctx, items)  # RS101
    yield from tell(ctx, items)


@resonate.register
async def order_async(ctx: Context, item: str) -> None:
    tell_async(ctx, item)  # RS101
    await tell_async(ctx, item)


def show(ctx: Context, item: str) -> None:
    print(item)

"""A block that runs at each suspension."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    try:
        yield ctx.sleep(60)
    finally:
        print("clean up")
        yield ctx.run(clean, item)  # RS203


@resonate.register
async def later(ctx: Context, item: str) -> None:
    try:
        await ctx.sleep(60)
    finally:
        await ctx.run(clean, item)  # RS203


def clean(ctx: Context, item: str) -> None:
    print(item)

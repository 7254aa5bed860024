"""Commands as statements."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    ctx.run(check, item)  # RS101
    ctx.sleep(60)  # RS101
    ctx.rpc("pack", item).options(target="carrier")  # RS101
    yield ctx.run(check, item)
    ctx.publish("state", "done")  # RS101


@resonate.register
async def later(ctx: Context, item: str) -> None:
    ctx.begin_run(check, item)  # RS101
    await ctx.sleep(3)
    ctx.time.time()  # RS101


def check(ctx: Context, item: str) -> None:
    print(item)

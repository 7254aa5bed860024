"""Promises that are not kept."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    yield ctx.begin_run(pack, item)  # RS103
    yield ctx.begin_rpc("bill", item).options(target="billing")  # RS103
    shipped = yield ctx.begin_run(pack, item)  # RS103
    yield ctx.sleep(60)


@resonate.register
async def later(ctx: Context, item: str) -> None:
    await ctx.begin_run(pack, item)  # RS103


def pack(ctx: Context, item: str) -> None:
    print(item)

"""Functions that are called remotely, and that nothing registers."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


def pack(ctx: Context, item: str) -> str:
    return item


async def follow_up(ctx: Context, item: str) -> None:
    await ctx.sleep(60)


@resonate.register
def order(ctx: Context, items: list[str]):
    for item in items:
        yield ctx.run(pack, item)
        yield ctx.rpc(pack, item)  # RS401
        yield ctx.detached(follow_up, item)  # RS401
        yield ctx.rpc(pack, item).options(target="carrier")
    return (yield ctx.map(pack, items, remote=True))  # RS401

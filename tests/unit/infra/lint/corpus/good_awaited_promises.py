"""Promises that are kept, detached, or named as not needed."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str]):
    begun = yield ctx.begin_run(look, "a")
    promises = []
    for item in items:
        promises.append((yield ctx.begin_rpc("order", [item])))
    yield ctx.detached("order", items)
    _ = yield ctx.begin_run(look, "b")
    later = yield ctx.begin_run(look, "c")

    def wait():
        return (yield later)

    rest = yield from wait()
    return (yield begun), [(yield promise) for promise in promises], rest


@resonate.register
async def look_async(ctx: Context) -> list[str]:
    begun = [await ctx.begin_run(look, item) for item in ("a", "b")]
    return [await promise for promise in begun]


def look(ctx: Context, item: str) -> str:
    return item

"""Names that the program does not register."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    yield ctx.rpc("shp", item)  # RS401
    begun = yield ctx.begin_rpc("bill", item)  # RS401
    yield ctx.map("pack", [item], remote=True)  # RS401
    yield ctx.rpc("ship", item)
    yield begun


@resonate.register
def ship(ctx: Context, item: str) -> str:
    return item

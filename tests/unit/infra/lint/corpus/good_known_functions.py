"""Names that are registered, or belong to other programs."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register(name="ship-it", version=2)
def ship(ctx: Context, item: str) -> str:
    return item


def bill(ctx: Context, item: str) -> str:
    return item


@resonate.register
def order(ctx: Context, item: str, name: str):
    yield ctx.rpc("ship-it", item)
    yield ctx.rpc("bill", item)
    yield ctx.rpc("elsewhere", item).options(target="carrier")
    yield ctx.rpc(name, item)
    yield ctx.rpc(ship, item)


resonate.register(bill)

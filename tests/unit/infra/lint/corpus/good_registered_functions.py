"""Functions that are registered by other ways than a decorator of Resonate, or may be."""

from shop import keep, step

from resonate import Context, Resonate

resonate = Resonate(group="worker")
FUNCTIONS = {}


def pack(ctx: Context, item: str) -> str:
    return item


def ship(ctx: Context, item: str) -> str:
    return item


@step
def bill(ctx: Context, item: str) -> str:
    return item


def give(ctx: Context, item: str) -> str:
    return item


def order(ctx: Context, item: str):
    yield ctx.rpc(pack, item)
    yield ctx.rpc(ship, item)
    yield ctx.rpc(bill, item)
    yield ctx.rpc(give, item)
    yield ctx.rpc(keep, item)


FUNCTIONS["give"] = give
resonate.register(order, name="buy")
resonate.register(pack)
resonate.register(name="deliver")(ship)

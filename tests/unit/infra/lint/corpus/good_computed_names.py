"""A name that is computed may be any name."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


def ship(ctx: Context, item: str) -> str:
    return item


for kind in ("fast", "slow"):
    resonate.register(ship, name=f"ship-{kind}")


@resonate.register
def order(ctx: Context, item: str):
    yield ctx.rpc("ship-fast", item)

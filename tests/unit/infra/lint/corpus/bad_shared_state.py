"""Branches and steps that change variables of their workflow."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def ship(ctx: Context, items: list[str]):
    left = len(items)
    packed = []
    places = dict(first=1)

    def branch(ctx: Context, item: str):
        nonlocal left
        yield ctx.rpc("pack", item).options(target="packing")
        left -= 1  # RS301
        places[item] = left  # RS301

    def step(ctx: Context, item: str) -> None:
        packed.append(item)  # RS301

    begun = [(yield ctx.begin_run(branch, item)) for item in items]
    yield ctx.run(step, "lamp")
    yield ctx.run(lambda _: packed.append("desk"))  # RS301
    yield ctx.map(step, items)
    yield ctx.all(begun)
    return packed, left

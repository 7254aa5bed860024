"""Branches that return their values, and steps with variables of their own."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def ship(ctx: Context, items: list[str]):
    prices = {"lamp": 30}
    connection = ctx.get_dependency("connection")

    def branch(ctx: Context, item: str):
        found = []
        found.append((yield ctx.rpc("ship", [item])))
        left = len(items)

        def inner(_: Context) -> int:
            nonlocal left
            return left + prices[item]

        yield ctx.run(inner)
        return found

    def step(ctx: Context, item: str) -> None:
        connection.update(item)
        connection.add(item)

    def local():
        prices["desk"] = 90

    local()
    yield ctx.run(step, "lamp")
    return (yield ctx.map(branch, items)), prices

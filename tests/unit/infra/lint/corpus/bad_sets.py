"""Commands in the order of a set."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str], done: set[str]):
    for item in set(items):  # RS104
        yield ctx.run(pack, item)
    for item in {"lamp", "desk"}:  # RS104
        yield ctx.run(pack, item)
    left = {item.lower() for item in items}
    for item in left - {"chair"}:  # RS104
        yield ctx.run(pack, item)
    for number, item in enumerate(done):  # RS104
        yield ctx.run(pack, item, number)
    yield ctx.all(ctx.run(pack, item) for item in set(items) | done)  # RS104
    yield ctx.map(pack, frozenset(items))  # RS104


def pack(ctx: Context, item: str, number: int = 0) -> None:
    print(item, number)

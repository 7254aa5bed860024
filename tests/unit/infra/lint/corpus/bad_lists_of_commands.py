"""Commands in lists and generators that nothing carries out."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str]):
    both = yield ctx.run(look, "a"), ctx.run(look, "b")  # RS101 RS101
    more = yield [ctx.run(look, item) for item in items]  # RS101
    total = sum(ctx.run(look, item) for item in items)  # RS101
    kept = [ctx.run(look, item) for item in items]  # RS101
    promises = []
    for item in items:
        promises.append((yield ctx.begin_run(look, item)))  # RS103
    return both, more, total


def look(ctx: Context, item: str) -> int:
    return len(item)

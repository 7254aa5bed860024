"""Sets that are made of keys, unpacked, mapped, or emptied."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, wanted: dict[str, int], known: dict[str, int], items: list[str]):
    for item in wanted.keys() & known.keys():  # RS104
        yield ctx.run(look, item)
    for item in wanted.keys() - {"a"}:  # RS104
        yield ctx.run(look, item)
    for item in [*set(items)]:  # RS104
        yield ctx.run(look, item)
    for item in map(str, set(items)):  # RS104
        yield ctx.run(look, item)
    for item, count in zip(set(items), range(3), strict=False):  # RS104
        yield ctx.run(look, item * count)
    todo = set(items)
    while todo:
        item = todo.pop()  # RS104
        yield ctx.run(look, item)


def look(ctx: Context, item: str) -> int:
    return len(item)

"""Keys, lists and sets that are used in a fixed order, or without commands."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, wanted: dict[str, int], known: dict[str, int], items: list[str]):
    for item in wanted.keys():
        yield ctx.run(look, item)
    for item in sorted(wanted.keys() & known.keys()):
        yield ctx.run(look, item)
    for item in map(str, sorted(set(items))):
        yield ctx.run(look, item)
    todo = list(items)
    seen = {"a"}
    while todo:
        item = todo.pop()
        seen.add(item)
        yield ctx.run(look, item)
    while seen:
        print(seen.pop())
    (only,) = {*items}
    return only


def look(ctx: Context, item: str) -> int:
    return len(item)

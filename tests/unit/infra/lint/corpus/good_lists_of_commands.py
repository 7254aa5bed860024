"""Commands and promises that are collected, and awaited."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str]):
    commands = [ctx.run(look, item) for item in items]
    values = yield ctx.all(commands)
    values += yield ctx.all([ctx.run(look, "a"), ctx.run(look, "b")])
    named = {item: ctx.run(look, item) for item in items}
    for command in named.values():
        values.append((yield command))
    listed = list(ctx.run(look, item) for item in items)
    first, second = ctx.run(look, "a"), ctx.run(look, "b")
    values += [(yield first), (yield second), *(yield ctx.all(*listed))]
    promises = []
    for item in items:
        promises.append((yield ctx.begin_run(look, item)))
    later = [(yield ctx.begin_run(look, "c"))]
    later.append((yield ctx.begin_run(look, "d")))
    yield ctx.all(later)
    return sum(values), (yield from collect(promises))


def collect(promises):
    values = []
    for promise in promises:
        values.append((yield promise))
    return values


def look(ctx: Context, item: str) -> int:
    return len(item)

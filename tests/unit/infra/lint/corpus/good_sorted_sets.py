"""Sets whose order does not matter, or is given."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str], done: set[str]):
    for item in sorted(set(items) - done):
        yield ctx.run(look, item)
    for number in {1, 2, 3}:
        yield ctx.sleep(number)
    names = set(items)
    longest = max(len(name) for name in names)
    for name in names:
        longest = max(longest, len(name))
    for item in dict.fromkeys(items):
        if item in names:
            yield ctx.run(look, item)
    names = sorted(names)
    for name in names:
        yield ctx.run(look, name)
    return longest


def look(ctx: Context, item: str) -> str:
    return item

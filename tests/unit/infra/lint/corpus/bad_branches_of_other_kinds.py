"""Branches that are partial functions, and changes of items and attributes."""

from functools import partial

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Tally:
    total = 0


@resonate.register
async def order(ctx: Context, items: list[str]) -> int:
    sizes = [0] * len(items)
    tally = Tally()
    names: list[str] = []

    async def measure(ctx: Context, number: int) -> None:
        sizes[number] = await ctx.run(look, items[number])  # RS301

    async def count(ctx: Context, item: str) -> None:
        tally.total += await ctx.run(look, item)  # RS301

    def note(ctx: Context, *, item: str) -> None:
        names.append(item)  # RS301

    await ctx.all(ctx.run(measure, number) for number in range(len(items)))
    await ctx.map(count, items)
    await ctx.run(partial(note, item="a"))
    return sum(sizes) + tally.total + len(names)


def look(ctx: Context, item: str) -> int:
    return len(item)

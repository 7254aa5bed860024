"""Objects that belong to one execution, and registered objects that do not change."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Tally:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0

    def add(self, ctx: Context, text: str):
        self.total += yield ctx.run(measure, text)


class Counter:
    def __init__(self, limit: int) -> None:
        self.limit = limit

    def count(self, ctx: Context, texts: list[str]):
        tally = Tally(self.limit)
        for text in texts[: self.limit]:
            yield from tally.add(ctx, text)
        tally.limit = 0
        return tally.total


@resonate.register
def count_one(ctx: Context, text: str):
    counter = Counter(3)
    counter.limit = yield ctx.run(measure, text)
    return counter.limit


def measure(ctx: Context, text: str) -> int:
    return len(text)


resonate.register(Counter(3).count)

"""Variables of the module that change."""

import itertools

from resonate import Context, Resonate

resonate = Resonate(group="worker")
seen: dict[str, int] = {}
log = []
count = 0
numbers = itertools.count()


@resonate.register
def order(ctx: Context, item: str):
    global count
    count += 1  # RS008
    log.append(item)  # RS008
    number = next(numbers)  # RS008
    if item in seen:  # RS008
        return
    yield ctx.run(pack, item, number)


def pack(ctx: Context, item: str, number: int) -> None:
    seen[item] = number

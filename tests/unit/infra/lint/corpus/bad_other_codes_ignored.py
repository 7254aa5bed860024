"""A comment that turns another rule off."""

import time

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    first = time.time()  # resonate: ignore[RS002]  # RS001
    second = time.time()  # resonate: ignore[RS002, rs001]
    third = time.time()  # measured, and "resonate: ignore" is not its beginning  # RS001
    yield ctx.run(keep, item, first, second, third)


def keep(ctx: Context, *what: object) -> None:
    print(*what)

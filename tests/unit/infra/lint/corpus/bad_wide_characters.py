"""Places behind characters of several bytes."""

import time

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def grüße(ctx: Context, größe: int):
    text = "äöü€😀", größe, time.time()  # RS001
    yield ctx.run(keep, text)


def keep(ctx: Context, text: object) -> None:
    print(text)

"""Threads and pools."""

import threading
from concurrent.futures import ThreadPoolExecutor

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def work(ctx: Context, items: list[str]):
    threading.Thread(target=print).start()  # RS006
    with ThreadPoolExecutor() as pool:  # RS006
        list(pool.map(len, items))
    yield ctx.run(one, items)


def one(ctx: Context, items: list[str]) -> int:
    return len(items)

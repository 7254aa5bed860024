"""Names that hide modules and builtins."""

import random
import time

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Shop:
    def open(self, name: str) -> str:
        return name

    def time(self) -> int:
        return 3


@resonate.register
def order(ctx: Context, time: Shop, random: list[int], open):
    total = time.time() + sum(random)
    door = open("front")
    yield ctx.run(keep, total, door, time.open("back"))


@resonate.register
def later(ctx: Context, items: list[str]):
    print = items.append
    for time in items:
        print(time.strip())
    yield ctx.sleep(1)


def keep(ctx: Context, *what: object) -> None:
    print(*what)

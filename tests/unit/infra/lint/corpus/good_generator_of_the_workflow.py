"""Random numbers that a replay repeats, and generators of the module in steps."""

import random

from resonate import Context, Resonate

resonate = Resonate(group="worker")
draws = random.Random()


@resonate.register
def canary(ctx: Context, hosts: list[str]):
    seeded = random.Random(ctx.id)
    yield ctx.run(show, seeded.choice(hosts))
    draws = random.Random(3)
    return draws.random()


def show(ctx: Context, host: str) -> None:
    print(host, draws.random())

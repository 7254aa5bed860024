"""Random numbers from generators that all executions share."""

import random

import numpy as np

from resonate import Context, Resonate

resonate = Resonate(group="worker")
draws = random.Random()
seeded = np.random.default_rng(7)


@resonate.register
def canary(ctx: Context, host: str):
    if draws.random() < 0.1:  # RS002
        yield ctx.run(show, host)
    yield ctx.sleep(float(seeded.uniform(1, 2)))  # RS002


def show(ctx: Context, host: str) -> None:
    print(host, draws.random())

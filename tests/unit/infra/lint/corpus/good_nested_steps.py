"""Steps inside of workflows: functions and lambdas."""

import random
import time

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    def now(ctx: Context) -> float:
        return time.time()

    async def draw(_: Context) -> float:
        return random.random()

    begun = yield ctx.run(now)
    luck = yield ctx.run(draw)
    other = yield ctx.run(lambda _: time.time() + random.random())
    return begun, luck, other

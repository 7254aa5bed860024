"""Random numbers of numpy, without a seed."""

import numpy as np

from resonate import Context


async def sample(ctx: Context, count: int) -> list[float]:
    generator = np.random.default_rng()  # RS002
    numbers = [float(np.random.normal()) for _ in range(count)]  # RS002
    await ctx.sleep(generator.random())
    return numbers

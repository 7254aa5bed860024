"""A clock under another name, and one imported inside of the function."""

from datetime import datetime

from resonate import Context, Resonate

app = Resonate(group="worker")
now = datetime.now


@app.register(name="stamped")
async def stamp(ctx: Context) -> str:
    from time import time

    current = datetime.now
    seconds = time()  # RS001
    await ctx.sleep(60)
    return f"{seconds} {now()} {current()}"  # RS001 RS001

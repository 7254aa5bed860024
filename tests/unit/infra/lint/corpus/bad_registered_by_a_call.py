"""Functions that are registered by calls, under other names of their context."""

import random

from resonate import Resonate

app = Resonate(group="worker")


def order(context, item):
    yield context.run(pack, item, random.random())  # RS002


async def later(c, item):
    await c.sleep(random.random())  # RS002


def pack(context, item, luck):
    return item, luck, random.random()


app.register(order, version=2)
app.register(later, name="much-later")

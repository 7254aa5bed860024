"""Arguments without a JSON form."""

import threading

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Order:
    pass


def numbers():
    yield 1


@resonate.register
def order(ctx: Context, item: str):
    lock = threading.Lock()
    squares = (n * n for n in range(3))
    begun = yield ctx.begin_rpc("order", item)
    yield ctx.rpc("order", lambda: item)  # RS302
    yield ctx.rpc("order", ctx)  # RS302
    yield ctx.rpc("order", item, key=lock)  # RS302
    yield ctx.detached("order", [squares, {"order": Order}])  # RS302 RS302
    yield ctx.rpc("order", numbers())  # RS302
    yield ctx.rpc("order", numbers)  # RS302
    yield ctx.rpc("order", zip(item, item))  # RS302
    yield ctx.rpc("order", begun)  # RS302
    yield ctx.publish("state", map(str, item))  # RS302
    yield ctx.send("other", "note", threading.Event())  # RS302
    yield begun
    return ctx.continue_as(range(3))  # RS302

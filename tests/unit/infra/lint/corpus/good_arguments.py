"""Arguments with a JSON form, and any argument of a local step."""

import threading
from dataclasses import dataclass

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@dataclass
class Order:
    item: str


@resonate.register
def order(ctx: Context, item: str):
    yield ctx.rpc("order", Order(item), {"a": [1, 2]}, (item, None), {item})
    yield ctx.rpc(order, list(map(str, item)), key=sorted(item, key=lambda each: each))
    yield ctx.run(look, lambda: item, threading.Lock(), (each for each in item))
    promise = yield ctx.promise()
    yield ctx.rpc("order", promise.id)
    yield ctx.rpc("order", lambda: 1).options(encoder=None)
    begun = yield ctx.begin_rpc("order", item)
    value = yield begun
    yield ctx.rpc("order", value)


def look(ctx: Context, *what: object) -> None:
    print(*what)

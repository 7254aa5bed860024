"""New ids."""

import uuid
from uuid import uuid1, uuid4 as new

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    id = str(uuid.uuid4())  # RS003
    other = new().hex + str(uuid1())  # RS003 RS003
    yield ctx.rpc("order", item, id, other)

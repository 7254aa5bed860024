"""Ids that are the same at each replay."""

import uuid

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    id = uuid.uuid5(uuid.NAMESPACE_URL, ctx.id)
    other = uuid.UUID(item)
    yield ctx.rpc("order", str(id), str(other))

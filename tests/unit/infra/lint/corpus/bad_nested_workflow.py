"""A function that is a workflow because a workflow runs it."""

import uuid

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str]):
    def branch(inner, item):
        id = uuid.uuid4()  # RS003
        yield inner.sleep(1)
        return item, str(id)

    return (yield ctx.map(branch, items))

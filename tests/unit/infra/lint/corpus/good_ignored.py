"""Comments that turn rules off."""

import time
import uuid

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    begun = time.time()  # resonate: ignore[RS001]
    id = uuid.uuid4()  # resonate: ignore
    yield ctx.run(keep, begun, id)  # type: ignore  # resonate: ignore[RS101,RS402]
    ctx.run(  # resonate: ignore[RS101]
        keep,
        item,
    )
    ctx.run(
        keep,
        begun,
    )  # resonate: ignore


def keep(ctx: Context, *what: object) -> None:
    print(*what)

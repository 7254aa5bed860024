"""Blocks that release what belongs to the process."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str], lock):
    try:
        yield ctx.sleep(60)
    finally:
        lock.release()
        for item in items:
            if not item:
                continue
            if item == "last":
                break
    try:
        total = len(items)
    finally:
        yield ctx.sleep(total)

"""Blocks that drop the error which ends a workflow."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str]):
    for item in items:
        try:
            yield ctx.run(pack, item)
        finally:
            continue  # RS202
    try:
        yield ctx.sleep(60)
    finally:
        return "done"  # RS202


def pack(ctx: Context, item: str) -> None:
    print(item)

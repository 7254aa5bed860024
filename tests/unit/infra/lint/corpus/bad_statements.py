"""Statements that only make commands."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str]):
    items and ctx.run(look, "any")  # RS101
    ctx.run(look, "first") if items else None  # RS101
    [ctx.run(look, item) for item in items]  # RS101
    ctx.sleep(1), ctx.sleep(2)  # RS101 RS101
    yield ctx.sleep(3)


def look(ctx: Context, item: str) -> str:
    return item

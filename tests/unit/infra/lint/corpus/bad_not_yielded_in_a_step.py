"""A registered function that forgets every yield is a step, and its commands have no effect."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str) -> str:
    ctx.run(check, item)  # RS101
    ctx.sleep(60)  # RS101
    return item


def check(ctx: Context, item: str) -> None:
    print(item)

"""Commands that are kept in a variable which is not used."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    receipt = ctx.run(check, item)  # RS101
    pause: object = ctx.sleep(60)  # RS101
    yield ctx.run(check, item)


def check(ctx: Context, item: str) -> None:
    print(item)

"""Commands that are used as if they were their results."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    if ctx.patched("taxes"):  # RS101
        yield ctx.run(price, item)
    total = ctx.run(price, item) + 1  # RS101
    if ctx.random.randint(1, 6) > 3:  # RS101
        yield ctx.sleep(total)
    for each in ctx.map(price, ["a", "b"]):  # RS101
        print(each)
    note = f"at {ctx.time.time()}"  # RS101
    yield ctx.run(keep, note, ctx.time.time())  # RS101
    yield ctx.run(keep, note, {"at": [ctx.time.time()]})  # RS101
    print(ctx.run(price, item))  # RS101
    return ctx.run(price, item)  # RS101


def price(ctx: Context, item: str) -> int:
    return 3


def keep(ctx: Context, *what: object) -> None:
    print(*what)

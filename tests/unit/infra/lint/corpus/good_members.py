"""Commands that are members of a wait, or in a list that is awaited."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    both = yield ctx.all(ctx.run(look, item), ctx.rpc("order", item))
    named = yield ctx.race(near=ctx.run(look, item), late=ctx.sleep(60), cancel_losers=True)
    many = yield ctx.all_settled(ctx.run(look, each) for each in both)
    listed = yield ctx.any([ctx.run(look, item), ctx.receive("note", timeout=3)])
    calls = [ctx.run(look, each) for each in many]
    for call in calls:
        yield call
    command = ctx.run(look, item).options(timeout=3)
    for each in (ctx.run(look, "a"), ctx.run(look, "b")):
        yield each
    chosen = ctx.run(look, "c") if named else command
    return (yield chosen), listed


def look(ctx: Context, item: str) -> str:
    return item

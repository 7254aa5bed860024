"""Time and random numbers of the context."""

from datetime import datetime, timedelta, timezone

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    begun = yield ctx.time.time()
    text = yield ctx.time.strftime("%H:%M")
    number = yield ctx.random.randint(1, 6)
    at = datetime.fromtimestamp(begun, tz=timezone.utc) + timedelta(days=number)
    yield ctx.run(keep, item, at.isoformat(), text)


@resonate.register
async def later(ctx: Context) -> float:
    return await ctx.random.random() + await ctx.time.time()


def keep(ctx: Context, *what: object) -> None:
    print(*what)

"""Commands and promises that are kept in a variable, and used as if they were the result."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def discount(ctx: Context, customer: str):
    level = ctx.run(look, customer)  # RS101
    known = yield ctx.begin_run(look, customer)  # RS103
    if level == "gold" and known:
        return f"{known}"
    return "none"


@resonate.register
async def discount_async(ctx: Context, customer: str) -> str:
    known = await ctx.begin_rpc("discount", customer)  # RS103
    return f"{known}"


def look(ctx: Context, customer: str) -> str:
    return customer

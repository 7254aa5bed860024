"""Handlers that catch the end of a suspended workflow."""

from contextlib import suppress

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    try:
        yield ctx.run(pack, item)
    except:  # RS201
        yield ctx.run(pack, "none")
    try:
        yield ctx.sleep(60)
    except BaseException as error:  # RS201
        print(error)
    try:
        yield ctx.sleep(60)
    except (ValueError, BaseException):  # RS201
        pass
    with suppress(BaseException):  # RS201
        yield ctx.sleep(60)


@resonate.register
async def later(ctx: Context, item: str) -> None:
    try:
        await ctx.run(pack, item)
    except BaseException:  # RS201
        print("failed")


def pack(ctx: Context, item: str) -> None:
    print(item)

"""Functions that return commands, and generators to delegate to."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


def call(ctx: Context, item: str):
    return ctx.run(look, item).options(timeout=30)


def limited(command):
    return command.options(timeout=3)


def twice(ctx: Context, item: str):
    first = yield ctx.run(look, item)
    second = yield from ctx.typesafe(ctx.run(look, item))
    return first, second


@resonate.register
def order(ctx: Context, item: str):
    first = yield call(ctx, item)
    second = yield limited(ctx.run(look, item))
    rest = yield from twice(ctx, item)
    return first, second, rest


def look(ctx: Context, item: str) -> str:
    return item

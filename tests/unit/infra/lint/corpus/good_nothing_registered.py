"""A file that registers nothing cannot know the names."""

from resonate import Context


def order(ctx: Context, item: str):
    yield ctx.rpc("ship", item)

"""Steps that change what belongs to the process, and not to the workflow."""

from shop import open_sheet

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, items: list[str]):
    cache = ctx.get_dependency("cache")
    sheet = open_sheet()

    def keep(ctx: Context, item: str) -> None:
        cache[item] = len(item)
        cache.last = item
        sheet[item] = 1
        sheet.title = item

    yield ctx.map(keep, items)
    return len(items)

"""Objects and tables of the module that a workflow reads and a function changes."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Settings:
    limit = 3


def read_table() -> dict[str, int]:
    return {"a": 1}


settings = Settings()
table = read_table()


def change(limit: int) -> None:
    settings.limit = limit
    table["a"] = limit


@resonate.register
def order(ctx: Context, items: list[str]):
    for item in items[: settings.limit]:  # RS008
        yield ctx.run(look, item, table["a"])  # RS008


def look(ctx: Context, item: str, count: int) -> str:
    return item * count

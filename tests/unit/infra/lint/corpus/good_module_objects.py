"""Objects and tables that are set while the module is imported, or belong to the function that changes them."""

import json

import tables

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Settings:
    limit = 3


settings = Settings()
table = json.loads('{"a": 1}')


def configure() -> None:
    settings.limit = 4
    table["b"] = 2


configure()


def own() -> int:
    settings = Settings()
    settings.limit = 5
    tables.main["a"] = 1
    return settings.limit


@resonate.register
def order(ctx: Context, items: list[str]):
    for item in items[: settings.limit]:
        yield ctx.run(look, item, table["a"])


def look(ctx: Context, item: str, count: int) -> str:
    return item * (count + own())

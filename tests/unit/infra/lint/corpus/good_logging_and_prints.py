"""Lines of a log are not effects that a replay must not repeat."""

import logging

from resonate import Context, Resonate

resonate = Resonate(group="worker")
logger = logging.getLogger(__name__)


@resonate.register
def order(ctx: Context, item: str):
    print("order", item)
    logger.info("order %s", item)
    ctx.logger.info("order %s", item)
    database = ctx.get_dependency("database")
    yield ctx.run(keep, item, database)


def keep(ctx: Context, *what: object) -> None:
    print(*what)

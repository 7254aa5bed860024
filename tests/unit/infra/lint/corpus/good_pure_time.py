"""Functions of the time module that are given their time."""

import time
from datetime import date, datetime

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, at: float, day: date):
    parts = time.gmtime(at)
    text = time.strftime("%H:%M", parts)
    midnight = datetime.combine(day, datetime.min.time())
    yield ctx.run(keep, text, midnight.isoformat(), time.mktime(parts), time.ctime(at))


def keep(ctx: Context, *what: object) -> None:
    print(*what)

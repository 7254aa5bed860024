"""Clocks, by every way to import them."""

import datetime
import datetime as dt
import time
import time as t
from datetime import date, datetime as moment
from time import monotonic, perf_counter as count

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    begun = time.time()  # RS001
    precise = t.time_ns()  # RS001
    ticks = monotonic() + count()  # RS001 RS001
    today = date.today()  # RS001
    now = moment.now()  # RS001
    late = datetime.datetime.utcnow()  # RS001
    local = dt.datetime.now(tz=dt.UTC)  # RS001
    parts = time.localtime()  # RS001
    text = time.strftime("%H:%M")  # RS001
    yield ctx.run(pack, item, [begun, precise, ticks, today, now, late, local, parts, text])


def pack(ctx: Context, item: str, when: list) -> str:
    return f"{item} at {when}"

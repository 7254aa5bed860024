"""A monitor that may run for years: each day is a history of its own, and only the present one is kept."""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def monitor(ctx: Context, item: str, limit: int, delay: float, day: int = 1) -> Generator[Any, Any, str]:
    price = yield ctx.run(look_up, item, day)
    if price <= limit:
        return f"{item} costs {price} on day {day}"
    yield ctx.sleep(delay)
    return ctx.continue_as(item, limit, delay, day + 1)


def look_up(_: Context, item: str, day: int) -> int:
    price = 30 - 3 * day
    print(f"day {day}: {item} costs {price}")
    return price


handler = resonate.handler()

if __name__ == "__main__":
    item, limit, delay = sys.argv[1:] or ("tea", "20", "0.1")
    try:
        print(monitor.run(f"monitor-{item}", item, int(limit), float(delay)))
    finally:
        resonate.stop()

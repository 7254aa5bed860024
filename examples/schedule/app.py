"""Report every minute, by cron. Each occurrence is an execution of its own, and no process has to run in between."""

import sys
import threading
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate
from resonate.errors import ResonateStoreError

resonate = Resonate(group="worker")


@resonate.register
def generate_report(ctx: Context, user_id: int) -> Generator[Any, Any, str]:
    orders = yield ctx.run(count_orders, user_id)
    report: str = yield ctx.run(publish, user_id, orders)
    return report


def count_orders(_: Context, user_id: int) -> int:
    return user_id % 10


def publish(_: Context, user_id: int, orders: int) -> str:
    print(f"Report for user {user_id}: {orders} orders")
    return f"{orders} orders"


def define(cron: str) -> None:
    """Define the schedule. A second, equal definition changes nothing, so every worker may define it at its start."""
    try:
        resonate.schedule("daily_report", generate_report, cron, user_id=123)
    except ResonateStoreError as error:
        if error.code != 100.40901:
            raise
        print("Schedule already exists, and says something else")
    else:
        print(f"Scheduled: {cron}")


handler = resonate.handler()

if __name__ == "__main__":
    try:
        define("* * * * *")
        if "now" in sys.argv[1:]:
            define("* * * * *")
            define("0 9 * * mon-fri")
            occurrence = resonate.schedules.trigger("daily_report")
            print(resonate.get(occurrence.id).result())
        else:
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        resonate.stop()

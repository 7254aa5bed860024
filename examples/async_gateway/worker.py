"""Worker for the reports that the gateways submit."""

from collections.abc import Generator
from threading import Event
from typing import Any

from resonate import Context, Resonate

resonate = Resonate.remote(group="worker")


@resonate.register
def make_report(ctx: Context, customer: str, secs: float) -> Generator[Any, Any, dict[str, Any]]:
    if not customer.isalpha():
        raise ValueError(f"{customer!r} is nobody's name")
    orders = yield ctx.run(collect_orders, customer)
    yield ctx.sleep(secs)
    return {"customer": customer, "orders": orders}


def collect_orders(_: Context, customer: str) -> int:
    print(f"collecting the orders of {customer}")
    return len(customer)


resonate.start()
print("worker is running...")
Event().wait()

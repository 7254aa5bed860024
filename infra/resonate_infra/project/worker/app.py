"""Workflows of this project, and the handler that Lambda calls.

A workflow yields its steps. The outcome of each step is stored before the next step begins. So if the process dies, the
workflow continues with the next step. Outside of Lambda, this file keeps promises in memory, unless `RESONATE_TABLE`
names a table.
"""

from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

resonate = Resonate()


@resonate.register
def order(ctx: Context, amount: float, cooling_off: float = 86_400.0) -> Generator[Any, Any, str]:
    """Reserve the money, wait while the customer can cancel, and capture it.

    Args:
        ctx: the context of the workflow.
        amount: the amount of money.
        cooling_off: how long to wait, in seconds. Default: one day.

    Returns:
        The receipt.
    """
    reservation = yield ctx.run(reserve, amount)
    yield ctx.sleep(cooling_off)
    receipt = yield ctx.run(capture, reservation)
    return f"order {ctx.id}: {receipt}"


def reserve(_ctx: Context, amount: float) -> str:
    return f"{amount:.2f} reserved"


def capture(_ctx: Context, reservation: str) -> str:
    return f"{reservation}, captured"


handler = resonate.handler()

"""The workflows of this project, and the handler that Lambda calls for them.

A workflow yields its steps. Each one's outcome is stored before the next begins, so whatever happens to the process, it
goes on where it was. Outside of Lambda the same file keeps promises in memory, unless `RESONATE_TABLE` names a
table.
"""

from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

resonate = Resonate()


@resonate.register
def order(ctx: Context, amount: float, cooling_off: float = 86_400.0) -> Generator[Any, Any, str]:
    """Reserve the money, give the customer time to reconsider, and take it."""
    reservation = yield ctx.run(reserve, amount)
    yield ctx.sleep(cooling_off)
    receipt = yield ctx.run(capture, reservation)
    return f"order {ctx.id}: {receipt}"


def reserve(_ctx: Context, amount: float) -> str:
    return f"{amount:.2f} reserved"


def capture(_ctx: Context, reservation: str) -> str:
    return f"{reservation}, captured"


handler = resonate.handler()

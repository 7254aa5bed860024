"""Function that calls itself across workers, with an id of its own for every number.

The id names what is computed, not its caller. `factorial-6` and a caller outside share the same promise `factorial-5`.
So a factorial that any caller has computed before is not computed again.
"""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

WORKER = "worker"

resonate = Resonate(group=WORKER)


@resonate.register
def factorial(ctx: Context, n: int) -> Generator[Any, Any, int]:
    # A step, because the body runs again when the workflow is resumed, and would print the line twice.
    yield ctx.run(announce, n)
    if n <= 1:
        return 1
    below: int = yield ctx.rpc("factorial", n - 1).options(target=WORKER, id=f"factorial-{n - 1}")
    return n * below


def announce(_: Context, n: int) -> None:
    print(f"Calculating factorial of {n}")


handler = resonate.handler()

if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]] or [5, 6]
    try:
        for n in numbers:
            print(f"Result: {resonate.options(target=WORKER).rpc(f'factorial-{n}', 'factorial', n=n)}")
    finally:
        resonate.stop()

"""A function that calls itself across workers, with an id of its own for every number.

The id says what is computed, not who asked for it: `factorial-5` is the same promise below `factorial-6` as on its own,
so whatever has been computed before, by anybody, is not computed again.
"""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

WORKER = "worker"

resonate = Resonate(group=WORKER)


@resonate.register
def factorial(ctx: Context, n: int) -> Generator[Any, Any, int]:
    # A step, because the body runs again when the workflow is resumed and would say it twice.
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

"""Worker of a group of several workers. The argument is its name."""

import sys
from collections.abc import Generator
from threading import Event
from typing import Any

from resonate import Context, Resonate

name = sys.argv[1]
# The lease is two seconds: after that, another worker acquires the task of a worker that was killed.
resonate = Resonate.remote(group="worker", pid=name, ttl=2)


@resonate.register
def compute(ctx: Context, item: int, secs: float) -> Generator[Any, Any, dict[str, Any]]:
    print(f"{name} begins item {item}")
    square = yield ctx.run(work, item, secs)
    return {"square": square, "by": name}


def work(_: Context, item: int, secs: float) -> int:
    Event().wait(secs)
    return item * item


resonate.start()
print(f"{name} is running...")
Event().wait()

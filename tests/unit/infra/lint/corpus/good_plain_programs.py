"""Clients and programs that start workflows are not replayed."""

import os
import sys
import time
import uuid

from resonate import Context, Resonate

resonate = Resonate(group=os.environ.get("GROUP", "worker"))
STARTED = time.time()


@resonate.register
def order(ctx: Context, item: str):
    yield ctx.sleep(1)


def main() -> None:
    id = str(uuid.uuid4())
    print(order.run(id, sys.argv[1]), time.time() - STARTED)
    while resonate.get(id).result() is None:
        time.sleep(1)


if __name__ == "__main__":
    main()

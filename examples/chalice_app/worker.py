"""Worker of the orders."""

from collections.abc import Generator
from threading import Event
from typing import Any

from resonate import Context, Resonate

resonate = Resonate.remote(group="shop")


@resonate.register
def fulfil(ctx: Context, item: str) -> Generator[Any, Any, dict[str, str]]:
    yield ctx.publish("progress", "packing")
    parcel = yield ctx.run(pack, item)
    yield ctx.publish("progress", "waiting for the carrier")
    yield ctx.sleep(2)
    return {"parcel": parcel}


def pack(_: Context, item: str) -> str:
    print(f"packing {item}", flush=True)
    return f"a box of {item}"


resonate.start()
print("worker is running...", flush=True)
Event().wait()

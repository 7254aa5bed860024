"""Start an order with the official SDK, or find the order with this id, and print its result."""

import asyncio
import json
import sys

from resonate.resonate import Resonate


async def main(url: str, id: str, item: str) -> None:
    resonate = Resonate(url=url, group="client")
    handle = resonate.options(target="poll://any@default").rpc(id, "order", item)
    print(json.dumps(await handle.result()), flush=True)
    await resonate.stop()


asyncio.run(main(*sys.argv[1:]))

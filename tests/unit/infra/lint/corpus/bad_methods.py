"""Methods, which get their context behind `self`."""

import time

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Orders:
    def order(self, ctx: Context, item: str):
        yield ctx.run(self.pack, item, time.time())  # RS001

    def pack(self, ctx: Context, item: str, at: float) -> float:
        return at - time.time()

    @staticmethod
    async def later(ctx: "Context", item: str) -> None:
        await ctx.sleep(time.time())  # RS001


resonate.register(Orders().order)

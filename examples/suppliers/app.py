"""Race of suppliers: the first offer wins, and the requests to the other suppliers are withdrawn."""

from contextlib import suppress

from resonate import Canceled, Context, Resonate
from resonate.errors import ResonateCanceledError

resonate = Resonate(group="worker")


@resonate.register
async def order(ctx: Context, item: str, delay: float) -> str:
    """Return the first offer. The suppliers answer after one to three delays, and after ten it is too late."""
    first = await ctx.race(
        slow=ctx.rpc(ask, "slow", item, 3 * delay),
        fast=ctx.rpc(ask, "fast", item, delay),
        local=ctx.rpc(ask, "local", item, 2 * delay),
        too_late=ctx.sleep(10 * delay),
        cancel_losers=True,
    )
    return "no offer" if first.name == "too_late" else f"{first.name}: {first.value}"


@resonate.register
async def ask(ctx: Context, supplier: str, item: str, delay: float) -> str:
    """Return the offer of one supplier. If the workflow does not need it any more, withdraw the request."""
    await ctx.run(send_request, supplier, item)
    try:
        await ctx.sleep(delay)  # Suppliers answer late. A real one would settle a promise.
    except Canceled:
        await ctx.run(withdraw_request, supplier, item)
        raise
    return f"offer for {item}"


async def send_request(_: Context, supplier: str, item: str) -> None:
    print(f"{supplier} is asked for {item}")


async def withdraw_request(_: Context, supplier: str, item: str) -> None:
    print(f"{supplier} is not asked for {item} any more")


handler = resonate.handler()

if __name__ == "__main__":
    try:
        offer = order.run("order-1", "lamp", 0.5)
        # Only because this process ends: wait until the cancelled calls have withdrawn their requests.
        for cancelled in ("order-1.1", "order-1.3"):
            with suppress(ResonateCanceledError):
                resonate.get(cancelled).result()
        print(offer)
    finally:
        resonate.stop()

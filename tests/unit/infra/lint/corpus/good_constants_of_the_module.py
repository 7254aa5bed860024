"""Variables of the module that do not change."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")
MAILS = ["first", "second"]
PRICES = {"lamp": 30}
limit: float = 3.5


@resonate.register
def order(ctx: Context, item: str):
    for mail in MAILS:
        yield ctx.run(keep, mail, PRICES[item], limit)
    mails = list(MAILS)
    mails.append(item)
    return mails


def keep(ctx: Context, *what: object) -> None:
    print(*what)

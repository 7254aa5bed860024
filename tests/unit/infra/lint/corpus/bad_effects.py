"""Steps whose effect may happen twice."""

from resonate import Context, Resonate
from resonate.retry_policies import Constant, Never

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, card: str):
    yield ctx.run(charge_card, card)  # RS402
    begun = yield ctx.begin_run(sendEmail, card).options(timeout=60)  # RS402
    yield ctx.run(charge_card, card).options(retry_policy=Never())  # RS402
    yield ctx.run(charge_card, card).options(retry_policy=Constant(max_retries=3))  # RS402
    saga = ctx.saga()
    yield saga.run(book_flight, card, undo=(cancel, card))  # RS402
    yield begun


def charge_card(ctx: Context, card: str) -> None:
    print(card)


def sendEmail(ctx: Context, card: str) -> None:
    print(card)


def book_flight(ctx: Context, card: str) -> None:
    print(card)


def cancel(ctx: Context, card: str) -> None:
    print(card)

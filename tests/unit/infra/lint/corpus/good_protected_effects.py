"""Steps whose effect is limited, or has a key."""

from resonate import Context, Resonate
from resonate.retry_policies import Never

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, card: str):
    yield ctx.run(charge, card)
    yield ctx.run(send_mail, card)
    yield ctx.run(pay, card).options(at_most_once=True)
    yield ctx.run(pay, card).options(at_most_once=True, retry_policy=Never())
    yield ctx.run(find_order, card)
    yield ctx.run(create_order, card, idempotency_key="k")
    yield ctx.run(book_trip, card)
    yield ctx.run(display, card)


def charge(ctx: Context, card: str) -> None:
    print(card, ctx.id)


def send_mail(ctx: Context, card: str) -> None:
    print({"Idempotency-Key": card})


def pay(ctx: Context, card: str) -> None:
    print(card)


def create_order(ctx: Context, card: str, idempotency_key: str) -> None:
    print(card, idempotency_key)


def book_trip(ctx: Context, card: str):
    yield ctx.run(display, card)


def find_order(ctx: Context, card: str) -> str:
    return card


def display(ctx: Context, card: str) -> None:
    print(card)

"""Payment whose data the store cannot read: arguments, results and errors are encrypted in this process.

The workflow and its steps contain no code for it. A reader of the table sees that a payment ran, its steps and their
times, but not the card or the amount. With `--crash` the bank fails once in the middle. Then only the charge is
retried.
"""

import os
import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from resonate import Context, Resonate
from resonate.encryption import AESGCMEncryptor
from resonate.retry_policies import Constant
from resonate_store.model.requests import PromiseGet

# In a deployment, generate keys with AESGCM.generate_key(256), and keep them in a secret store.
KEY = os.environ.get("PAYMENTS_KEY", "").encode() or b"32 bytes that everybody can read"

encryptor = AESGCMEncryptor({"2026-11": KEY})
resonate = Resonate(group="worker", encryptor=encryptor)


@dataclass
class Order:
    id: str
    card: str
    cents: int


class BankUnreachable(Exception):
    """The bank did not answer; a retry may help."""


@resonate.register
def pay(
    ctx: Context, order: Order, crash: bool = False, secs_between: float = 0.1
) -> Generator[Any, Any, dict[str, Any]]:
    steps = [(yield ctx.run(validate, order)), (yield ctx.run(clear, order))]
    charge = ctx.run(charge_card, order, crash).options(retry_policy=Constant(delay=secs_between, max_retries=3))
    steps.append((yield charge))
    steps.append((yield ctx.run(send_receipt, order)))
    return {"order": order.id, "steps": steps}


def validate(_: Context, order: Order) -> str:
    print(f"validating {order.id}")
    if order.cents <= 0:
        raise ValueError(f"nothing to pay for {order.id}")
    return "validated"


def clear(_: Context, order: Order) -> str:
    print(f"clearing {order.id}")
    return "cleared"


def charge_card(ctx: Context, order: Order, crash: bool) -> str:
    print(f"charging the card that ends in {order.card[-4:]}, attempt {ctx.info.attempt}")
    if crash and ctx.info.attempt == 1:
        raise BankUnreachable(f"no answer for card {order.card}")
    return "charged"


def send_receipt(_: Context, order: Order) -> str:
    print(f"sending the receipt of {order.id}")
    return "receipt_sent"


handler = resonate.handler()

if __name__ == "__main__":
    order = Order("order-1", card="4000 0566 5566 5556", cents=1999)
    try:
        result = pay.run(f"payment-{order.id}", order, crash="--crash" in sys.argv)
        print(f"steps: {', '.join(result['steps'])}")
        stored = resonate.store.apply(PromiseGet(f"payment-{order.id}")).promise
        print(f"in the store: {stored and stored.value.headers}")
    finally:
        resonate.stop()

"""Random numbers."""

import os
import random
import secrets
from random import choice, Random

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def draw(ctx: Context, names: list[str]):
    first = random.choice(names)  # RS002
    second = choice(names)  # RS002
    random.shuffle(names)  # RS002
    token = secrets.token_hex(8)  # RS002
    raw = os.urandom(4)  # RS002
    own = Random()  # RS002
    yield ctx.run(announce, first, second, token, raw, own.random())


def announce(ctx: Context, *what: object) -> None:
    print(*what)

"""Functions of a small shop, for the tests of web frameworks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate


def order(ctx: Context, item: str) -> Generator[Any, Any, dict[str, str]]:
    yield ctx.publish("progress", 40)
    approval = yield ctx.promise(id=f"approval-{item}")
    yield approval
    if item == "nothing":
        raise ValueError("nothing is sold out")
    return {"sent": item}


def secret(_: Context) -> str:
    return "secret"


def shop() -> Resonate:
    resonate = Resonate.local(workers=4)
    resonate.register(order)
    resonate.register(secret)
    return resonate

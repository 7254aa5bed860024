"""Workflows that the tests of the command line start; imported by the development server they run against."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate
from resonate.retry_policies import Constant

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, amount: int, *, currency: str = "USD") -> Generator[Any, Any, list[Any]]:
    receipt = yield ctx.run(charge, amount, currency)
    yield ctx.sleep(0.02)
    doubled = yield ctx.rpc("double", amount)
    return [receipt, doubled]


def charge(_ctx: Context, amount: int, currency: str) -> str:
    return f"charged {amount} {currency}"


@resonate.register
def double(_ctx: Context, n: int) -> int:
    return n * 2


@resonate.register
def fails(ctx: Context, message: str) -> Generator[Any, Any, None]:
    yield ctx.sleep(0)
    raise ValueError(message)


@resonate.register
def sleeps(ctx: Context, secs: float = 3600) -> Generator[Any, Any, str]:
    yield ctx.sleep(secs)
    return "awake"


@resonate.register
def retries(ctx: Context) -> Generator[Any, Any, None]:
    yield ctx.run(_breaks).options(retry_policy=Constant(delay=3600))


def _breaks(_ctx: Context) -> None:
    raise RuntimeError("not today")


@resonate.register
def detaches(ctx: Context) -> Generator[Any, Any, str]:
    child = yield ctx.detached("sleeps")
    return str(child.id)


@resonate.register
def chooses(ctx: Context) -> Generator[Any, Any, list[Any]]:
    later = yield ctx.begin_sleep(3600)
    first = yield ctx.race(later, ctx.rpc("double", 1), cancel_losers=True)
    both = yield ctx.map("double", [1, 2], remote=True)
    return [first.value, both.values]


@resonate.register
def chats(ctx: Context) -> Generator[Any, Any, None]:
    for count in (1, 2):
        yield ctx.receive("chat")
        yield ctx.publish("count", count)


handler = resonate.handler()

"""What a type checker infers in a workflow that is a generator."""

from collections.abc import Generator
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn, TypeVar, assert_type

from resonate import Context, Promise, Resonate, Yieldable
from resonate.retry_policies import Constant

resonate = Resonate.local()
T = TypeVar("T")


def plain(ctx: Context, n: int, *, word: str = "") -> str:
    return word * n


def generator(ctx: Context, n: int) -> Generator[Yieldable, Any, float]:
    yield ctx.sleep(n)
    return 0.5


async def asynchronous(ctx: Context, n: int) -> bytes:
    return bytes(n)


@resonate.register
def registered(ctx: Context, n: int) -> list[int]:
    return [n]


@resonate.register(name="other", version=2)
def named(ctx: Context, n: int) -> Generator[Any, Any, set[int]]:
    yield ctx.run(plain, n)
    return {n}


def fails(ctx: Context) -> NoReturn:
    raise ValueError


def of_anything(ctx: Context, n: T, data: dict[str, Any] | None = None) -> Generator[Yieldable, Any, dict[str, T]]:
    yield ctx.sleep(1)
    return {"n": n}


class Shop:
    def buy(self, ctx: Context, n: int) -> Generator[Any, Any, str]:
        yield ctx.sleep(n)
        return ""

    async def sell(self, ctx: Context, n: int) -> bytes:
        return bytes(n)

    def __call__(self, ctx: Context, n: int) -> float:
        return n / 2


def workflow(ctx: Context) -> Generator[Any, Any, str]:
    assert_type((yield from ctx.typesafe(ctx.run(plain, 1, word="a"))), str)
    assert_type((yield from ctx.typesafe(ctx.run(generator, 1))), float)
    assert_type((yield from ctx.typesafe(ctx.lfc(asynchronous, n=1))), bytes)
    assert_type((yield from ctx.typesafe(ctx.run(registered, 1))), list[int])
    assert_type((yield from ctx.typesafe(ctx.run(named, 1).options(timeout=5))), set[int])
    promise = yield from ctx.typesafe(ctx.begin_run(plain, 1))
    assert_type(promise, Promise[str])
    assert_type((yield from ctx.typesafe(promise)), str)
    assert_type((yield from ctx.typesafe(ctx.lfi(generator, 1))), Promise[float])
    assert_type((yield from ctx.typesafe(ctx.rpc(registered, 1))), list[int])
    assert_type((yield from ctx.typesafe(ctx.rfc(named, 1).options(target="g"))), set[int])
    assert_type((yield from ctx.typesafe(ctx.begin_rpc(asynchronous, 1))), Promise[bytes])
    assert_type((yield from ctx.typesafe(ctx.rfi(plain, 1))), Promise[str])
    assert_type((yield from ctx.typesafe(ctx.detached(plain, 1))), Promise[str])
    assert_type((yield from ctx.typesafe(ctx.rpc("plain", 1, 2, 3))), Any)
    assert_type((yield from ctx.typesafe(ctx.rpc("plain", 1, result_type=str))), str)
    assert_type((yield from ctx.typesafe(ctx.begin_rpc("plain", 1, result_type=list[str]))), Promise[list[str]])
    assert_type((yield from ctx.typesafe(ctx.promise())), Promise[Any])
    assert_type((yield from ctx.typesafe(ctx.sleep(1))), None)
    assert_type((yield from ctx.typesafe(ctx.sleep(timedelta(days=1)))), None)
    assert_type((yield from ctx.typesafe(ctx.run(plain, 1).options(timeout=timedelta(days=1)))), str)
    assert_type((yield from ctx.typesafe(ctx.run(plain, 1).options(attempt_timeout=timedelta(seconds=1)))), str)
    assert_type((yield from ctx.typesafe(ctx.run(plain, 1).options(at_most_once=True, attempt_timeout=1.5))), str)
    assert_type((yield from ctx.typesafe(ctx.patched("name"))), bool)
    assert_type((yield from ctx.typesafe(ctx.run(plain, 1).options(retry_policy=Constant(timedelta(days=1))))), str)
    assert_type((yield from ctx.typesafe(ctx.time.time())), float)
    assert_type((yield from ctx.typesafe(ctx.random.choice(["a"]))), str)
    assert_type((yield from ctx.typesafe(ctx.run(of_anything, 1, {}))), dict[str, int])
    assert_type((yield from ctx.typesafe(ctx.begin_rpc(of_anything, "a"))), Promise[dict[str, str]])
    assert_type((yield from ctx.typesafe(ctx.run(Shop().buy, 1))), str)
    assert_type((yield from ctx.typesafe(ctx.run(Shop().sell, n=1))), bytes)
    assert_type((yield from ctx.typesafe(ctx.begin_run(Shop(), 1))), Promise[float])
    assert_type((yield from ctx.typesafe(ctx.run(partial(plain, n=1)))), str)
    assert_type((yield from ctx.typesafe(ctx.run(lambda _: 1))), int)
    yield ctx.run(fails)

    ctx.run(plain)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    ctx.run(plain, "1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.run(plain, 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    ctx.run(plain, 1, words="a")  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    ctx.begin_run(generator, n="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.run(asynchronous, None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.run(registered, "1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.run("plain", 1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.rpc(named, "1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.run(plain, 1).options(target="g")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ctx.sleep("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ctx.run(Shop().buy, "1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.run(lambda: 1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    return "done"


def endless(ctx: Context, n: int) -> Generator[Yieldable, Any, int]:
    yield ctx.sleep(n)
    if n > 5:
        return n
    return ctx.continue_as(n + 1)


def endless_in_all_ways(ctx: Context, n: int) -> Generator[Any, Any, str]:
    assert_type((yield from ctx.typesafe(ctx.run(endless, n))), int)
    handle = resonate.begin_run("id", endless, n)
    assert_type(handle.result(), int)
    return ctx.continue_as(n=n)

"""What a type checker infers in a workflow that is a generator."""

from collections.abc import Generator
from typing import Any, assert_type

from resonate import Context, Promise, Resonate, Yieldable

resonate = Resonate.local()


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
    assert_type((yield from ctx.typesafe(ctx.promise())), Promise[Any])
    assert_type((yield from ctx.typesafe(ctx.sleep(1))), None)
    assert_type((yield from ctx.typesafe(ctx.time.time())), float)
    assert_type((yield from ctx.typesafe(ctx.random.choice(["a"]))), str)

    ctx.run(plain)  # pyright: ignore[reportCallIssue]
    ctx.run(plain, "1")  # pyright: ignore[reportArgumentType]
    ctx.run(plain, 1, 2)  # pyright: ignore[reportCallIssue]
    ctx.run(plain, 1, words="a")  # pyright: ignore[reportCallIssue]
    ctx.begin_run(generator, n="1")  # pyright: ignore[reportArgumentType]
    ctx.run(asynchronous, None)  # pyright: ignore[reportArgumentType]
    ctx.run(registered, "1")  # pyright: ignore[reportArgumentType]
    ctx.run("plain", 1)  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.rpc(named, "1")  # pyright: ignore[reportCallIssue, reportArgumentType]
    ctx.run(plain, 1).options(target="g")  # pyright: ignore[reportCallIssue]
    ctx.sleep("1")  # pyright: ignore[reportArgumentType]
    ctx.run(lambda: 1)  # pyright: ignore[reportArgumentType]
    return "done"

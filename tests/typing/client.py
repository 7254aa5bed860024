"""What a type checker infers of the client, of registered functions and of handles."""

from collections.abc import Coroutine, Generator
from datetime import timedelta
from typing import Any, assert_type

import resonate as package
from resonate import Context, Handle, Resonate
from resonate import Nothing as Nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from resonate.schedules import DurableSchedule

resonate = Resonate.local()


def plain(ctx: Context, n: int) -> str:
    return str(n)


@resonate.register
def step(ctx: Context, n: int) -> str:
    return str(n)


@resonate.register(name="generator")
def generator(ctx: Context, n: int, word: str = "") -> Generator[Any, Any, float]:
    yield ctx.sleep(n)
    return 0.5


@resonate.register(version=2)
async def asynchronous(ctx: Context) -> bytes:
    return b""


@resonate.register()
def unnamed(ctx: Context, n: int) -> str:
    return str(n)


def calls(ctx: Context) -> None:
    assert_type(package.__version__, str)
    assert_type(step(ctx, 1), str)
    assert_type(generator(ctx, 1), Generator[Any, Any, float])
    coroutine: Coroutine[Any, Any, bytes] = asynchronous(ctx)  # mypy and pyright name its type differently
    coroutine.close()
    assert_type(unnamed(ctx, 1), str)
    assert_type(resonate.register(plain).run("id", 1), str)

    assert_type(step.run("id", 1), str)
    assert_type(step.begin_run("id", n=1), Handle[str])
    assert_type(generator.run("id", 1, word="a"), float)
    assert_type(generator.begin_rpc("id", 1), Handle[float])
    assert_type(generator.options(timeout=5).rpc("id", 1), float)
    assert_type(asynchronous.run("id"), bytes)
    assert_type(asynchronous.begin_run("id").result(), bytes)
    assert_type(asynchronous.options(version=2).begin_rpc("id"), Handle[bytes])
    annotated = generator.run("id", 1)
    assert_type(annotated, float)

    assert_type(resonate.run("id", plain, 1), str)
    assert_type(resonate.run("id", step, 1), str)
    assert_type(resonate.begin_run("id", generator, 1), Handle[float])
    assert_type(resonate.begin_run("id", generator, 1).result(timeout=5), float)
    assert_type(resonate.rpc("id", asynchronous), bytes)
    assert_type(resonate.options(timeout=5).begin_rpc("id", asynchronous), Handle[bytes])
    assert_type(resonate.run("id", "name", 1, 2), Any)
    assert_type(resonate.begin_rpc("id", "name", a=1), Handle[Any])
    assert_type(resonate.rpc("id", "name", 1, result_type=list[int]), list[int])
    assert_type(resonate.begin_rpc("id", "name", 1, result_type=str), Handle[str])
    assert_type(resonate.get("id"), Handle[Any])
    assert_type(resonate.get("id", result_type=str).result(), str)
    assert_type(resonate.options(timeout=timedelta(days=1)).run("id", step, 1), str)
    assert_type(step.options(timeout=timedelta(days=1)).begin_run("id", 1).result(timedelta(seconds=1)), str)

    assert_type(resonate.schedule("id", step, "@daily", 1), DurableSchedule)
    assert_type(resonate.schedule("id", plain, "@daily", n=1), DurableSchedule)
    assert_type(resonate.options(timezone="UTC").schedule("id", generator, "@daily", 1, word="a"), DurableSchedule)
    assert_type(resonate.schedule("id", asynchronous, "@daily"), DurableSchedule)
    assert_type(resonate.schedule("id", "name", "@daily", 1, a=2), DurableSchedule)

    resonate.schedule("id", plain, "@daily")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    resonate.schedule("id", plain, "@daily", "1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    resonate.schedule("id", step, "@daily", 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    resonate.schedule("id", generator, "@daily", 1, words="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    step.run(1, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    step.run("id", "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    step.run("id")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    step(1)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    generator.begin_run("id", 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    resonate.run("id", plain)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    resonate.begin_run("id", plain, "1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    resonate.register(lambda: 1)  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]
    resonate.register("name")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def awaits(handle: Handle[float]) -> None:
    assert_type(await handle, float)
    assert_type(await resonate.begin_run("id", generator, 1), float)

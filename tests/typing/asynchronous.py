"""What a type checker infers in a workflow that is an async function."""

from collections.abc import Generator
from typing import Any, assert_type

from resonate import Context, Promise, Resonate

resonate = Resonate.local()


def plain(ctx: Context, n: int) -> str:
    return str(n)


def generator(ctx: Context, n: int) -> Generator[Any, Any, float]:
    yield ctx.sleep(n)
    return 0.5


async def step(ctx: Context, n: int) -> bytes:
    return bytes(n)


@resonate.register
async def workflow(ctx: Context, n: int) -> list[str]:
    assert_type(await ctx.run(plain, n), str)
    assert_type(await ctx.run(generator, n).options(timeout=5), float)
    assert_type(await ctx.patched("name"), bool)
    assert_type(await ctx.run(step, n), bytes)
    assert_type(await ctx.run(workflow, n), list[str])
    promise = await ctx.begin_run(step, n)
    assert_type(promise, Promise[bytes])
    assert_type(await promise, bytes)
    assert_type(await ctx.rpc(workflow, n), list[str])
    assert_type(await ctx.begin_rpc(workflow, n), Promise[list[str]])
    assert_type(await ctx.detached(workflow, n), Promise[list[str]])
    assert_type(await ctx.rpc("workflow", n), Any)
    assert_type(await ctx.promise(timeout=5), Promise[Any])
    assert_type(await ctx.sleep(1), None)
    assert_type(await ctx.time.strftime("%Y"), str)
    assert_type(await ctx.random.randint(1, 6), int)

    await ctx.run(step, "1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await ctx.begin_rpc(workflow)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await 5  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    return [(await ctx.run(plain, n)).upper()]


async def endless(ctx: Context, n: int) -> str:
    if await ctx.run(step, n):
        return ctx.continue_as(n + 1)
    return "done"

"""Smallest workflow that shows what is recorded: three functions and two durable calls."""

from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def foo(ctx: Context, greetee: str) -> Generator[Any, Any, str]:
    print("running foo")
    greeting = yield ctx.run(bar, greetee)
    return f"Hello {greetee} from foo! {greeting}"


def bar(ctx: Context, greetee: str) -> Generator[Any, Any, str]:
    print("running bar")
    greeting = yield ctx.run(baz, greetee)
    return f"Hello {greetee} from bar! {greeting}"


def baz(_: Context, greetee: str) -> str:
    print("running baz")
    return f"Hello {greetee} from baz!"


handler = resonate.handler()

if __name__ == "__main__":
    try:
        print(foo.run("hello-world-example", greetee="World"))
    finally:
        resonate.stop()

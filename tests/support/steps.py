"""Steps of the workflows that tests of the SDK run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from resonate import Context
from resonate.retry_policies import Never
from tests.support.driver import Driver, Flow

ONCE = Never()
PATIENCE = 10.0
"""Seconds after which a test that waits for a thread has failed."""


def double(_: Context, n: int) -> int:
    return 2 * n


def execute(id: str, version: int = 0) -> dict[str, Any]:
    """Return the message that offers a task."""
    return {"kind": "execute", "head": {}, "data": {"task": {"id": id, "version": version}}}


def gathered(commands: Iterable[Any]) -> Flow:
    """Begin every command, then await every promise: a workflow delegates to it with `yield from`."""
    return (yield from begun((yield from begun(commands))))


def begun(commands: Iterable[Any]) -> Flow:
    """Yield every command or promise, and return the list of what they give."""
    found = []
    for command in commands:
        found.append((yield command))
    return found


def runs(func: Callable[..., Any], *args: Any, **options: Any) -> Callable[..., Flow]:
    """Return a workflow that runs a function with these options, and returns its result."""

    def workflow(ctx: Context) -> Flow:
        return (yield ctx.run(func, *args).options(**options))

    return workflow


def caught(command: Any, *kinds: type[Exception]) -> Flow:
    """Yield a command; return its result, or its error if it has one of these types. See `gathered`."""
    try:
        return (yield command)
    except kinds as error:
        return error


class Held:
    """A step that runs until the test sets `enough`."""

    def __init__(self) -> None:
        self.running, self.enough = threading.Event(), threading.Event()

    def step(self, _: Context) -> str:
        self.running.set()
        assert self.enough.wait(PATIENCE)
        return "done"


class Diary(list[Any]):
    """Names of the steps that have run, in order; `diary.step` makes steps that note their name."""

    def step(self, name: str, result: Any = None, error: Exception | None = None) -> Callable[..., Any]:
        def function(_: Context) -> Any:
            self.append(name)
            if error is not None:
                raise error
            return result

        function.__name__ = name
        return function


class Flaky:
    """A step that fails a number of times.

    Attributes:
        times: when each attempt began, in seconds since this object was made.
        attempts: the number of each attempt.
    """

    def __init__(self, driver: Driver, failures: int, error: BaseException | None = None) -> None:
        self.times: list[float] = []
        self.attempts: list[int] = []
        began = driver.elapsed()

        def flaky(ctx: Context) -> str:
            self.times.append(round(driver.elapsed() - began, 3))
            self.attempts.append(ctx.info.attempt)
            if len(self.times) <= failures:
                raise error or ValueError("again")
            return "ok"

        self.step = flaky


def sequence(step: Callable[[Context], Any]) -> Callable[..., Any]:
    """Return a workflow of six steps."""

    def workflow(ctx: Context) -> Flow:
        for _ in range(6):
            yield ctx.run(step)

    return workflow


def _async(step: Callable[[Context], Any]) -> Callable[..., Any]:
    async def workflow(ctx: Context) -> None:
        for _ in range(6):
            await ctx.run(step)

    return workflow


def _begun(step: Callable[[Context], Any]) -> Callable[..., Any]:
    def workflow(ctx: Context) -> Flow:
        for _ in range(6):
            yield (yield ctx.begin_run(step))

    return workflow


def _nested(step: Callable[[Context], Any]) -> Callable[..., Any]:
    def workflow(ctx: Context) -> Flow:
        yield ctx.run(sequence(step))

    return workflow


SEQUENCES = {"generator": sequence, "async": _async, "begun": _begun, "nested": _nested}
"""Spellings of a workflow that runs one step six times."""

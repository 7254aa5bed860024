"""Check where commands are awaited: in an async function that the worker runs, and not in other asyncio tasks."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from resonate.errors import ProgramError

running_function: ContextVar[str] = ContextVar("function", default="a coroutine")
"""The name of the async function that an asyncio task belongs to. A new task inherits it from the task that creates it.
"""
coroutines_of_functions: WeakSet[Any] = WeakSet()
"""The coroutines of async functions that the event loop runs. The loop adds them."""


class MixedAwaits(ProgramError):
    """One async function awaits both commands and awaitables of asyncio."""

    # Stored errors have this name, which workers of version 0.1.0 read.
    __module__ = "resonate.event_loop"

    def __init__(self, name: str, command: object, foreign: object) -> None:
        super().__init__(
            f"{name} awaits {command!r:.80} and uses asyncio ({foreign!s:.80}): a workflow must take the same path"
            " whenever it is replayed, so put what needs an event loop into an async function of its own and await"
            " ctx.run(that_function); to have several commands at work at once, await ctx.begin_run(...) for each and"
            " then the promises"
        )


def refuse_task(awaited: object) -> None:
    """Raise an error if a command or promise is awaited in an asyncio task that the user's function has created.

    Raises:
        MixedAwaits: it is awaited there, for example because it was given to `asyncio.gather`.
    """
    loop = asyncio._get_running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    if task is not None and task.get_coro() not in coroutines_of_functions:
        raise MixedAwaits(running_function.get(), awaited, "a task of its own")

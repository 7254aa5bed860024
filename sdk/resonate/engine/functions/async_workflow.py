"""Async function that has become a workflow: the interpreter runs it outside of any event loop.

A replay must be able to repeat a workflow from its records, and the results of an event loop are not recorded. So no
event loop is running while an async workflow runs. Code that asks for one gets an error that says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from resonate.errors import MOST_CAUSES, ProgramError
from resonate.workflow.awaits import MixedAwaits
from resonate.workflow.commands import Command, Promise


def is_ours(yielded: object) -> bool:
    """Return whether this is a command or promise, and not an awaitable of asyncio."""
    return isinstance(yielded, (Command, Promise))


class OutsideLoop:
    """The coroutine of an async workflow, with the interface of a generator.

    Args:
        coroutine: the workflow, perhaps inside the context managers of interceptors.
        name: its name.
        command: the command that it awaited first.
    """

    __slots__ = ("_coroutine", "_guard")

    def __init__(self, coroutine: Any, name: str, command: object) -> None:
        self._coroutine = coroutine
        self._guard = cast("asyncio.AbstractEventLoop", _NoLoop(name, command))

    def send(self, value: Any) -> Any:
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self._guard)
        try:
            return self._coroutine.send(value)
        finally:
            asyncio._set_running_loop(before)

    def throw(self, error: BaseException) -> Any:
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self._guard)
        try:
            return self._coroutine.throw(error)
        finally:
            asyncio._set_running_loop(before)

    def close(self) -> None:
        self._coroutine.close()


class _NoLoop:
    """Object in the place of the running event loop. Every use of it raises an error."""

    def __init__(self, name: str, command: object) -> None:
        self._name = name
        self._command = command

    def create_task(self, coroutine: Coroutine[Any, Any, Any], **_: Any) -> Any:
        if not is_ours(coroutine):
            coroutine.close()  # otherwise Python warns that it was not awaited
        raise MixedAwaits(self._name, self._command, "a task of its own")

    def __getattr__(self, attribute: str) -> Any:
        raise MixedAwaits(self._name, self._command, f"the event loop's {attribute}")


def explain_misuse(error: Exception, name: str) -> Exception:
    """Return `MixedAwaits` for an error of asyncio about a command; other errors are returned as they are.

    `asyncio.run`, `asyncio.wait` and `asyncio.run_coroutine_threadsafe` check the type of a command without calling it,
    so only the traceback shows the mistake. If the user's error was raised `from` such an error, its cause is replaced.

    Args:
        error: what a function has raised.
        name: the name of the function.
    """
    if (mixed := _misuse(error, name)) is not None:
        return mixed
    link: BaseException = error
    for _ in range(MOST_CAUSES):
        cause = link.__cause__
        if cause is None or isinstance(cause, ProgramError):
            break
        if (mixed := _misuse(cause, name)) is not None:
            vars(BaseException)["__cause__"].__set__(link, mixed)  # a frozen dataclass refuses an assignment
            break
        link = cause
    return error


def _misuse(error: BaseException, name: str) -> MixedAwaits | None:
    """Return `MixedAwaits` for an error that asyncio raised in a call with a command as its argument, else None."""
    traceback = error.__traceback__
    if traceback is None or not isinstance(error, (TypeError, ValueError, RuntimeError, AttributeError)):
        return None
    frame = traceback.tb_frame
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") != Command.__module__:  # whose methods refuse misuse
            frame = traceback.tb_frame
        traceback = traceback.tb_next
    module = frame.f_globals.get("__name__")
    if not isinstance(module, str) or module.partition(".")[0] != "asyncio":
        return None
    for value in frame.f_locals.values():
        for each in cast("Any", value) if isinstance(value, (list, tuple, set, frozenset)) else (value,):
            if is_ours(each):
                mixed = MixedAwaits(name, each, f"asyncio.{frame.f_code.co_name.lstrip('_')}")
                mixed.__cause__ = error
                return mixed.with_traceback(error.__traceback__)
    return None

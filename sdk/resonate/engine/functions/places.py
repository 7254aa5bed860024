"""Places in the code of workflows, and errors of those that yield what is not a command. Loaded only for an error."""

from __future__ import annotations

from types import CoroutineType, GeneratorType
from typing import Any, cast

from resonate.engine.model import Coroutine
from resonate.errors import ProgramError
from resonate.workflow.commands import Command, Promise
from resonate.workflow.continuation import ContinueAs


def not_yieldable(yielded: Any) -> ProgramError:
    """Return the error of a workflow that yields this value, with what to write instead."""
    return ProgramError(
        "a workflow yields commands such as ctx.run(...), or promises, and not"
        f" {type(yielded).__name__}: {yielded!r:.80}: {_instead_of(yielded)}"
    )


def _instead_of(yielded: object) -> str:
    kind = type(yielded)
    if isinstance(yielded, (GeneratorType, CoroutineType)):
        name: str = yielded.__name__
        cast("CoroutineType[Any, Any, Any]", yielded).close()  # otherwise Python warns that it was not awaited
        return f"give the function and its arguments, `yield ctx.run({name}, ...)`"
    if isinstance(yielded, ContinueAs):
        return "write `return ctx.continue_as(...)`"
    if isinstance(yielded, (list, tuple, set)):
        members = cast("list[object]", yielded)
        if any(isinstance(each, (Command, Promise)) for each in members):
            return "several are awaited by `yield ctx.all(...)`"
    if hasattr(kind, "published"):
        return "a handle is for programs outside of workflows; call the function by `yield ctx.rpc(...)`"
    if hasattr(kind, "__await__"):
        return "await it in an async step, and call that by ctx.run"
    if callable(function := cast("Any", yielded)):
        return f"call it by `yield ctx.run({getattr(function, '__name__', 'step')}, ...)`"
    return "a function that yields is a workflow; a step returns its values, for example as a list"


def line_of(coroutine: Coroutine) -> str:
    """Return the file and line at which a workflow waits: the innermost one of the user's code."""
    resumable: Any = coroutine.outer[0] if coroutine.outer else coroutine.generator
    resumable = getattr(resumable, "_coroutine", resumable)
    place = ""
    while resumable is not None:
        frame = getattr(resumable, "gi_frame", None) or getattr(resumable, "cr_frame", None)
        if frame is not None and not frame.f_globals.get("__name__", "").startswith("resonate."):
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        resumable = getattr(resumable, "gi_yieldfrom", None) or getattr(resumable, "cr_await", None)
    return place

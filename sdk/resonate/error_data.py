"""Errors as data, and back.

An error is told by its type, message, arguments and attributes, and so are its cause and the members of a group. It
comes back as its own type when this process has already imported that, with the built-in part of it made from the
arguments; otherwise as an `ApplicationError`. Nothing is ever unpickled, nothing is imported because a payload names
it, and no constructor of a user's class runs: who writes to the store must not get to run code in those who read.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any, cast

from resonate.errors import ApplicationError

_DEEPEST = 10
"""How many levels of causes and of groups within groups are told of; causes may even go round in circles."""


def data_of(error: BaseException, travels: Callable[[Any], bool], depth: int = 0) -> dict[str, Any]:
    """What is said of an error, of its cause and, if it is a group, of its members.

    Args:
        error: the error.
        travels: whether a value can be written; an argument or attribute that cannot is left out.
        depth: how many levels above this one are told of already.

    Returns:
        Data in which arguments and attributes are as they were. It has a traceback only if the error brought one
        along from another process: the caller adds the outermost's, which shows the others' as well.
    """
    state: dict[str, Any] = {
        "__type": "error",
        "name": type(error).__name__,
        "type": f"{type(error).__module__}:{type(error).__qualname__}",
        "message": _text(error),
    }
    if error.__cause__ is not None and depth < _DEEPEST:
        state["cause"] = data_of(error.__cause__, travels, depth + 1)
    if isinstance(error, BaseExceptionGroup) and depth < _DEEPEST:
        group = cast("BaseExceptionGroup[BaseException]", error)
        state["__type"] = "aggregate_error"  # as the TypeScript SDK has it
        state["message"] = without_surrogates(group.message)
        state["errors"] = [data_of(each, travels, depth + 1) for each in group.exceptions]
    if isinstance(error, ApplicationError):
        state["name"] = state["type"] = error.type_name
        state["message"] = error.message
        if error.remote_traceback:
            state["traceback"] = error.remote_traceback
    else:
        arguments = OSError.__reduce__(error)[1] if isinstance(error, OSError) else error.args
        if travels(arguments):
            state["args"] = list(arguments)
        if attributes := {name: item for name, item in vars(error).items() if travels(item)}:
            state["state"] = attributes
    return state


def _text(error: BaseException) -> str:
    try:
        return without_surrogates(str(error))
    except Exception as failure:
        return f"its message cannot be had: __str__ raised {type(failure).__name__}"


def without_surrogates(text: str) -> str:
    """The text without lone surrogates, such as file names that are not UTF-8 bring along."""
    return text.encode("utf-8", "backslashreplace").decode()


def is_error(content: Any) -> bool:
    """Whether data is that of an error, ours or of another SDK."""
    return isinstance(content, dict) and cast("dict[str, Any]", content).get("__type") in ("error", "aggregate_error")


def error_of(error: dict[str, Any]) -> BaseException:
    """The error, as its own type if that is known here, with its cause."""
    restored = (
        _rebuilt(error)
        or _group(error)
        or ApplicationError(
            str(error.get("type") or error.get("name") or ""),
            str(error.get("message", "")),
            str(error.get("traceback") or error.get("stack") or ""),
        )
    )
    cause: Any = error.get("cause")
    if is_error(cause):
        restored.__cause__ = error_of(cause)
    return restored


def _rebuilt(error: dict[str, Any]) -> BaseException | None:
    """The error as its own type, if this process knows that type and the built-in part of it takes the arguments."""
    module, _, name = str(error.get("type", "")).partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        # Not getattr: a module may import what it is asked for.
        found = vars(found).get(part) if isinstance(found, (type, types.ModuleType)) else None
    if not (isinstance(found, type) and issubclass(found, Exception)) or found is ApplicationError:
        return None
    native = found
    while native.__module__ != "builtins":
        native = cast("type[Exception]", native.__base__)
    arguments: Any = error.get("args", [error.get("message", "")])
    if issubclass(cast("type[object]", found), ExceptionGroup):
        arguments = [error.get("message"), _members(error)]
    state: Any = error.get("state", {})
    if not isinstance(arguments, list) or not isinstance(state, dict):
        return None
    try:
        rebuilt = native.__new__(found, *arguments)
        native.__init__(rebuilt, *cast("list[Any]", arguments))
    except Exception:
        return None
    vars(rebuilt).update(cast("dict[str, Any]", state))
    return rebuilt


def _group(error: dict[str, Any]) -> BaseException | None:
    """A group whose own type is not known here: as a plain one, so that `except*` finds its members."""
    members = _members(error)
    if not members:
        return None
    group = ExceptionGroup(str(error.get("message", "")), members)
    group.add_note(f"raised as {error.get('type') or error.get('name')}")
    return group


def _members(error: dict[str, Any]) -> list[Exception]:
    """The errors of a group; one that this process has no type for is an `ApplicationError`."""
    listed: Any = error.get("errors")
    if not isinstance(listed, list):
        return []
    members = [error_of(each) if is_error(each) else Exception(each) for each in cast("list[Any]", listed)]
    return [each for each in members if isinstance(each, Exception)]

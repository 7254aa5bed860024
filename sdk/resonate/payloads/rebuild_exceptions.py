"""Exceptions rebuilt from the data that `exceptions` makes.

An error gets its own type if this process has imported that type. Otherwise it becomes an `ApplicationError`.

A writer of the store must not be able to run code in its readers. So nothing is unpickled, a payload cannot cause an
import, and constructors of users' classes are not called. Only the constructor of the built-in base class is called,
with the recorded arguments.

Some errors cannot be printed without their own constructor. They become an `ApplicationError` as well, because programs
must be able to print any error.
"""

from __future__ import annotations

import binascii
import sys
import traceback
import types
from typing import Any, cast

from resonate.errors import ApplicationError
from resonate.payloads.exceptions import RemoteTraceback, http_error, notes_of, own, slots_of, text_of, validation_error
from resonate_store.documented import Documented, note_of

_NO_NAME = "resonate_asks_for_what_no_error_has"


def is_error(content: Any) -> bool:
    """Return whether data is that of an error, of this SDK or of another."""
    return isinstance(content, dict) and cast("dict[str, Any]", content).get("__type") in ("error", "aggregate_error")


def error_of(error: dict[str, Any]) -> BaseException:
    """Return the exception that the data describes, with its cause.

    It has its own type if this process has imported that type. Otherwise it is an `ApplicationError`.
    """
    restored = (
        _rebuilt(error)
        or _group(error)
        or ApplicationError(
            str(error.get("type") or error.get("name") or ""),
            str(error.get("message", "")),
            str(error.get("traceback") or error.get("stack") or ""),
        )
    )
    if isinstance(restored, Documented):
        attributes = own(restored, "__dict__")
        attributes["__notes__"] = [*notes_of(attributes), note_of(restored)]
    text = str(error.get("traceback") or error.get("stack") or "")
    if '  File "' in text or "\n    at " in text:
        attributes = own(restored, "__dict__")
        attributes["__notes__"] = [*notes_of(attributes), RemoteTraceback.of(text)]
    cause: Any = error.get("cause")
    if is_error(cause):
        vars(BaseException)["__cause__"].__set__(restored, error_of(cause))  # a frozen dataclass refuses an assignment
    return restored


def _rebuilt(error: dict[str, Any]) -> BaseException | None:
    """Return the error as its own type; None if that type is not imported here, or the error could not be printed."""
    found = _type_named(str(error.get("type", "")))
    if found is None:
        return None
    kind_of_http = http_error()
    native = found
    while native.__module__ != "builtins" and native is not kind_of_http:
        native = cast("type[Exception]", native.__base__)
    arguments: Any = error.get("args", [error.get("message", "")])
    state: Any = error.get("state", {})
    forms: Any = error.get("forms", {})
    if not isinstance(arguments, list) or not isinstance(state, dict):
        return None
    try:
        named = forms.get("args", {})
        arguments = [_read(named.get(str(at)), value) for at, value in enumerate(cast("list[Any]", arguments))]
        named = forms.get("state", {})
        state = {name: _read(named.get(name), value) for name, value in cast("dict[str, Any]", state).items()}
        if issubclass(cast("type[object]", found), ExceptionGroup):
            arguments = [error.get("message"), _members(error)]
        elif native is kind_of_http:
            arguments = _of_http(*arguments)
        if found is validation_error():
            rebuilt = _of_pydantic(found, *arguments)
        else:
            rebuilt = native.__new__(found, *arguments)
            native.__init__(rebuilt, *arguments)
        slots = slots_of(found)
        attributes = own(rebuilt, "__dict__")
        for name, value in state.items():
            if name in slots:
                slots[name].__set__(rebuilt, value)
            elif name not in attributes:
                attributes[name] = value
        _show(rebuilt, error.get("message"))
    except Exception:
        return None
    return rebuilt


_HOMES = {"resonate.event_loop": "resonate.workflow.awaits"}
"""The modules of errors that are stored under the name of another module."""


def _type_named(name: str) -> type[Exception] | None:
    """Return the imported exception class with the name `module:name`, or None."""
    module, _, name = name.partition(":")
    found: Any = sys.modules.get(_HOMES.get(module, module))
    for part in name.split("."):
        # Not getattr, which can make a module import something.
        found = vars(found).get(part) if isinstance(found, (type, types.ModuleType)) else None
    if not (isinstance(found, type) and issubclass(found, Exception)) or found is ApplicationError:
        return None
    return found


def _read(form: Any, value: Any) -> Any:
    """Return the value that was written in this form.

    Raises:
        Exception: the value does not have this form.
    """
    if form is None:
        return value
    if form == "error" and is_error(value):
        return error_of(value)
    if form not in ("bytes", "text"):
        raise ValueError(f"there is no form {form!r}")
    content = binascii.a2b_base64(value)
    return content if form == "bytes" else content.decode("utf-8", "surrogatepass")


def _of_http(url: Any, code: Any, message: Any, headers: Any, _: Any) -> list[Any]:
    """Return the arguments of `urllib.error.HTTPError`. The body of the response was not read, so it is empty."""
    from http.client import HTTPMessage
    from io import BytesIO

    if headers is not None:
        pairs, headers = headers, HTTPMessage()
        for name, text in pairs:
            headers[name] = text
    return [url, code, message, headers, BytesIO()]


def _of_pydantic(kind: Any, title: Any, problems: Any) -> BaseException:
    """Return a `pydantic.ValidationError` with this title and these problems."""
    from pydantic_core import PydanticCustomError

    lines = [
        {"type": PydanticCustomError(each["type"], each["msg"]), "loc": tuple(each["loc"]), "input": each.get("input")}
        for each in problems
    ]
    return kind.from_exception_data(title, lines)


def _show(error: BaseException, message: Any) -> None:
    """Print an error into a text, as a check.

    Raises:
        Exception: it cannot be printed. An error that could not be printed where it was raised is accepted.
    """
    if text_of(error) != message:
        str(error)
    repr(error)
    getattr(error, "__notes__", None)
    hasattr(error, _NO_NAME)
    if not isinstance(error, ImportError):  # for which traceback would read the module that the error names
        traceback.format_exception_only(error)


def _group(error: dict[str, Any]) -> BaseException | None:
    """Return a group whose type is not imported here as a plain group, so that `except*` finds its members."""
    members = _members(error)
    if not members:
        return None
    group = ExceptionGroup(str(error.get("message", "")), members)
    group.add_note(f"raised as {error.get('type') or error.get('name')}")
    return group


def _members(error: dict[str, Any]) -> list[Exception]:
    """Return the errors of a group. One whose type is not imported here is an `ApplicationError`."""
    listed: Any = error.get("errors")
    if not isinstance(listed, list):
        return []
    members = [error_of(each) if is_error(each) else Exception(each) for each in cast("list[Any]", listed)]
    return [each for each in members if isinstance(each, Exception)]

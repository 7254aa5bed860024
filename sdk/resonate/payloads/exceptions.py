"""Errors as data, and back.

An error is told by its type, message, arguments and attributes, and so are its cause and the members of a group. It
comes back as its own type when this process has already imported that, with the built-in part of it made from the
arguments; otherwise as an `ApplicationError`. Nothing is ever unpickled, nothing is imported because a payload names
it, and no constructor of a user's class runs: who writes to the store must not get to run code in those who read.

What an error looked like where it was raised, the text of its traceback, is a note of the error that comes back
(`RemoteTraceback`), and is not told as a note again: it is part of the next traceback.

An error's class may do anything when it is asked for something, before it has travelled and even more so after, when
its constructor has not run. So nothing that it does keeps it from being told, and an error that cannot be shown when it
is back is an `ApplicationError` as well: an error must not break those who only print it.
"""

from __future__ import annotations

import binascii
import contextlib
import sys
import traceback
import types
from collections.abc import Callable, Iterable
from typing import Any, cast

from resonate.errors import ApplicationError, ResonateError

_DEEPEST = 10
"""How many levels of causes and of groups within groups are told of; causes may even go round in circles."""
_WITHIN = 5
"""As how many of these levels an error counts that is an argument or attribute of another."""
_LONGEST = 8_000
"""How much of a traceback is told (characters): its end."""
_SHORTEST = 300
"""A traceback is not told if there is less room for it (characters): members of a group share theirs."""
_MOST_MEMBERS = 100
"""How many members of a group are told of that is too large to be told whole."""
_MOST_TEXT = 64 * 1024
"""How much of a message, or of a text among the arguments, is told (characters): its beginning."""
_NO_NAME = "resonate_asks_for_what_no_error_has"


class RemoteTraceback(str):
    """The note of an error that came back: its traceback where it was raised.

    Attributes:
        text: the traceback.
    """

    text: str

    @classmethod
    def of(cls, text: str) -> RemoteTraceback:
        """Return the note that shows this traceback."""
        lines = "\n  ".join(text.rstrip("\n").split("\n"))
        note = cls(f"Remote traceback:\n  {lines}")
        note.text = text
        return note


def data_of(
    error: BaseException, travels: Callable[[Any], bool], depth: int = 0, room: int = _LONGEST
) -> dict[str, Any]:
    """What is said of an error, of its cause and, if it is a group, of its members.

    Args:
        error: the error; whatever its class does when it is asked, this returns.
        travels: whether a value can be written; an argument or attribute that cannot is left out.
        depth: how many levels above this one are told of already.
        room: how long the tracebacks of the members of a group may be together (characters).

    Returns:
        Data in which arguments and attributes are as they were, but for those of which `forms` says how they are
        written. Of its own it has a traceback only if the error brought one along from another process. Members of a
        group have theirs, for they may part from it; the caller adds the outermost's, which shows the others' as well.
    """
    kind = type(error)
    state: dict[str, Any] = {
        "__type": "error",
        "name": without_surrogates(kind.__name__),
        "type": without_surrogates(f"{kind.__module__}:{kind.__qualname__}"),
        "message": _text(error),
    }
    with contextlib.suppress(Exception):  # what is told by then has to do
        _tell(error, state, travels, depth, room)
    return state


def _tell(error: BaseException, state: dict[str, Any], travels: Callable[[Any], bool], depth: int, room: int) -> None:
    cause = _own(error, "__cause__")
    if cause is not None and depth < _DEEPEST:
        state["cause"] = data_of(cause, travels, depth + 1, room // 2)
    if issubclass(type(error), BaseExceptionGroup) and depth < _DEEPEST:
        group = cast("BaseExceptionGroup[BaseException]", error)
        share = room // max(2, len(group.exceptions))
        members = [data_of(each, travels, depth + 1, share // 2) for each in group.exceptions]
        for member, told in zip(group.exceptions, members, strict=True):
            if share >= _SHORTEST and not told.get("traceback") and has_traceback(member):
                told["traceback"] = traceback_of(member, share)
        state["__type"] = "aggregate_error"  # as the TypeScript SDK has it
        state["message"] = _beginning(without_surrogates(group.message))
        state["errors"] = members
    if isinstance(error, ApplicationError):
        state["name"] = state["type"] = without_surrogates(error.type_name)
        state["message"] = _beginning(without_surrogates(error.message))
        if error.remote_traceback:
            state["traceback"] = without_surrogates(error.remote_traceback)[-_LONGEST:]
        return
    forms: dict[str, dict[str, str]] = {}
    arguments: tuple[Any, ...] = _arguments(error, travels)
    told = _written(enumerate(arguments), travels, depth)
    if len(told) == len(arguments):
        state["args"] = [value for _, value in told.values()]
        forms["args"] = {name: form for name, (form, _) in told.items() if form}
    attributes = {**_in_slots(error), **_own(error, "__dict__")}
    if notes := _notes(attributes):
        attributes["__notes__"] = [note for note in notes if not isinstance(note, RemoteTraceback)]
        if not attributes["__notes__"]:
            del attributes["__notes__"]
    if told := _written(attributes.items(), travels, depth):
        state["state"] = {name: value for name, (_, value) in told.items()}
        forms["state"] = {name: form for name, (form, _) in told.items() if form}
    if any(forms.values()):
        state["forms"] = forms


def _own(error: BaseException, name: str) -> Any:
    """What the built-in part of an error has under the name, whatever the error's class has there."""
    return vars(BaseException)[name].__get__(error)


def _slots_of(kind: type) -> dict[str, types.MemberDescriptorType]:
    """Return the slots of an error's class and its bases, by name."""
    return {
        name: slot
        for each in reversed(kind.__mro__)
        if each.__module__ != "builtins"
        for name, slot in vars(each).items()
        if isinstance(slot, types.MemberDescriptorType)
    }


def _in_slots(error: BaseException) -> dict[str, Any]:
    """Return those attributes of an error that lie in slots."""
    found: dict[str, Any] = {}
    for name, slot in _slots_of(type(error)).items():
        with contextlib.suppress(AttributeError):  # it is empty
            found[name] = slot.__get__(error)
    return found


def _notes(attributes: dict[str, Any]) -> list[Any]:
    """Return an error's notes, of which a class or a payload may have made anything."""
    notes = attributes.get("__notes__")
    return cast("list[Any]", notes) if isinstance(notes, list) else []


def _remote(error: BaseException) -> RemoteTraceback | None:
    """Return the traceback that an error has brought along, if any."""
    notes = _notes(_own(error, "__dict__"))
    return next((note for note in reversed(notes) if isinstance(note, RemoteTraceback)), None)


def has_traceback(error: BaseException) -> bool:
    """Whether an error was raised, here or elsewhere."""
    return _own(error, "__traceback__") is not None or _remote(error) is not None


def _beginning(text: str) -> str:
    """Return a text, or its beginning, which is not cut again when the error travels on."""
    if len(text) <= _MOST_TEXT:
        return text
    end = f"... ({len(text):,} characters)"
    return text[: _MOST_TEXT - len(end)] + end


def _arguments(error: BaseException, travels: Callable[[Any], bool]) -> tuple[Any, ...]:
    """The arguments that the built-in part of an error is made from."""
    http_error = _http_error()
    if http_error and isinstance(error, http_error):
        of_http = cast("Any", error)
        headers = None if of_http.hdrs is None else [[str(name), str(text)] for name, text in of_http.hdrs.items()]
        return of_http.filename, of_http.code, of_http.msg, headers, None
    validation_error = _validation_error()
    if validation_error and isinstance(error, validation_error):
        of_pydantic = cast("Any", error)
        problems: list[dict[str, Any]] = of_pydantic.errors(include_url=False, include_context=False)
        return of_pydantic.title, [
            {name: part for name, part in each.items() if name != "input" or travels(part)} for each in problems
        ]
    return cast("Any", OSError.__reduce__(error)[1] if isinstance(error, OSError) else _own(error, "args"))


def _written(values: Iterable[tuple[Any, Any]], travels: Callable[[Any], bool], depth: int) -> dict[str, Any]:
    """Those of the values that can be written, each with its form: none if it is written as it is."""
    found: dict[str, tuple[str, Any]] = {}
    for name, value in values:
        if isinstance(value, Exception):
            if depth + _WITHIN <= _DEEPEST:
                found[str(name)] = ("error", data_of(value, travels, depth + _WITHIN))
        elif type(value) is str and len(value) > _MOST_TEXT:
            found[str(name)] = ("", _beginning(without_surrogates(value)))
        elif type(value) is bytes:
            if len(value) <= _MOST_TEXT:
                found[str(name)] = ("bytes", _base64(value))
        elif travels(value):
            found[str(name)] = ("", value)
        elif type(value) is str:  # with lone surrogates, such as file names that are not UTF-8 bring along
            found[str(name)] = ("text", _base64(value.encode("utf-8", "surrogatepass")))
    return found


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode("ascii")


def _read(form: Any, value: Any) -> Any:
    """The value that was written in this form.

    Raises:
        Exception: it was not.
    """
    if form is None:
        return value
    if form == "error" and is_error(value):
        return error_of(value)
    if form not in ("bytes", "text"):
        raise ValueError(f"there is no form {form!r}")
    content = binascii.a2b_base64(value)
    return content if form == "bytes" else content.decode("utf-8", "surrogatepass")


def _text(error: BaseException) -> str:
    try:
        return _beginning(without_surrogates(str(error)))
    except Exception as failure:
        return f"its message cannot be had: __str__ raised {type(failure).__name__}"


def without_surrogates(text: str) -> str:
    """The text without lone surrogates, such as file names that are not UTF-8 bring along."""
    return text.encode("utf-8", "backslashreplace").decode()


def traceback_of(error: BaseException, room: int = _LONGEST) -> str:
    """Return the end of the text of an error's traceback, from the user's code on.

    Args:
        error: the error; if one of its causes cannot be shown, they are left out.
        room: how long the text may be (characters).
    """
    remote = _remote(error)
    if remote is not None and _own(error, "__traceback__") is None:
        return _end(remote.text, room)
    frames = frames_of(error)
    message = _text(error)
    try:
        if len(message) > room // 4:
            raise ValueError("the message would leave no room for the frames")
        lines = traceback.format_exception(type(error), error, frames)
    except Exception:
        lines = traceback.format_tb(frames)
        lines = [
            "Traceback (most recent call last):\n",
            *lines,
            f"{type(error).__qualname__}: {message[: room // 4]}\n",
        ]
    return _end(without_surrogates("".join(lines)), room)


def frames_of(error: BaseException) -> types.TracebackType | None:
    """Return an error's frames, from the user's code on; None if our code has raised an error of ours."""
    frames: types.TracebackType | None = _own(error, "__traceback__")
    theirs = frames
    while theirs is not None and theirs.tb_frame.f_globals.get("__name__", "").startswith("resonate."):
        theirs = theirs.tb_next
    return theirs if theirs is not None or isinstance(error, ResonateError) else frames


def _end(text: str, room: int) -> str:
    """Return whole lines at the end of a text, as many as there is room for."""
    if len(text) <= room:
        return text
    end = text[-room:]
    return f"...\n{end[end.find(chr(10)) + 1 :]}"


def texts_of(state: dict[str, Any], room: int = _LONGEST, most: int = _MOST_MEMBERS) -> dict[str, Any]:
    """Return the data of an error without arguments and attributes, for one that a payload cannot hold whole.

    Args:
        state: the data.
        room: how long its message may be (characters); its members share four times as much.
        most: how many members it may have.
    """
    texts = {name: value for name, value in state.items() if name not in ("args", "state", "forms")}
    texts["message"] = str(texts["message"])[:room]
    if "cause" in texts:
        texts["cause"] = texts_of(texts["cause"], room, most)
    if "errors" in texts:
        members = texts["errors"][:most]
        share = max(_SHORTEST, 4 * room // max(1, len(members)))
        texts["errors"] = [texts_of(each, share, most // 10) for each in members]
        for each in texts["errors"]:
            each.pop("traceback", None)
    return texts


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
    text = str(error.get("traceback") or error.get("stack") or "")
    if '  File "' in text or "\n    at " in text:
        attributes = _own(restored, "__dict__")
        attributes["__notes__"] = [*_notes(attributes), RemoteTraceback.of(text)]
    cause: Any = error.get("cause")
    if is_error(cause):
        vars(BaseException)["__cause__"].__set__(restored, error_of(cause))  # a frozen dataclass refuses to be assigned
    return restored


def _rebuilt(error: dict[str, Any]) -> BaseException | None:
    """The error as its own type, if this process knows that type and it can be used as an error without more."""
    found = _type_named(str(error.get("type", "")))
    if found is None:
        return None
    http_error = _http_error()
    native = found
    while native.__module__ != "builtins" and native is not http_error:
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
        elif native is http_error:
            arguments = _of_http(*arguments)
        if found is _validation_error():
            rebuilt = _of_pydantic(found, *arguments)
        else:
            rebuilt = native.__new__(found, *arguments)
            native.__init__(rebuilt, *arguments)
        slots = _slots_of(found)
        attributes = _own(rebuilt, "__dict__")
        for name, value in state.items():
            if name in slots:
                slots[name].__set__(rebuilt, value)
            elif name not in attributes:
                attributes[name] = value
        _show(rebuilt, error.get("message"))
    except Exception:
        return None
    return rebuilt


def _type_named(name: str) -> type[Exception] | None:
    """The class of errors that is called `module:name` in this process."""
    module, _, name = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        # Not getattr: a module may import what it is asked for.
        found = vars(found).get(part) if isinstance(found, (type, types.ModuleType)) else None
    if not (isinstance(found, type) and issubclass(found, Exception)) or found is ApplicationError:
        return None
    return found


def _http_error() -> type[Exception] | None:
    """urllib's error, if this process knows it: the one of Python's own that is of no use until it is constructed."""
    module = sys.modules.get("urllib.error")
    return vars(module).get("HTTPError") if module else None


def _of_http(url: Any, code: Any, message: Any, headers: Any, _: Any) -> list[Any]:
    """The arguments of `urllib.error.HTTPError`; the body of the response was not read, and is empty."""
    from http.client import HTTPMessage
    from io import BytesIO

    if headers is not None:
        pairs, headers = headers, HTTPMessage()
        for name, text in pairs:
            headers[name] = text
    return [url, code, message, headers, BytesIO()]


def _validation_error() -> Any:
    """Pydantic's error, if this process knows it: it is made of its own parts only."""
    module = sys.modules.get("pydantic_core")
    return vars(module).get("ValidationError") if module else None


def _of_pydantic(kind: Any, title: Any, problems: Any) -> BaseException:
    """Return a `pydantic.ValidationError` of its title and what it says of each problem."""
    from pydantic_core import PydanticCustomError

    lines = [
        {"type": PydanticCustomError(each["type"], each["msg"]), "loc": tuple(each["loc"]), "input": each.get("input")}
        for each in problems
    ]
    return kind.from_exception_data(title, lines)


def _show(error: BaseException, message: Any) -> None:
    """Do what anybody does who prints or logs an error.

    Raises:
        Exception: it cannot be shown; that its message cannot be had does not count if it never could.
    """
    if _text(error) != message:
        str(error)
    repr(error)
    getattr(error, "__notes__", None)
    hasattr(error, _NO_NAME)
    if not isinstance(error, ImportError):  # of which traceback asks the module that the error names
        traceback.format_exception_only(error)


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

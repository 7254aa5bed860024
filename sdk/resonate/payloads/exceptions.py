"""Exceptions as data. `rebuild_exceptions` makes exceptions of the data.

The data of an error holds its type, message, arguments and attributes, its cause, and the members of a group. The
caller adds the text of its traceback. When the error is rebuilt, this text becomes a note of it (`RemoteTraceback`).
The note is not stored again with the error, because the next traceback contains it.

The class of an error may be a user's, and can raise any error when an attribute is read. The error must be stored all
the same, so such a part is left out.
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
from resonate_store.documented import Documented, note_of

_MAX_DEPTH = 10
"""Maximum number of levels of causes, and of groups within groups. Causes can be cyclic."""
_VALUE_DEPTH = 5
"""Number of levels by which an error is deeper if it is an argument or attribute of another error."""
_MAX_TRACEBACK_CHARS = 8_000
"""Maximum length of a traceback; its end is kept."""
_MIN_TRACEBACK_CHARS = 300
"""A traceback with less space is left out. The members of a group share their space."""
_MAX_MEMBERS = 100
"""Maximum number of members of a group that is too large to be stored whole."""
_MAX_TEXT_CHARS = 64 * 1024
"""Maximum length of a message, or of a text among the arguments; its beginning is kept."""


class RemoteTraceback(str):
    """Note of a rebuilt error: its traceback where it was raised.

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
    error: BaseException, travels: Callable[[Any], bool], depth: int = 0, room_chars: int = _MAX_TRACEBACK_CHARS
) -> dict[str, Any]:
    """Return the data of an error, of its cause and, if it is a group, of its members.

    Args:
        error: the error; its class cannot make this function fail.
        travels: returns whether a value can be encoded. Other arguments and attributes are left out.
        depth: the number of levels above this one.
        room_chars: the space for the tracebacks of a group's members together.

    Returns:
        Data with arguments and attributes as they are; `forms` names the form of values that are written in another
        way. It has a traceback only if the error came with one from another process. Members of a group have theirs,
        because they can be raised alone. The caller adds the outermost traceback, which contains those of the causes.
    """
    kind = type(error)
    state: dict[str, Any] = {
        "__type": "error",
        "name": without_surrogates(kind.__name__),
        "type": without_surrogates(f"{kind.__module__}:{kind.__qualname__}"),
        "message": text_of(error),
    }
    with contextlib.suppress(Exception):  # then the data so far is stored
        _tell(error, state, travels, depth, room_chars)
    return state


def _tell(
    error: BaseException, state: dict[str, Any], travels: Callable[[Any], bool], depth: int, room_chars: int
) -> None:
    cause = own(error, "__cause__")
    if cause is not None and depth < _MAX_DEPTH:
        state["cause"] = data_of(cause, travels, depth + 1, room_chars // 2)
    if issubclass(type(error), BaseExceptionGroup) and depth < _MAX_DEPTH:
        group = cast("BaseExceptionGroup[BaseException]", error)
        share = room_chars // max(2, len(group.exceptions))
        members = [data_of(each, travels, depth + 1, share // 2) for each in group.exceptions]
        for member, told in zip(group.exceptions, members, strict=True):
            if share >= _MIN_TRACEBACK_CHARS and not told.get("traceback") and has_traceback(member):
                told["traceback"] = traceback_of(member, share)
        state["__type"] = "aggregate_error"  # the name in the TypeScript SDK
        state["message"] = _beginning(without_surrogates(group.message))
        state["errors"] = members
    if isinstance(error, ApplicationError):
        state["name"] = state["type"] = without_surrogates(error.type_name)
        state["message"] = _beginning(without_surrogates(error.message))
        if error.remote_traceback:
            state["traceback"] = without_surrogates(error.remote_traceback)[-_MAX_TRACEBACK_CHARS:]
        return
    forms: dict[str, dict[str, str]] = {}
    arguments: tuple[Any, ...] = _arguments(error, travels)
    told = _written(enumerate(arguments), travels, depth)
    if len(told) == len(arguments):
        state["args"] = [value for _, value in told.values()]
        forms["args"] = {name: form for name, (form, _) in told.items() if form}
    attributes = {**_in_slots(error), **own(error, "__dict__")}
    if notes := notes_of(attributes):
        added = note_of(error) if isinstance(error, Documented) else None
        attributes["__notes__"] = [note for note in notes if not isinstance(note, RemoteTraceback) and note != added]
        if not attributes["__notes__"]:
            del attributes["__notes__"]
    if told := _written(attributes.items(), travels, depth):
        state["state"] = {name: value for name, (_, value) in told.items()}
        forms["state"] = {name: form for name, (form, _) in told.items() if form}
    if any(forms.values()):
        state["forms"] = forms


def own(error: BaseException, name: str) -> Any:
    """Return an attribute of the built-in part of an error, even if the error's class redefines it."""
    return vars(BaseException)[name].__get__(error)


def slots_of(kind: type) -> dict[str, types.MemberDescriptorType]:
    """Return the slots of an error's class and its bases, by name."""
    return {
        name: slot
        for each in reversed(kind.__mro__)
        if each.__module__ != "builtins"
        for name, slot in vars(each).items()
        if isinstance(slot, types.MemberDescriptorType)
    }


def _in_slots(error: BaseException) -> dict[str, Any]:
    """Return the attributes of an error that are in slots."""
    found: dict[str, Any] = {}
    for name, slot in slots_of(type(error)).items():
        with contextlib.suppress(AttributeError):  # the slot is empty
            found[name] = slot.__get__(error)
    return found


def notes_of(attributes: dict[str, Any]) -> list[Any]:
    """Return an error's notes; an empty list if a class or payload has replaced the list by something else."""
    notes = attributes.get("__notes__")
    return cast("list[Any]", notes) if isinstance(notes, list) else []


def _remote(error: BaseException) -> RemoteTraceback | None:
    """Return the traceback that a rebuilt error came with, if any."""
    notes = notes_of(own(error, "__dict__"))
    return next((note for note in reversed(notes) if isinstance(note, RemoteTraceback)), None)


def has_traceback(error: BaseException) -> bool:
    """Return whether an error was raised, in this process or in another."""
    return own(error, "__traceback__") is not None or _remote(error) is not None


def _beginning(text: str) -> str:
    """Return a text, shortened to the maximum length. It is not shortened again when the error is stored again."""
    if len(text) <= _MAX_TEXT_CHARS:
        return text
    end = f"... ({len(text):,} characters)"
    return text[: _MAX_TEXT_CHARS - len(end)] + end


def _arguments(error: BaseException, travels: Callable[[Any], bool]) -> tuple[Any, ...]:
    """Return the arguments from which the built-in part of an error is made."""
    kind_of_http = http_error()
    if kind_of_http and isinstance(error, kind_of_http):
        of_http = cast("Any", error)
        headers = None if of_http.hdrs is None else [[str(name), str(text)] for name, text in of_http.hdrs.items()]
        return of_http.filename, of_http.code, of_http.msg, headers, None
    kind_of_pydantic = validation_error()
    if kind_of_pydantic and isinstance(error, kind_of_pydantic):
        of_pydantic = cast("Any", error)
        problems: list[dict[str, Any]] = of_pydantic.errors(include_url=False, include_context=False)
        return of_pydantic.title, [
            {name: part for name, part in each.items() if name != "input" or travels(part)} for each in problems
        ]
    return cast("Any", OSError.__reduce__(error)[1] if isinstance(error, OSError) else own(error, "args"))


def _written(values: Iterable[tuple[Any, Any]], travels: Callable[[Any], bool], depth: int) -> dict[str, Any]:
    """Return the values that can be encoded, each with its form; an empty form for a value that stays as it is."""
    found: dict[str, tuple[str, Any]] = {}
    for name, value in values:
        if isinstance(value, Exception):
            if depth + _VALUE_DEPTH <= _MAX_DEPTH:
                found[str(name)] = ("error", data_of(value, travels, depth + _VALUE_DEPTH))
        elif type(value) is str and len(value) > _MAX_TEXT_CHARS:
            found[str(name)] = ("", _beginning(without_surrogates(value)))
        elif type(value) is bytes:
            if len(value) <= _MAX_TEXT_CHARS:
                found[str(name)] = ("bytes", _base64(value))
        elif travels(value):
            found[str(name)] = ("", value)
        elif type(value) is str:  # it has lone surrogates, as file names have that are not UTF-8
            found[str(name)] = ("text", _base64(value.encode("utf-8", "surrogatepass")))
    return found


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode("ascii")


def text_of(error: BaseException) -> str:
    try:
        return _beginning(without_surrogates(str(error)))
    except Exception as failure:
        return f"its message cannot be had: __str__ raised {type(failure).__name__}"


def without_surrogates(text: str) -> str:
    """Return the text without lone surrogates, which occur in file names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def traceback_of(error: BaseException, room_chars: int = _MAX_TRACEBACK_CHARS) -> str:
    """Return the end of the text of an error's traceback, beginning at the user's code.

    Args:
        error: the error. If a cause cannot be shown, all causes are left out.
        room_chars: the maximum length of the text.
    """
    remote = _remote(error)
    if remote is not None and own(error, "__traceback__") is None:
        return _end(remote.text, room_chars)
    frames = frames_of(error)
    message = text_of(error)
    try:
        if len(message) > room_chars // 4:
            raise ValueError("the message would leave no room for the frames")
        lines = traceback.format_exception(type(error), error, frames)
    except Exception:
        lines = traceback.format_tb(frames)
        lines = [
            "Traceback (most recent call last):\n",
            *lines,
            f"{type(error).__qualname__}: {message[: room_chars // 4]}\n",
        ]
    return _end(without_surrogates("".join(lines)), room_chars)


def frames_of(error: BaseException) -> types.TracebackType | None:
    """Return an error's frames, beginning at the user's code; None for an error that the SDK itself has raised."""
    frames: types.TracebackType | None = own(error, "__traceback__")
    theirs = frames
    while theirs is not None and theirs.tb_frame.f_globals.get("__name__", "").startswith("resonate."):
        theirs = theirs.tb_next
    return theirs if theirs is not None or isinstance(error, ResonateError) else frames


def _end(text: str, room_chars: int) -> str:
    """Return the lines at the end of a text that fit into the space."""
    if len(text) <= room_chars:
        return text
    end = text[-room_chars:]
    return f"...\n{end[end.find(chr(10)) + 1 :]}"


def texts_of(state: dict[str, Any], room_chars: int = _MAX_TRACEBACK_CHARS, most: int = _MAX_MEMBERS) -> dict[str, Any]:
    """Return the data of an error without arguments and attributes, for an error that is too large to be stored whole.

    Args:
        state: the data.
        room_chars: the maximum length of its message; its members share four times as much.
        most: the maximum number of members.
    """
    texts = {name: value for name, value in state.items() if name not in ("args", "state", "forms")}
    texts["message"] = str(texts["message"])[:room_chars]
    if "cause" in texts:
        texts["cause"] = texts_of(texts["cause"], room_chars, most)
    if "errors" in texts:
        members = texts["errors"][:most]
        share = max(_MIN_TRACEBACK_CHARS, 4 * room_chars // max(1, len(members)))
        texts["errors"] = [texts_of(each, share, most // 10) for each in members]
        for each in texts["errors"]:
            each.pop("traceback", None)
    return texts


def http_error() -> type[Exception] | None:
    """Return urllib's `HTTPError` if this process has imported it. Its instances fail until they are constructed."""
    module = sys.modules.get("urllib.error")
    return vars(module).get("HTTPError") if module else None


def validation_error() -> Any:
    """Return pydantic's `ValidationError` if this process has imported it."""
    module = sys.modules.get("pydantic_core")
    return vars(module).get("ValidationError") if module else None

"""Exceptions made again from data: those of libraries and other SDKs, and what a payload cannot do to its reader."""

from __future__ import annotations

import http.client
import io
import sys
import traceback
import urllib.error
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pydantic
import pytest

from resonate.errors import ApplicationError
from resonate.payloads import codec
from resonate.payloads.rebuild_exceptions import error_of
from resonate.workflow.awaits import MixedAwaits
from tests.unit.sdk.payloads.errors import received, travel_error


def test_http_error_comes_back_with_headers_and_without_body(subtests: pytest.Subtests) -> None:
    message = http.client.HTTPMessage()
    for name, text in (("Retry-After", "5"), ("Via", "a"), ("Via", "b")):
        message[name] = text
    cases: list[Any] = [None, {"Retry-After": "5"}, message]
    for headers in cases:
        with subtests.test(type(headers).__name__):
            error = urllib.error.HTTPError("http://x/", 404, "Not Found", headers, io.BytesIO(b"body"))
            error.add_note("look here")
            back = travel_error(error)

            assert isinstance(back, urllib.error.HTTPError)
            assert (back.code, back.reason, back.url, back.filename) == (404, "Not Found", "http://x/", "http://x/")
            assert (str(back), repr(back), back.__notes__, back.read()) == (str(error), repr(error), ["look here"], b"")
            assert error.read() == b"body"
            assert back.headers is None if headers is None else back.headers.items() == list(headers.items())
            assert "HTTP Error 404: Not Found" in "".join(traceback.format_exception(back))
            assert type(travel_error(back)) is urllib.error.HTTPError


class Form(pydantic.BaseModel):
    count: int
    names: list[str] = []


def test_validation_error_of_pydantic_comes_back_with_its_problems() -> None:
    with pytest.raises(pydantic.ValidationError) as raised:
        Form.model_validate({"count": "{x}", "names": [1, object()]})
    raised.value.add_note("look here")
    back = travel_error(raised.value)

    def problems(error: pydantic.ValidationError) -> list[Any]:
        return [[each["type"], each["loc"], each["msg"]] for each in error.errors()]

    assert isinstance(back, pydantic.ValidationError)
    assert back.title == "Form"
    assert problems(back) == problems(raised.value)
    assert [each["input"] for each in back.errors()] == ["{x}", 1, None]
    assert "look here" in back.__notes__
    malformed = {"__type": "error", "type": "pydantic_core._pydantic_core:ValidationError", "args": ["Form", [{}]]}
    assert isinstance(received(malformed), ApplicationError)


class Failures(ExceptionGroup[Exception]):
    """A group with more state than its members."""

    def __init__(self, message: str, errors: list[Exception]) -> None:
        raise NotImplementedError("the constructor must not run when an error comes back")


def test_group_comes_back_as_its_own_type_or_plain() -> None:
    class Unknown(ExceptionGroup[Exception]):
        pass

    group = Failures.__new__(Failures, "several", [KeyError("a")])
    vars(group).update(code=5)
    back = travel_error(group)
    other = travel_error(Unknown("others", [KeyError("b")]))

    assert isinstance(back, Failures)
    assert (back.message, vars(back)["code"], back.exceptions[0].args) == ("several", 5, ("a",))
    assert type(other) is ExceptionGroup
    assert (other.message, other.exceptions[0].args) == ("others", ("b",))
    assert "Unknown" in other.__notes__[0]


def test_aggregate_error_of_typescript_is_a_group() -> None:
    listed = [{"__type": "error", "name": "TypeError", "message": "boom"}, "text"]
    back = received({"__type": "aggregate_error", "name": "AggregateError", "message": "all", "errors": listed})

    assert isinstance(back, ExceptionGroup)
    assert [str(each) for each in back.exceptions] == ["TypeError: boom", "text"]
    content = codec.decode(codec.encode_error(back))
    assert (content["__type"], len(content["errors"])) == ("aggregate_error", 2)


def test_error_of_another_sdk_is_an_application_error(subtests: pytest.Subtests) -> None:
    stack = "TypeError: boom\n    at f"
    cases: list[tuple[dict[str, Any], tuple[str, str, str]]] = [
        ({"message": "boom", "name": "TypeError", "stack": stack}, ("TypeError", "boom", stack)),  # TypeScript
        ({"message": "boom", "__py_pickle": "gASVAAAA"}, ("", "boom", "")),  # the official Python SDK
        ({}, ("", "", "")),
        ({"__type": "aggregate_error", "message": "all", "errors": [], "name": "Both"}, ("Both", "all", "")),
        ({"message": {"not": "text"}, "name": 5}, ("5", "{'not': 'text'}", "")),
    ]
    for content, expected in cases:
        with subtests.test(content=content):
            back = received({"__type": "error", **content})
            assert isinstance(back, ApplicationError)
            assert (back.type_name, back.message, back.remote_traceback) == expected


def test_error_stored_by_an_older_worker_is_read() -> None:
    stored = {"__type": "error", "name": "KeyError", "type": "builtins:KeyError", "message": "'k'", "args": ["k"]}
    stored["traceback"] = "Traceback (most recent call last):\n  File \"old.py\", line 1, in f\nKeyError: 'k'"
    back = received(stored)

    assert isinstance(back, KeyError)
    assert 'File "old.py", line 1, in f' in "".join(traceback.format_exception(back))


def test_moved_error_is_stored_and_read_by_its_old_name() -> None:
    error = MixedAwaits("f", "a command", "sleep(0)")
    stored = codec.decode(codec.encode_error(error))

    assert stored["type"] == "resonate.event_loop:MixedAwaits"
    assert type(error_of(stored)) is MixedAwaits


# What a payload cannot do


class Trap(Exception):
    """Notes each call of its constructor."""

    sprung: ClassVar[list[Any]] = []

    def __new__(cls, *args: Any) -> Trap:
        cls.sprung.append(args)
        return super().__new__(cls, *args)

    def __init__(self, *args: Any) -> None:
        self.sprung.append(args)
        super().__init__(*args)


def test_payload_cannot_run_code_of_an_error_class() -> None:
    name = f"{Trap.__module__}:Trap"
    back = received({"__type": "error", "type": name, "message": "m", "args": ["a"], "state": {"extra": 1}})

    assert type(back) is Trap
    assert (back.args, vars(back), Trap.sprung) == (("a",), {"extra": 1}, [])


class Importing(ImportError):
    name = name_from = ""  # type: ignore[assignment]


def test_payload_cannot_import_modules(subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("antigravity", "this", "lib2to3.pgen2.parse", "resonate_no_such_module", "xmlrpc.server"):
        with subtests.test(module):
            assert module not in sys.modules
            before = set(sys.modules)
            error = {"__type": "error", "type": f"{module}:Error", "message": "m"}
            assert isinstance(received(error), ApplicationError)
            assert set(sys.modules) == before

    # Not to show an error that names a module
    state = {"name": "antigravity", "name_from": "x"}
    received({"__type": "error", "type": f"{__name__}:Importing", "message": "m", "state": state})
    assert "antigravity" not in sys.modules

    # Not through a module that imports the attributes that it is asked for
    lazy = ModuleType("lazy")
    asked: list[str] = []
    monkeypatch.setattr(lazy, "__getattr__", asked.append, raising=False)
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    assert isinstance(received({"__type": "error", "type": "lazy:Error", "message": "m"}), ApplicationError)
    assert asked == []


def test_payload_cannot_name_anything_but_an_error_class(subtests: pytest.Subtests) -> None:
    builtin = ("eval", "open", "object", "SystemExit", "KeyboardInterrupt", "BaseException", "")
    for name in (
        *(f"builtins:{each}" for each in (*builtin, "ValueError.__init__.__globals__")),
        *("os:system", "subprocess:Popen", "sys:modules.clear", "os:sys.modules", ":ValueError", "ValueError", "::"),
        *("resonate.errors:ApplicationError", "resonate.errors:json.JSONDecodeError.mro"),
    ):
        with subtests.test(name):
            back = received({"__type": "error", "type": name, "message": "m", "args": ["echo"], "state": {"x": 1}})
            assert type(back) is ApplicationError
            assert (back.type_name, back.message) == (name, "m")


def test_malformed_error_is_an_application_error(subtests: pytest.Subtests) -> None:
    forms: list[Any] = [5, {"args": 5}, {"args": {"0": "pickle"}}, {"args": {"0": "error"}}, {"args": {"0": "bytes"}}]
    http_error = "urllib.error:HTTPError"
    cases: list[dict[str, Any]] = [
        *({"args": args} for args in ("text", 5, {"a": 1}, None)),
        *({"state": state} for state in ([1], "x")),
        *({"args": [5], "state": {"a": 1}, "forms": each} for each in (*forms, {"state": []})),
        *({"type": http_error, "args": args} for args in (None, [], ["http://x/", 404, "m", 5, None])),
        *({"type": http_error} | more for more in ({}, {"state": {"delete": True}})),
        *({"__type": "aggregate_error", "type": "builtins:ExceptionGroup", "errors": n} for n in ([], None, 5)),
    ]
    for case in cases:
        with subtests.test(case=case):
            error = {"__type": "error", "type": "builtins:ValueError", "message": "m", **case}
            back = received(error)
            assert (type(back), str(back)) == (ApplicationError, f"{error['type']}: m")


def test_payload_cannot_replace_class_cause_or_traceback_of_an_error() -> None:
    state = {"__class__": "x", "__traceback__": "x", "__cause__": "x", "args": ["y"], "with_traceback": 1}
    back = received({"__type": "error", "type": "builtins:ValueError", "message": "m", "args": ["a"], "state": state})

    assert type(back) is ValueError
    assert (back.args, back.__cause__, back.__traceback__) == (("a",), None, None)


def test_payload_cannot_make_an_http_error_delete_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    state = {"delete": True, "name": str(file), "_closer": None, "file": None, "close_called": False}
    error = {"__type": "error", "type": "urllib.error:HTTPError", "message": "m", "state": state}
    back = received({**error, "args": ["http://x/", 404, "m", None, None]})

    assert isinstance(back, urllib.error.HTTPError)
    back.close()
    assert file.read_text() == "kept"

"""Errors as data: what of an error is written, whatever its class does, and what comes back."""

from __future__ import annotations

import json
import subprocess
import traceback
import urllib.error
from dataclasses import dataclass
from typing import Any

import pytest

from resonate.errors import (
    ApplicationError,
    NonDeterminismError,
    PayloadError,
    ResonateCanceledError,
    ResonateError,
    ResonateHaltedError,
    ResonateShutdownError,
    ResonateStoreError,
    ResonateTimedoutError,
)
from resonate.payloads import codec
from tests.unit.sdk.payloads.errors import rejected, travel_error
from tests.unit.sdk.payloads.values import Custom

URL_ERROR = urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))


class Declined(Exception):
    """A constructor that the arguments of a payload do not fit, with attributes of its own."""

    def __init__(self, card: str, *, code: int) -> None:
        super().__init__(card)
        self.card = card
        self.code = code

    def __str__(self) -> str:
        return f"{self.card} declined ({self.code})"


class Renamed(OSError):
    pass


class Several(KeyError, AttributeError):
    pass


class Outer:
    class Inner(LookupError):
        pass


ERRORS = [
    ValueError("bad", 1, [2]),
    KeyError("k"),
    Exception(),
    ZeroDivisionError("division by zero"),
    FileNotFoundError(2, "No such file or directory", "missing.txt"),
    Renamed(13, "Permission denied"),
    StopIteration(5),
    SyntaxError("bad syntax"),
    TimeoutError("slow"),
    Outer.Inner("deep"),
    Several("both"),
    json.JSONDecodeError("Expecting value", "{", 1),
    UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "invalid start byte"),
    UnicodeEncodeError("utf-8", "a\ud800", 1, 2, "surrogates not allowed"),
    UnicodeEncodeError("ascii", "\xe9", 0, 1, "ordinal not in range(128)"),
    UnicodeTranslateError("\ud800", 0, 1, "no"),
    FileNotFoundError(2, "No such file or directory", "\udcff.txt"),
    ValueError(b"\xff", "\ud800"),
    subprocess.CalledProcessError(1, ["false"], b"\xff", b""),
    # The constructor of a user's class does not run.
    Declined("visa", code=51),
    ResonateError("text", 42, {"more": 1}),
    ResonateStoreError("The specified promise was not found", 40400, {"id": "x"}),
    ResonateCanceledError("x"),
    ResonateTimedoutError("x", 1.5),
    ResonateShutdownError("stopped"),
    ResonateHaltedError("x", "poison"),
    NonDeterminismError("x.1", "run f", "run g"),
    PayloadError("cannot travel"),
]


def test_error_comes_back_with_type_arguments_and_attributes(subtests: pytest.Subtests) -> None:
    for error in ERRORS:
        with subtests.test(ascii(error)):
            back = travel_error(error)
            assert type(back) is type(error)
            assert (back.args, str(back), vars(back)) == (error.args, str(error), vars(error))
            for attribute in ("errno", "filename", "value", "msg", "lineno", "object", "start", "output", "stderr"):
                assert getattr(back, attribute, None) == getattr(error, attribute, None)


def test_error_keeps_its_message_without_unencodable_parts() -> None:
    error = ValueError(Custom())
    error.response = Custom()  # type: ignore[attr-defined]
    error.code = 5  # type: ignore[attr-defined]
    back = travel_error(error)

    assert (type(back), str(back), vars(back)) == (ValueError, str(error), {"code": 5})


def test_ambiguous_arguments_of_an_error_are_left_out() -> None:
    error = ValueError(float("inf"), "__INF__")
    error.__cause__ = KeyError(float("nan"), "__NAN__")
    back = travel_error(ExceptionGroup("several", [error]))

    assert isinstance(back, ExceptionGroup)
    assert str(back.exceptions[0]) == str(error)
    assert isinstance(back.exceptions[0].__cause__, KeyError)


def test_errors_in_arguments_and_attributes_of_an_error_come_back() -> None:
    error = ValueError("outer", KeyError("k"))
    error.reason = URL_ERROR  # type: ignore[attr-defined]
    back = travel_error(error)

    assert repr(back.args) == repr(error.args)
    assert str(back.reason) == "<urlopen error [Errno 111] Connection refused>"  # type: ignore[attr-defined]
    assert isinstance(travel_error(URL_ERROR).reason, ConnectionRefusedError)  # type: ignore[attr-defined]


class Slotted(Exception):
    __slots__ = ("code", "empty")

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code = code


def test_notes_and_slots_of_an_error_come_back() -> None:
    error = Slotted(5)
    error.add_note("look here")
    back = travel_error(error)

    assert isinstance(back, Slotted)
    assert (back.code, hasattr(back, "empty"), vars(back)) == (5, False, {"__notes__": ["look here"]})


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


def test_cause_of_an_error_comes_back() -> None:
    cause = ValueError("cause")
    cause.__cause__ = OSError(2, "its own")
    effect = ExceptionGroup("effect", [LookupError("member")])
    effect.__cause__ = cause
    frozen = Frozen(5)
    BaseException.__cause__.__set__(frozen, KeyError("k"))  # type: ignore[attr-defined]

    back = travel_error(effect).__cause__
    assert isinstance(back, ValueError)
    assert isinstance(back.__cause__, FileNotFoundError)
    assert travel_error(LookupError()).__cause__ is None
    assert (travel_error(frozen), type(travel_error(frozen).__cause__)) == (frozen, KeyError)


def test_cyclic_causes_and_attributes_of_an_error_are_cut() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    back: BaseException | None = travel_error(one)
    chain: list[str] = []
    while back is not None:
        chain.append(str(back))
        back = back.__cause__
    assert chain[:3] == ["one", "other", "one"]
    assert len(chain) == 11

    error = ValueError("x")
    error.me = error.again = error.__cause__ = error  # type: ignore[attr-defined]
    assert len(codec.encode_error(error).data or "") < 50_000
    assert str(travel_error(error).me.again) == "x"  # type: ignore[attr-defined]


def test_group_comes_back_with_its_members() -> None:
    class Local(Exception):
        pass

    group = ExceptionGroup("several", [ValueError("a", 1), ExceptionGroup("inner", [OSError(2, "b")]), Local("c")])
    group.add_note("look here")
    back = travel_error(group)

    assert type(back) is ExceptionGroup
    assert (back.message, back.__notes__, str(back)) == ("several", ["look here"], "several (3 sub-exceptions)")
    value, inner, local = back.exceptions
    assert (type(value), value.args) == (ValueError, ("a", 1))
    assert isinstance(inner, ExceptionGroup)
    assert isinstance(inner.exceptions[0], FileNotFoundError)
    assert isinstance(local, ApplicationError)
    assert local.message == "c"
    again = travel_error(back)
    assert [str(each) for each in again.exceptions] == [str(each) for each in back.exceptions]  # type: ignore[attr-defined]


# Classes of errors that raise errors


class Delegating(Exception):
    """Answers for the object that it wraps, which is not encoded."""

    def __init__(self, inner: Any) -> None:
        super().__init__("it is the inner one")
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Asking(Exception):
    """Raises an error for each attribute that its response does not have."""

    def __init__(self, response: Any) -> None:
        super().__init__("no answer")
        self.response = response

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["response"][name]


class Telling(Exception):
    def __init__(self, response: Any) -> None:
        self.response = response

    def __str__(self) -> str:
        return f"status {self.response.real}"


@dataclass
class Listed(Exception):
    code: int
    response: Any


class Hostile(Exception):
    """Raises an error for each attribute, also for those that every error has."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


class Answering:
    real = 503

    def __repr__(self) -> str:
        return "Answering()"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def about(error: Exception) -> list[Any]:
    """Return what a program reads that prints an error or looks for an attribute."""
    printed = "".join(traceback.format_exception(error))
    return [str(error), repr(error), printed, hasattr(error, "no_such_name"), getattr(error, "__notes__", None)]


def test_error_that_cannot_be_printed_becomes_an_application_error(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Exception, str]] = [
        (Delegating(Answering()), "it is the inner one"),
        (Asking({"code": Answering()}), "no answer"),
        (Asking({"code": 5}), "no answer"),
        (Asking({"__notes__": []}), "no answer"),
        (Telling(Answering()), "status 503"),
        (Listed(5, Answering()), "(5, Answering())"),
        (Hostile("x"), "its message cannot be had: __str__ raised RuntimeError"),
    ]
    for error, message in cases:
        with subtests.test(type(error).__name__, message=message):
            try:
                raise error
            except Exception as raised:
                back = travel_error(raised)
            assert isinstance(back, ApplicationError)
            assert (back.type_name, back.message) == (f"{__name__}:{type(error).__name__}", message)
            assert "raise error" in back.remote_traceback
            assert about(back)


def test_error_of_any_class_comes_back_if_printable(subtests: pytest.Subtests) -> None:
    for error in (Delegating(5), Telling(5), Listed(5, 6)):
        with subtests.test(type(error).__name__):
            back = travel_error(error)
            assert type(back) is type(error)
            assert about(back) == about(error)
    for error in (Unprintable("x"), ValueError("\ud800"), ValueError("x" * 1_000_000)):
        with subtests.test(ascii(error.args)[:20]):
            assert type(travel_error(error)) is type(error)


def test_hostile_member_or_cause_does_not_hide_the_other_errors() -> None:
    group = ExceptionGroup("several", [ValueError("a"), Asking({1: Answering()}), Hostile()])
    group.__cause__ = Hostile()
    back = travel_error(group)

    assert isinstance(back, ExceptionGroup)
    assert [type(each) for each in back.exceptions] == [ValueError, ApplicationError, ApplicationError]
    assert isinstance(back.__cause__, ApplicationError)


# Tracebacks, and sizes


def test_error_of_unknown_type_keeps_its_name_message_and_traceback() -> None:
    class Local(Exception):
        pass

    try:
        try:
            raise KeyError("the cause")
        except KeyError as cause:
            raise Local("the effect") from cause
    except Local as error:
        back = travel_error(error)

    assert isinstance(back, ApplicationError)
    assert back.type_name.endswith("<locals>.Local")
    assert back.message == "the effect"
    assert str(back).endswith("Local: the effect")
    for part in ("KeyError: 'the cause'", "direct cause", "the effect", "test_exceptions.py", "raise KeyError"):
        assert part in back.remote_traceback
    # It stays the same in each workflow that it passes through.
    again = travel_error(back)
    assert isinstance(again, ApplicationError)
    assert again.args == back.args


def test_traceback_stays_bounded_however_many_workflows_it_passes() -> None:
    error: BaseException = LookupError("m" * 100)
    for _ in range(50):
        try:
            raise error
        except LookupError as raised:
            payload = codec.encode_error(raised)
        error = codec.decode_error(rejected(payload))

    assert len(payload.data or "") < 20_000
    assert len(error.__notes__) == 1
    assert "in test_traceback_stays_bounded" in "".join(traceback.format_exception(error))


def test_error_with_long_message_keeps_beginning_type_and_frames() -> None:
    try:
        raise KeyError("m" * 3_000_000)
    except KeyError as error:
        payload = codec.encode_error(error)
    back = codec.decode_error(rejected(payload))

    assert isinstance(back, KeyError)
    assert back.args[0].startswith("mmm")
    assert back.args[0].endswith("... (3,000,000 characters)")
    assert "in test_error_with_long_message" in back.__notes__[0]
    assert len(payload.data or "") < 256 * 1024


def test_large_parts_of_an_error_are_left_out() -> None:
    error = ExceptionGroup("all", [ValueError("m" * 50_000, [number]) for number in range(200)])
    error.add_note("n" * 200_000)
    payload = codec.encode_error(error)
    back = codec.decode_error(rejected(payload))

    assert isinstance(back, ExceptionGroup)
    assert len(back.exceptions) == 100
    assert len(payload.data or "") < 256 * 1024

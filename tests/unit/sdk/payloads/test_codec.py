"""How values and errors travel, and what a payload cannot make this process do."""

from __future__ import annotations

import base64
import http.client
import io
import json
import subprocess
import sys
import traceback
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from types import ModuleType
from typing import Any, ClassVar, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from resonate.payloads.rebuild_exceptions import error_of
from resonate.workflow.awaits import MixedAwaits
from resonate_store.model.records import EMPTY, PromiseState, PromiseView, Value


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Order:
    id: UUID
    total: Decimal
    lines: list[Point] = field(default_factory=list)
    note: str | None = None


@dataclass
class Careful:
    name: str

    def __post_init__(self) -> None:
        raise KeyError("anything")


class Pair(NamedTuple):
    left: int
    right: datetime


class Movie(TypedDict):
    title: str
    year: int


URL_ERROR = urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))


class Custom:
    """Nothing that has a JSON form."""

    def __repr__(self) -> str:
        return "Custom()"


NOON = datetime(2025, 6, 15, 12, tzinfo=UTC)
AN_ID = UUID("12345678-1234-5678-1234-567812345678")


def travel(value: Any, annotation: Any = Any) -> Any:
    return codec.decode(codec.encode(value, "the value"), annotation)


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (None, int | None),
        (0, int),
        (2**70, int),
        ("", str),
        ("\U0001f600\0", str),
        (False, bool),
        (1.5, float),
        ([], list[int]),
        (NOON, datetime),
        (date(2025, 6, 15), date),
        (timedelta(hours=1), timedelta),
        (Decimal("1.10"), Decimal),
        (AN_ID, UUID),
        (Colour.RED, Colour),
        (Level.HIGH, Level),
        (b"\0\xff", bytes),
        ((1, "a"), tuple[int, str]),
        ((1, 2, 3), tuple[int, ...]),
        ({1, 2}, set[int]),
        (frozenset("a"), frozenset[str]),
        (Point(1, 2), Point),
        (Order(AN_ID, Decimal("9.99"), [Point(1)], None), Order),
        (Pair(1, NOON), Pair),
        ({"title": "M", "year": 1931}, Movie),
        ({"a": [Point(1), None]}, dict[str, list[Point | None]]),
        ({1: "int key"}, dict[int, str]),
        ({AN_ID: {Colour.RED: (1, NOON)}}, dict[UUID, dict[Colour, tuple[int, datetime]]]),
        ("left", Literal["left", "right"]),
    ],
    ids=str,
)
def test_a_value_comes_back_as_its_annotation_says(value: Any, annotation: Any) -> None:
    back = travel(value, annotation)

    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (NOON, "2025-06-15T12:00:00Z"),
        (Decimal("1.10"), "1.10"),
        (AN_ID, str(AN_ID)),
        (Colour.RED, "red"),
        (b"\0\xff", "AP8="),
        ((1, (2,)), [1, [2]]),
        (Point(1), {"x": 1, "y": 0}),
        (Pair(1, NOON), [1, "2025-06-15T12:00:00Z"]),
        ({1: 2}, {"1": 2}),
    ],
    ids=str,
)
def test_without_an_annotation_plain_json_comes_back(value: Any, plain: Any) -> None:
    assert travel(value) == plain
    assert travel(value, None) == plain


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ("text", int),
        ("5", int),
        ({"a": 1}, Point),
        ([1, 2], tuple[int, int, int]),
        ([1], Custom),
        ({"name": "x"}, Careful),
        ("purple", Colour),
        ("not a date", datetime),
        (1, "not a type"),
        ([1], Callable[[int], int]),
    ],
    ids=str,
)
def test_an_annotation_that_does_not_fit_is_passed_over(value: Any, annotation: Any) -> None:
    assert travel(value, annotation) == value


def test_nothing_is_sent_for_none() -> None:
    assert codec.encode(None, "the value") == EMPTY
    assert codec.decode(EMPTY, int) is None
    assert codec.decode(Value(data="")) is None


def test_a_payload_is_base64_json() -> None:
    data = codec.encode({"a": ["ä"]}, "the value").data

    assert data is not None
    assert json.loads(base64.b64decode(data, validate=True)) == {"a": ["ä"]}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_every_json_value_survives(value: Any) -> None:
    assert travel(value) == value


@pytest.mark.parametrize(
    ("value", "culprit"),
    [
        (Custom(), r"value is a tests\.unit\.sdk\.payloads\.test_codec\.Custom"),
        ([1, [Custom()]], r"value\[1\]\[0\] is a .*Custom"),
        ((Custom(),), r"value\[0\] is"),
        ({"k": {"l": Custom()}}, r"value\['k'\]\['l'\] is"),
        ({"s": {1, 2j}}, r"value\['s'\]\[\d\] is a complex"),
        (Order(AN_ID, Decimal(1), [Custom()]), r"value\.lines\[0\] is"),  # type: ignore[list-item]
        (Point(Custom()), r"value\.x is"),  # type: ignore[arg-type]
        ({"f": len}, r"value\['f'\] is a builtin_function_or_method"),
        ({(1, 2): 3}, r"a key of value is a tuple"),
        (["\ud800"], r"value\[0\] is a str"),
        ({"e": ValueError("x")}, r"value\['e'\] is a ValueError"),
    ],
    ids=repr,
)
def test_what_cannot_travel_is_named_with_its_path(value: Any, culprit: str) -> None:
    with pytest.raises(PayloadError, match=rf"the result of foo cannot travel: {culprit}"):
        codec.encode(value, "the result of foo")


class Elsewhere:
    """Looks everything up in a place that it does not have."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


def test_what_cannot_travel_is_named_whatever_it_does_when_it_is_asked() -> None:
    with pytest.raises(PayloadError, match=r"value\[0\] is a tests\.unit\.sdk\.payloads\.test_codec\.Elsewhere"):
        codec.encode([Elsewhere()], "the value")


def test_what_contains_itself_cannot_travel() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(PayloadError, match="RecursionError"):
        codec.encode(endless, "the value")


@pytest.mark.parametrize("data", ["bm90IGpzb24=", "x", base64.b64encode(b"[" * 100_000).decode(), "/w=="])
def test_a_payload_that_is_no_base64_json_is_an_error(data: str) -> None:
    with pytest.raises(PayloadError, match=r"is not (the base64 of )?JSON text"):
        codec.decode(Value(data=data))


# -- errors -----------------------------------------------------------------------------------------------------------


def rejected(value: Value, state: PromiseState = "rejected") -> PromiseView:
    return PromiseView(
        id="p", state=state, param=EMPTY, value=value, tags={}, timeout_at=1_500, created_at=0, settled_at=1
    )


def travel_error(error: BaseException) -> BaseException:
    return codec.decode_error(rejected(codec.encode_error(error)))


def received(content: Any) -> BaseException:
    return codec.decode_error(rejected(codec.encode(content, "an error")))


class Declined(Exception):
    """A constructor that no payload's arguments fit, with attributes of its own."""

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


@pytest.mark.parametrize(
    "error",
    [
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
    ],
    ids=ascii,
)
def test_an_error_comes_back_as_itself(error: Exception) -> None:
    back = travel_error(error)

    assert type(back) is type(error)
    assert (back.args, str(back)) == (error.args, str(error))
    for attribute in ("errno", "filename", "value", "msg", "lineno", "object", "start", "output", "stderr"):
        assert getattr(back, attribute, None) == getattr(error, attribute, None)


def test_arguments_and_attributes_of_a_users_error_come_along_and_its_constructor_does_not_run() -> None:
    back = travel_error(Declined("visa", code=51))

    assert isinstance(back, Declined)
    assert (back.args, back.card, back.code, str(back)) == (("visa",), "visa", 51, "visa declined (51)")


def test_what_cannot_travel_of_an_error_stays_behind_and_its_message_does_not() -> None:
    error = ValueError(Custom())
    error.response = Custom()  # type: ignore[attr-defined]
    error.code = 5  # type: ignore[attr-defined]
    back = travel_error(error)

    assert isinstance(back, ValueError)
    assert str(back) == str(error)
    assert vars(back) == {"code": 5}


def test_errors_that_are_arguments_or_attributes_of_an_error_come_along() -> None:
    error = ValueError("outer", KeyError("k"))
    error.reason = URL_ERROR  # type: ignore[attr-defined]
    back = travel_error(error)

    assert repr(back.args) == repr(error.args)
    assert str(back.reason) == "<urlopen error [Errno 111] Connection refused>"  # type: ignore[attr-defined]
    assert isinstance(travel_error(URL_ERROR).reason, ConnectionRefusedError)  # type: ignore[attr-defined]


def test_an_error_that_is_its_own_attribute_is_told_to_an_end() -> None:
    error = ValueError("x")
    error.me = error.again = error.__cause__ = error  # type: ignore[attr-defined]
    payload = codec.encode_error(error)

    assert len(payload.data or "") < 50_000
    assert str(travel_error(error).me.again) == "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize("headers", [None, {"Retry-After": "5"}, [("Retry-After", "5"), ("Via", "a"), ("Via", "b")]])
def test_an_error_of_urllib_comes_back_with_its_headers_and_without_the_body(headers: Any) -> None:
    if isinstance(headers, list):
        pairs, headers = headers, http.client.HTTPMessage()
        for name, text in pairs:
            headers[name] = text
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


def test_an_error_of_urllib_that_is_not_all_there_is_only_text() -> None:
    for extra in ({}, {"args": []}, {"args": ["http://x/", 404, "m", 5, None]}, {"state": {"delete": True}}):
        back = received({"__type": "error", "type": "urllib.error:HTTPError", "message": "m", **extra})

        assert (type(back), str(back)) == (ApplicationError, "urllib.error:HTTPError: m")


def test_a_payload_cannot_make_an_error_of_urllib_delete_a_file(tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    state = {"delete": True, "name": str(file), "_closer": None, "file": None, "close_called": False}
    told = {"__type": "error", "type": "urllib.error:HTTPError", "message": "m", "state": state}
    back = received({**told, "args": ["http://x/", 404, "m", None, None]})

    assert isinstance(back, urllib.error.HTTPError)
    back.close()
    assert file.read_text() == "kept"


class Delegating(Exception):
    """Answers for what it wraps, which does not travel."""

    def __init__(self, inner: Any) -> None:
        super().__init__("it is the inner one")
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Asking(Exception):
    """Answers every question with an error, as soon as it is made."""

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
    """Refuses whatever it is asked, also what every error has."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


class Answering:
    real = 503

    def __repr__(self) -> str:
        return "Answering()"


def about(error: Exception) -> list[Any]:
    """What those ask an error who print it, and who look for an attribute."""
    printed = "".join(traceback.format_exception(error))
    return [str(error), repr(error), printed, hasattr(error, "no_such_name"), getattr(error, "__notes__", None)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Delegating(Answering()), "it is the inner one"),
        (Asking({"code": Answering()}), "no answer"),
        (Asking({"code": 5}), "no answer"),
        (Telling(Answering()), "status 503"),
        (Listed(5, Answering()), "(5, Answering())"),
        (Hostile("x"), "its message cannot be had: __str__ raised RuntimeError"),
    ],
    ids=lambda case: type(case).__name__,
)
def test_an_error_that_could_not_be_shown_is_an_application_error_with_its_message(
    error: Exception, message: str
) -> None:
    try:
        raise error
    except Exception as raised:
        back = travel_error(raised)

    assert isinstance(back, ApplicationError)
    assert back.type_name == f"{__name__}:{type(error).__name__}"
    assert back.message == message
    assert "raise error" in back.remote_traceback
    assert about(back)


@pytest.mark.parametrize("error", [Delegating(5), Asking({"__notes__": []}), Telling(5), Listed(5, 6)], ids=repr)
def test_an_error_that_can_be_shown_is_itself_whatever_its_class_does(error: Exception) -> None:
    back = travel_error(error)

    if isinstance(error, Asking):  # which has no answer for other names
        assert isinstance(back, ApplicationError)
    else:
        assert type(back) is type(error)
        assert about(back) == about(error)


def test_one_member_or_cause_that_cannot_be_told_does_not_hide_the_others() -> None:
    group = ExceptionGroup("several", [ValueError("a"), Asking({1: Answering()}), Hostile()])
    group.__cause__ = Hostile()
    back = travel_error(group)

    assert isinstance(back, ExceptionGroup)
    assert [type(each) for each in back.exceptions] == [ValueError, ApplicationError, ApplicationError]
    assert isinstance(back.__cause__, ApplicationError)


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


def test_a_frozen_dataclass_comes_back_with_its_cause() -> None:
    error = Frozen(5)
    BaseException.__cause__.__set__(error, KeyError("k"))  # type: ignore[attr-defined]
    back = travel_error(error)

    assert (back, type(back.__cause__)) == (error, KeyError)


def test_arguments_that_no_payload_can_hold_together_stay_behind() -> None:
    error = ValueError(float("inf"), "__INF__")
    error.__cause__ = KeyError(float("nan"), "__NAN__")
    group = ExceptionGroup("several", [error])
    back = travel_error(group)

    assert isinstance(back, ExceptionGroup)
    assert str(back.exceptions[0]) == str(error)
    assert isinstance(back.exceptions[0].__cause__, KeyError)


@pytest.mark.parametrize(
    "forms",
    [5, {"args": 5}, {"args": {"0": "pickle"}}, {"args": {"0": "error"}}, {"args": {"0": "bytes"}}, {"state": []}],
    ids=str,
)
def test_a_form_that_is_not_known_makes_an_error_only_text(forms: Any) -> None:
    told = {"__type": "error", "type": "builtins:ValueError", "message": "m", "args": [5], "forms": forms}
    back = received({**told, "state": {"a": 1}})

    assert (type(back), str(back)) == (ApplicationError, "builtins:ValueError: m")


class Importing(ImportError):
    name = name_from = ""  # type: ignore[assignment]


def test_a_payload_cannot_have_a_module_imported_to_show_its_error() -> None:
    state = {"name": "antigravity", "name_from": "x"}
    received({"__type": "error", "type": f"{__name__}:Importing", "message": "m", "state": state})

    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "error",
    [
        ResonateError("text", 42, {"more": 1}),
        ResonateStoreError("The specified promise was not found", 40400, {"id": "x"}),
        ResonateCanceledError("x"),
        ResonateTimedoutError("x", 1.5),
        ResonateShutdownError("stopped"),
        ResonateHaltedError("x", "poison"),
        NonDeterminismError("x.1", "run f", "run g"),
        PayloadError("cannot travel"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_our_own_errors_travel_whole(error: ResonateError) -> None:
    back = travel_error(error)

    assert type(back) is type(error)
    assert (back.args, str(back), vars(back)) == (error.args, str(error), vars(error))


def test_a_type_that_is_not_known_here_is_an_application_error() -> None:
    class Local(Exception):
        pass

    back = travel_error(Local("secret sauce"))

    assert isinstance(back, ApplicationError)
    assert back.type_name.endswith("<locals>.Local")
    assert back.message == "secret sauce"
    assert str(back).endswith("Local: secret sauce")
    # It stays what it is from then on, however many workflows it passes through.
    again = travel_error(back)
    assert isinstance(again, ApplicationError)
    assert again.args == back.args


def test_a_traceback_tells_the_chain_of_causes() -> None:
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
    for part in ("KeyError: 'the cause'", "direct cause", "the effect", "test_codec.py", "raise KeyError"):
        assert part in back.remote_traceback


def test_notes_come_along() -> None:
    error = ValueError("x")
    error.add_note("look here")

    assert travel_error(error).__notes__ == ["look here"]


class Failures(ExceptionGroup[Exception]):
    """A group that says more than its members."""

    def __init__(self, message: str, errors: list[Exception]) -> None:
        raise NotImplementedError("no constructor runs when an error comes back")


def failures(message: str, errors: list[Exception], **state: Any) -> Failures:
    group = Failures.__new__(Failures, message, errors)
    vars(group).update(state)
    return group


def test_a_group_comes_back_with_its_members_whatever_they_are() -> None:
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


def test_a_users_group_comes_back_as_itself_and_an_unknown_one_as_a_group() -> None:
    class Unknown(ExceptionGroup[Exception]):
        pass

    back = travel_error(failures("several", [KeyError("a")], code=5))
    other = travel_error(Unknown("others", [KeyError("b")]))

    assert isinstance(back, Failures)
    assert (back.message, vars(back)["code"], back.exceptions[0].args) == ("several", 5, ("a",))
    assert type(other) is ExceptionGroup
    assert (other.message, other.exceptions[0].args) == ("others", ("b",))
    assert "Unknown" in other.__notes__[0]


def test_an_aggregate_error_of_typescript_is_a_group() -> None:
    listed = [{"__type": "error", "name": "TypeError", "message": "boom"}, "text"]
    back = received({"__type": "aggregate_error", "name": "AggregateError", "message": "all", "errors": listed})

    assert isinstance(back, ExceptionGroup)
    assert [str(each) for each in back.exceptions] == ["TypeError: boom", "text"]
    content = codec.decode(codec.encode_error(back))
    assert (content["__type"], len(content["errors"])) == ("aggregate_error", 2)


@pytest.mark.parametrize("errors", [[], None, 5])
def test_a_group_without_members_is_only_text(errors: Any) -> None:
    told = {"__type": "aggregate_error", "type": "builtins:ExceptionGroup", "message": "all", "errors": errors}
    back = received(told)

    assert (type(back), str(back)) == (ApplicationError, "builtins:ExceptionGroup: all")


def test_a_cause_comes_back() -> None:
    cause = ValueError("cause")
    cause.__cause__ = OSError(2, "its own")
    effect = ExceptionGroup("effect", [LookupError("member")])
    effect.__cause__ = cause
    back = travel_error(effect)

    assert isinstance(back.__cause__, ValueError)
    assert isinstance(back.__cause__.__cause__, FileNotFoundError)
    assert travel_error(LookupError()).__cause__ is None


class Slotted(Exception):
    __slots__ = ("code", "empty")

    def __init__(self, code: int) -> None:
        super().__init__("slotted")
        self.code = code


def test_attributes_in_slots_of_an_error_come_along() -> None:
    back = travel_error(Slotted(5))

    assert isinstance(back, Slotted)
    assert (back.code, hasattr(back, "empty"), vars(back)) == (5, False, {})


class Form(pydantic.BaseModel):
    count: int
    names: list[str] = []


def test_validation_error_of_pydantic_comes_back_as_itself() -> None:
    with pytest.raises(pydantic.ValidationError) as raised:
        Form.model_validate({"count": "{x}", "names": [1, object()]})
    raised.value.add_note("look here")
    back = travel_error(raised.value)

    assert isinstance(back, pydantic.ValidationError)
    assert back.title == "Form"
    fields = ("type", "loc", "msg")
    assert [[each[name] for name in fields] for each in back.errors()] == [
        [each[name] for name in fields] for each in raised.value.errors()
    ]
    assert [each["input"] for each in back.errors()] == ["{x}", 1, None]
    assert "look here" in back.__notes__
    malformed = {"__type": "error", "type": "pydantic_core._pydantic_core:ValidationError", "args": ["Form", [{}]]}
    assert isinstance(received(malformed), ApplicationError)


def test_causes_without_an_end_are_told_of_to_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    back: BaseException | None = travel_error(one)
    chain: list[str] = []
    while back is not None:
        chain.append(str(back))
        back = back.__cause__

    assert chain[:3] == ["one", "other", "one"]
    assert len(chain) == 11


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("error", [Unprintable("x"), ValueError("\ud800"), ValueError("x" * 1_000_000)], ids=type)
def test_any_error_can_be_stored(error: Exception) -> None:
    assert type(travel_error(error)) is type(error)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("rejected_canceled", ResonateCanceledError("p")),
        ("rejected_timedout", ResonateTimedoutError("p", 1.5)),
    ],
)
def test_the_ways_to_end_without_a_value(state: PromiseState, error: ResonateError) -> None:
    back = codec.decode_error(rejected(EMPTY, state))

    assert type(back) is type(error)
    assert str(back) == str(error)


@pytest.mark.parametrize(
    ("content", "name", "message", "trace"),
    [
        # TypeScript, current Python, and the least that is allowed.
        (
            {"__type": "error", "message": "boom", "name": "TypeError", "stack": "TypeError: boom\n    at f"},
            "TypeError",
            "boom",
            "TypeError: boom\n    at f",
        ),
        ({"__type": "error", "message": "boom", "__py_pickle": "gASVAAAA"}, "", "boom", ""),
        ({"__type": "error"}, "", "", ""),
        (
            {"__type": "aggregate_error", "message": "all", "errors": [], "name": "AggregateError"},
            "AggregateError",
            "all",
            "",
        ),
        ({"__type": "error", "message": {"not": "text"}, "name": 5}, "5", "{'not': 'text'}", ""),
    ],
)
def test_errors_of_other_sdks_are_application_errors(content: Any, name: str, message: str, trace: str) -> None:
    back = received(content)

    assert isinstance(back, ApplicationError)
    assert (back.type_name, back.message, back.remote_traceback) == (name, message, trace)


@pytest.mark.parametrize("content", ["just text", 5, ["a"], {"code": 7}, None])
def test_a_rejection_that_is_no_error_is_wrapped_in_one(content: Any) -> None:
    back = received(content)

    assert type(back) is Exception
    assert back.args == (content,)


def test_a_rejection_that_cannot_be_read_says_so() -> None:
    assert isinstance(codec.decode_error(rejected(Value(data="bm90IGpzb24="))), PayloadError)


# -- security ---------------------------------------------------------------------------------------------------------


class Trap(Exception):
    """Notes whoever constructs it."""

    sprung: ClassVar[list[Any]] = []

    def __new__(cls, *args: Any) -> Trap:
        cls.sprung.append(args)
        return super().__new__(cls, *args)

    def __init__(self, *args: Any) -> None:
        self.sprung.append(args)
        super().__init__(*args)


def test_no_code_of_a_users_error_class_runs() -> None:
    name = f"{Trap.__module__}:Trap"
    back = received({"__type": "error", "type": name, "message": "m", "args": ["a"], "state": {"extra": 1}})

    assert type(back) is Trap
    assert (back.args, vars(back), Trap.sprung) == (("a",), {"extra": 1}, [])


UNIMPORTED = ["antigravity", "this", "lib2to3.pgen2.parse", "resonate_no_such_module", "xmlrpc.server"]


@pytest.mark.parametrize("module", UNIMPORTED)
def test_a_payload_imports_nothing(module: str) -> None:
    assert module not in sys.modules
    before = set(sys.modules)

    back = received({"__type": "error", "type": f"{module}:Error", "message": "m"})

    assert isinstance(back, ApplicationError)
    assert set(sys.modules) == before


def test_a_payload_does_not_ask_a_module_for_what_it_would_import_first(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = ModuleType("lazy")
    asked: list[str] = []
    monkeypatch.setattr(lazy, "__getattr__", asked.append, raising=False)
    monkeypatch.setitem(sys.modules, "lazy", lazy)

    back = received({"__type": "error", "type": "lazy:Error", "message": "m"})

    assert isinstance(back, ApplicationError)
    assert asked == []


@pytest.mark.parametrize(
    "name",
    [
        "builtins:eval",
        "builtins:open",
        "builtins:object",
        "builtins:SystemExit",
        "builtins:KeyboardInterrupt",
        "builtins:BaseException",
        "os:system",
        "subprocess:Popen",
        "sys:modules.clear",
        "os:sys.modules",
        "builtins:ValueError.__init__.__globals__",
        "builtins:",
        ":ValueError",
        "ValueError",
        "::",
        "resonate.errors:ApplicationError",
        "resonate.errors:json.JSONDecodeError.mro",
    ],
)
def test_a_name_that_is_no_error_class_is_only_text(name: str) -> None:
    back = received({"__type": "error", "type": name, "message": "m", "args": ["echo"], "state": {"x": 1}})

    assert type(back) is ApplicationError
    assert (back.type_name, back.message) == (name, "m")


@pytest.mark.parametrize(
    "extra",
    [{"args": "text"}, {"args": 5}, {"args": {"a": 1}}, {"state": [1]}, {"state": "x"}, {"args": None}],
    ids=str,
)
def test_a_malformed_error_is_only_text(extra: dict[str, Any]) -> None:
    back = received({"__type": "error", "type": "builtins:ValueError", "message": "m", **extra})

    assert type(back) is ApplicationError
    assert back.message == "m"


def test_a_payload_cannot_replace_the_class_or_the_traceback() -> None:
    state = {"__class__": "x", "__traceback__": "x", "__cause__": "x", "args": ["y"], "with_traceback": 1}
    back = received({"__type": "error", "type": "builtins:ValueError", "message": "m", "args": ["a"], "state": state})

    assert type(back) is ValueError
    assert (back.args, back.__cause__, back.__traceback__) == (("a",), None, None)


def test_the_outcome_of_a_promise_is_its_value_or_its_error() -> None:
    resolved = rejected(codec.encode([1, 2], "x"), "resolved")

    assert codec.outcome_of(resolved, tuple[int, int]) == (1, 2)
    with pytest.raises(KeyError, match="gone"):
        codec.outcome_of(rejected(codec.encode_error(KeyError("gone"))))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "YXBwcm92ZWQ=",
            r"promise p is {}, and its value .*8 bytes, is not JSON text .*value=\"approved\"\)",
        ),
        (
            "x",
            "promise p is {}, and its value cannot be read: its data, 1 characters, is not the base64 of JSON text",
        ),
    ],
)
def test_an_outcome_that_cannot_be_read_says_whose_it_is_and_how_to_write_one(data: str, message: str) -> None:
    for state in ("resolved", "rejected"):
        with pytest.raises(PayloadError, match=message.format(state)) as caught:
            codec.outcome_of(rejected(Value(data=data), state))
        assert "approved" not in str(caught.value).replace('value="approved"', "")


def test_error_that_has_moved_is_stored_and_read_by_its_old_name() -> None:
    error = MixedAwaits("f", "a command", "sleep(0)")
    stored = codec.decode(codec.encode_error(error))

    assert stored["type"] == "resonate.event_loop:MixedAwaits"
    assert type(error_of(stored)) is MixedAwaits

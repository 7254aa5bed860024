"""Values as payloads, what cannot be one, and the outcome of a promise."""

from __future__ import annotations

import base64
import json
import math
import re
import socket
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate import Context
from resonate.errors import PayloadError, ResonateCanceledError, ResonateError, ResonateTimedoutError
from resonate.payloads import codec
from resonate_store.model.records import EMPTY, PromiseState, Value
from tests.support.driver import Driver, Flow
from tests.support.steps import caught
from tests.support.ways import three_ways
from tests.unit.sdk.payloads.errors import received, rejected
from tests.unit.sdk.payloads.values import AN_ID, NOON, Colour, Custom, Name, Point, Size, travel


def text_of(value: Value) -> bytes:
    return base64.b64decode(value.data or "", validate=True)


def test_payload_is_base64_json_or_nothing_for_none() -> None:
    assert json.loads(text_of(codec.encode({"a": ["ä"]}, "the value"))) == {"a": ["ä"]}
    assert codec.encode(None, "the value") == EMPTY
    assert codec.decode(EMPTY, int) is None
    assert codec.decode(Value(data="")) is None


def test_value_without_annotation_comes_back_as_plain_json(subtests: pytest.Subtests) -> None:
    for value, plain in (
        (NOON, "2025-06-15T12:00:00Z"),
        (AN_ID, str(AN_ID)),
        (Decimal("1.10"), "1.10"),
        (Colour.RED, "red"),
        (b"\0\xff", "AP8="),
        ((1, (2,)), [1, [2]]),
        (deque([1, 2]), [1, 2]),
        (Point(1), {"x": 1, "y": 0}),
        (Size(1, NOON), [1, "2025-06-15T12:00:00Z"]),
        ({1: 2}, {"1": 2}),
        (Name("x"), "x"),
    ):
        with subtests.test(value=value):
            assert travel(value) == plain
            assert travel(value, None) == plain


_NUMBER_NAMES = st.sampled_from(["__INF__", "__NAN__"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | _NUMBER_NAMES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_value_comes_back_or_is_refused(value: Any) -> None:
    try:
        assert travel(value) == value
    except PayloadError:
        assert "inf" in repr(value)
        assert "__" in repr(value)


# Numbers that JSON does not have


def test_infinity_is_written_as_the_typescript_sdk_does(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, Any, bytes]] = [
        (math.inf, float, b'"__INF__"'),
        (-math.inf, Any, b'"__NEG_INF__"'),
        ([1.5, None, math.inf], list[float | None], b'[1.5,null,"__INF__"]'),
        (Point(-math.inf), Point, b'{"x":"__NEG_INF__","y":0}'),
        ({"__INF__"}, set[str], b'["__INF__"]'),
        ("__NAN__", Any, b'"__NAN__"'),
    ]
    for value, annotation, text in cases:
        with subtests.test(value=value):
            encoded = codec.encode(value, "the value")
            assert text_of(encoded) == text
            assert codec.decode(encoded, annotation) == value
    assert codec.decode(Value(data="WyJfX0lORl9fIiwiX19ORUdfSU5GX18iXQ==")) == [math.inf, -math.inf]


def test_nan_comes_back_as_nan() -> None:
    back = travel({"a": [math.nan, 1.0]})

    assert math.isnan(back["a"][0])
    assert back["a"][1] == 1.0
    assert math.isnan(travel(Point(math.nan), Point).x)


# Values that have no payload


class Elsewhere:
    """Raises an error for each attribute."""

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


@dataclass
class Shipment:
    items: list[Any]


@dataclass
class Item:
    socket: Any


class Anything(msgspec.Struct):
    x: Any


def test_unencodable_part_is_named_with_its_path(subtests: pytest.Subtests) -> None:
    cases: list[tuple[Any, str]] = [
        (Custom(), r"value is a tests\.unit\.sdk\.payloads\.values\.Custom"),
        ([1, [Custom()]], r"value\[1\]\[0\] is a .*Custom"),
        ((Custom(),), r"value\[0\] is"),
        ({"k": {"l": Custom()}}, r"value\['k'\]\['l'\] is"),
        ({"s": {1, 2j}}, r"value\['s'\]\[\d\] is a complex"),
        (Shipment([Custom()]), r"value\.items\[0\] is"),
        (Anything(Custom()), r"value\.x is"),
        ({"f": len}, r"value\['f'\] is a builtin_function_or_method"),
        ({(1, 2): 3}, r"a key of value is a tuple"),
        (["\ud800"], r"value\[0\] is a str"),
        ({"e": ValueError("x")}, r"value\['e'\] is a ValueError"),
        ([Elsewhere()], r"value\[0\] is a tests\.unit\.sdk\.payloads\.test_codec\.Elsewhere"),
        (range(0), "value is a range"),
    ]
    for value, culprit in cases:
        with (
            subtests.test(culprit),
            pytest.raises(PayloadError, match=rf"the result of foo cannot travel: {culprit}"),
        ):
            codec.encode(value, "the result of foo")


def test_value_is_refused_if_it_is_cyclic_or_ambiguous() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(PayloadError, match="RecursionError"):
        codec.encode(endless, "the value")
    with pytest.raises(PayloadError, match="both a number that is not finite and the text that stands for one"):
        codec.encode([math.inf, "__INF__"], "the value")


def test_unencodable_argument_of_a_call_is_named_with_its_path() -> None:
    with socket.socket() as connection:
        call = Shipment([1, 2, 3, Item(connection)])
        message = "the arguments of ship cannot travel: args[0].items[3].socket is a socket.socket"
        with pytest.raises(PayloadError, match=re.escape(message)):
            codec.encode_call("ship", (call,), {}, 1)
        with pytest.raises(PayloadError, match=re.escape("kwargs['by'] is a socket.socket")):
            codec.encode_call("ship", (), {"by": connection}, 1)


@three_ways
def test_number_with_too_many_digits_fails_its_step_at_once(driver: Driver) -> None:
    def step(_: Context, nested: bool) -> Any:
        return [10**4300] if nested else 10**4300

    def workflow(ctx: Context) -> Flow:
        alone = yield from caught(ctx.run(step, False), PayloadError)
        return [alone.mesg, (yield from caught(ctx.run(step, True), PayloadError)).mesg]

    alone, nested = driver.run("w", workflow)
    assert "the result of step cannot travel: result is an int" in alone
    assert "the result of step cannot travel: result[0] is an int" in nested
    assert [report.status for report in driver.reports] == ["completed"]
    assert driver.elapsed() == 0


# Payloads that cannot be read, and outcomes


def test_payload_that_is_not_base64_json_is_an_error(subtests: pytest.Subtests) -> None:
    for data in ("bm90IGpzb24=", "x", base64.b64encode(b"[" * 100_000).decode(), "/w=="):
        with subtests.test(data[:20]), pytest.raises(PayloadError, match=r"is not (the base64 of )?JSON text"):
            codec.decode(Value(data=data))


def test_payload_is_read_in_a_type_if_plain(subtests: pytest.Subtests) -> None:
    decoder = msgspec.json.Decoder(list[int])
    assert codec.decode_as(codec.encode([1, 2], "it"), decoder) == [1, 2]

    others: dict[str, Value] = {
        "nothing": EMPTY,
        "another type": codec.encode(["a"], "it"),
        "a number with a name": codec.encode([math.inf], "it"),
        "not JSON": Value(data="bm90IEpTT04="),
        "not base64": Value(data="a"),
    }
    for name, payload in others.items():
        with subtests.test(name):
            assert codec.decode_as(payload, decoder) is None


def test_outcome_of_a_promise_is_its_value_or_its_error() -> None:
    assert codec.outcome_of(rejected(codec.encode([1, 2], "x"), "resolved"), tuple[int, int]) == (1, 2)
    with pytest.raises(KeyError, match="gone"):
        codec.outcome_of(rejected(codec.encode_error(KeyError("gone"))))


def test_outcome_that_cannot_be_read_names_promise_and_remedy(subtests: pytest.Subtests) -> None:
    for data, message in (
        ("YXBwcm92ZWQ=", r"promise p is {}, and its value .*8 bytes, is not JSON text .*value=\"approved\"\)"),
        ("x", "promise p is {}, and its value cannot be read: its data, 1 characters, is not the base64 of JSON text"),
    ):
        for state in ("resolved", "rejected"):
            with subtests.test(data, state=state):
                with pytest.raises(PayloadError, match=message.format(state)) as caught:
                    codec.outcome_of(rejected(Value(data=data), state))
                assert "approved" not in str(caught.value).replace('value="approved"', "")


def test_error_of_canceled_or_timed_out_promise_has_its_type(subtests: pytest.Subtests) -> None:
    states: list[tuple[PromiseState, ResonateError]] = [
        ("rejected_canceled", ResonateCanceledError("p")),
        ("rejected_timedout", ResonateTimedoutError("p", 1.5)),
    ]
    for state, error in states:
        with subtests.test(state):
            back = codec.decode_error(rejected(EMPTY, state))
            assert (type(back), str(back), vars(back)["id"]) == (type(error), str(error), "p")


def test_rejection_that_is_not_an_error_is_wrapped_in_one(subtests: pytest.Subtests) -> None:
    for content in ("just text", 5, ["a"], {"code": 7}, None):
        with subtests.test(content=content):
            back = received(content)
            assert (type(back), back.args) == (Exception, (content,))
    assert isinstance(codec.decode_error(rejected(Value(data="bm90IGpzb24="))), PayloadError)

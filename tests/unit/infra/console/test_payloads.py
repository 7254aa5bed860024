"""What a page shows of a payload."""

import math
from base64 import b64encode
from typing import Any

import pytest
from msgspec.structs import replace

from resonate.payloads.codec import encode, encode_call, encode_error
from resonate_infra.console.payloads import LARGE_CHARS, shown_arguments, shown_payload
from resonate_store.model.records import EMPTY, PromiseView, Value
from tests.support.console_demo import raised

PROMISE = PromiseView(id="a", state="pending", param=EMPTY, value=EMPTY, tags={}, timeout_at=1, created_at=0)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (EMPTY, "none", ""),
        (encode({"a": [1, "ü"]}, "it"), "json", '{"a": [1, "ü"]}'),
        (Value(data="no base64"), "json", '"no base64"'),
        (Value({"x-encrypted": "true", "x-encryption-key-id": "2026-11"}, "c2VjcmV0"), "encrypted", "2026-11"),
        (Value(data="A" * (LARGE_CHARS + 4)), "large", "48 KB"),
    ],
)
def test_payload_is_shown_by_its_kind(value: Value, kind: str, text: str) -> None:
    shown = shown_payload(value)
    assert (shown.kind, shown.text) == (kind, text)


def test_large_payload_is_shown_on_demand() -> None:
    value = Value(data=b64encode(b'"' + b"x" * LARGE_CHARS + b'"').decode())
    assert shown_payload(value).kind == "large"
    assert len(shown_payload(value, most_chars=math.inf).text) == LARGE_CHARS + 2


def test_long_value_has_one_line_for_each_part() -> None:
    assert shown_payload(encode({"a": "x" * 80}, "it")).text.count("\n") == 2


def test_error_is_shown_with_traceback_causes_and_members() -> None:
    error = ExceptionGroup("both failed", [ValueError("one"), KeyError("two")])
    error.__cause__ = raised(OSError("disk"))
    errors = shown_payload(encode_error(error)).errors

    assert [(each.type, each.relation) for each in errors] == [
        ("ExceptionGroup", ""),
        ("ValueError", "member of the group"),
        ("KeyError", "member of the group"),
        ("OSError", "caused by"),
    ]
    assert "_request_payment" in errors[0].traceback


@pytest.mark.parametrize(
    ("param", "text"),
    [
        (encode_call("f", (1, "b"), {"c": [2]}, 1), '1\n"b"\nc = [2]'),
        (encode({"func": "f", "args": {"n": 1}}, "it"), '{"n": 1}'),
        (encode({"question": "?"}, "it"), '{"question": "?"}'),
    ],
)
def test_arguments_of_any_sdk_have_a_line_each(param: Value, text: str) -> None:
    assert shown_arguments(replace(PROMISE, param=param)).text == text


def test_call_without_arguments_shows_nothing() -> None:
    data: Any = encode_call("f", (), {}, 1)
    assert shown_arguments(replace(PROMISE, param=data)).kind == "none"

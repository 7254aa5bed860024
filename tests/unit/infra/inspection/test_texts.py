"""Texts of records for people and for programs."""

from __future__ import annotations

from base64 import b64encode

import pytest
from msgspec.structs import replace

from resonate_infra.inspection.texts import duration, instant, outcome, payload
from resonate_store.model.records import EMPTY, PromiseView, Value


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


DURATIONS = {-5: "0ms", 12: "12ms", 3_449: "3.4s", 320_000: "5m 20s", 7_500_000: "2h 5m", 273_600_000: "3d 4h"}
INSTANTS = {None: "", 0: "1970-01-01T00:00:00Z", 1_750_000_000_999: "2025-06-15T15:06:40Z", 2**62: "never"}
PAYLOADS = {
    encoded('{"a": 1}'): {"a": 1},
    encoded("plain text"): "plain text",
    encoded("NaN"): "NaN",
    "": None,
    "not base64!": "not base64!",
    b64encode(b"\xff\xfe").decode(): b64encode(b"\xff\xfe").decode(),
}
ERRORS = {
    '{"__type": "error", "name": "ValueError", "message": "no\\u001b stock"}': "ValueError: no\\x1b stock",
    '{"__type": "error", "message": ""}': "error",
    '"no"': '"no"',
}


def test_durations_have_two_units_at_most() -> None:
    assert {milliseconds: duration(milliseconds) for milliseconds in DURATIONS} == DURATIONS


def test_instants_are_shown_in_utc() -> None:
    assert {at: instant(at) for at in INSTANTS} == INSTANTS


def test_payload_is_decoded_if_it_is_json(subtests: pytest.Subtests) -> None:
    for data, shown in PAYLOADS.items():
        with subtests.test(data):
            assert payload(Value(data=data, headers={"h": "1"}), raw=False) == {"headers": {"h": "1"}, "data": shown}
            assert payload(Value(data=data), raw=True) == {"data": data}
    assert payload(Value(), raw=False) == {}


def test_outcome_of_a_rejected_promise_is_one_line() -> None:
    rejected = PromiseView(id="x", state="rejected", param=EMPTY, value=EMPTY, tags={}, timeout_at=1, created_at=0)

    assert {data: outcome(replace(rejected, value=Value(data=encoded(data)))) for data in ERRORS} == ERRORS

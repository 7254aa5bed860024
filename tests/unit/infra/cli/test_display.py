"""How records are shown to people and to programs."""

from __future__ import annotations

from base64 import b64encode

import pytest

from resonate_infra.cli.display import duration, instant, outcome, payload
from resonate_store.model.records import EMPTY, PromiseView, Value


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(-5, "0ms"), (12, "12ms"), (3_449, "3.4s"), (320_000, "5m 20s"), (7_500_000, "2h 5m"), (273_600_000, "3d 4h")],
)
def test_durations_are_shown_as_people_say_them(milliseconds: int, shown: str) -> None:
    assert duration(milliseconds) == shown


@pytest.mark.parametrize(
    ("at", "shown"),
    [(None, ""), (0, "1970-01-01T00:00:00Z"), (1_750_000_000_999, "2025-06-15T15:06:40Z"), (2**62, "never")],
)
def test_instants_are_shown_in_utc(at: int | None, shown: str) -> None:
    assert instant(at) == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (encoded('{"a": 1}'), {"a": 1}),
        (encoded("plain text"), "plain text"),
        (encoded("NaN"), "NaN"),
        ("", None),
        ("not base64!", "not base64!"),
        (b64encode(b"\xff\xfe").decode(), b64encode(b"\xff\xfe").decode()),
    ],
)
def test_data_is_shown_decoded_where_it_is_json(data: str, shown: object) -> None:
    assert payload(Value(data=data, headers={"h": "1"}), raw=False) == {"headers": {"h": "1"}, "data": shown}
    assert payload(Value(data=data), raw=True) == {"data": data}
    assert payload(Value(), raw=False) == {}


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ('{"__type": "error", "name": "ValueError", "message": "no\\u001b stock"}', "ValueError: no\\x1b stock"),
        ('{"__type": "error", "message": ""}', "error"),
        ('"no"', '"no"'),
    ],
)
def test_errors_are_shown_as_one_line(data: str, shown: str) -> None:
    rejected = PromiseView(
        id="x",
        state="rejected",
        param=EMPTY,
        value=Value(data=encoded(data)),
        tags={},
        timeout_at=1,
        created_at=0,
        settled_at=1,
    )

    assert outcome(rejected) == shown

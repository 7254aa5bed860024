"""Comparison of expected and found responses."""

from typing import Any

import pytest

from resonate_infra.conformance.matching import difference
from resonate_infra.conformance.script import Any_, Has, Keep, Number, Text

EQUAL: list[tuple[Any, Any]] = [
    (None, None),
    (1, 1),
    ("a", "a"),
    ({"a": [1, {"b": {}}]}, {"a": [1, {"b": {}}]}),
    (Any_(), None),
    (Text(), ""),
    (Text("b.d"), "abcde"),
    (Number(), 0),
    (Has({"a": 1}), {"a": 1, "b": 2}),
    ([Has({})], [{"a": 1}]),
    ({"a": Has({"b": Text()})}, {"a": {"b": "", "c": 1}}),
]
DIFFERENT: list[tuple[Any, Any, str]] = [
    (1, "1", 'it: expected 1, found "1"'),
    (1, True, "it: expected 1, found true"),
    (1, 1.0, "it: expected 1, found 1.0"),
    (Number(), True, "it: expected a number, found true"),
    (Number(), "1", 'it: expected a number, found "1"'),
    (Text("x"), "abc", "it: expected a text with 'x', found \"abc\""),
    (Text(), 1, "it: expected a text, found 1"),
    ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "a.b[1]: expected 2, found 3"),
    ({"a": 1}, {}, "a: expected 1, found nothing"),
    ({}, {"a": 1}, "a: expected nothing, found 1"),
    ({"a": {}}, {"a": {"b": None}}, "a.b: expected nothing, found null"),
    (Has({"a": {}}), {"a": {"b": 1}}, "a.b: expected nothing, found 1"),
    (Has({"a": 1}), {"b": 1}, "a: expected 1, found nothing"),
    ({"a": Any_()}, {}, 'a: expected "<any>", found nothing'),
    ([1, 2], [1], "[1]: expected 2, found the end of the list"),
    ([1], [1, 2], "[1]: expected the end of the list, found 2"),
    ([], {}, "it: expected a list, found {}"),
    ({}, [], "it: expected an object, found []"),
    (Has({}), "", 'it: expected an object, found ""'),
]


def test_difference_is_none_if_the_response_matches(subtests: pytest.Subtests) -> None:
    for expected, found in EQUAL:
        with subtests.test(expected=expected):
            assert difference(expected, found, {}) is None


def test_difference_names_the_first_place(subtests: pytest.Subtests) -> None:
    for expected, found, message in DIFFERENT:
        with subtests.test(message):
            assert str(difference(expected, found, {})) == message


def test_difference_keeps_values_of_placeholders() -> None:
    kept: dict[str, Any] = {}

    assert difference({"cursor": Keep("next")}, {"cursor": "abc"}, kept) is None
    assert kept == {"next": "abc"}


def test_difference_shortens_long_values() -> None:
    assert len(str(difference("a", "b" * 10_000, {}))) < 400

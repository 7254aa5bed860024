"""What passes as the response that was expected, and where the first difference is said to be."""

from typing import Any

import pytest

from resonate_infra.conformance.matching import difference
from resonate_infra.conformance.script import Any_, Has, Keep, Number, Text


@pytest.mark.parametrize(
    ("expected", "found"),
    [
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
    ],
)
def test_it_is_as_expected(expected: Any, found: Any) -> None:
    assert difference(expected, found, {}) is None


@pytest.mark.parametrize(
    ("expected", "found", "told"),
    [
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
    ],
)
def test_the_first_difference_is_named(expected: Any, found: Any, told: str) -> None:
    assert str(difference(expected, found, {})) == told


def test_what_is_kept_is_there_afterwards() -> None:
    kept: dict[str, Any] = {}

    assert difference({"cursor": Keep("next")}, {"cursor": "abc"}, kept) is None
    assert kept == {"next": "abc"}


def test_a_long_value_is_cut_short() -> None:
    assert len(str(difference("a", "b" * 10_000, {}))) < 400

import json
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.testing.filters import FilterCriteria, InvalidPatternError
from tests.support.shipped_template import properties

EVENTS = Path(__file__).parents[4] / "events"

TIME_TO_LIVE = "dynamodb.amazonaws.com"


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Return whether one pattern matches an event."""
    return FilterCriteria.parse([pattern]).keep(event)


def expired(sk: str) -> dict[str, Any]:
    """Return the stream record of an item that DynamoDB has removed."""
    return {**change("REMOVE", sk), "userIdentity": {"type": "Service", "principalId": TIME_TO_LIVE}}


def change(name: str, sk: str, **new_image: dict[str, str]) -> dict[str, Any]:
    """Return a stream record as Lambda delivers it."""
    keys = {"pk": {"S": "p#order-17"}, "sk": {"S": sk}}
    images = {"OldImage": keys} if name == "REMOVE" else {"NewImage": {**keys, **new_image}}
    return {"eventName": name, "eventSource": "aws:dynamodb", "dynamodb": {"Keys": keys, **images}}


RECORDS = [
    (change("MODIFY", "0#order-17", effects={"N": "1"}), True),
    (change("INSERT", "1#order-17.1", effects={"N": "1"}), True),
    (change("INSERT", "1#order-17.1"), False),
    (change("MODIFY", "1#order-17.1", effects={"S": "1"}), False),
    (expired("expiry#order-17"), True),
    (expired("1#order-17.1"), False),
    (change("REMOVE", "expiry#order-17"), False),
    (change("REMOVE", "1#order-17.1"), False),
    (change("INSERT", "expiry#order-17"), False),
]


def test_filters_of_dispatch_keep_records_with_effects(subtests: pytest.Subtests) -> None:
    filters = properties()["DispatchFunctionChanges"]["FilterCriteria"]["Filters"]
    criteria = FilterCriteria.parse([json.loads(each["Pattern"]) for each in filters])
    for record, kept in RECORDS:
        with subtests.test(record=record):
            assert criteria.keep(record) is kept
    (sample,) = json.loads((EVENTS / "dispatch.json").read_text(encoding="utf-8"))["Records"]
    assert criteria.keep(sample)


def test_without_filters_each_event_is_kept() -> None:
    assert FilterCriteria.parse([]).keep({"body": "anything"})


LEAVES: list[tuple[list[Any], Any, bool]] = [
    (["a", "b"], "b", True),
    (["a", "b"], "c", False),
    ([""], "", True),
    ([None], None, True),
    ([None], "", False),
    ([1], 1, True),
    ([1], 1.0, True),
    ([1], "1", False),
    ([1], True, False),
    ([True], True, True),
    ([True], 1, False),
    ([{"exists": True}], None, True),
    ([{"exists": False}], "a", False),
    ([{"prefix": "ord"}], "order", True),
    ([{"prefix": "ord"}], "reorder", False),
    ([{"prefix": "1"}], 1, False),
    ([{"suffix": "der"}], "order", True),
    ([{"suffix": "ord"}], "order", False),
    ([{"equals-ignore-case": "ORDER"}], "Order", True),
    ([{"equals-ignore-case": "ORDER"}], "orders", False),
    ([{"anything-but": ["a", "b"]}], "c", True),
    ([{"anything-but": ["a", "b"]}], "b", False),
    ([{"anything-but": 1}], 2, True),
    ([{"numeric": ["=", 3]}], 3, True),
    ([{"numeric": [">", 1, "<=", 3]}], 3, True),
    ([{"numeric": [">", 1, "<=", 3]}], 1, False),
    ([{"numeric": ["<", 10]}], "3", False),
    ([{"numeric": ["<", 10]}], True, False),
    (["a", {"prefix": "b"}], "bcd", True),
]


def test_leaf_matches_any_of_its_values(subtests: pytest.Subtests) -> None:
    for leaf, value, expected in LEAVES:
        with subtests.test(leaf=leaf, value=value):
            assert matches({"field": leaf}, {"field": value}) is expected


ABSENT: list[tuple[list[Any], bool]] = [
    ([{"exists": True}], False),
    ([{"exists": False}], True),
    ([{"anything-but": ["a"]}], False),
    ([None], False),
    (["a"], False),
]


def test_absent_field_matches_its_absence_only(subtests: pytest.Subtests) -> None:
    for leaf, expected in ABSENT:
        with subtests.test(leaf=leaf):
            assert matches({"field": leaf}, {}) is expected
            assert matches({"outer": {"field": leaf}}, {"outer": {"other": 1}}) is expected
            assert matches({"outer": {"field": leaf}}, {}) is expected


def test_exists_matches_leaves_only() -> None:
    assert not matches({"outer": [{"exists": True}]}, {"outer": {"field": 1}})


def test_pattern_matches_if_each_field_matches() -> None:
    pattern = {"kind": ["timer"], "data": {"at": [{"numeric": [">", 5]}]}}
    assert matches(pattern, {"kind": "timer", "data": {"at": 6}})
    assert not matches(pattern, {"kind": "timer", "data": {"at": 5}})
    assert not matches(pattern, {"kind": "sweep", "data": {"at": 6}})


def test_or_matches_if_one_alternative_matches() -> None:
    pattern = {"kind": ["timer"], "$or": [{"id": ["a"]}, {"data": {"at": [1]}}]}
    assert matches(pattern, {"kind": "timer", "id": "a"})
    assert matches(pattern, {"kind": "timer", "id": "b", "data": {"at": 1}})
    assert not matches(pattern, {"kind": "timer", "id": "b", "data": {"at": 2}})
    assert not matches(pattern, {"kind": "sweep", "id": "a"})


def test_array_matches_if_one_element_matches() -> None:
    assert matches({"tags": ["red"]}, {"tags": ["blue", "red"]})
    assert not matches({"tags": ["red"]}, {"tags": ["blue"]})
    pattern = {"items": {"kind": ["a"], "size": [2]}}
    assert matches(pattern, {"items": [{"kind": "b", "size": 1}, {"kind": "a", "size": 2}]})
    assert not matches(pattern, {"items": [{"kind": "a", "size": 1}, {"kind": "b", "size": 2}]})


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"field": [{"cidr": "10.0.0.0/24"}]}, "cidr"),
    ({"field": [{"wildcard": "a*"}]}, "wildcard"),
    ({"field": [{"anything-but": {"prefix": "a"}}]}, "prefix"),
    ({"field": [{"numeric": ["!=", 1]}]}, "!="),
    ({"field": [{"numeric": ["<"]}]}, "numeric"),
    ({"field": [{"numeric": ["<", "1"]}]}, "'1'"),
    ({"field": [{"exists": "yes"}]}, "exists"),
    ({"field": [{"prefix": 1}]}, "prefix"),
    ({"field": [{"prefix": "a", "suffix": "b"}]}, "one operator"),
    ({"field": [["a"]]}, "literal"),
    ({"field": []}, "at least one"),
    ({"field": "a"}, "object"),
    ({}, "object"),
    ({"$and": [{"field": ["a"]}]}, r"\$and"),
    ({"$or": []}, r"\$or"),
    # Evaluation would not reach this leaf.
    ({"absent": ["a"], "other": {"field": [{"regex": ".*"}]}}, "regex"),
]


def test_invalid_pattern_is_refused_by_parse(subtests: pytest.Subtests) -> None:
    for pattern, named in INVALID:
        with subtests.test(pattern=pattern), pytest.raises(InvalidPatternError, match=named):
            FilterCriteria.parse([pattern])

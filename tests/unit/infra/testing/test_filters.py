import json
from pathlib import Path
from typing import Any

import pytest

from resonate_infra.testing.filters import FilterCriteria, InvalidPatternError

EVENTS = Path(__file__).parents[4] / "events"

HAS_EFFECTS = {"dynamodb": {"NewImage": {"effects": {"N": [{"exists": True}]}}}}
TIME_TO_LIVE = "dynamodb.amazonaws.com"
MARKER_EXPIRED = {
    "eventName": ["REMOVE"],
    "userIdentity": {"principalId": [TIME_TO_LIVE]},
    "dynamodb": {"Keys": {"sk": {"S": [{"prefix": "expiry#"}]}}},
}


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether one pattern matches an event."""
    return FilterCriteria.parse([pattern]).keep(event)


def expired(sk: str) -> dict[str, Any]:
    """A stream record of an item that DynamoDB has removed."""
    return {**change("REMOVE", sk), "userIdentity": {"type": "Service", "principalId": TIME_TO_LIVE}}


def change(name: str, sk: str, **new_image: dict[str, str]) -> dict[str, Any]:
    """A stream record as Lambda would hand it over."""
    keys = {"pk": {"S": "p#order-17"}, "sk": {"S": sk}}
    images = {"OldImage": keys} if name == "REMOVE" else {"NewImage": {**keys, **new_image}}
    return {"eventName": name, "eventSource": "aws:dynamodb", "dynamodb": {"Keys": keys, **images}}


@pytest.mark.parametrize(
    ("event", "kept"),
    [
        (change("MODIFY", "0#order-17", effects={"N": "1"}), True),
        (change("INSERT", "1#order-17.1", effects={"N": "1"}), True),
        (change("INSERT", "1#order-17.1"), False),
        (change("MODIFY", "1#order-17.1", effects={"S": "1"}), False),
        (expired("expiry#order-17"), True),
        (expired("1#order-17.1"), False),
        (change("REMOVE", "expiry#order-17"), False),
        (change("REMOVE", "1#order-17.1"), False),
        (change("INSERT", "expiry#order-17"), False),
    ],
)
def test_a_stream_reaches_dispatch_only_where_something_has_to_follow(event: dict[str, Any], kept: bool) -> None:
    assert FilterCriteria.parse([HAS_EFFECTS, MARKER_EXPIRED]).keep(event) is kept


def test_the_sample_event_of_dispatch_is_one_that_dispatch_would_get() -> None:
    criteria = FilterCriteria.parse([HAS_EFFECTS, MARKER_EXPIRED])
    records = json.loads((EVENTS / "dispatch.json").read_text(encoding="utf-8"))["Records"]
    assert [criteria.keep(record) for record in records] == [True]


def test_without_filters_everything_is_kept() -> None:
    assert FilterCriteria.parse([]).keep({"body": "anything"})


@pytest.mark.parametrize(
    ("leaf", "value", "expected"),
    [
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
    ],
)
def test_a_leaf_accepts_any_of_its_values(leaf: list[Any], value: Any, expected: bool) -> None:
    assert matches({"field": leaf}, {"field": value}) is expected


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ([{"exists": True}], False),
        ([{"exists": False}], True),
        ([{"anything-but": ["a"]}], False),
        ([None], False),
        (["a"], False),
    ],
)
def test_of_an_absent_field_only_its_absence_matches(leaf: list[Any], expected: bool) -> None:
    assert matches({"field": leaf}, {}) is expected
    assert matches({"outer": {"field": leaf}}, {"outer": {"other": 1}}) is expected
    assert matches({"outer": {"field": leaf}}, {}) is expected


def test_exists_looks_at_leaves_only() -> None:
    assert not matches({"outer": [{"exists": True}]}, {"outer": {"field": 1}})


def test_every_field_of_a_pattern_has_to_match() -> None:
    pattern = {"kind": ["timer"], "data": {"at": [{"numeric": [">", 5]}]}}
    assert matches(pattern, {"kind": "timer", "data": {"at": 6}})
    assert not matches(pattern, {"kind": "timer", "data": {"at": 5}})
    assert not matches(pattern, {"kind": "sweep", "data": {"at": 6}})


def test_one_alternative_of_or_has_to_match_beside_the_other_fields() -> None:
    pattern = {"kind": ["timer"], "$or": [{"id": ["a"]}, {"data": {"at": [1]}}]}
    assert matches(pattern, {"kind": "timer", "id": "a"})
    assert matches(pattern, {"kind": "timer", "id": "b", "data": {"at": 1}})
    assert not matches(pattern, {"kind": "timer", "id": "b", "data": {"at": 2}})
    assert not matches(pattern, {"kind": "sweep", "id": "a"})


def test_an_element_of_an_array_is_enough() -> None:
    assert matches({"tags": ["red"]}, {"tags": ["blue", "red"]})
    assert not matches({"tags": ["red"]}, {"tags": ["blue"]})
    pattern = {"items": {"kind": ["a"], "size": [2]}}
    assert matches(pattern, {"items": [{"kind": "b", "size": 1}, {"kind": "a", "size": 2}]})
    assert not matches(pattern, {"items": [{"kind": "a", "size": 1}, {"kind": "b", "size": 2}]})


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
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
        # Found even where evaluation would never get to.
        ({"absent": ["a"], "other": {"field": [{"regex": ".*"}]}}, "regex"),
    ],
)
def test_what_aws_would_refuse_is_refused_when_parsed(pattern: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidPatternError, match=named):
        FilterCriteria.parse([pattern])

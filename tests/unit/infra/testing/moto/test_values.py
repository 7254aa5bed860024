"""Attribute values of moto, with the faster operations and without."""

from __future__ import annotations

import copy
from typing import Any

import moto.dynamodb.responses
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.models import dynamo_type
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.utilities import dynamo_to_dict

from resonate_infra.testing.moto import values
from tests.support.hypothesis_settings import examples

RESPONSES: Any = moto.dynamodb.responses
Item: Any = dynamo_type.Item

TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str)
LEAVES = st.one_of(
    st.fixed_dictionaries({"S": TEXTS}),
    st.fixed_dictionaries({"N": NUMBERS}),
    st.fixed_dictionaries({"BOOL": st.booleans()}),
    st.just({"NULL": True}),
    st.just({"B": "AAEC"}),
    st.just({"BS": ["AA==", "AQ=="]}),
    st.fixed_dictionaries({"SS": st.lists(TEXTS, min_size=1, unique=True)}),
    st.fixed_dictionaries({"NS": st.lists(NUMBERS, min_size=1, unique=True)}),
)
VALUES: Any = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"L": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"M": st.dictionaries(TEXTS, inner, max_size=3)}),
    ),
    max_leaves=8,
)


def facts(value: Any, other: Any) -> list[Any]:
    one, two = DynamoType(value), DynamoType(other)
    item = Item(DynamoType({"S": "k"}), None, {"a": value, "b": other})
    copied = copy.deepcopy(one)
    return [
        one.size(),
        item.size(),
        one.cast_value if "M" not in value else None,
        one == two,
        (copied.to_regular_json(), copied.type, copied.value is one.value),
        copy.deepcopy(item).to_json(),
        RESPONSES.dynamo_to_dict({"Item": item.attrs, "Items": [item], "Count": 1, "None": None}),
    ]


@settings(max_examples=examples(40, in_ci=300))
@given(VALUES, VALUES)
def test_operations_have_the_results_of_moto(value: Any, other: Any) -> None:
    with values.fast(False):  # other tests may keep the faster ones in this process
        usual = facts(value, other)
        assert RESPONSES.dynamo_to_dict is dynamo_to_dict
        with values.fast():
            assert facts(value, other) == usual
            assert RESPONSES.dynamo_to_dict is not dynamo_to_dict


def test_projection_is_that_of_moto(subtests: pytest.Subtests) -> None:
    attributes: dict[str, Any] = {
        "a": {"S": "x"},
        "n": {"N": "1"},
        "m": {"M": {"a": {"L": [{"S": "x"}, {"NULL": True}]}, "b": {"BOOL": False}}},
        "s": {"SS": ["x"]},
    }
    item = Item(DynamoType({"S": "k"}), DynamoType({"S": "r"}), attributes)
    for paths in ([["a"], ["none"]], [["n"], ["a"], ["n"]], [["m"], ["s"]], [["m", "b"]], [["a"], ["m", "a"]]):
        with values.fast(False):
            usual = item.project(paths)
        with subtests.test(str(paths)), values.fast():
            projected: Any = item.project(paths)
            assert (projected.to_json(), projected.size()) == (usual.to_json(), usual.size())
            assert (projected.hash_key, projected.range_key) == (item.hash_key, item.range_key)
            assert all(
                projected.attrs[name].value is not item.attrs[name].value for name in ("m", "s") if [name] in paths
            )


def test_copy_shares_no_container() -> None:
    value: Any = DynamoType({"M": {"a": {"L": [{"S": "x"}]}, "s": {"SS": ["x"]}}})
    with values.fast():
        copied: Any = copy.deepcopy(value)
    copied.value["a"].value.append(DynamoType({"S": "y"}))
    copied.value["s"].value.append("y")
    copied.value["b"] = DynamoType({"S": "z"})
    assert value.to_regular_json() == {"M": {"a": {"L": [{"S": "x"}]}, "s": {"SS": ["x"]}}}


CONDITIONS = [
    "attribute_not_exists(pk)",
    "pk = :a AND (NOT #b < :c OR #b IN (:a, :c)) AND #b BETWEEN :a AND :c",
    "begins_with(#b.#d.e, :a) OR size(pk) >= :c",
    None,
]
NAMES = {"#b": "wake_at", "#d": "data"}
GIVEN = {":a": {"S": "x"}, ":c": {"S": "y"}}


def test_conditions_are_parsed_as_by_moto(subtests: pytest.Subtests) -> None:
    def parsed(condition: str | None) -> Any:
        parser = ConditionExpressionParser(condition, NAMES, GIVEN)
        return repr(parser.parse()), parser.expr_attr_names_found, parser.expr_attr_values_found

    for condition in CONDITIONS:
        with subtests.test(condition):
            with values.fast(False):
                usual = parsed(condition)
            with values.fast():
                assert [parsed(condition), parsed(condition)] == [usual, usual]
    with values.fast():
        for _ in range(2):
            with pytest.raises(ValueError, match="Cannot parse condition starting at:§"):
                ConditionExpressionParser("pk = §", NAMES, GIVEN).parse()

"""Ids of the executions that events start: templates, escapes and defaults."""

from decimal import Decimal
from typing import Any

import pytest

from resonate_infra.triggers.errors import UnusableEventError
from resonate_infra.triggers.ids import MAX_DEFAULT_ID_BYTES, IdTemplate, default_id, escaped
from resonate_store.model.ids import depth, problem_with

EVENT: dict[str, Any] = {
    "id": "7bf73129",
    "detail-type": "Order Placed",
    "detail": {"orderId": 17, "sku": "17.1", "price": Decimal("1.5"), "lines": [{"n": 3}], "paid": True, "none": ""},
}
TEMPLATES = {
    "order-{detail[orderId]}": "order-17",
    "{detail-type}/{id}": "Order Placed/7bf73129",
    "line-{detail[lines][0][n]}": "line-3",
    "order-{detail[sku]}": "order-17%2E1",
    "order-{detail[price]}": "order-1%2E5",
    "{{v1}}-{id}": "{v1}-7bf73129",
}
UNUSABLE = {
    "{detail[customer]}": r"needs a text or a number at detail\[customer\], which is missing",
    "{detail[orderId][x]}": r"detail\[orderId\]\[x\], which is missing",
    "{detail[lines][1]}": "which is missing",
    "{detail[lines]}": "which is of the type list",
    "{detail[paid]}": "which is of the type bool",
    "{detail[none]}": "which is empty",
}
REFUSED = {
    "order": "has no field",
    "{customer}": "its name must be one of detail, detail-type, id",
    "{detail.orderId}": "write {name} or {name[key]}",
    "{detail[orderId]:>9}": "write {name}",
    "{id!r}": "write {name}",
    "{}": "write {name}",
}


def test_id_template_takes_values_from_the_event(subtests: pytest.Subtests) -> None:
    for template, id in TEMPLATES.items():
        with subtests.test(template):
            assert IdTemplate(template, EVENT).id_of(EVENT.__getitem__) == id


def test_event_without_the_values_of_a_template_is_unusable(subtests: pytest.Subtests) -> None:
    for template, message in UNUSABLE.items():
        with subtests.test(template), pytest.raises(UnusableEventError, match=message):
            IdTemplate(template, EVENT).id_of(EVENT.__getitem__)


def test_malformed_id_template_is_refused_before_any_event(subtests: pytest.Subtests) -> None:
    for template, message in REFUSED.items():
        with subtests.test(template), pytest.raises(ValueError, match="the id template") as refused:
            IdTemplate(template, EVENT)
        assert message in str(refused.value)


def test_escaped_texts_differ_and_have_no_separator() -> None:
    texts = ["a.1", "a:1", "a%2E1", "a%1", "a\0", "a", "ä/b+c d"]
    ids = [escaped(text) for text in texts]

    assert len(set(ids)) == len(texts)
    assert {(problem_with(id), depth(id)) for id in ids} == {(None, 0)}
    assert ids[-1] == texts[-1]


def test_default_id_is_valid_for_events_of_any_length() -> None:
    long = [default_id("f", "bucket/" + "ä" * 512 + end) for end in "ab"]

    assert default_id("orders.ship", "b.json") == "orders%2Eship-b%2Ejson"
    assert default_id("f", "x" * (MAX_DEFAULT_ID_BYTES - 2)) == "f-" + "x" * (MAX_DEFAULT_ID_BYTES - 2)
    assert [len(id) for id in long] == [66, 66]
    assert len(set(long)) == 2

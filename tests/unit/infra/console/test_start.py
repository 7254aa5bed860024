"""Starting executions, and moving the clock of a development server."""

from __future__ import annotations

from typing import Any

import pytest

from resonate.payloads.codec import decode
from resonate_store.model.requests import PromiseGet
from resonate_store.model.tags import ORIGIN, TARGET
from tests.support.console_demo import MONDAY, Shop
from tests.support.console_pages import Pages
from tests.support.present import present

ORDER = {
    "func": "order",
    "target": "shop",
    "id": "order-1",
    "version": "2",
    "arg.amount": "30",
    "arg.currency": '"USD"',
    "arg.address": '{"city": "Kiel"}',
    "arg.note": "please ring",
}


def call(pages: Pages, id: str) -> Any:
    return decode(present(pages.store.apply(PromiseGet(id)).promise).param)


def test_form_has_a_field_for_each_argument(pages: Pages) -> None:
    page = pages.get("/start?func=order&target=shop")
    for part in (
        '<input id="arg.amount" name="arg.amount" inputmode="decimal" value="" required',
        '<select id="arg.currency" name="arg.currency">',
        '<option value="&#34;EUR&#34;" selected>EUR<',
        '<textarea id="arg.address" name="arg.address" rows="2" class="mono" spellcheck="false" required',
        '<input type="checkbox" id="arg.gift" name="arg.gift" value="true">',
        'name="target" class="mono" required value="shop"',
        "<option>2</option><option>1</option>",
    ):
        assert part in page
    assert "It waits for an approval if the amount is large." in page


def test_function_is_started_with_the_values_of_the_form(pages: Pages) -> None:
    assert pages.done("/start", ORDER) == "Started."
    assert call(pages, "order-1") == {
        "func": "order",
        "args": [],
        "kwargs": {"amount": 30, "currency": "USD", "address": {"city": "Kiel"}, "gift": False, "note": "please ring"},
        "version": 2,
    }
    tags = present(pages.store.apply(PromiseGet("order-1")).promise).tags
    assert (tags[TARGET], tags[ORIGIN]) == ("poll://any@shop", "order-1")

    pages.done("/start", ORDER)
    problem = "'order-1' exists already, with another function or other arguments: choose another id"
    assert pages.refused("/start", {**ORDER, "arg.amount": "31"}) == (409, problem)


def test_function_without_announcement_is_started_by_hand(pages: Pages) -> None:
    assert 'name="args"' in pages.get("/start?by_hand=1")
    fields = {"func": "f", "target": "lambda://w", "id": "a", "args": '[1, "b"]', "kwargs": '{"c": 2}', "timeout": "1h"}
    pages.done("/start", fields)
    assert call(pages, "a") == {"func": "f", "args": [1, "b"], "kwargs": {"c": 2}, "version": 1}
    assert present(pages.store.apply(PromiseGet("a")).promise).timeout_at == MONDAY + 3_600_000


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"func": ""}, "Give the function"),
        ({"id": ""}, "Give the id"),
        ({"arg.amount": ""}, "Give the argument amount"),
        ({"arg.amount": "many"}, "The argument amount is no JSON: 'many'"),
        ({"version": "two"}, "The version is a number, not 'two'"),
        ({"timeout": "soon"}, "The timeout must be a duration"),
        ({"func": "f", "args": "{}"}, "Positional arguments are a JSON array"),
    ],
)
def test_wrong_field_is_named(pages: Pages, fields: dict[str, str], problem: str) -> None:
    status, said = pages.refused("/start", {**ORDER, **fields})
    assert status == 400
    assert said.startswith(problem)
    assert pages.store.apply(PromiseGet("order-1")).status == 404


def test_clock_moves_what_is_due(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.sleep("a.1", MONDAY, MONDAY + 59_000)
    shop.sleep("a.2", MONDAY, MONDAY + 61_000)
    assert "Move the clock" in pages.get("/executions")
    assert pages.done("/clock", {"step": "minute", "id": "a"}) == "What was due within one minute has happened."
    pending = [present(pages.store.apply(PromiseGet(id)).promise).pending for id in ("a.1", "a.2")]
    assert pending == [False, True]
    assert pages.refused("/clock", {"step": "year"}) == (400, "The time moves by minute, hour, day, not by 'year'")

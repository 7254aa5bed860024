"""Promises that people have to settle."""

from __future__ import annotations

import pytest

from resonate.payloads.codec import decode, error_in
from resonate_store.model.requests import PromiseCreate, PromiseGet
from tests.support.console_demo import LATER, MONDAY, Shop
from tests.support.console_pages import Pages
from tests.support.present import present


def test_promises_without_worker_and_timer_wait_for_people(filled: Pages) -> None:
    text = filled.text("/people")
    assert "order-4122.2 waits for 1m 25s of the execution order-4122 , until Nov 30 2027, 09:00:00" in text
    assert '{"question": "Approve 9,800 EUR?", "customer": "c-2217"}' in text
    assert text.count("waits for 1m") == 1
    for other in ("stocktake-7", "order-4121", "support-312"):
        assert other not in text


def test_promise_of_no_execution_waits_for_people_too(pages: Pages, shop: Shop) -> None:
    assert "Nothing waits for a person." in pages.text("/people")
    shop.ask(PromiseCreate("approval", LATER))
    assert "approval waits for 0ms until" in pages.text("/people")
    assert "Resolve or reject" in pages.text("/execution?id=approval")


@pytest.mark.parametrize(("value", "stored"), [('{"by": "Ada"}', {"by": "Ada"}), ("", None)])
def test_promise_is_resolved_with_a_value(pages: Pages, shop: Shop, value: str, stored: object) -> None:
    shop.begin("a", MONDAY)
    shop.promise("a.1", MONDAY)
    assert pages.done("/promise/settle", {"id": "a.1", "state": "resolved", "value": value}) == "a.1 is resolved."
    promise = present(pages.store.apply(PromiseGet("a.1")).promise)
    assert (promise.state, decode(promise.value)) == ("resolved", stored)


def test_promise_is_rejected_with_a_message(pages: Pages, shop: Shop) -> None:
    shop.begin("a", MONDAY)
    shop.promise("a.1", MONDAY)
    fields = {"id": "a.1", "state": "rejected", "message": "too expensive", "back": "people"}
    assert pages.post("/promise/settle", fields).headers["location"].startswith("/console/people?")
    promise = present(pages.store.apply(PromiseGet("a.1")).promise)
    assert (promise.state, str(error_in(promise.value))) == ("rejected", "too expensive")

    again = pages.refused("/promise/settle", {"id": "a.1", "state": "resolved"})
    assert again == (409, "Promise 'a.1' is rejected already, and stays so")
    assert pages.refused("/promise/settle", {"id": "a.1", "state": "pending"})[0] == 409

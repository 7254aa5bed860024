"""Routes of the console."""

from __future__ import annotations

import logging

import pytest

from resonate_infra.console.application import MOST_FORM_BYTES
from resonate_store.interface import StoreError
from tests.support.console_pages import Pages, problem_in


@pytest.mark.parametrize("path", ["/", "/console", "/console/"])
def test_entries_lead_to_the_list(pages: Pages, path: str) -> None:
    response = pages.client.request("GET", path)
    assert (response.status_code, response.headers["location"]) == (303, "/console/executions")


@pytest.mark.parametrize("path", ["/executoins", "/execution/", "/a/<script>alert(1)</script>", "/%3Cb%3E"])
def test_mistyped_address_has_a_page_with_a_link_back(pages: Pages, path: str) -> None:
    page = pages.get(path, 404)
    assert problem_in(page) == "The console has no page at this address."
    assert '<a href="/console/executions">All executions</a>' in page
    assert "<script>" not in page
    assert 'aria-current="page"' not in page
    assert pages.client.request("POST", f"/console{path}").status_code == 404


def test_mistyped_address_needs_no_store(pages: Pages) -> None:
    pages.store.close()
    assert problem_in(pages.get("/executoins", 404)) == "The console has no page at this address."


def test_form_that_is_too_large_is_refused(pages: Pages) -> None:
    response = pages.post("/execution/send", {"id": "a", "name": "n", "value": "1" * MOST_FORM_BYTES})
    assert response.status_code == 413


def test_store_that_cannot_answer_is_named(pages: Pages) -> None:
    pages.store.close()
    assert "The store cannot answer at the moment" in problem_in(pages.get("/executions", 503))


def test_defect_is_logged_and_shown_without_details(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("resonate_infra.console.history.Histories.read", broken)
    with caplog.at_level(logging.ERROR, logger="resonate.console"):
        page = pages.get("/execution?id=a", 500)
    assert problem_in(page) == "A defect of the console; the log of its process has the traceback"
    assert "secret" not in page
    assert "ZeroDivisionError: secret" in caplog.text


def test_server_that_is_unreachable_is_named(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise StoreError("http://localhost:8001 cannot be reached")

    monkeypatch.setattr("resonate_infra.console.history.Histories.read", unreachable)
    assert problem_in(pages.get("/execution?id=a", 503)) == "Http://localhost:8001 cannot be reached"

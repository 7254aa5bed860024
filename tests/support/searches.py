"""Searches, page by page."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from resonate_store.model.records import PromiseView, Schedule, Task
from resonate_store.model.requests import Request, Response, Search

Apply = Callable[[Request], Response]


def found(response: Response) -> list[PromiseView | Task | Schedule]:
    assert response.ok, response.error
    (found,) = [shown for shown in (response.promises, response.tasks, response.schedules) if shown is not None]
    return list(found)


def all_of(apply: Apply, search: Search) -> list[PromiseView | Task | Schedule]:
    """Everything that a search finds, page by page; no page is longer than its limit."""
    views: list[PromiseView | Task | Schedule] = []
    for _ in range(10_000):
        response = apply(search)
        page = found(response)
        assert len(page) <= search.limit
        views += page
        if response.cursor is None:
            return views
        search = replace(search, cursor=response.cursor)
    raise AssertionError("the pages never end")

"""Searches, page by page."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from resonate_store.model.execution_requests import ExecutionView
from resonate_store.model.records import PromiseView, Schedule, Task
from resonate_store.model.requests import Request, Response, Search

Apply = Callable[[Request], Response]


Found = PromiseView | Task | Schedule | ExecutionView


def found(response: Response) -> list[Found]:
    assert response.ok, response.error
    pages = (response.promises, response.tasks, response.schedules, response.executions)
    (found,) = [shown for shown in pages if shown is not None]
    return list(found)


def id_of(view: Found) -> str:
    return view.promise.id if isinstance(view, ExecutionView) else view.id


def all_of(apply: Apply, search: Search) -> list[Found]:
    """Everything that a search finds, page by page; no page is longer than its limit."""
    views: list[Found] = []
    for _ in range(10_000):
        response = apply(search)
        page = found(response)
        assert len(page) <= search.limit
        views += page
        if response.cursor is None:
            return views
        search = replace(search, cursor=response.cursor)
    raise AssertionError("the pages never end")

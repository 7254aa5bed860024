"""The list of executions, with filters and counts."""

from __future__ import annotations

from typing import Any, Final, cast, get_args

from starlette.responses import Response

from resonate.errors import ResonateStoreError, refusal
from resonate.executions import Executions, StatusCounts
from resonate_infra.console.statuses import ShownExecution, shown_execution
from resonate_infra.console.visit import Visit
from resonate_infra.inspection.arguments import instant_of
from resonate_infra.inspection.exits import USAGE, Failure
from resonate_store.model.execution_requests import ExecutionFilter, ExecutionSearch, ExecutionStatus, ExecutionView
from resonate_store.model.records import PromiseState, PromiseView
from resonate_store.model.requests import PromiseSearch

PAGE: Final = 50
"""How many executions a page has."""
FILTERS: Final[tuple[ExecutionFilter, ...]] = (
    "running",
    "waiting",
    "retrying",
    "halted",
    "failed",
    "resolved",
    "rejected_canceled",
)
"""The filters with a count, in the order of the page."""
WITHOUT_REQUEST: Final = (400, 404, 405, 422, 501)
"""Statuses of servers that do not have the requests about executions."""


def listing(visit: Visit) -> Response:
    """Show the executions, the newest first."""
    if visit.get("part") == "counts":
        return visit.page("parts/counts.html", counts=_counts(visit), filters=FILTERS, state=visit.get("state"))
    state = visit.get("state")
    if state and state not in get_args(ExecutionFilter):
        raise Failure(f"there is no state {state!r}", USAGE)
    query = {name: visit.get(name) for name in ("state", "func", "id", "tag", "since", "cursor")}
    found, following = _found(visit, query)
    content: dict[str, Any] = {
        "query": {name: text for name, text in query.items() if name != "cursor"},
        "cursor": query["cursor"],
        "executions": found,
        "following": following,
        "filters": FILTERS,
        "state": state,
    }
    return visit.page("parts/table.html" if visit.get("part") == "table" else "executions.html", **content)


def _found(visit: Visit, query: dict[str, str]) -> tuple[list[ShownExecution], str | None]:
    """Return one page of executions, and the cursor of the next one."""
    name, _, text = query["tag"].partition("=")
    tags = {name.strip(): text.strip()} if query["tag"] else {}
    request = ExecutionSearch(
        cast("ExecutionFilter", query["state"]) if query["state"] else None,
        query["func"] or None,
        tags,
        query["id"] or None,
        instant_of(query["since"] or None, "the time of the start", visit.now),
        limit=PAGE,
        cursor=query["cursor"] or None,
    )
    response = visit.session.store.apply(request)
    if response.status in WITHOUT_REQUEST and not visit.takes(ExecutionSearch.kind):
        return _by_search(visit, query, tags), None
    if response.status >= 400:
        raise refusal(response.status, response.error)
    return list(map(shown_execution, response.executions or ())), response.cursor


def _by_search(visit: Visit, query: dict[str, str], tags: dict[str, str]) -> list[ShownExecution]:
    """Return the executions of a server that has only the search for promises. It knows fewer states."""
    states: dict[str, PromiseState] = {
        "": "pending",
        "failed": "rejected",
        "resolved": "resolved",
        "rejected_canceled": "rejected_canceled",
    }
    state = states.get(query["state"], "pending") if query["state"] else None
    response = visit.session.ask(PromiseSearch(state, tags, query["id"] or None, roots=True, limit=PAGE))
    return [shown_execution(_view(each)) for each in response.promises or ()]


def _view(promise: PromiseView) -> ExecutionView:
    status: ExecutionStatus = "waiting" if promise.state == "pending" else promise.state
    return ExecutionView(promise=promise, status=status)


def _counts(visit: Visit) -> StatusCounts | None:
    """Return how many executions are in each state, or None if the server does not count them."""
    try:
        return Executions(visit.session.store, visit.session.clock).counts()
    except ResonateStoreError as error:
        if error.status in (*WITHOUT_REQUEST, 403):
            return None
        raise

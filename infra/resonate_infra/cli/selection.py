"""Options that select executions, for the list and for operations on many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, get_args

from resonate_infra.cli.session import Session
from resonate_infra.cli.states import state_option
from resonate_infra.inspection.arguments import instant_of, pairs_of
from resonate_store.model.execution_requests import ExecutionFilter, ExecutionSearch, ExecutionView

States = Annotated[ExecutionFilter | None, state_option(get_args(ExecutionFilter), "executions")]
"""The option that selects executions by their state."""


def selection_of(
    session: Session,
    state: ExecutionFilter | None,
    func: str | None,
    tag: Sequence[str] | None,
    id: str | None,
    since: str | None,
    until: str | None,
) -> ExecutionSearch:
    """Return the search that options describe. The arguments are the texts of the options.

    Raises:
        Failure: an option is malformed.
    """
    from resonate_store.server_clock import time_of

    now = time_of(session.store, session.clock).now()
    return ExecutionSearch(
        state,
        func,
        pairs_of(tag or (), "--tag"),
        id or None,
        instant_of(since, "--since", now),
        instant_of(until, "--until", now),
    )


def is_selected(search: ExecutionSearch) -> bool:
    """Return whether a search has a condition."""
    return search != ExecutionSearch()


def every(session: Session, search: ExecutionSearch) -> Iterator[ExecutionView]:
    """Yield all executions that a search finds, the newest first."""
    for page in session.pages(search, None):
        yield from page.executions or ()


def as_options(search: ExecutionSearch) -> dict[str, Any]:
    """Return the conditions of a search as JSON."""
    from msgspec.structs import asdict

    conditions = {name: value for name, value in asdict(search).items() if name not in ("limit", "cursor")}
    return {name: value for name, value in conditions.items() if value not in (None, {})}

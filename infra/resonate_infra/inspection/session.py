"""Session with a store: requests that either succeed or raise a `Failure`, and the pages of searches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from resonate_infra.inspection.exits import NOT_FOUND, Failure, code_for
from resonate_store.interface import Store
from resonate_store.model.clock import Clock
from resonate_store.model.ids import problem_with
from resonate_store.model.records import PromiseState, PromiseView
from resonate_store.model.requests import PromiseSearch, Request, Response

MAX_PAGE = 1000
"""Maximum number of results on one page of a search."""


class StoreSession(ABC):
    """Requests of one user to a store. A subclass says which store it is."""

    @property
    @abstractmethod
    def store(self) -> Store:
        """The store with the promises."""

    @property
    @abstractmethod
    def clock(self) -> Clock:
        """The source of time."""

    def ask(self, request: Request) -> Response:
        """Send a request and return its response.

        Raises:
            Failure: the status is 400 or more. The exit code says whether the id does not exist, the server is
                unreachable, or the request was refused.
        """
        response = self.store.apply(request)
        if response.status < 400:
            return response
        id = getattr(request, "id", "")
        code = code_for(response.status)
        if code == NOT_FOUND:
            raise Failure(f"there is no {request.kind.partition('.')[0]} {id!r}", code, 404)
        raise Failure(
            f"{request.kind} of {id!r}: {response.error}" if id else str(response.error), code, response.status
        )

    def find(self, request: Request) -> Response | None:
        """Send a request and return its response. Return None if the id does not exist."""
        try:
            return self.ask(request)
        except Failure as failure:
            if failure.code != NOT_FOUND:
                raise
            return None

    def pages(self, request: Any, limit: int | None) -> Iterator[Response]:
        """Yield the pages of a search, at most `limit` results in total. None has no limit."""
        left = limit
        while True:
            response = self.ask(replace(request, limit=min(left or MAX_PAGE, MAX_PAGE)))
            yield response
            if left is not None:
                left -= len(response.promises or response.tasks or response.schedules or response.executions or ())
            if response.cursor is None or left == 0:
                return
            request = replace(request, cursor=response.cursor)

    def below(
        self, id: str, separator: str, limit: int | None, state: PromiseState | None = None
    ) -> Iterator[PromiseView]:
        """Yield the promises whose ids begin with `id` and the separator.

        If `id` has the maximum length there are none, and the search is omitted because it would be refused.
        """
        prefix = f"{id}{separator}"
        if problem_with(prefix) is None:
            for page in self.pages(PromiseSearch(state=state, id=prefix), limit):
                yield from page.promises or ()

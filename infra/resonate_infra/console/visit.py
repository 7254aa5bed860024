"""One request of a browser, as the views of the console see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import RedirectResponse, Response

from resonate_infra.console.backend import Backend
from resonate_infra.console.history import Histories
from resonate_infra.console.notices import Notices
from resonate_infra.console.rendering import page, url
from resonate_infra.console.security import SignedIn, WriteToken
from resonate_infra.inspection.session import StoreSession
from resonate_infra.text import number_in
from resonate_store.interface import StoreError


class State:
    """What the console keeps while it runs.

    Args:
        backend: the deployment that it shows.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.histories = Histories()
        self.notices = Notices()
        self.write_token = WriteToken()
        self.users = SignedIn()
        self._moves_time: dict[str | None, bool] = {}

    def moves_time(self, token: str | None) -> bool:
        """Return whether the server can move its time. It is asked once for each user."""
        if self.backend.asks_for_token and token is None:
            return False
        if token not in self._moves_time:
            try:
                self._moves_time[token] = self.backend.moves_time(token)
            except StoreError:
                return False
        return self._moves_time[token]


class Visit:
    """One request.

    Args:
        state: what the console keeps.
        path: the path below the console.
        query: the query, with all values of each name.
        form: the fields of a form that was sent, or nothing.
        user: the id in the cookie of the browser.
    """

    def __init__(
        self,
        state: State,
        path: str,
        query: Mapping[str, Sequence[str]],
        form: Mapping[str, Sequence[str]],
        user: str | None,
    ) -> None:
        self.state = state
        self.path = path
        self.query = query
        self.form = form
        self.user = user
        self.token = None if user is None else state.users.token(user)
        self.session: StoreSession = state.backend.session(self.token)
        self.now = self.session.clock.now()

    def get(self, name: str, default: str = "") -> str:
        """Return a value of the query."""
        return next(iter(self.query.get(name, ())), default)

    def all(self, name: str) -> list[str]:
        """Return all values of the query with a name."""
        return list(self.query.get(name, ()))

    def number(self, name: str, default: int = 0) -> int:
        """Return a number of the query that is not negative."""
        number = number_in(self.get(name))
        return default if number is None else number

    def field(self, name: str, default: str = "") -> str:
        """Return a field of the form, without the spaces around it."""
        return next(iter(self.form.get(name, ())), default).strip()

    def named(self) -> str:
        """Return the id that a form names, as it is. Spaces around it belong to it: without them it is another id."""
        return next(iter(self.form.get("id", ())), "")

    def takes(self, kind: str) -> bool:
        """Return whether the server takes a request of this kind, which the official protocol lacks."""
        return self.state.backend.takes(kind, self.token)

    def page(self, template: str, http_status: int = 200, **content: Any) -> Response:
        """Return a page, or a part of one."""
        backend = self.state.backend
        shared = {
            "now": self.now,
            "place": backend.name,
            "signed_in": self.token is not None,
            "write_token": self.state.write_token.text,
            "notice": self.state.notices.get(self.get("notice")),
            "here": self.path,
            "moves_time": self.state.moves_time(self.token),
            "subject": self.get("id") if self.path == "/execution" else "",
        }
        return page(template, {**shared, **content}, http_status)

    def back(self, said: str, path: str, **query: Any) -> Response:
        """Return the redirect to a page that shows what was done."""
        return RedirectResponse(url(path, notice=self.state.notices.add(said), **query), 303)

"""Signing in with a token, at a server that requires one."""

from __future__ import annotations

from starlette.responses import Response

from resonate_infra.console.visit import Visit
from resonate_store.interface import StoreError
from resonate_store.model.requests import PromiseGet


def page(visit: Visit, problem: str = "", status: int = 200) -> Response:
    """Return the form for the token."""
    return visit.page("sign_in.html", status, problem=problem)


def problem_with(visit: Visit, token: str) -> str:
    """Return why a token is not accepted, or an empty text. A token that may see only some ids is accepted."""
    if not token:
        return "Give a token."
    try:
        response = visit.state.backend.session(token).store.apply(PromiseGet("console"))
    except StoreError as error:
        return f"The server does not accept it: {error}"
    return (
        "The server does not accept this token: it is not valid, or it has expired." if response.status == 401 else ""
    )

"""Cancellation of an execution by a client."""

from __future__ import annotations

from typing import Literal

from resonate.errors import refusal
from resonate.validation import require
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.records import PromiseState
from resonate_store.model.requests import Response

Canceling = Literal["accepted", "already"] | PromiseState
"""Result of a cancellation: it is accepted, it was accepted before, or the state in which the execution ended."""


def request_of(id: str, reason: str, force: bool) -> PromiseCancel:
    """Return the request that cancels the execution `id`.

    Raises:
        TypeError: an argument has the wrong type.
    """
    require("id", id, str)
    require("reason", reason, str)
    require("force", force, bool)
    return PromiseCancel(id, reason, force)


def answer_in(response: Response, id: str) -> Canceling:
    """Return the result of a cancellation of the execution `id`.

    Raises:
        ResonateStoreError: the store refused the request.
    """
    if response.promise is None:
        reason = f"{response.error}: check the id, {id!r}" if response.status == 404 else response.error
        raise refusal(response.status, reason)
    if not response.promise.pending:
        return response.promise.state
    return "already" if response.cancel == "already" else "accepted"

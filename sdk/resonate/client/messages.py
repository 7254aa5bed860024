"""Messages to executions, and what executions have published, for programs outside of a workflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resonate.errors import (
    MessagesNotSupportedError,
    PayloadTooLargeError,
    message_conflict,
    message_refusal,
    refusal,
)
from resonate.payloads import codec
from resonate.workflow.messages import check_message, require_name
from resonate_store.interface import Store
from resonate_store.model.ids import state_id
from resonate_store.model.limits import problem_with_size, size_of
from resonate_store.model.message_requests import MessageSend
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseGet, PromiseSearch, Request, Response
from resonate_store.model.tags import PUBLISHED

PAGE = 500
"""How many published values are read at once."""


def send(store: Store, id: str, name: str, value: Any, key: str, *, compared: bool) -> PromiseView:
    """Send a message; see `Caller.send`.

    Args:
        store: the store of the execution.
        id, name, value: the receiver, the name and the value of the message.
        key: its idempotency key.
        compared: whether a stored message with this key must have the same value.

    Returns:
        The message, as the store has accepted it.
    """
    check_message(id, name, key)
    if store.distant is None and not store.takes_messages:
        raise MessagesNotSupportedError("send")
    payload = codec.encode(value, f"the message {name!r} to {id}", "value")
    if problem := problem_with_size(size_of(payload)):
        raise PayloadTooLargeError(problem)
    response = store.apply(MessageSend(id, name, key, payload))
    if response.promise is None:
        raise message_refusal(response.status, response.error)
    if compared and response.promise.param != payload:
        raise message_conflict(id, key)
    return response.promise


Apply = Callable[[Request], Response]


def published(apply: Apply, id: str, key: str) -> Any:
    """Return the value that an execution has published under a key, or None; see `Handle.published`."""
    require_name("key", key)
    response = apply(PromiseGet(state_id(id, key)))
    if response.promise is None:
        if response.status == 404:
            return None
        raise refusal(response.status, response.error)
    return codec.decode(response.promise.param)


def all_published(apply: Apply, id: str) -> dict[str, Any]:
    """Return all values that an execution has published, by key."""
    found: dict[str, Any] = {}
    cursor: str | None = None
    while True:
        response = apply(PromiseSearch(id=state_id(id), limit=PAGE, cursor=cursor))
        if response.promises is None:
            raise refusal(response.status, response.error)
        for item in response.promises:
            if PUBLISHED in item.tags:
                found[item.tags[PUBLISHED]] = codec.decode(item.param)
        cursor = response.cursor
        if cursor is None:
            return found

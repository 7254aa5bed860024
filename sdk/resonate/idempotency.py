"""Idempotency keys: how the client recognises a repeated call.

The store does not know them. The key of a creation is in a tag of the promise, and that of a settlement in a header of
its value. So all clients, in any process, decide from the same stored data (docs/protocol.md 4.3). The key of a
function call is its id by default.
"""

from __future__ import annotations

from resonate.errors import ResonateStoreError
from resonate_store.model.records import PromiseView, SettledState
from resonate_store.model.tags import IDEMPOTENCY_KEY, SCOPE, TARGET

COMPLETE_KEY = "resonate:idempotency-key"
"""Header of the value that holds the idempotency key of a settlement."""


def created_alike(promise: PromiseView, key: str | None) -> bool:
    """Return whether an existing promise is the one that a call creates. The keys of both are compared.

    Args:
        promise: the existing promise.
        key: the call's idempotency key. None means the promise's id, and then a promise without a key matches too,
            because clients in other languages write none.
    """
    existing = promise.tags.get(IDEMPOTENCY_KEY)
    if key is None:
        return existing is None or existing == promise.id
    return key == create_key(promise)


def create_key(promise: PromiseView) -> str | None:
    """Return the idempotency key of a promise's creation. That of a call is its id by default."""
    return promise.tags.get(IDEMPOTENCY_KEY) or (promise.id if SCOPE in promise.tags else None)


def settled_alike(promise: PromiseView, state: SettledState, key: str | None, strict: bool) -> bool:
    """Return whether a settled promise was settled by the call that wants to settle it.

    A promise that timed out counts as settled by any call, unless `strict`.

    Args:
        promise: the settled promise.
        state: the state that the call asks for.
        key: the call's idempotency key. Without one the client cannot know, and the answer is False.
        strict: whether the promise must be in `state`.
    """
    if promise.state == "rejected_timedout":
        return not strict
    return key is not None and complete_key(promise) == key and (not strict or promise.state == state)


def complete_key(promise: PromiseView) -> str | None:
    """Return the idempotency key of a settlement. For a call it is its id."""
    given = (promise.value.headers or {}).get(COMPLETE_KEY)
    if given is None and (TARGET in promise.tags or promise.tags.get(SCOPE) == "local"):
        return promise.id if promise.state in ("resolved", "rejected") else None
    return given


def already_exists(id: str) -> ResonateStoreError:
    """Return the error of a creation whose promise another call has created."""
    return ResonateStoreError("The specified promise already exists", 40900, {"id": id})


def belongs_elsewhere(id: str) -> ResonateStoreError:
    """Return the error of a command whose id is that of an independent execution."""
    return ResonateStoreError(
        f"the promise {id} exists and is an execution of its own, not this command: give executions ids that no command"
        " of another has, such as ones without a dot, or give this command an id by .options(id=...)",
        40900,
        {"id": id},
    )


def taken_by(id: str, place: str) -> ResonateStoreError:
    """Return the error of a command whose id was given to an earlier command: to the one at `place`."""
    return ResonateStoreError(
        f"the promise {id} has the id of this command, but .options(id=...) gave that id to the command {place}: give"
        f" {place} an id that no command has by its number, such as one that does not end in a dot and a number",
        40900,
        {"id": id},
    )

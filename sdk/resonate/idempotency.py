"""Idempotency keys: by which a call that is made again is told from another one.

The store knows none. A creation's key is kept in a tag of the promise and a settlement's in a header of its value, so
that all clients, in whatever process, decide alike by what is stored (docs/protocol.md 4.3). A call of a function has a
key without being given one: its id.
"""

from __future__ import annotations

from resonate.errors import ResonateStoreError
from resonate_store.model.records import PromiseView, SettledState
from resonate_store.model.tags import IDEMPOTENCY_KEY, SCOPE, TARGET

COMPLETE_KEY = "resonate:idempotency-key"
"""Header of the value that keeps the idempotency key of a settlement."""


def created_alike(promise: PromiseView, key: str | None) -> bool:
    """Whether a promise that may have existed before is the one that a call means to create.

    Args:
        key: the call's idempotency key; without one it is the promise's id, and whoever gave no key either, in whatever
            language, has created the same.
    """
    existing = promise.tags.get(IDEMPOTENCY_KEY)
    if key is None:
        return existing is None or existing == promise.id
    return key == create_key(promise)


def create_key(promise: PromiseView) -> str | None:
    """The idempotency key that a promise was created with; that of a call is its id unless it was given another."""
    return promise.tags.get(IDEMPOTENCY_KEY) or (promise.id if SCOPE in promise.tags else None)


def settled_alike(promise: PromiseView, state: SettledState, key: str | None, strict: bool) -> bool:
    """Whether a promise that is settled is so by the call that means to settle it.

    Args:
        state: what the call settles it as.
        key: the call's idempotency key; without one nobody can tell, and the call is another.
        strict: whether it must have come to `state`, and in time.
    """
    if promise.state == "rejected_timedout":
        return not strict
    return key is not None and complete_key(promise) == key and (not strict or promise.state == state)


def complete_key(promise: PromiseView) -> str | None:
    """The idempotency key of a settlement; a call is settled with its id as the key."""
    given = (promise.value.headers or {}).get(COMPLETE_KEY)
    if given is None and (TARGET in promise.tags or promise.tags.get(SCOPE) == "local"):
        return promise.id if promise.state in ("resolved", "rejected") else None
    return given


def already_exists(id: str) -> ResonateStoreError:
    """A promise with this id was created by another call."""
    return ResonateStoreError("The specified promise already exists", 40900, {"id": id})


def belongs_elsewhere(id: str) -> ResonateStoreError:
    """The id of a command is that of an execution that was begun on its own."""
    return ResonateStoreError(
        f"the promise {id} exists and is an execution of its own, not this command: give executions ids that no command"
        " of another has, such as ones without a dot, or give this command an id by .options(id=...)",
        40900,
        {"id": id},
    )


def taken_by(id: str, place: str) -> ResonateStoreError:
    """Return the error of a command whose id was given to another command before: to the one at `place`."""
    return ResonateStoreError(
        f"the promise {id} has the id of this command, but .options(id=...) gave that id to the command {place}: give"
        f" {place} an id that no command has by its number, such as one that does not end in a dot and a number",
        40900,
        {"id": id},
    )

"""Idempotency keys: how the client recognises a repeated call, and the keys and ids of a fork's commands.

The store does not know them. The key of a creation is in a tag of the promise, and that of a settlement in a header of
its value. So all clients, in any process, decide from the same stored data (docs/protocol.md 4.3). The key of a
function call is its id by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resonate.errors import ResonateStoreError
from resonate_store.model.records import PromiseView, SettledState
from resonate_store.model.tags import IDEMPOTENCY_KEY, KEY_STEM, PREFIX, SCOPE, TARGET

KEYS = "0~keys"
"""The end of the id of the record with the keys that a fork knows of the execution that was copied."""
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


class ForkNames:
    """Ids and default idempotency keys of the commands of a fork, and of what it calls (docs/rules.md F5, F6).

    A default key begins as that of the execution that was copied. So a payment that this execution made is not made
    again. A call with an id of its own gets another one, because its promise is settled.

    Args:
        root: the id of the execution.
        stem: what its default keys begin with, in place of `root`.
        top: the id of the fork.
    """

    def __init__(self, root: str, stem: str, top: str) -> None:
        self._root = root
        self._stem = stem
        self._top = top
        self._known: Mapping[str, list[Any]] = {}

    @classmethod
    def of(cls, promise: PromiseView) -> ForkNames | None:
        """Return the names in the execution of this promise, or None if it is not a fork and no fork has called it."""
        stem = promise.tags.get(KEY_STEM)
        return None if stem is None else cls(promise.id, stem, promise.tags.get(PREFIX, promise.id))

    def learn(self, known: Mapping[str, list[Any]]) -> None:
        """Note the keys of commands that the copied execution has issued, by place: its command, and its key or None.

        None: the command was undone, so it gets a new key. A third item says that its promise has an id of its own.
        """
        self._known = known

    def known(self) -> dict[str, list[Any]]:
        """Return what `learn` was given."""
        return dict(self._known)

    def apart(self, id: str) -> ForkNames:
        """Return the names below a command with an id of its own."""
        return ForkNames(id, self._without_fork(id), self._top)

    def own_id(self, id: str, place: str, kind: str) -> str:
        """Return the id of a command with an id of its own.

        Args:
            id: the id that the workflow gives.
            place: the id of the command by its number.
            kind: "run", "rpc" or "promise". A promise keeps its id, because another program may know it, unless the
                copied execution has created it and it is settled.
        """
        if self._top in id or (kind == "promise" and len(self._known.get(self._path(place), ())) < 3):
            return id
        return f"{id}@{self._top}"

    def key(self, id: str, place: str, command: str) -> str:
        """Return the default idempotency key of a command: `id` if it gets a new one.

        Args:
            id: the id of its promise.
            place: the id of the command by its number.
            command: its kind and name, "run charge". Another command at this place does not get the key of the copy.
        """
        known = self._known.get(self._path(place))
        if known is not None:
            return known[1] if known[0] == command and known[1] is not None else id
        return self._stem + self._path(place) if id == place else self._without_fork(id)

    def _path(self, place: str) -> str:
        return place[len(self._root) :]

    def _without_fork(self, id: str) -> str:
        return id.removesuffix(f"@{self._top}").replace(self._root, self._stem)


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

"""Later generations of an execution, as a worker finds them at an acquisition (docs/rules.md G1 to G6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from resonate_store.interface import DamagedRecord, Store, whole
from resonate_store.model.ids import INBOX, below, generation_of
from resonate_store.model.records import PromiseView
from resonate_store.model.tags import MESSAGE, TAKEN

NO_GENERATIONS = (
    "this execution cannot continue as a new history: its store, or the server of its store, does not know the request"
    " task.continue_as; use the development server or a deployment of this project, or return and start again"
)


def later_generation(
    store: Store, generation: int, promise: PromiseView, *, has_messages: bool
) -> tuple[PromiseView, Sequence[PromiseView]]:
    """Return the promise of a task with the arguments of this generation, and the records of the generation.

    With `has_messages`, the messages that wait, and those that this generation has taken, are among the records.

    Raises:
        DamagedRecord: the record of the arguments is missing.
        StoreError: the store cannot answer.
    """
    separator = below(generation)
    children = store.children(promise.id, separator)
    id = f"{promise.id}{separator}0"
    for child in children:
        if child.id == id:
            arguments = whole(child, store)
            if has_messages:
                children = [*children, *_messages(store, generation, promise.id)]
            return replace(promise, param=arguments.value), children
    raise DamagedRecord(f"the arguments of generation {generation} of {promise.id!r} are missing: there is no {id!r}")


def _messages(store: Store, generation: int, id: str) -> Iterator[PromiseView]:
    """Return the messages of an execution without those that other generations have taken."""
    for message in store.children(id, INBOX):
        place = message.tags.get(TAKEN)
        if place is None or generation_of(place, id) == generation:
            yield message


def is_older(promise: PromiseView) -> bool:
    """Return whether a record of an execution may be older than its history: its arguments, or a message that waits."""
    return promise.id.endswith("+0") or (MESSAGE in promise.tags and TAKEN not in promise.tags)

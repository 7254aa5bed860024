"""Later generations of an execution, as a worker finds them at an acquisition (docs/rules.md G1 to G6)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from resonate_store.interface import DamagedRecord, Store, whole
from resonate_store.model.ids import below
from resonate_store.model.records import PromiseView

NO_GENERATIONS = (
    "this execution cannot continue as a new history: its store, or the server of its store, does not know the request"
    " task.continue_as; use the development server or a deployment of this project, or return and start again"
)


def later_generation(store: Store, generation: int, promise: PromiseView) -> tuple[PromiseView, Sequence[PromiseView]]:
    """Return the promise of a task with the arguments of this generation, and the records of the generation.

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
            return replace(promise, param=arguments.value), children
    raise DamagedRecord(f"the arguments of generation {generation} of {promise.id!r} are missing: there is no {id!r}")


def begins_generation(promise: PromiseView) -> bool:
    """Return whether this is the record of the arguments of a generation."""
    return promise.id.endswith("+0")

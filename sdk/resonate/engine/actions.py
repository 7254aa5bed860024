"""What the interpreter asks for, because it needs a store or user code; the worker carries it out."""

from __future__ import annotations

from msgspec import Struct

from resonate.engine.model import Coroutine, Node, Work
from resonate_store.model.records import SettledState, Value
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseRecord, PromiseSettle


class Create(Struct, frozen=True):
    """Create the node's promise, pending.

    `coroutine` is the workflow that goes on once it is created. `in_row` says that the workflow has begun another call
    just before, so it may go on without the answer.
    """

    node: Node
    request: PromiseCreate
    coroutine: Coroutine | None = None
    in_row: bool = False


class ReadChildren(Struct, frozen=True):
    """Read the children of the work's promise: an earlier invocation has begun it."""

    work: Work


class Run(Struct, frozen=True):
    """Call the user's function; in a thread of its own if it is concurrent."""

    work: Work


class RecordOutcome(Struct, frozen=True):
    """Store the outcome of the node: in one write for a finished step, else by settling its pending promise."""

    node: Node
    request: PromiseRecord | PromiseSettle


class ReadPromise(Struct, frozen=True):
    """Read the settled promise of the node: so far it is known only where its value lies."""

    node: Node
    request: PromiseGet


Action = Create | ReadChildren | Run | RecordOutcome | ReadPromise


class Finished(Struct, frozen=True):
    """The outcome of the root."""

    state: SettledState
    value: Value

"""Later generations of an execution: how a worker finds one at an acquisition, and begins the next (docs/rules.md G1 to
G6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from resonate.engine.actions import Continued
from resonate.engine.history import may_belong
from resonate.engine.model import Kind, Lineage
from resonate.errors import SignatureError, refusal
from resonate.idempotency import belongs_elsewhere
from resonate.payloads.fitting import Unfit
from resonate.worker.lease import Lease, Lost
from resonate.workflow.continuation import Callee
from resonate.workflow.signatures import check
from resonate_store.interface import DamagedRecord, Store, StoreError, whole
from resonate_store.model.clock import Clock
from resonate_store.model.execution_requests import TaskContinueAs
from resonate_store.model.ids import INBOX, below, generation_of
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import ContinueWithArguments, Request, Response
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


def begin_next(
    continued: Continued, store: Store, clock: Clock, lease: Lease, answer: Callable[[Request], Response]
) -> PromiseView | Exception:
    """Begin the next history of a task.

    Args:
        continued: the end of the present history.
        store: the store.
        clock: the clock of the lease.
        lease: the lease on the task.
        answer: makes a request to the store, and raises the errors of its answers.

    Returns:
        The record of its arguments, or the error if they cannot be recorded.

    Raises:
        Lost: another worker holds the task.
        StoreError: the store cannot answer.
    """
    asked_at = clock.now()
    if store.continues_at_once:
        response = answer(ContinueWithArguments(lease.id, lease.version, continued.generation, continued.record))
        if response.task is not None and response.promise is not None:
            lease.confirm(asked_at)
            return response.promise
        if response.status == 404:
            raise Lost
    else:
        response = answer(continued.record)
    arguments = response.promise
    if arguments is None:
        return refusal(response.status, response.error)
    if not may_belong(arguments, lease.id):
        return belongs_elsewhere(arguments.id)
    # The arguments are written first: after a crash in between, the present history is replayed and continues here.
    asked_at = clock.now()
    response = answer(TaskContinueAs(lease.id, lease.version, continued.generation))
    if not response.ok:
        if response.status == 404:
            raise Lost
        raise StoreError(f"cannot continue task {lease.id}: {response.status} {response.error}")
    lease.confirm(asked_at)
    return arguments


def _messages(store: Store, generation: int, id: str) -> Iterator[PromiseView]:
    """Return the messages of an execution without those that other generations have taken."""
    for message in store.children(id, INBOX):
        place = message.tags.get(TAKEN)
        if place is None or generation_of(place, id) == generation:
            yield message


def is_older(promise: PromiseView) -> bool:
    """Return whether a record of an execution may be older than its history: its arguments, or a message that waits."""
    return promise.id.endswith("+0") or (MESSAGE in promise.tags and TAKEN not in promise.tags)


class RootFunction(Struct):
    """Function of a task, with what stays the same in all histories that call it.

    Attributes:
        callee: the function.
        validate: whether arguments that do not fit are refused.
        kind: what a call of it makes.
        key: the idempotency key of the task.
        lineage: what its children inherit.
        headers: those of the execution.
    """

    callee: Callee
    validate: bool
    kind: Kind
    key: str
    lineage: Lineage
    headers: Mapping[str, str]

    def restored(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return arguments as their annotated types.

        Raises:
            SignatureError: they do not fit the parameters, or one does not fit its type.
        """
        callee = self.callee
        signature = callee.signature
        if kwargs or not signature.least <= len(args) <= signature.most:
            check(callee.func, callee.name, args, kwargs)
        try:
            return signature.arguments(args, kwargs, strict=self.validate)
        except Unfit as unfit:
            raise SignatureError(f"{callee.name}: {unfit}") from None

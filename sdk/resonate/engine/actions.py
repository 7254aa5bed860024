"""Actions that the interpreter asks for, because they need a store or user code. The worker carries them out."""

from __future__ import annotations

from msgspec import Struct

from resonate.engine.model import Coroutine, Node, Work
from resonate_store.model import addresses, ids
from resonate_store.model.execution_requests import PromiseCancel
from resonate_store.model.limits import excess
from resonate_store.model.message_requests import MessageSend, TaskPublish, TaskReceive
from resonate_store.model.records import SettledState, Value
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseRecord, PromiseSettle
from resonate_store.model.tags import TARGET


class Create(Struct, frozen=True):
    """Create the node's promise, pending.

    `coroutine` is the workflow that continues once it is created. `in_row` means that the workflow began another call
    just before, so it may continue without waiting for the answer.
    """

    node: Node
    request: PromiseCreate
    coroutine: Coroutine | None = None
    in_row: bool = False

    def is_refused(self) -> bool:
        """Return whether stores refuse this creation of a call for its id, address or size."""
        request = self.request
        return (
            ids.problem_with(request.id) is not None
            or addresses.problem_with(request.tags[TARGET]) is not None
            or excess(request.id, "param", request.param) is not None
        )


class ReadChildren(Struct, frozen=True):
    """Read the children of the work's promise, because an earlier invocation has begun it."""

    work: Work


class Run(Struct, frozen=True):
    """Call the user's function; in another thread if it is concurrent."""

    work: Work


class RecordOutcome(Struct, frozen=True):
    """Store the outcome of the node: in one write for a finished step, else by settling its pending promise."""

    node: Node
    request: PromiseRecord | PromiseSettle


class ReadPromise(Struct, frozen=True):
    """Read the settled promise of the node, because only the place of its large value is known."""

    node: Node
    request: PromiseGet


class CancelCall(Struct, frozen=True):
    """Cancel the execution of a remote call. `waiting` is settled with the answer, if a workflow waits for that."""

    node: Node
    request: PromiseCancel
    waiting: Node | None = None


class Ask(Struct, frozen=True):
    """Make the request of a command about messages or published state. The worker adds the version of the task.

    `tags` are those of the record of a message that was sent. `own_key` is whether the idempotency key of a message is
    derived from the command.
    """

    node: Node
    request: MessageSend | TaskReceive | TaskPublish
    tags: dict[str, str] = {}
    own_key: bool = False


class Look(Struct, frozen=True):
    """Look for new messages, and then begin the timer of a command that has found none."""

    node: Node
    timer: PromiseCreate


Action = CancelCall | Create | ReadChildren | Run | RecordOutcome | ReadPromise | Ask | Look


class Continued(Struct, frozen=True):
    """The root ends its history and begins the next one, `generation`, with the arguments in `record`."""

    record: PromiseRecord
    generation: int


class Finished(Struct, frozen=True):
    """The outcome of the root."""

    state: SettledState
    value: Value

"""The parts of a computation: its promises as nodes, its running workflows as coroutines, and what it asks for.

These are plain data for the interpreter in `replay`. A node is one durable promise as one execution knows it; a
coroutine is one workflow that waits on at most one node at a time. Actions are what the interpreter wants done and
cannot do itself, because doing it needs a store or user code.
"""

from __future__ import annotations

import enum
import logging
import types
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from resonate.encoders import Encoder
from resonate.engine.exits import failure_of
from resonate.errors import is_final
from resonate.retry_policies import Exponential, Never, RetryPolicy, pause_after
from resonate.workflow.context import Context
from resonate.workflow.options import Options, PolicyFor
from resonate_store.model.records import SettledState, Value
from resonate_store.model.requests import PromiseCreate, PromiseGet, PromiseRecord, PromiseSettle
from resonate_store.model.tags import BRANCH, FUNC, ORIGIN, PARENT, PREFIX, SCOPE

logger = logging.getLogger("resonate.replay")

Outcome = tuple[Any, BaseException | None]
"""What a function has returned, or the error that it has raised."""
NOTHING_YET: Outcome = (None, None)

_GENERATOR = 0x20
_COROUTINE = 0x80
"""The code flags of generator functions and of async ones (`inspect.CO_GENERATOR`, `inspect.CO_COROUTINE`)."""
MOST_BLOCKS = 10
"""How many `finally` blocks within each other are let go of; one that yields for ever has to end somewhere."""
_endless: list[Resumable] = []
"""Workflows that cannot be closed; they are kept, because Python complains when one is freed."""
_DEFAULT_RETRY: RetryPolicy = Exponential()
_NO_RETRY: RetryPolicy = Never()


class Kind(enum.Enum):
    """What a function of the user's is, as far as its code and what it has done tell."""

    STEP = enum.auto()
    """It runs to its end without us; only its outcome is recorded."""
    WORKFLOW = enum.auto()
    """It issues commands, which are its children."""
    ASYNC = enum.auto()
    """It is a step until it awaits a command."""


def kind_of(func: Callable[..., Any]) -> Kind:
    """What calling `func` makes: a result, a generator or a coroutine."""
    flags = func.__code__.co_flags
    if not flags & (_GENERATOR | _COROUTINE):
        return Kind.STEP
    return Kind.WORKFLOW if flags & _GENERATOR else Kind.ASYNC


class Lineage(Struct):
    """Where an execution stands: what its children's promises inherit from it.

    `timeout_at` (milliseconds) caps their deadlines, `tags` are those that every local child carries. The steps that
    call the same function have the same tags, and share them: a long workflow keeps them once.
    """

    id: str
    origin: str
    prefix: str
    timeout_at: int
    tags: dict[str, str]
    _of_steps: dict[str, dict[str, str]] = {}

    @classmethod
    def of(cls, id: str, origin: str, prefix: str, timeout_at: int) -> Lineage:
        """The place of the children of the promise `id`."""
        tags = {
            SCOPE: "local",
            PARENT: id,
            ORIGIN: origin,
            BRANCH: id,
            PREFIX: prefix,
        }
        return cls(id, origin, prefix, timeout_at, tags)

    def below(self, id: str, timeout_at: int) -> Lineage:
        """The place of the children of the promise `id`, which itself stands here."""
        return Lineage.of(id, self.origin, self.prefix, timeout_at)

    def apart(self, origin: str) -> Lineage:
        """The same place in the call tree, for a promise that is the root of a tree of its own."""
        return Lineage(self.id, origin, self.prefix, self.timeout_at, {**self.tags, ORIGIN: origin})

    def tags_of(self, func: str, tags: dict[str, str] | None) -> dict[str, str]:
        """The tags of a local call of the function `func`, with the user's."""
        if tags:
            return {**tags, **self.tags, FUNC: func}
        shared = self._of_steps.get(func)
        if shared is None:
            shared = self._of_steps[func] = {**self.tags, FUNC: func}
        return shared


class Node(Struct, eq=False):
    """One durable promise of the computation.

    `external` says that somebody outside settles it: a remote call, a sleep, a bare promise, a retry timer. `link` is
    the node's place in its parent, `{parent}.{n}`, when an overridden id has put the promise elsewhere. `work` is the
    function that settles it here, `then` what else happens once it is settled. `inherited` are the tags of its place.
    `refused` says that the store has turned its outcome down once, `uncreated` that it has refused the promise itself.
    `encoder` writes and reads its payloads, `key` is its idempotency key; neither is set unless the command says so.
    """

    id: str
    timeout_at: int
    command: str = ""
    annotation: Any = Any
    encoder: Encoder[Any, str | None] | None = None
    key: str | None = None
    link: str | None = None
    inherited: dict[str, str] | None = None
    refused: bool = False
    uncreated: bool = False
    durable: bool = True
    external: bool = False
    timer: bool = False
    settled: bool = False
    value: Any = None
    error: BaseException | None = None
    waiters: list[Coroutine] = []
    work: Work | None = None
    then: Callable[[], None] | None = None


class Work(Struct, eq=False):
    """A function of the user's that is run here, as often as its retry policy says, to settle `node`.

    `lineage` is where it stands: its parent's until it has children. `tags` are those of its promise. `timer_stem` is
    what the ids of its retry timers begin with. `begun` says that an earlier invocation has begun it, or may have,
    `is_new` that its caller had not been so far before, `created` that its promise exists, pending, and `is_workflow`
    that it issues commands. `opening` is an async function that has issued its first command, and that command, until
    everything is there for it to go on.
    """

    node: Node
    func: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    context: Context
    lineage: Lineage
    tags: dict[str, str]
    policy: RetryPolicy | None
    non_retryable: tuple[type[BaseException], ...]
    timer_stem: str
    kind: Kind
    is_workflow: bool
    concurrent: bool = False
    attempt: int = 1
    created: bool = False
    begun: bool = False
    is_new: bool = False
    started_at: int = 0
    retry_at: int = 0
    opening: Opening | None = None

    def policy_in_force(self, default: RetryPolicy | PolicyFor | None) -> RetryPolicy:
        """Return the retry policy of this work: that of the call, else the program's default, else ours.

        A policy that is the program's default is for steps. One that the program chooses by function is for all.

        Raises:
            Exception: the program's default cannot choose.
        """
        if self.policy is not None:
            return self.policy
        if default is None or (self.is_workflow and isinstance(default, RetryPolicy)):
            return _NO_RETRY if self.is_workflow else _DEFAULT_RETRY
        return Options(retry_policy=default).policy_for(self.func) or _DEFAULT_RETRY

    def pause_after(self, error: BaseException, now: int, draw: Callable[[], float], policy: RetryPolicy) -> int | None:
        """Milliseconds until the next attempt, or None when this failure is final (docs/protocol.md 5.7).

        Raises:
            Exception: the retry policy cannot tell; see `retry_policies.pause_after`.
        """
        if type(error) in self.non_retryable or is_final(error):
            return None
        pause = pause_after(policy, self.attempt, error, draw)
        if pause is None or now + pause * 1000 > self.node.timeout_at:
            return None
        return max(0, round(pause * 1000))

    def timer_id(self) -> str:
        """The id of the retry timer after this attempt; it lies among the work's siblings, so one preload brings it."""
        return f"{self.timer_stem}~{self.attempt}"


class Opening(Struct, frozen=True):
    """An async function that is no step after all: what it has awaited first is a command."""

    coroutine: types.CoroutineType[Any, Any, Any]
    command: Any


class Resumable(Protocol):
    """What generators and coroutines have in common."""

    def send(self, value: Any, /) -> Any: ...

    def throw(self, error: BaseException, /) -> Any: ...

    def close(self) -> None: ...


def let_go(resumable: Resumable, name: str) -> bool:
    """Run the `finally` blocks of a workflow that does not go on here, whatever they raise.

    Returns:
        Whether it has ended; one that catches GeneratorExit in a loop never does.

    One that yields in such a block has not ended, but stands there now; left like that, Python would close it again
    when it is freed, and complain to the user if there is another block that yields.
    """
    for _ in range(MOST_BLOCKS):
        try:
            resumable.close()
        except BaseException as error:
            if failure_of(error, name) is None:
                raise
            logger.debug("%s was closed: %s", name, type(error).__name__)
        else:
            return True
    _endless.append(resumable)
    return False


class Coroutine(Struct, eq=False):
    """A workflow of the user's in progress: a generator, or the coroutine of an async function.

    `opening` is what it has issued already, `ended` its outcome while it still waits for what it started. `row` is the
    number of its latest command that belongs to a row of begun calls. `sent` are the creations of that row which are
    not answered yet, `refused` those that were refused and not raised yet: True if the error is raised before the
    workflow waits, False if at its end. `row_open` says that one of the two has to be looked at before it waits.
    """

    work: Work
    generator: Resumable
    opening: Any = None
    attached: dict[Node, None] = {}
    inbox: Outcome = NOTHING_YET
    ended: Outcome | None = None
    row: int = -1
    row_open: bool = False
    sent: dict[Node, None] = {}
    refused: dict[Node, bool] = {}

    def close(self) -> bool:
        """Let go of the workflow; whether it has ended."""
        return let_go(self.generator, self.work.name)


class Create(Struct, frozen=True):
    """Create the node's promise, pending.

    `coroutine` is the workflow that goes on once it is created. `in_row` says that the workflow has begun another call
    just before, so it may go on without the answer.
    """

    node: Node
    request: PromiseCreate
    coroutine: Coroutine | None = None
    in_row: bool = False


class Load(Struct, frozen=True):
    """Read the children of the work's promise: an earlier invocation has begun it."""

    work: Work


class Run(Struct, frozen=True):
    """Call the user's function; on the pool if it is concurrent."""

    work: Work


class Keep(Struct, frozen=True):
    """Store the outcome of the node: in one write for a finished step, else by settling its pending promise."""

    node: Node
    request: PromiseRecord | PromiseSettle


class Fetch(Struct, frozen=True):
    """Read the settled promise of the node: all that is known of its value is where it lies."""

    node: Node
    request: PromiseGet


Action = Create | Load | Run | Keep | Fetch


class Finished(Struct, frozen=True):
    """The outcome of the root."""

    state: SettledState
    value: Value

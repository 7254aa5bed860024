"""Model of an execution: its promises as nodes, its functions as works, its running workflows as coroutines.

This is data, which only the interpreter changes. A node is one durable promise as one execution knows it. A coroutine
is one workflow that waits for at most one node at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from resonate.encoders import Encoder
from resonate.engine.functions.exits import failure_of
from resonate.idempotency import ForkNames
from resonate.interceptors import Interceptor
from resonate.retry_policies import RetryPolicy
from resonate.workflow.commands import Command, CommandState, PromiseCommand, RemoteCall, sentence
from resonate.workflow.context import Context
from resonate_store.model.requests import PromiseRecord
from resonate_store.model.tags import BRANCH, FUNC, ORIGIN, PARENT, PREFIX, SCOPE

logger = logging.getLogger("resonate.replay")

Outcome = tuple[Any, BaseException | None]
"""What a function has returned, or the error that it has raised."""
NOTHING_YET: Outcome = (None, None)

_GENERATOR = 0x20
_COROUTINE = 0x80
"""The code flags of generator functions and of async ones (`inspect.CO_GENERATOR`, `inspect.CO_COROUTINE`)."""
MOST_BLOCKS = 10
"""Maximum number of nested `finally` blocks that are closed: a block that always yields would never end."""
_endless: list[Resumable] = []
"""Workflows that cannot be closed. They are kept, because Python prints an error when one is freed."""


def is_within(id: str, top: str) -> bool:
    """Return whether the promise `id` is `top` or below it."""
    return id == top or id.startswith(f"{top}.")


Kind = Literal["step", "workflow", "async"]
"""Whether a user function is a plain step, a generator workflow or async.

- "step": it runs to its end by itself; only its outcome is recorded.
- "workflow": it issues commands, which are its children.
- "async": it is a step until it awaits a command.
"""


def kind_of(func: Callable[..., Any]) -> Kind:
    """Return the kind of `func`, by what a call of it makes: a result, a generator or a coroutine."""
    flags = func.__code__.co_flags
    if not flags & (_GENERATOR | _COROUTINE):
        return "step"
    return "workflow" if flags & _GENERATOR else "async"


class Lineage(Struct):
    """What the promises of a workflow's children inherit from it.

    `timeout_at` (ms) limits their deadlines, and `tags` are those of every local child. `names` is set in a fork. Steps
    that call the same function share one dictionary of tags, so that a long workflow needs less memory.
    """

    id: str
    origin: str
    prefix: str
    timeout_at: int
    tags: dict[str, str]
    names: ForkNames | None = None
    _of_steps: dict[str, dict[str, str]] = {}

    @classmethod
    def of(cls, id: str, origin: str, prefix: str, timeout_at: int, names: ForkNames | None = None) -> Lineage:
        """Return the lineage of the children of the promise `id`."""
        tags = {
            SCOPE: "local",
            PARENT: id,
            ORIGIN: origin,
            BRANCH: id,
            PREFIX: prefix,
        }
        return cls(id, origin, prefix, timeout_at, tags, names)

    def below(self, id: str, timeout_at: int) -> Lineage:
        """Return the lineage of the children of the promise `id`, which is itself a child in this lineage."""
        return Lineage.of(id, self.origin, self.prefix, timeout_at, self.names)

    def apart(self, origin: str) -> Lineage:
        """Return this lineage for a promise that is the root of a tree of its own."""
        names = None if self.names is None else self.names.apart(origin)
        return Lineage(self.id, origin, self.prefix, self.timeout_at, {**self.tags, ORIGIN: origin}, names)

    def tags_of(self, func: str, tags: dict[str, str] | None) -> dict[str, str]:
        """Return the tags of a local call of the function `func`, with the user's `tags`."""
        if tags:
            return {**tags, **self.tags, FUNC: func}
        shared = self._of_steps.get(func)
        if shared is None:
            shared = self._of_steps[func] = {**self.tags, FUNC: func}
        return shared


class Node(Struct, eq=False):
    """One durable promise of the execution.

    Attributes:
        id: the promise's id.
        timeout_at: its deadline (ms).
        kind: that of the command that makes it; empty for the root and for retry timers.
        name: the name of the function that the command calls; empty if it calls none.
        annotation: the type that its value is restored to.
        encoder: encodes and decodes its payloads, if the command names one.
        key: its idempotency key, if the command names one.
        link: its place in its parent, `{parent}.{n}`, if it has an overridden id.
        inherited: the tags of the record at that place.
        refused: whether the store has refused its outcome once.
        uncreated: whether the store has refused the promise itself.
        durable: whether it is stored.
        external: whether another program or a timer settles it: a remote call, a sleep, a promise, a retry timer.
        timer: whether it resolves at its deadline.
        settled: whether `value` and `error` are its outcome.
        waiters: the workflows that wait for it.
        watchers: the waits for several promises of which it is a member, with its place in each.
        gathering: the wait for several promises that it represents, if any.
        work: the function that settles it here.
        retries: the function that is retried when this node, a retry timer, is settled.
    """

    id: str
    timeout_at: int
    kind: str = ""
    name: str = ""
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
    watchers: tuple[tuple[Gathering, int], ...] = ()
    gathering: Gathering | None = None
    work: Work | None = None
    retries: Work | None = None

    def describe(self) -> str:
        """Return a description of what made this promise, for people."""
        if not self.kind:
            return "a retry timer"
        return sentence(self.kind, self.name, self.id if self.link is not None else None)


class Gathering(Struct, eq=False):
    """Wait for several promises.

    Attributes:
        kind: what decides it: "all", "all_settled", "any" or "race"; "next" is a repeated wait for the next one.
        names: the names of the members, if they have any.
        members: the promises, in the order in which they were named.
        node: what the workflow waits for. It has no promise of its own.
        waiting: the members that are not settled, by their places.
        winner: the member that decides, once it is chosen.
        recorded: whether the winner is recorded.
        arrived: for "next", the members that have settled since the last wait.
        canceled: whether its workflow is interrupted here. Then it lasts until all members have settled.
    """

    kind: str
    names: tuple[str, ...]
    members: list[Node]
    node: Node
    waiting: dict[int, Node] = {}
    winner: int | None = None
    recorded: bool = False
    arrived: list[int] = []
    canceled: bool = False

    def choose(self, place: int) -> bool:
        """Choose a settled member as the winner if it decides the wait, and return whether to record that."""
        failed = self.members[place].error is not None
        decides = self.kind == "race" or (failed if self.kind == "all" else self.kind == "any" and not failed)
        if self.winner is None and decides and not self.canceled:
            self.winner = place
        return self.winner == place and not self.recorded

    def expect(self, member: Node) -> None:
        """Choose a receive that takes a message now, so that no other member decides: a taken message is not lost."""
        if self.kind in ("any", "race"):
            self.winner = self.members.index(member)

    @property
    def over(self) -> bool:
        """Whether the outcome is known."""
        if self.winner is None or self.canceled:
            return not self.waiting
        return self.recorded and self.members[self.winner].settled

    def unsettled(self) -> list[Node]:
        """Return the members that it still waits for."""
        if self.winner is None or self.canceled:
            return list(self.waiting.values())
        first = self.members[self.winner]
        return [] if first.settled else [first]


class Work(Struct, eq=False):
    """A user function that runs here to settle `node`, and is retried as its retry policy says.

    Attributes:
        node: its promise.
        func, name, args, kwargs: the call.
        context: its first argument.
        state: what the engine keeps of the context.
        lineage: that of its caller; its own once it has children.
        tags: those of its promise.
        policy: the retry policy of the call, if it names one.
        non_retryable: the types of errors that are final.
        timer_stem: the beginning of the ids of its retry timers.
        kind: what a call of it makes.
        is_workflow: whether it issues commands.
        concurrent: whether its caller does not wait for it at once.
        attempt: the number of the latest attempt, from 1.
        created: whether its promise exists, pending.
        canceled: whether it does not count any more.
        begun: whether an earlier invocation has begun it, or may have.
        is_new: whether its caller has reached this call for the first time.
        started_at: when the latest attempt began (ms).
        retry_at: when the next attempt is due (ms), while it pauses in this process.
        opening: the first command of an async function, until its records are read.
        limits: the limits of its attempts, if there are any.
        interceptors: what runs around its attempts, if there is anything.
    """

    node: Node
    func: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    context: Context
    state: CommandState
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
    canceled: bool = False
    begun: bool = False
    is_new: bool = False
    started_at: int = 0
    retry_at: int = 0
    opening: Opening | None = None
    limits: AttemptLimits | None = None
    interceptors: tuple[Interceptor, ...] | None = None


class AttemptLimits(Struct):
    """Limits of the attempts of a step.

    Attributes:
        limit_ms: the longest time of an attempt (ms); 0 if it is not limited.
        at_most_once: whether each attempt is marked before it begins.
        mark: the mark of the latest attempt.
    """

    limit_ms: int = 0
    at_most_once: bool = False
    mark: PromiseRecord | None = None


class Opening(Struct, frozen=True):
    """An async function that is a workflow, not a step: it has awaited a command."""

    coroutine: Resumable
    command: Any


class Resumable(Protocol):
    """Protocol of generators and coroutines."""

    def send(self, value: Any, /) -> Any: ...

    def throw(self, error: BaseException, /) -> Any: ...

    def close(self) -> None: ...


def close_workflow(resumable: Resumable, name: str) -> bool:
    """Run the `finally` blocks of a workflow that does not continue here. Their errors are logged.

    Returns:
        Whether it has ended. A workflow that catches GeneratorExit in a loop does not end.

    A workflow that yields in such a block has not ended, so it is closed again. Otherwise Python would close it when it
    is freed, and print an error if another block yields.
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


class Row(Struct, eq=False):
    """The calls that a workflow begins in a row: their promises are created together, while it continues.

    Attributes:
        number: the number of the workflow's latest command that belongs to a row.
        open: whether `sent` or `refused` must be checked before the workflow waits.
        sent: the creations that are not answered yet.
        refused: the promises that could not be created, and whose error is not raised yet. True: raise it before the
            workflow waits; False: raise it at the workflow's end.
    """

    number: int = -1
    open: bool = False
    sent: dict[Node, None] = {}
    refused: dict[Node, bool] = {}

    def takes(self, command: Command[Any], number: int) -> bool:
        """Return whether a command continues the row. A remote call that does not continue one begins a new row."""
        if not in_rows(command):
            return False
        continued = self.number == number - 1
        if continued or isinstance(command, RemoteCall):
            self.number = number
        return continued

    def refusal(self) -> BaseException | None:
        """Return the error of the refused promises of the latest row; None if this was done before, or none was."""
        nodes = [node for node, in_row in self.refused.items() if in_row]
        for node in nodes:
            del self.refused[node]
        return noted(nodes) if nodes else None


def in_rows(yielded: Any) -> bool:
    """Return whether a workflow that yields this may be beginning calls in a row."""
    return isinstance(yielded, Command) and not yielded.waits and not isinstance(yielded, PromiseCommand)


def noted(nodes: list[Node]) -> BaseException:
    """Return the error of the first of these nodes, with a note that names them, because another command raises it."""
    error = nodes[0].error
    assert error is not None, "what was refused has an error"
    more = f", and so were {len(nodes) - 1} that were begun after it" if len(nodes) > 1 else ""
    error.add_note(f"the promise {nodes[0].id} ({nodes[0].describe()}) could not be created{more}")
    return error


class Coroutine(Struct, eq=False):
    """A running workflow: a generator, or the coroutine of an async function.

    Attributes:
        work: its function.
        state: what the engine keeps of its context.
        generator: the generator or coroutine; that of a composite command while its steps are carried out.
        outer: the generators that wait for the one in `generator`, the workflow's own first.
        opening: the command that it has already yielded.
        attached: the promises that it waits for at its end.
        inbox: what it is sent next.
        shielded: the steps of a command during which a cancellation is not delivered, if it carries out one.
        interrupted: whether it is cancelled, and gets this error instead of what it waits for.
        ended: its outcome, while it still waits for what it started.
        row: the calls that it begins in a row.
    """

    work: Work
    state: CommandState
    generator: Resumable
    opening: Any = None
    outer: list[Resumable] = []
    attached: dict[Node, None] = {}
    inbox: Outcome = NOTHING_YET
    shielded: Resumable | None = None
    interrupted: bool = False
    ended: Outcome | None = None
    row: Row = field(default_factory=Row)

    def close(self) -> bool:
        """Close the workflow, and return whether it has ended."""
        ended = True
        for generator in (self.generator, *reversed(self.outer)):
            ended = close_workflow(generator, self.work.name) and ended
        return ended

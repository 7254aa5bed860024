"""The parts of a computation: its promises as nodes, its running generators as coroutines, and what it asks for.

These are plain data for the interpreter in `replay`. A node is one durable promise as one execution knows it; a
coroutine is one generator that waits on at most one node at a time. Actions are what the interpreter wants done and
cannot do itself, because doing it needs a store or user code.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from resonate.context import Context
from resonate.encoders import Encoder
from resonate.options import Options
from resonate.retry_policies import Exponential, Never, RetryPolicy
from resonate_store.records import BRANCH, ORIGIN, PARENT, PREFIX, SCOPE, TARGET, TIMER, Promise, SettledState, Value
from resonate_store.requests import PromiseCreate, PromiseRecord, PromiseSettle

FUNC = "resonate:func"
"""Tag that names the function of a call, so that replay can tell whether it is still the same command."""
LINK = "resonate:link"
"""Tag of the record that stands at `{parent}.{n}` for a promise with an id of its own; it names that id."""

_GENERATOR = 0x20
_DEFAULT_RETRY: RetryPolicy = Exponential()
_NO_RETRY: RetryPolicy = Never()


def is_generator_function(func: Callable[..., Any]) -> bool:
    """Whether calling `func` makes a generator, that is, whether it is a workflow."""
    return bool(func.__code__.co_flags & _GENERATOR)


class Lineage(NamedTuple):
    """Where an execution stands: what its children's promises inherit from it.

    `timeout_at` (milliseconds) caps their deadlines, `tags` are those that every local child carries.
    """

    id: str
    origin: str
    prefix: str
    branch: str
    timeout_at: int
    tags: dict[str, str]

    @classmethod
    def of(cls, id: str, origin: str, prefix: str, branch: str, timeout_at: int) -> Lineage:
        tags = {
            SCOPE: "local",
            PARENT: id,
            ORIGIN: origin,
            BRANCH: branch,
            PREFIX: prefix,
        }
        return cls(id, origin, prefix, branch, timeout_at, tags)

    def apart(self, origin: str) -> Lineage:
        """The same place in the call tree, for a promise that is the root of a tree of its own."""
        return self._replace(origin=origin, tags={**self.tags, ORIGIN: origin})


class Node:
    """One durable promise of the computation.

    `external` says that somebody outside settles it: a remote call, a sleep, a bare promise, a retry timer. `link` is
    the node's place in its parent, `{parent}.{n}`, when an overridden id has put the promise elsewhere. `work` is the
    function that settles it here, `then` what else happens once it is settled. `inherited` are the tags of its place.
    `refused` says that the store has turned its outcome down once. `encoder` writes and reads its payloads, `key` is
    its idempotency key; neither is set unless the command says so.
    """

    __slots__ = (
        "annotation",
        "command",
        "durable",
        "encoder",
        "error",
        "external",
        "id",
        "inherited",
        "key",
        "link",
        "refused",
        "settled",
        "then",
        "timeout_at",
        "timer",
        "value",
        "waiters",
        "work",
    )

    def __init__(self, id: str, timeout_at: int, command: str = "") -> None:
        self.id = id
        self.timeout_at = timeout_at
        self.command = command
        self.annotation: Any = Any
        self.encoder: Encoder[Any, str | None] | None = None
        self.key: str | None = None
        self.link: str | None = None
        self.inherited: dict[str, str] = {}
        self.refused = False
        self.durable = True
        self.external = False
        self.timer = False
        self.settled = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.waiters: list[Coroutine] = []
        self.work: Work | None = None
        self.then: Callable[[], None] | None = None


class Work:
    """A function of the user's that is run here, as often as its retry policy says, to settle `node`."""

    __slots__ = (
        "args",
        "attempt",
        "concurrent",
        "context",
        "created",
        "func",
        "kwargs",
        "lineage",
        "name",
        "node",
        "non_retryable",
        "policy",
        "retry_at",
        "started_at",
        "timer_stem",
    )

    def __init__(
        self,
        node: Node,
        func: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: Context,
        lineage: Lineage,
        options: Options,
    ) -> None:
        self.node = node
        self.func = func
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.context = context
        self.lineage = lineage
        self.policy = options.retry_policy or (_NO_RETRY if is_generator_function(func) else _DEFAULT_RETRY)
        self.non_retryable = options.non_retryable_exceptions or ()
        self.timer_stem = node.id
        self.attempt = 1
        self.created = False
        self.concurrent = False
        self.started_at = 0
        self.retry_at = 0

    def pause_after(self, error: BaseException, now: int) -> int | None:
        """Milliseconds until the next attempt, or None when this failure is final (REFERENCE 5.7)."""
        if type(error) in self.non_retryable:
            return None
        pause = self.policy.next(self.attempt)
        if pause is None or now + pause * 1000 > self.node.timeout_at:
            return None
        return max(0, round(pause * 1000))

    def timer_id(self) -> str:
        """The id of the retry timer after this attempt; it lies among the work's siblings, so one preload brings it."""
        return f"{self.timer_stem}~{self.attempt}"


class Coroutine:
    """A generator of the user's in progress. `ended` is its outcome while it still waits for what it started."""

    __slots__ = ("attached", "ended", "generator", "inbox", "work")

    def __init__(self, work: Work, generator: Generator[Any, Any, Any]) -> None:
        self.work = work
        self.generator = generator
        self.attached: list[Node] = []
        self.inbox: tuple[Any, BaseException | None] = (None, None)
        self.ended: tuple[Any, BaseException | None] | None = None


class Create(NamedTuple):
    """Create the node's promise, pending."""

    node: Node
    request: PromiseCreate


class Load(NamedTuple):
    """Read the children of the work's promise: an earlier invocation has begun it."""

    work: Work


class Run(NamedTuple):
    """Call the user's function; on the pool if it is concurrent."""

    work: Work


class Keep(NamedTuple):
    """Store the outcome of the node: in one write for a finished step, else by settling its pending promise."""

    node: Node
    request: PromiseRecord | PromiseSettle


Action = Create | Load | Run | Keep


class Finished(NamedTuple):
    """The outcome of the root."""

    state: SettledState
    value: Value


class Blocked(NamedTuple):
    """What an execution with nothing left to do here waits for.

    `ids` are promises that others settle. `until` (milliseconds) is the end of a wait that is too short to suspend for,
    if there is one; `timers` are the promises that fall due at it.
    """

    ids: tuple[str, ...]
    until: int | None = None
    timers: tuple[str, ...] = ()


def described(promise: Promise) -> str:
    """What the command that made this promise was, in the words of `Command.describe`."""
    tags = promise.tags
    name = tags.get(FUNC, "")
    if LINK in tags:
        return f"{name} with the id {tags[LINK]}"
    if tags.get(TIMER) == "true":
        return "a sleep"
    if TARGET in tags:
        return f"rpc {name}"
    return f"run {name}" if tags.get(SCOPE) == "local" else "a promise"

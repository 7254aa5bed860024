"""Commands that wait for several promises: `all`, `all_settled`, `any`, `race`, and `wait` with a time limit.

Each is a composite command. It begins the commands among its members, and then waits for all of them at once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar, cast

from msgspec import Struct

from resonate.errors.mistakes import ArgumentTypeError, ArgumentValueError
from resonate.workflow.commands import (
    LFC,
    LFI,
    RFC,
    RFI,
    BeginSleep,
    Cancel,
    Command,
    Composite,
    Promise,
    PromiseCommand,
    Sleep,
)
from resonate.workflow.messages import BeginReceive, ReceiveCommand

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

GatherKind = Literal["all", "all_settled", "any", "race"]


class Settled(Struct, Generic[T], frozen=True):
    """Outcome of one promise, from `ctx.all_settled`.

    Attributes:
        value: the value of a resolved promise, else None.
        error: the error of a rejected promise, else None.
    """

    value: T | None = None
    error: BaseException | None = None

    @property
    def ok(self) -> bool:
        """Whether the promise was resolved."""
        return self.error is None

    def get(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


class Winner(Struct, Generic[T], frozen=True):
    """Promise that settled first, from `ctx.race`.

    Attributes:
        name: its name; its index if the promises have no names.
        value: its value.
    """

    name: str | int
    value: T


class Gather(Command[Any]):
    """Wait for promises that are begun. An error takes the place of a promise that could not be created."""

    __slots__ = ("how", "members", "names")
    kind = "all"
    special = True

    def __init__(self, how: GatherKind, members: list[Promise[Any] | Exception], names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.how: GatherKind = how
        self.members = members
        self.names = names


class Several(Composite[T_co]):
    """Wait for several promises.

    Args:
        how: what decides the wait.
        members: the promises, and the commands that are begun first, in their order.
        names: their names, if they have any.
        cancel_losers: whether what is not settled then is cancelled.
    """

    __slots__ = ("cancel_losers", "how", "members", "names")
    kind = "all"

    def __init__(
        self,
        how: GatherKind,
        members: list[Command[Any] | Promise[Any]],
        names: tuple[str, ...],
        *,
        cancel_losers: bool,
    ) -> None:
        super().__init__()
        self.how: GatherKind = how
        self.members = members
        self.names = names
        self.cancel_losers = cancel_losers

    def describe(self) -> str:
        return f"ctx.{self.how}"

    def steps(self) -> Generator[Any, Any, T_co]:
        promises: list[Promise[Any] | Exception] = []
        for member in self.members:
            try:
                promises.append((yield member) if isinstance(member, Command) else member)
            except Exception as refused:
                promises.append(refused)
        try:
            result = yield Gather(self.how, promises, self.names)
        except Exception:
            yield from self._cancel(promises)
            raise
        yield from self._cancel(promises)
        return result

    def _cancel(self, promises: list[Promise[Any] | Exception]) -> Generator[Any, Any, None]:
        """Cancel what has not settled. A receive has no use after this wait, so it is always cancelled."""
        for member, promise in zip(self.members, promises, strict=True):
            if isinstance(promise, Promise) and (self.cancel_losers or isinstance(member, BeginReceive)):
                yield Cancel(promise)


class TimedWait(Composite[T_co]):
    """Wait for a promise at most `seconds`, and leave it alone after that."""

    __slots__ = ("promise", "seconds")
    kind = "race"

    def __init__(self, promise: Promise[T_co], seconds: float) -> None:
        super().__init__()
        self.promise = promise
        self.seconds = seconds

    def steps(self) -> Generator[Any, Any, T_co]:
        timer: Promise[None] = yield BeginSleep(self.seconds)
        try:
            winner: Winner[Any] = yield Gather("race", [self.promise, timer])
        except Exception:
            yield Cancel(timer)
            raise
        if winner.name == 1:
            raise TimeoutError(f"promise {self.promise.id} has not settled within {self.seconds:g} s")
        yield Cancel(timer)
        return winner.value


def several(
    kind: GatherKind, positional: tuple[Any, ...], named: Mapping[str, Any], *, cancel_losers: bool
) -> Several[Any]:
    """Return the command that waits for these members.

    Args:
        kind: what decides the wait.
        positional: the members, or one iterable of them.
        named: the members by name, instead.
        cancel_losers: whether what is not settled then is cancelled.

    Raises:
        TypeError: a member is neither a command nor a promise, or members are given in both ways.
        ValueError: `any` and `race` get no member.
    """
    if len(positional) == 1 and not isinstance(positional[0], (Command, Promise)):
        if not isinstance(positional[0], Iterable):
            raise _no_member(kind, positional[0])
        positional = tuple(cast("Iterable[Any]", positional[0]))
    if positional and named:
        raise ArgumentTypeError(f"ctx.{kind} takes its promises by position or by name, and not both: name all of them")
    members = [_begun(kind, member) for member in (*positional, *named.values())]
    if not members and kind in ("any", "race"):
        raise ArgumentValueError(f"ctx.{kind} needs at least one promise: without one it would wait forever")
    return Several(kind, members, tuple(named), cancel_losers=cancel_losers)


def _begun(kind: GatherKind, member: Any) -> Command[Any] | Promise[Any]:
    """Return the command that begins this member and does not wait for it, or the promise."""
    match member:
        case LFC():
            return LFI[Any](member.func, member.name, member.args, member.kwargs, member.opts)
        case RFC():
            call = RFI[Any](member.name, member.args, member.kwargs, member.opts)
            call.version, call.attached, call.result_type = member.version, member.attached, member.result_type
            return call
        case Sleep():
            return BeginSleep(member.seconds, member.opts)
        case ReceiveCommand():
            return BeginReceive[Any](member.name, member.timeout_s, member.result_type)
        case Promise() | LFI() | RFI() | PromiseCommand() | BeginSleep():
            return cast("Command[Any] | Promise[Any]", member)
        case _:
            raise _no_member(kind, member)


def _no_member(kind: str, member: object) -> ArgumentTypeError:
    what = f"{member!r:.80}" if isinstance(member, Command) else f"{type(member).__name__}: {member!r:.80}"
    advice = "; run it in a workflow of its own, by ctx.begin_run" if isinstance(member, Composite) else ""
    return ArgumentTypeError(f"ctx.{kind} takes promises and commands such as ctx.run(...), and not {what}{advice}")

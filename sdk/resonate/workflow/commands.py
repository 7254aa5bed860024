"""What a workflow can yield, or await.

A command says what should happen durably; the interpreter makes it so and sends the result back in. Commands are
builders: `.options(...)` changes one in place and returns it. The class names are those of SDK 0.6.7: L or R
for local or remote, F for function, C or I for call (wait for the result) or invoke (get a `Promise` to wait on later).

A generator yields a command; an async function awaits it, whereupon the command yields itself. What the interpreter
sees is the same, so the two spellings mean the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any, ClassVar, Generic, Literal, NoReturn, Self, TypeVar, Unpack

from resonate.errors import ProgramError
from resonate.workflow.options import UNSET, Options, RemoteOptions, RunOptions, by_name

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def _refuse_task(awaited: object) -> None:
    if "asyncio" in sys.modules:  # otherwise there are no tasks
        from resonate.workflow.awaits import refuse_task

        refuse_task(awaited)


CommandKind = Literal["run", "rpc", "promise", "sleep"]
"""What a command does; a record keeps it where its other tags do not show it."""


def sentence(kind: str, name: str, id: str | None = None) -> str:
    """Say for people what a command is.

    Args:
        kind: a `CommandKind`.
        name: the function that it calls, if it calls one.
        id: its overridden id, if it has one.
    """
    words = f"{kind} {name}" if kind in ("run", "rpc") else f"a {kind}"
    return words if id is None else f"{words} with the id {id}"


def misused(thing: object) -> ProgramError:
    """A command or promise is used as if it were its own result."""
    return ProgramError(f"{thing!r:.200} is not its own result: write `yield` (or `await`) in front of it")


def _refuse_operators(kind: Any) -> None:
    """Have operators say what is missing. Type checkers do not see them, so they refuse these uses as well."""

    def refuse(self: object, *_: object) -> NoReturn:
        raise misused(self)

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
        setattr(kind, f"__{name}__", refuse)
        setattr(kind, f"__r{name}__", refuse)
    for name in ("lt", "le", "gt", "ge", "getitem", "neg", "int", "float", "index"):
        setattr(kind, f"__{name}__", refuse)


class Promise(Generic[T_co]):
    """A durable promise of this computation; yield or await it for its value, or for its error to be raised.

    Attributes:
        id: the promise's id, which anybody may settle or look up.
        cid: the id of the computation that it belongs to.
    """

    __slots__ = ("cid", "id")

    def __init__(self, id: str, cid: str) -> None:
        self.id = id
        self.cid = cid

    def __repr__(self) -> str:
        return f"Promise(id={self.id!r}, cid={self.cid!r})"

    def __await__(self) -> Generator[Any, Any, T_co]:
        _refuse_task(self)
        return (yield self)


class Command(Generic[T_co]):
    """Base of everything that creates a promise; `T_co` is what yielding or awaiting the command gives."""

    __slots__ = ("opts",)
    kind: ClassVar[CommandKind]
    waits = True
    name = ""

    def __init__(self, opts: Options = UNSET) -> None:
        self.opts = opts

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}>"

    def __await__(self) -> Generator[Any, Any, T_co]:
        _refuse_task(self)
        return (yield self)

    def describe(self) -> str:
        """Say for people what this command is."""
        return sentence(self.kind, self.name)


class LocalCall(Command[T_co]):
    """Run a function here."""

    __slots__ = ("args", "func", "kwargs", "name")
    kind = "run"

    def __init__(
        self,
        func: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        opts: Options = UNSET,
    ) -> None:
        self.opts = opts
        self.func = func
        self.name = name
        self.args = args
        self.kwargs = kwargs

    @by_name(lambda command: command.describe(), RunOptions)
    def options(self, **options: Unpack[RunOptions]) -> Self:
        """Set options of this call.

        `timeout` is in seconds, or a `timedelta`. When it has passed, the workflow continues with a
        `ResonateTimedoutError`: an async function is cancelled, and a function in a thread is left behind.
        """
        self.opts = self.opts.merge(**options)
        return self


class LFC(LocalCall[T_co]):
    """Run a function here and wait for its result."""

    __slots__ = ()


class LFI(LocalCall[Promise[T]]):
    """Start a function here and get a promise of its result."""

    __slots__ = ()
    waits = False


class External(Command[T_co]):
    """A command whose promise others settle.

    All of these take the options of a call, as programs may give them: where no function is called, target
    and version have no effect.
    """

    __slots__ = ()

    @by_name(lambda command: command.describe(), RemoteOptions)
    def options(self, **options: Unpack[RemoteOptions]) -> Self:
        """Set options; a timeout that is a number is in seconds, `target` is a worker group or an address."""
        self.opts = self._those_that_count(self.opts.merge(**options))
        return self

    def _those_that_count(self, opts: Options) -> Options:
        return opts


class RemoteCall(External[T_co]):
    """Have a function run by whoever serves its target."""

    __slots__ = ("args", "attached", "kwargs", "name", "result_type", "version")
    kind = "rpc"

    def __init__(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        opts: Options = UNSET,
        *,
        version: int = 1,
        attached: bool = True,
        result_type: Any = None,
    ) -> None:
        super().__init__(opts)
        self.name = name
        self.args = args
        self.kwargs = kwargs
        self.version = version
        self.attached = attached
        self.result_type = result_type


class RFC(RemoteCall[T_co]):
    """Have a function run by whoever serves its target, and wait for its result."""

    __slots__ = ()


class RFI(RemoteCall[Promise[T]]):
    """Have a function run elsewhere and get a promise of its result."""

    __slots__ = ()
    waits = False


class PromiseCommand(External[Promise[T]]):
    """Create a promise that somebody outside settles, or find the one that has this id."""

    __slots__ = ("data",)
    kind = "promise"
    waits = False

    def __init__(self, data: Any = None, opts: Options = UNSET) -> None:
        super().__init__(opts)
        self.data = data


class Sleep(External[None]):
    """Wait for a duration, durably.

    Its promise is a timer. In a deployment `resonate_infra.effects.timers.Timers.arm` arms it once it is written.
    """

    __slots__ = ("seconds",)
    kind = "sleep"

    def __init__(self, seconds: float, opts: Options = UNSET) -> None:
        super().__init__(opts)
        self.seconds = seconds

    def _those_that_count(self, opts: Options) -> Options:
        return UNSET.merge(id=opts.id)  # it has nothing but its end


_refuse_operators(Promise)
_refuse_operators(Command)

Yieldable = Command[Any] | Promise[Any]
"""Everything that a workflow may yield."""

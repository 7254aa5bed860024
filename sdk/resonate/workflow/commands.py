"""Commands: what a workflow yields or awaits.

A command describes a durable action. The interpreter carries it out and sends its result into the workflow.
`.options(...)` changes a command in place and returns it. The class names are those of SDK 0.6.7. L or R means local or
remote, and F function. C (call) waits for the result. I (invoke) returns a `Promise`, and the workflow waits later.

A generator yields a command. An async function awaits it, and the command then yields itself. So the interpreter sees
the same for both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from operator import attrgetter
from typing import Any, ClassVar, Generic, Literal, NoReturn, Protocol, Self, TypeVar, Unpack

from msgspec import Struct

from resonate.errors import ProgramError
from resonate.workflow.options import UNSET, Options, RemoteOptions, RunOptions, by_name

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def _refuse_task(awaited: object) -> None:
    if "asyncio" in sys.modules:  # otherwise there cannot be asyncio tasks
        from resonate.workflow.awaits import refuse_task

        refuse_task(awaited)


CommandKind = Literal[
    "run",
    "rpc",
    "promise",
    "sleep",
    "receive",
    "send",
    "publish",
    "all",
    "all_settled",
    "any",
    "race",
    "cancel",
    "map",
    "patch",
]
"""Kind of a command. A record stores it if its other tags do not show it."""


def sentence(kind: str, name: str, id: str | None = None) -> str:
    """Return a description of a command, for people.

    Args:
        kind: a `CommandKind`, or "attempt" for the mark of an attempt.
        name: the function that it calls, or the name of a patch.
        id: its overridden id, if it has one.
    """
    if kind in ("run", "rpc", "attempt", "patch", "receive", "send", "publish"):
        words = f"{kind} {name}"
    else:
        words = f"a {kind}" if kind in ("promise", "sleep") else f"ctx.{kind}"
    return words if id is None else f"{words} with the id {id}"


def misused(thing: object) -> ProgramError:
    """Return the error to raise when a workflow uses a command or promise as if it were the result."""
    return ProgramError(f"{thing!r:.200} is not its own result: write `yield` (or `await`) in front of it")


def _refuse_operators(kind: Any) -> None:
    """Make operators raise an error that says what is missing.

    Type checkers do not see these methods, so they report such uses too.
    """

    def refuse(self: object, *_: object) -> NoReturn:
        raise misused(self)

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
        setattr(kind, f"__{name}__", refuse)
        setattr(kind, f"__r{name}__", refuse)
    for name in ("lt", "le", "gt", "ge", "getitem", "neg", "int", "float", "index"):
        setattr(kind, f"__{name}__", refuse)


class Promise(Generic[T_co]):
    """A durable promise of a workflow. Yield or await it to get its value. If it was rejected, its error is raised::

        charge = yield ctx.begin_run(charge_card, order)
        ...
        receipt = yield charge

    Attributes:
        id: the id of the promise. Other programs can read and settle it by this id.
        cid: the id of the execution that it belongs to.
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
    """Base of all commands. `T_co` is the type of the value that a workflow gets when it yields or awaits one."""

    __slots__ = ("opts",)
    kind: ClassVar[CommandKind]
    special: ClassVar[bool] = False
    """Whether it is not the creation of one promise: `engine/issuing.py` asks its class what it is."""
    waits = True
    name = ""

    def __init__(self, opts: Options = UNSET) -> None:
        self.opts = opts

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}>"

    def __format__(self, spec: str) -> str:
        raise misused(self)

    def __await__(self) -> Generator[Any, Any, T_co]:
        _refuse_task(self)
        return (yield self)

    def describe(self) -> str:
        """Return a description of this command, for people."""
        return sentence(self.kind, self.name)


class LocalCall(Command[T_co]):
    """Call of a function in this worker."""

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
        """Set options of this call and return it: `ctx.run(charge, order).options(timeout=30)`.

        The options are explained in `resonate.workflow.options.RunOptions`. When the `timeout` (seconds or a
        `timedelta`) has passed, the workflow continues with a `ResonateTimedoutError`. An async function is then
        cancelled; a function that runs in a thread cannot be stopped, and its outcome is ignored.

        Raises:
            TypeError, ValueError: an option is unknown, or has the wrong type or value.
        """
        self.opts = self.opts.merge(**options)
        return self


class LFC(LocalCall[T_co]):
    """Local call that waits for the result of the function."""

    __slots__ = ()


class LFI(LocalCall[Promise[T_co]]):
    """Local call that returns a promise for the result of the function."""

    __slots__ = ()
    waits = False


class External(Command[T_co]):
    """Command whose promise is not settled by this worker's task.

    These commands accept all options of a remote call, as in SDK 0.6.7. `target` and `version` have no effect if no
    function is called.
    """

    __slots__ = ()

    @by_name(lambda command: command.describe(), RemoteOptions)
    def options(self, **options: Unpack[RemoteOptions]) -> Self:
        """Set options of this command and return it: `ctx.rpc("ship", order).options(target="carrier")`.

        The options are explained in `resonate.workflow.options.RemoteOptions`.

        Raises:
            TypeError, ValueError: an option is unknown, or has the wrong type or value.
        """
        self.opts = self._those_that_count(self.opts.merge(**options))
        return self

    def _those_that_count(self, opts: Options) -> Options:
        return opts


class RemoteCall(External[T_co]):
    """Call of a function by a worker of its target."""

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
    """Remote call that waits for the result of the function."""

    __slots__ = ()


class RFI(RemoteCall[Promise[T_co]]):
    """Remote call that returns a promise for the result of the function."""

    __slots__ = ()
    waits = False


class PromiseCommand(External[Promise[T_co]]):
    """Creation of a promise that another program settles. If a promise with its id exists, that promise is used."""

    __slots__ = ("data",)
    kind = "promise"
    waits = False

    def __init__(self, data: Any = None, opts: Options = UNSET) -> None:
        super().__init__(opts)
        self.data = data


class TimerCommand(External[T_co]):
    """Creation of a timer promise, which resolves after a number of seconds.

    In a deployment `resonate_infra.effects.timers.Timers.arm` arms it once it is written.
    """

    __slots__ = ("seconds",)
    kind = "sleep"

    def __init__(self, seconds: float, opts: Options = UNSET) -> None:
        super().__init__(opts)
        self.seconds = seconds

    def _those_that_count(self, opts: Options) -> Options:
        return UNSET.merge(id=opts.id)  # the other options have no effect on a timer


class Sleep(TimerCommand[None]):
    """Durable wait for a duration."""

    __slots__ = ()


class BeginSleep(TimerCommand[Promise[None]]):
    """Timer that the workflow awaits later."""

    __slots__ = ()
    waits = False


class Cancel(Command[None]):
    """Cancellation of a promise that the workflow does not need any more."""

    __slots__ = ("promise",)
    kind = "cancel"
    special = True

    def __init__(self, promise: Promise[Any]) -> None:
        super().__init__()
        self.promise = promise


class Composite(Command[T_co]):
    """Command that consists of other commands.

    Its `steps` are a generator that yields commands, with the numbers that the workflow's own commands would have. A
    subclass has no state that replay cannot repeat.
    """

    __slots__ = ()
    special = True
    shielded: ClassVar[bool] = False
    """Whether a cancellation of the execution is delivered only after its steps."""

    def steps(self) -> Generator[Any, Any, T_co]:
        """Yield the commands, and return the result."""
        raise NotImplementedError


def _refuse_truth(kind: Any) -> None:
    """Make `if ctx.run(...):` and the like raise an error. A promise may be tested, because a variable can be empty."""

    def refuse(self: object, *_: object, **__: object) -> NoReturn:
        raise misused(self)

    for name in ("bool", "len", "contains", "call"):
        setattr(kind, f"__{name}__", refuse)


class Undoing(Protocol):
    """Protocol of a saga: `owed` are the commands that undo what has begun, in the order of the actions."""

    owed: list[Command[Any]]


class CommandState(Struct, eq=False):
    """What the engine keeps of one context: the commands of its function, and its replay.

    Attributes:
        id: the id of the promise that the function settles.
        stem: the text before the numbers of its commands in their ids.
        count: how many commands the function has issued.
        made: how many commands the methods of the context have returned. If it is more than `count`, some were not
            yielded.
        replaying: whether the function repeats what an earlier invocation has done. Its logger writes nothing
            meanwhile.
        sagas: its sagas, which are compensated if it fails.
        continuing: whether the context has returned a continuation.
    """

    id: str
    stem: str
    count: int = 0
    made: int = 0
    replaying: bool = False
    sagas: tuple[Undoing, ...] = ()
    continuing: bool = False

    def next_id(self) -> str:
        """Return the id of the next command: its number in the order of commands, after the stem."""
        self.count += 1
        return f"{self.stem}{self.count}"


state_of: Callable[[Any], CommandState] = attrgetter("_state")
"""Return what the engine keeps of a context. Users do not see it, because it is private."""

_refuse_operators(Promise)
_refuse_operators(Command)
_refuse_truth(Command)

Yieldable = Command[Any] | Promise[Any]
"""What a workflow may yield."""

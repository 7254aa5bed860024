"""What a workflow or step is given as its first argument: the door to everything durable.

The methods make commands and touch nothing; only yielding or awaiting a command makes it happen. The long names and the
short ones (`run`/`lfc`, `begin_run`/`lfi`, `rpc`/`rfc`, `begin_rpc`/`rfi`) are the same.

Their types tell what a call gives: `ctx.run(f, 1)` of an `f` that returns an `int`, be it a function, a generator or
async, is a `LFC[int]`, and `f` is called with the arguments it takes after its context. There is an overload for each
of the three, because mypy infers nothing from their union.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Generator, Mapping
from datetime import timedelta
from types import FunctionType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from msgspec import Struct

from resonate.validation import YEAR_S, Seconds, warn_of_milliseconds
from resonate.workflow.commands import LFC, LFI, RFC, RFI, Command, Promise, PromiseCommand, Sleep
from resonate.workflow.deterministic import Random, Time
from resonate.workflow.logger import ContextLogger
from resonate.workflow.registry import Registry, plain_function
from resonate.workflow.signatures import check

if TYPE_CHECKING:
    from logging import Logger

P = ParamSpec("P")
T = TypeVar("T")
Y = TypeVar("Y")
S = TypeVar("S")

if TYPE_CHECKING:
    # With `Any` in the place of Y and S, mypy finds overloads ambiguous and infers `Any`.
    GeneratorFunction = Callable[Concatenate["Context", P], Generator[Y, S, T]]
    AsyncFunction = Callable[Concatenate["Context", P], Coroutine[Any, Any, T]]
    PlainFunction = Callable[Concatenate["Context", P], T]

_NOT_GIVEN: Any = object()
_TIME = Time()
_RANDOM = Random()


class Info(Struct):
    """Facts about this execution.

    `attempt` counts from 1, `timeout` is the absolute deadline in seconds since the epoch, `version` the registered
    version of the function.
    """

    attempt: int
    timeout: float
    tags: dict[str, str]
    version: int
    idempotency_key: str | None = None


class Context:
    """The context of one execution of a function.

    Args:
        id: the id of the promise that this execution settles.
        info: facts about it.
        registry: the functions that this process knows.
        dependencies: what `Resonate.set_dependency` was given.
        root: the id of the task's promise that this execution belongs to; its own if not given.

    Attributes:
        count: how many commands it has issued.
        made: how many were made with it; more than issued have been forgotten.
        replaying: whether it repeats what an earlier invocation has done; nothing is logged meanwhile.
    """

    __slots__ = ("_dependencies", "_id", "_info", "_logger", "_registry", "_root", "count", "made", "replaying")

    def __init__(
        self, id: str, info: Info, registry: Registry, dependencies: Mapping[str, Any], root: str | None = None
    ) -> None:
        self._id = id
        self._info = info
        self._registry = registry
        self._dependencies = dependencies
        self._root = root
        self._logger: Logger | None = None
        self.count = 0
        self.made = 0
        self.replaying = False

    @property
    def id(self) -> str:
        """The id of the promise that this execution settles."""
        return self._id

    @property
    def time(self) -> Time:
        """The time of day, as steps."""
        return _TIME

    @property
    def random(self) -> Random:
        """Random numbers, as steps."""
        return _RANDOM

    @property
    def info(self) -> Info:
        """Facts about this execution."""
        return self._info

    @property
    def logger(self) -> Logger:
        """A logger named `resonate:{root id}:{id}` that is silent while this execution is replayed."""
        if self._logger is None:
            self._logger = ContextLogger(self, self._root or self._id)
        return self._logger

    def __repr__(self) -> str:
        return f"Context(id={self._id!r})"

    def next_id(self) -> str:
        """The id of the next command: its number in creation order, below this execution's own id."""
        self.count += 1
        return f"{self._id}.{self.count}"

    def get_dependency(self, key: str, default: Any = _NOT_GIVEN) -> Any:
        """Return what `Resonate.set_dependency(key, ...)` was given in this process, or `default`.

        Without a default it is None, as in SDK 0.6.7, and a warning names the dependencies that there are.
        """
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"key must be `str`, got {type(key).__name__}")
        if default is _NOT_GIVEN and key not in self._dependencies:
            known = ", ".join(sorted(name for name in self._dependencies if not name.startswith("resonate:")))
            text = (
                "no dependency %r is set here, so it is None: there %s; get_dependency(%r, None) asks without warning"
            )
            self.logger.warning(text, key, f"are {known}" if known else "are none", key)
            return None
        return self._dependencies.get(key, default)

    @overload
    def run(self, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs) -> LFC[T]: ...
    @overload
    def run(self, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> LFC[T]: ...
    @overload
    def run(self, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> LFC[T]: ...
    def run(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> LFC[Any]:
        """Run `func(ctx, *args, **kwargs)` here and wait for its result; it is recorded, and never runs again.

        Arguments that do not fit `func` raise a `SignatureError`, which is a `TypeError`, where the command is yielded.
        """
        self.made += 1
        plain = plain_function(func) if type(func) is FunctionType else self._registry.plain(func)
        return LFC(plain, plain.__name__, args, kwargs)

    @overload
    def begin_run(self, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs) -> LFI[T]: ...
    @overload
    def begin_run(self, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> LFI[T]: ...
    @overload
    def begin_run(self, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> LFI[T]: ...
    def begin_run(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> LFI[Any]:
        """Start `func(ctx, *args, **kwargs)` here; yields a `Promise` to wait on later."""
        self.made += 1
        plain = plain_function(func) if type(func) is FunctionType else self._registry.plain(func)
        return LFI(plain, plain.__name__, args, kwargs)

    @overload
    def rpc(self, func: str, *args: Any, result_type: type[T], **kwargs: Any) -> RFC[T]: ...
    @overload
    def rpc(self, func: str, *args: Any, **kwargs: Any) -> RFC[Any]: ...
    @overload
    def rpc(self, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs) -> RFC[T]: ...
    @overload
    def rpc(self, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> RFC[T]: ...
    @overload
    def rpc(self, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> RFC[T]: ...
    def rpc(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> RFC[Any]:
        """Have `func` run by a worker of its target and wait for its result.

        Without a target the call goes to this worker's group if `func` is registered here, else to the group `default`;
        within Lambda it goes to the Lambda function that makes it.

        Args:
            func: a registered function, or the name of one that need not be registered here.
            args, kwargs: its arguments.
            result_type: for a name, the type that the result is restored to. If the result does not fit it, the task
                is halted. A function's result is restored to its annotation, or left as it is.

        Raises:
            ValueError: `func` is a function that is not registered here; a name need not be.
            SignatureError: `func` is a function that the call does not fit; of a name, the worker finds out.
        """
        self.made += 1
        name, version, asked = self._remote(func, args, kwargs)
        return RFC(name, args, kwargs, version=version, result_type=asked)

    @overload
    def begin_rpc(self, func: str, *args: Any, result_type: type[T], **kwargs: Any) -> RFI[T]: ...
    @overload
    def begin_rpc(self, func: str, *args: Any, **kwargs: Any) -> RFI[Any]: ...
    @overload
    def begin_rpc(self, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs) -> RFI[T]: ...
    @overload
    def begin_rpc(self, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> RFI[T]: ...
    @overload
    def begin_rpc(self, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> RFI[T]: ...
    def begin_rpc(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> RFI[Any]:
        """Have `func` run by a worker of its target; yields a `Promise` to wait on later."""
        self.made += 1
        name, version, asked = self._remote(func, args, kwargs)
        return RFI(name, args, kwargs, version=version, result_type=asked)

    @overload
    def detached(self, func: str, *args: Any, result_type: type[T], **kwargs: Any) -> RFI[T]: ...
    @overload
    def detached(self, func: str, *args: Any, **kwargs: Any) -> RFI[Any]: ...
    @overload
    def detached(self, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs) -> RFI[T]: ...
    @overload
    def detached(self, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> RFI[T]: ...
    @overload
    def detached(self, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> RFI[T]: ...
    def detached(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> RFI[Any]:
        """Have `func` run by a worker of its target and do not wait for it, not even on return."""
        self.made += 1
        name, version, asked = self._remote(func, args, kwargs)
        return RFI(name, args, kwargs, version=version, attached=False, result_type=asked)

    def promise(
        self,
        *,
        id: str | None = None,
        timeout: Seconds | None = None,
        idempotency_key: str | None = None,
        data: Any = None,
        tags: dict[str, str] | None = None,
    ) -> PromiseCommand[Any]:
        """Create a promise that somebody outside settles, or find the one with this id; yields a `Promise`.

        Args:
            id: its id; made from this execution's id if not given.
            timeout: after how long it is rejected, a number of seconds or a `timedelta`; a year if not given.
            idempotency_key: kept with the promise.
            data: anything that can travel, for whoever settles it.
            tags: kept with the promise.
        """
        self.made += 1
        command: PromiseCommand[Any] = PromiseCommand(data)
        if id is timeout is idempotency_key is tags is None:
            return command
        return command.options(id=id, timeout=timeout, idempotency_key=idempotency_key, tags=tags)

    def sleep(self, secs: Seconds) -> Sleep:
        """Wait for a number of seconds, or a `timedelta`, durably: no process is kept alive, and there is no limit.

        Raises:
            TypeError: `secs` is neither.
            ValueError: it is negative or not finite.
        """
        unit = isinstance(secs, timedelta)
        if isinstance(secs, timedelta):
            secs = secs.total_seconds()
        if not isinstance(secs, (int, float)) or isinstance(secs, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"secs must be `float`, got {type(secs).__name__}")
        if not math.isfinite(secs) or secs < 0:
            raise ValueError(f"secs must be a finite number of seconds, zero or more, got {secs}")
        if secs > YEAR_S and not unit:
            warn_of_milliseconds("secs", secs)
        self.made += 1
        return Sleep(secs)

    def typesafe(self, cmd: Command[T] | Promise[T]) -> Generator[Any, Any, T]:
        """Yield a command so that type checkers know the result: `value = yield from ctx.typesafe(ctx.run(...))`.

        An async function needs none of it: what it awaits has its type.
        """
        return (yield cmd)

    lfc = run
    lfi = begin_run
    rfc = rpc
    rfi = begin_rpc

    def _remote(
        self, func: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[str, int, Any]:
        """Return the name and version to call, and the type that is asked for."""
        if isinstance(func, str):
            return func, self._registry.latest(func), kwargs.pop("result_type", None)
        registered = self._registry.get(func)
        check(registered.func, registered.name, args, kwargs)
        return registered.name, registered.version, None

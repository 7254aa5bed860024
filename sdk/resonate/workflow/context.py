"""Context of a workflow or step: the first argument of each user's function.

Its methods return commands and have no effect of their own. A command is carried out when the workflow yields or awaits
it. The long names and the short ones (`run`/`lfc`, `begin_run`/`lfi`, `rpc`/`rfc`, `begin_rpc`/`rfi`) are the same.

Type checkers know the result of a call: if `f` returns an `int`, `ctx.run(f, 1)` is an `LFC[int]`. `f` may be a
function, a generator function or async. Each of the three has its own overload, because mypy infers nothing from their
union.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, Concatenate, Never, ParamSpec, TypeVar, overload

from msgspec import Struct
from msgspec.structs import replace

from resonate.errors import ProgramError
from resonate.errors.mistakes import ArgumentTypeError
from resonate.interceptors import NO_HEADERS
from resonate.validation import Seconds, duration_s, similar, users_line
from resonate.workflow.combining import Combining
from resonate.workflow.commands import LFC, LFI, RFC, RFI, Command, CommandState, Promise, PromiseCommand, Sleep
from resonate.workflow.deterministic import Random, Time
from resonate.workflow.logger import ContextLogger
from resonate.workflow.messages import Messaging
from resonate.workflow.patches import Patching
from resonate.workflow.registry import Registry, plain_function
from resonate.workflow.signatures import check

if TYPE_CHECKING:
    from logging import Logger


P = ParamSpec("P")
T = TypeVar("T")
Y = TypeVar("Y")
S = TypeVar("S")

if TYPE_CHECKING:
    # With `Any` instead of Y and S, the overloads would be ambiguous for mypy, and it would infer `Any`.
    GeneratorFunction = Callable[Concatenate["Context", P], Generator[Y, S, T]]
    AsyncFunction = Callable[Concatenate["Context", P], Coroutine[Any, Any, T]]
    PlainFunction = Callable[Concatenate["Context", P], T]

_NOT_GIVEN: Any = object()
_TIME = Time()
_RANDOM = Random()


class Info(Struct):
    """Facts about an execution.

    Attributes:
        attempt: the number of the attempt, from 1.
        timeout: the deadline, in seconds since the epoch.
        tags: the tags of its promise.
        version: the registered version of the function.
        idempotency_key: the idempotency key of its promise.
        generation: the number of this history, from 1; see `Context.continue_as`.
        headers: the headers of the execution, read only; see `resonate.interceptors`.
    """

    attempt: int
    timeout: float
    tags: dict[str, str]
    version: int
    idempotency_key: str | None = None
    generation: int = 1
    headers: Mapping[str, str] = NO_HEADERS


class Context(Combining, Patching, Messaging):
    """The context of one execution of a function::

        def order(ctx: Context, item: str) -> Generator[Yieldable, Any, str]:
            receipt = yield ctx.run(charge, item)
            yield ctx.sleep(24 * 3600)
            return receipt

    Args:
        id: the id of the promise that this execution settles.
        info: facts about it.
        registry: the functions that this process knows.
        dependencies: the objects that `get_dependency` returns, by name.
        root: the id of the execution's root; `id` by default.
        stem: the text before the numbers of its commands in their ids; `{id}.` by default.
    """

    __slots__ = ("_dependencies", "_id", "_info", "_logger", "_root")

    def __init__(
        self,
        id: str,
        info: Info,
        registry: Registry,
        dependencies: Mapping[str, Any],
        root: str | None = None,
        stem: str | None = None,
    ) -> None:
        self._id = id
        self._info = info
        self._registry = registry
        self._dependencies = dependencies
        self._root = root
        self._logger: Logger | None = None
        self._state = CommandState(id, f"{id}." if stem is None else stem)

    @property
    def id(self) -> str:
        """The id of the promise that this execution settles."""
        return self._id

    @property
    def time(self) -> Time:
        """Commands that give the time: `now = yield ctx.time.time()`. The outcome is recorded, so replay repeats it."""
        return _TIME

    @property
    def random(self) -> Random:
        """Commands that give random numbers: `n = yield ctx.random.randint(1, 6)`. The outcome is recorded."""
        return _RANDOM

    @property
    def info(self) -> Info:
        """Attempt, deadline, tags and version of this execution."""
        return self._info

    @property
    def logger(self) -> Logger:
        """A logger named `resonate:{root id}:{id}` that writes nothing while this execution is replayed."""
        if self._logger is None:
            self._logger = ContextLogger(self._state, self._root or self._id)
        return self._logger

    def __repr__(self) -> str:
        return f"Context(id={self._id!r})"

    def __copy__(self) -> Context:
        """Return a context of its own for another attempt of the same step."""
        return Context(self._id, replace(self._info), self._registry, self._dependencies, self._root)

    def get_dependency(self, key: str, default: Any = _NOT_GIVEN) -> Any:
        """Return the object that `Resonate.set_dependency(key, ...)` has set in this process.

        Args:
            key: the name of the dependency.
            default: returned if it is not set. Without a default it is None, as in SDK 0.6.7, and a warning lists the
                known dependencies.

        Raises:
            TypeError: `key` is not a `str`.
        """
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"key must be `str`, got {type(key).__name__}")
        if default is _NOT_GIVEN and key not in self._dependencies:
            known = ", ".join(sorted(name for name in self._dependencies if not name.startswith("resonate:")))
            self.logger.warning(
                "no dependency %r is set here, so it is None (%s): there %s%s; get_dependency(%r, None) asks without"
                " warning",
                key,
                users_line(),
                f"are {known}" if known else "are none",
                similar(key, self._dependencies),
                key,
            )
            return None
        return self._dependencies.get(key, default)

    @overload
    def run(self, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs) -> LFC[T]: ...
    @overload
    def run(self, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> LFC[T]: ...
    @overload
    def run(self, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> LFC[T]: ...
    def run(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> LFC[Any]:
        """Run `func(ctx, *args, **kwargs)` in this worker, and wait for its result.

            receipt = yield ctx.run(charge, order).options(timeout=30)

        The outcome is recorded, and replay does not call `func` again. Errors are retried as its retry policy says; the
        last one is raised in the workflow.

        Args:
            func: a function, generator function or async function whose first parameter is a context.
            args, kwargs: its other arguments.

        Returns:
            A command. Yield or await it for the result. If the arguments do not fit `func`, that raises a
            `SignatureError`, which is a `TypeError`.

        Raises:
            ValueError: `func` is not a Python function; the message says what to write instead.
            TypeError: `func` has no parameter for the context.
        """
        self._state.made += 1
        plain = plain_function(func) if type(func) is FunctionType else self._registry.plain(func)
        return LFC(plain, plain.__name__, args, kwargs)

    @overload
    def begin_run(self, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs) -> LFI[T]: ...
    @overload
    def begin_run(self, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> LFI[T]: ...
    @overload
    def begin_run(self, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> LFI[T]: ...
    def begin_run(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> LFI[Any]:
        """Start `func(ctx, *args, **kwargs)` in this worker, without waiting for its result.

        The arguments are those of `run`.

        Returns:
            A command. Yield or await it for a `Promise`, and yield or await that for the result.
        """
        self._state.made += 1
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
        """Call `func` on a worker of its target, and wait for its result.

            tracking = yield ctx.rpc("ship", order).options(target="carrier")

        The target is a worker group or an address. Without one the call goes to the group of this worker if `func` is
        registered here, else to the group `default`. In Lambda it goes to the Lambda function that makes the call.

        Args:
            func: a registered function, or a name. A name need not be registered in this process.
            args, kwargs: its arguments, which must have a JSON form.
            result_type: only with a name: the type that the result is restored to. If the result does not fit, the task
                is halted with a `ResultTypeError`. Without it, the result is restored to the annotation of the
                function, also for a name that is registered in this process. A result that does not fit its annotation,
                or has none, stays plain JSON data.

        Returns:
            A command. Yield or await it for the result.

        Raises:
            ValueError: `func` is a function that is not registered here.
            SignatureError: the arguments do not fit the function. For a name, the worker that runs it checks them.
        """
        self._state.made += 1
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
        """Start a call of `func` on a worker of its target, without waiting for its result.

        The arguments are those of `rpc`.

        Returns:
            A command. Yield or await it for a `Promise`, and yield or await that for the result.
        """
        self._state.made += 1
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
        """Start an independent execution of `func` on a worker of its target.

        Unlike with `begin_rpc`, the workflow can end before this execution has ended. The arguments and the returned
        command are those of `begin_rpc`.
        """
        self._state.made += 1
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
        """Create a promise that another program settles. If a promise with this id exists, that promise is used.

            approval = yield ctx.promise(data={"amount": 500}, timeout=7 * 24 * 3600)
            answer = yield approval  # settled by resonate.promises.resolve(approval.id, value=...)

        Args:
            id: its id; derived from this execution's id by default.
            timeout: the time until it times out, in seconds or as a `timedelta`; a year by default.
            idempotency_key: stored with the promise.
            data: a value with a JSON form, for the program that settles the promise.
            tags: stored with the promise.

        Returns:
            A command. Yield or await it for a `Promise`.
        """
        self._state.made += 1
        command: PromiseCommand[Any] = PromiseCommand(data)
        if id is timeout is idempotency_key is tags is None:
            return command
        return command.options(id=id, timeout=timeout, idempotency_key=idempotency_key, tags=tags)

    def sleep(self, secs: Seconds) -> Sleep:
        """Wait durably: the worker is released meanwhile, so the time is not limited.

            yield ctx.sleep(7 * 24 * 3600)

        Args:
            secs: the duration in seconds, or a `timedelta`.

        Raises:
            TypeError: `secs` is neither.
            ValueError: it is negative or not finite.
        """
        seconds = duration_s("secs", secs)
        self._state.made += 1
        return Sleep(seconds)

    def continue_as(self, *args: Any, **kwargs: Any) -> Never:
        """Return what ends this history and begins the next one, with other arguments::

            def monitor(ctx: Context, seen: int) -> Generator[Yieldable, Any, None]:
                seen += yield ctx.run(look)
                yield ctx.sleep(60)
                return ctx.continue_as(seen)

        The workflow returns it at once. The execution then continues under the same promise, so its handles still wait
        for the result. Its function is called again, with these arguments. Replay reads the present history only, and
        earlier ones are deleted. Attached calls end first, as at any return. The deadline stays that of the start.

        Args:
            args, kwargs: the arguments of the next history. They must fit the function, and have a JSON form.

        Returns:
            A value for `return`. Type checkers accept it as any result.

        Raises:
            SignatureError: the arguments do not fit the function.
            PayloadError: an argument has no JSON form.
            ProgramError: this is not the function of an execution, but one that it runs by `ctx.run`. Or the server, or
                the store, has no generations. The text says which.
        """
        return self._continuation(args, kwargs)  # pyright: ignore[reportGeneralTypeIssues]

    def _continuation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG002
        raise ProgramError(
            f"{self._id} runs inside of the execution {self._root or self._id}, and only the function of an execution"
            " continues as a new history: return to it, or call this function by ctx.rpc"
        )

    def typesafe(self, cmd: Command[T] | Promise[T]) -> Generator[Any, Any, T]:
        """Yield a command so that type checkers know the result: `value = yield from ctx.typesafe(ctx.run(...))`.

        Async functions do not need it, because an awaited command has the type of its result.

        Args:
            cmd: a command or promise.
        """
        return (yield cmd)

    lfc = run
    lfi = begin_run
    rfc = rpc
    rfi = begin_rpc

    def _remote(
        self, func: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[str, int, Any]:
        """Return the name and version to call, and the `result_type`."""
        if isinstance(func, str):
            return func, self._registry.latest(func), kwargs.pop("result_type", None)
        registered = self._registry.get(func)
        check(registered.func, registered.name, args, kwargs)
        return registered.name, registered.version, None

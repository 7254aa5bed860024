"""Calls of registered functions: start an execution by its id, or attach to one that exists.

`Caller` is the part of `Resonate` that registered functions need: a `Function` starts its executions through it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, overload

from resonate.client.handle import Handle
from resonate.errors import ResonateStoreError, refusal
from resonate.idempotency import already_exists, created_alike
from resonate.payloads import codec
from resonate.payloads.restore import Asked
from resonate.process.runtime import Runtime
from resonate.validation import require, within_time
from resonate.worker.worker import Call, Worker
from resonate.workflow.callables import instead
from resonate.workflow.options import DEFAULT_TARGET, DEFAULT_TIMEOUT, Options, ScheduleOptions, by_name
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import UNKNOWN, Signature, check, signature_of
from resonate_store.interface import Store
from resonate_store.model.addresses import expand
from resonate_store.model.clock import Clock
from resonate_store.model.ids import problem_with
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import PromiseCreate, PromiseGet, Response, TaskCreate, TaskRelease
from resonate_store.model.tags import BRANCH, FUNC, IDEMPOTENCY_KEY, ORIGIN, PARENT, PREFIX, SCOPE, TARGET
from resonate_store.server_clock import deadline_in

if TYPE_CHECKING:
    from resonate.workflow.context import AsyncFunction, GeneratorFunction, PlainFunction

logger = logging.getLogger("resonate.client")

P = ParamSpec("P")
T = TypeVar("T")
Y = TypeVar("Y")
S = TypeVar("S")


class Caller:
    """Starts executions and gives handles on them; see `Resonate`.

    Args:
        store: where promises are; encrypted if the program encrypts.
        registry: the functions known here.
        dependencies: the dependencies of functions, by name.
        clock: the source of time.
        group: the worker group of this process.
        served: the same, or None if this process receives no messages.
        pid: the name of this process.
        ttl_ms: the lease of a task that is started here.
        worker: runs tasks.
        runtime: the threads of this process.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        dependencies: dict[str, Any],
        clock: Clock,
        *,
        group: str,
        served: str | None,
        pid: str,
        ttl_ms: int,
        worker: Worker,
        runtime: Runtime,
    ) -> None:
        self._store = store
        self._registry = registry
        self._dependencies = dependencies
        self._clock = clock
        self._group = group
        self._served = served
        self._pid = pid
        self._ttl_ms = ttl_ms
        self._worker = worker
        self._runtime = runtime
        self._options = Options()

    @property
    def store(self) -> Store:
        """Where promises live; with an encryptor, payloads are encrypted there."""
        return self._store.underlying

    @property
    def registry(self) -> Registry:
        """The functions known here."""
        return self._registry

    @property
    def group(self) -> str:
        """The worker group that this process belongs to."""
        return self._group

    @property
    def dependencies(self) -> Mapping[str, Any]:
        """What `ctx.get_dependency` hands out, by name."""
        return self._dependencies

    @by_name(lambda _: "Resonate.options", ScheduleOptions)
    def options(self, **options: Unpack[ScheduleOptions]) -> Self:
        """Return this connection with options for what it starts, added to those that it has.

        `catch_up`, `overlap` and `timezone` are for `schedule`. A timeout that is a number is in seconds.

        Raises:
            TypeError, ValueError: an option is unknown, or has the wrong type or value.
        """
        copy = object.__new__(type(self))
        vars(copy).update(vars(self))
        copy._options = self._options.merge(**options)
        return copy

    @overload
    def run(self, id: str, func: str, *args: Any, **kwargs: Any) -> Any: ...
    @overload
    def run(self, id: str, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, id: str, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, id: str, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def run(self, id: str, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Any:
        """Run a registered function here, durably, and wait for its result.

        Args:
            id: names the execution; running the same id again returns the result of the first.
            func: the function or its registered name.

        Raises:
            ValueError: the function is not registered here.
            SignatureError: the arguments do not fit it; nothing is created.
            Exception: whatever the function fails with.
        """
        asked_at = self._clock.now()
        response = self._begin(id, func, args, kwargs)
        if response.task is not None and response.task.state == "acquired" and response.promise is not None:
            settled = self._runtime.work(response.task, response.promise, asked_at)
            return self._handle(id, func, settled).result()
        return self._handle(id, func).result()

    @overload
    def begin_run(self, id: str, func: str, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    @overload
    def begin_run(
        self, id: str, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    def begin_run(self, id: str, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    def begin_run(self, id: str, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def begin_run(self, id: str, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Like `run`, but does not wait."""
        asked_at = self._clock.now()
        response = self._begin(id, func, args, kwargs)
        if response.task is not None and response.task.state == "acquired" and response.promise is not None:
            self._runtime.submit(response.task, response.promise, asked_at)
        return self._handle(id, func)

    @overload
    def rpc(self, id: str, func: str, *args: Any, result_type: type[T], **kwargs: Any) -> T: ...
    @overload
    def rpc(self, id: str, func: str, *args: Any, **kwargs: Any) -> Any: ...
    @overload
    def rpc(self, id: str, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def rpc(self, id: str, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def rpc(self, id: str, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def rpc(self, id: str, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Any:
        """Have a function run by a worker of the target group, durably, and wait for its result.

        See `begin_rpc` for the arguments.

        Raises:
            ResultTypeError: the result does not fit `result_type`.
            Exception: whatever the function fails with.
        """
        return self.begin_rpc(id, func, *args, **kwargs).result()

    @overload
    def begin_rpc(self, id: str, func: str, *args: Any, result_type: type[T], **kwargs: Any) -> Handle[T]: ...
    @overload
    def begin_rpc(self, id: str, func: str, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    @overload
    def begin_rpc(
        self, id: str, func: GeneratorFunction[P, Y, S, T], *args: P.args, **kwargs: P.kwargs
    ) -> Handle[T]: ...
    @overload
    def begin_rpc(self, id: str, func: AsyncFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    @overload
    def begin_rpc(self, id: str, func: PlainFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...
    def begin_rpc(self, id: str, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Like `rpc`, but does not wait. A name need not be registered here; a function must be.

        Arguments that do not fit a function are refused here with a `SignatureError`; those for a name, by the worker.

        Args:
            id: names the execution.
            func: the function or its registered name.
            args, kwargs: its arguments.
            result_type: for a name, the type that the result is restored to; one that does not fit it is a
                `ResultTypeError`. A function's result is restored to its annotation, or left as it is.
        """
        check_call(id, func)
        asked = kwargs.pop("result_type", None) if isinstance(func, str) else None
        name, version = self._named(func, args, kwargs)
        self._runtime.start()
        creation = self._creation(id, name, version, args, kwargs, self._target_of(name, version))
        self._attach(id, name, _accepted(self._store.apply(creation)))
        return self._handle(id, func, asked=asked)

    @overload
    def get(self, id: str, *, result_type: type[T]) -> Handle[T]: ...
    @overload
    def get(self, id: str, *, result_type: Any = None) -> Handle[Any]: ...
    def get(self, id: str, *, result_type: Any = None) -> Handle[Any]:
        """A handle on an execution that exists.

        Args:
            id: its id.
            result_type: the type that its result is restored to; a result that does not fit is a `ResultTypeError`.

        Raises:
            ResonateStoreError: there is no promise with this id (code 100.404), or it may not be read (100.403).
        """
        require("id", id, str)
        response = self._store.apply(PromiseGet(id))
        if response.promise is None:
            reason = "The specified promise was not found" if response.status == 404 else response.error
            raise refusal(response.status, reason, {"id": id})
        settled = None if response.promise.pending else response.promise
        annotation = Any if result_type is None else Asked(result_type)
        return Handle(id, self._runtime, annotation, self._options.encoder, settled)

    def _begin(
        self, id: str, func: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Response:
        check_call(id, func)
        registered = self._registry.get(func, self._options.version or 0)
        check(registered.func, registered.name, args, kwargs)
        # A policy that cannot be had is refused before anything is created.
        options = self._options.merge(retry_policy=self._options.policy_for(registered.func))
        creation = self._creation(id, registered.name, registered.version, args, kwargs, self._group)
        response = self._store.apply(TaskCreate(self._pid, self._ttl_ms, creation))
        if response.status in (409, 422):  # it exists: attach to it
            found = _accepted(self._store.apply(PromiseGet(id)))
            self._attach(id, registered.name, found)
            self._remember(found, options)
            return response
        try:
            self._attach(id, registered.name, _accepted(response))
        except ResonateStoreError:
            task = response.task
            if task is not None and task.state == "acquired":
                self._store.apply(TaskRelease(task.id, task.version, handover=True))
            raise
        self._remember(_accepted(response), options)
        if options.encoder is not None:
            self._worker.calls[id] = Call(registered.name, list(args), kwargs, registered.version)
        return response

    def _remember(self, promise: PromiseView, options: Options) -> None:
        """Have the options of a call hold for as long as this process works on it."""
        if promise.pending:
            self._worker.remember(promise.id, options)

    def _attach(self, id: str, name: str, promise: PromiseView) -> None:
        """Go on with a promise that may be another call's, and warn if that calls another function than `name`.

        Raises:
            ResonateStoreError: it was created with another idempotency key.
        """
        if not created_alike(promise, self._options.key_for(id)):
            raise already_exists(id)
        existing = promise.tags.get(FUNC, name)
        if existing != name:
            logger.warning("%s exists and calls %s, not %s: its result is that of %s", id, existing, name, existing)

    def _named(self, func: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, int]:
        if isinstance(func, str):
            return func, self._options.version or self._registry.latest(func)
        registered = self._registry.get(func, self._options.version or 0)
        check(registered.func, registered.name, args, kwargs)
        return registered.name, registered.version

    def _target_of(self, name: str, version: int) -> str:
        return self._registry.target_of(name, version, self._served, DEFAULT_TARGET)

    def _creation(
        self, id: str, name: str, version: int, args: tuple[Any, ...], kwargs: dict[str, Any], target: str
    ) -> PromiseCreate:
        self._runtime.refuse_fork()
        options = self._options
        timeout = DEFAULT_TIMEOUT if options.timeout is None else options.timeout
        lineage = dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), id)
        tags = {
            **(options.tags or {}),
            **lineage,
            SCOPE: "global",
            TARGET: expand(options.target or target),
            FUNC: name,
        }
        if key := options.key_for(id):
            tags[IDEMPOTENCY_KEY] = key
        if options.encoder is not None:
            self._worker.encoders[id] = options.encoder
        param = codec.encode_call(name, args, kwargs, version, options.encoder)
        if options.encoder is None:
            self._signature(name, version).check_values(name, args, kwargs)
        timeout_at = within_time(deadline_in(round(timeout * 1000), self._store, self._clock, id))
        return PromiseCreate(id, timeout_at, param, tags)

    def _handle(
        self, id: str, func: Callable[..., Any] | str, settled: PromiseView | None = None, asked: Any = None
    ) -> Handle[Any]:
        if asked is not None:
            return Handle(id, self._runtime, Asked(asked), self._options.encoder, settled)
        annotation = self._signature(func, self._options.version or 0).result
        return Handle(id, self._runtime, annotation, self._options.encoder, settled)

    def _signature(self, func: Callable[..., Any] | str, version: int) -> Signature:
        """Return the signature of a function that may not be known here."""
        try:
            return signature_of(self._registry.get(func, version).func)
        except ValueError:
            return UNKNOWN


def check_call(id: str, func: Any) -> None:
    require("id", id, str)
    if problem := problem_with(id):
        raise ValueError(problem)
    if not callable(func) and not isinstance(func, str):
        raise TypeError(f"func must be a function or its name, {instead(func)}")


def _accepted(response: Response) -> PromiseView:
    if response.promise is None:
        raise refusal(response.status, response.error)
    return response.promise

"""The client: registers functions, starts executions and waits for them.

The same object is a program's whole connection to Resonate in memory, on DynamoDB, and inside a Lambda function, where
`handler()` makes the entry point. It is the ephemeral side of the boundary: what it starts is durable, it is not.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from resonate.client.function import Function
from resonate.client.handle import Handle
from resonate.dependencies import Dependencies
from resonate.encoders import Encoder
from resonate.errors import ResonateStoreError, refusal
from resonate.idempotency import already_exists, created_alike
from resonate.message_sources.in_process import Embedded
from resonate.message_sources.source import Messages
from resonate.payloads import codec
from resonate.payloads.restore import Asked
from resonate.process.runtime import Runtime
from resonate.process.store_choice import check_stores, encrypted, messages_of, store_of_environment
from resonate.promises import Promises
from resonate.retry_policies import RetryPolicy
from resonate.validation import Seconds, require, seconds_of, within_time
from resonate.worker.resources import Resources
from resonate.worker.worker import Call, Worker
from resonate.workflow.callables import instead
from resonate.workflow.context import Context
from resonate.workflow.options import DEFAULT_TARGET, DEFAULT_TIMEOUT, Options, PolicyFor, by_name
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import UNKNOWN, Signature, check, signature_of
from resonate_store.interface import Store, completed
from resonate_store.local.memory import MemoryStore
from resonate_store.model.addresses import expand
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.ids import problem_with, random_id
from resonate_store.model.records import CatchUp, Overlap, PromiseView
from resonate_store.model.requests import PromiseCreate, PromiseGet, Response, ScheduleCreate, TaskCreate, TaskRelease
from resonate_store.model.tags import BRANCH, FUNC, IDEMPOTENCY_KEY, ORIGIN, PARENT, PREFIX, SCOPE, TARGET
from resonate_store.server_clock import deadline_in, time_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from resonate.encryption import Encryptor
    from resonate.message_sources import LocalMessageSource, MessageSource
    from resonate.schedules import DurableSchedule, Schedules
    from resonate.workflow.context import AsyncFunction, GeneratorFunction, PlainFunction

logger = logging.getLogger("resonate.client")

P = ParamSpec("P")
T = TypeVar("T")
Y = TypeVar("Y")
S = TypeVar("S")
R = TypeVar("R")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Registering(Protocol):
    """What `@register(name=..., version=...)` decorates with."""

    def __call__(self, func: Callable[Concatenate[Context, P], R], /) -> Function[P, R]: ...


class Resonate:
    """A connection to Resonate.

    Args:
        dependencies: what `ctx.get_dependency` hands out, by name.
        group: the worker group that this process belongs to. A call that names no target goes there if its function is
            registered here, else to the group `default`.
        log_level: level of the `resonate` loggers, a number or a name.
        message_source: where the messages of `store` arrive; a `resonate.stores.LocalStore` needs one of its own, any
            other brings it along.
        pid: names this process; random if not given.
        registry: the functions known here; a new one if not given.
        retry_policy: for calls that name none. A policy is for steps, and workflows are not retried; a function of the
            called function chooses for both. If not given, steps are retried with `Exponential()`: without end, after
            pauses of 2, 4, 8, 16, 30, 30 ... seconds, until their timeout, which is a year.
        store: where promises live. If not given: the DynamoDB table that `RESONATE_TABLE` names, else the server at
            `RESONATE_URL`, else memory.
        ttl: seconds for which a task stays ours without a heartbeat.
        workers: how many functions run at the same time; the number of processors, at most 32, if not given.
        clock: the source of time, which has to move by itself: threads wait on it. A store in memory brings its own.
        encryptor: hides all payloads from the store, for example `resonate.encryption.AESGCMEncryptor`.

    Raises:
        TypeError, ValueError: an argument has the wrong type or value.
    """

    def __init__(
        self,
        *,
        dependencies: dict[str, Any] | Dependencies | None = None,
        group: str = "default",
        log_level: int | str = logging.NOTSET,
        message_source: Messages | MessageSource | None = None,
        pid: str | None = None,
        registry: Registry | None = None,
        retry_policy: RetryPolicy | PolicyFor | None = None,
        store: Store | None = None,
        ttl: int | timedelta = 10,
        workers: int | None = None,
        clock: Clock | None = None,
        encryptor: Encryptor | None = None,
    ) -> None:
        require("group", group, str)
        lease = seconds_of(ttl)
        for name, number in (("ttl", lease), ("workers", 1 if workers is None else workers)):
            require(name, number, (int, float) if isinstance(ttl, timedelta) else int)
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if pid is not None:
            require("pid", pid, str)
        if registry is not None:
            require("registry", registry, Registry)
        if dependencies is not None:
            require("dependencies", dependencies, dict)
        if isinstance(log_level, str) and log_level not in _LOG_LEVELS:
            raise ValueError(f"log_level must be a number or one of {', '.join(_LOG_LEVELS)}, got {log_level!r}")
        require("log_level", log_level, (int, str))
        logging.getLogger("resonate").setLevel(log_level)
        local_source = check_stores(store, message_source)
        if local_source:
            # Messages are addressed to the source, whatever this process is called otherwise.
            local = cast("LocalMessageSource", message_source)
            group, pid = local.group, pid or local.id
        self._clock = clock or (store.clock if isinstance(store, Embedded) else ambient())
        self._store: Store = completed(store) if store is not None else store_of_environment(self._clock)
        if encryptor is not None:
            self._store = encrypted(self._store, encryptor)
        self._promises = Promises(self._store, checked=True)
        self._group = group
        self._pid = pid or random_id()
        self._ttl = round(lease * 1000)
        self._registry = registry or Registry()
        if retry_policy is not None:
            self._registry.retry_policy = Options().merge(retry_policy=retry_policy).retry_policy
        # Those of a `Dependencies` are shared: what is added to it later is found.
        shared = isinstance(dependencies, Dependencies)
        self._dependencies: dict[str, Any] = dependencies if shared else dict(dependencies or {})
        self._options = Options()
        threads = workers or min(32, os.cpu_count() or 1)
        messages = message_source if isinstance(message_source, Messages) else None
        if messages is None:
            messages = messages_of(self._store.underlying, group, self._pid, self._registry)
        # A process that receives no messages serves no group.
        serves = messages is not None or isinstance(self._store.underlying, Embedded)
        self._served = group if serves else None
        resources = Resources(self._store, self._clock)
        self._worker = Worker(
            resources,
            self._registry,
            self._dependencies,
            self._pid,
            group=self._served,
            private=encryptor is not None,
        )
        self._runtime = Runtime(resources, self._worker, group, self._pid, self._ttl, threads, messages)
        if store is None or local_source:
            self._runtime.serve_every_target()

    @classmethod
    def local(
        cls,
        *,
        dependencies: dict[str, Any] | Dependencies | None = None,
        group: str = "default",
        log_level: int | str = logging.INFO,
        pid: str | None = None,
        registry: Registry | None = None,
        retry_policy: RetryPolicy | PolicyFor | None = None,
        ttl: int | timedelta = 10,
        workers: int | None = None,
        clock: Clock | None = None,
        encryptor: Encryptor | None = None,
    ) -> Resonate:
        """A connection to promises in this process's memory, whatever the environment says."""
        clock = clock or ambient()
        made = cls(
            dependencies=dependencies,
            group=group,
            log_level=log_level,
            pid=pid,
            registry=registry,
            retry_policy=retry_policy,
            store=MemoryStore(clock),
            ttl=ttl,
            workers=workers,
            clock=clock,
            encryptor=encryptor,
        )
        made._runtime.serve_every_target()
        return made

    @classmethod
    def remote(
        cls,
        *,
        auth: tuple[str, str] | None = None,
        dependencies: dict[str, Any] | None = None,
        group: str = "default",
        host: str | None = None,
        log_level: int | str = logging.INFO,
        message_source_port: str | int | None = None,
        pid: str | None = None,
        registry: Registry | None = None,
        retry_policy: RetryPolicy | PolicyFor | None = None,
        store_port: str | int | None = None,
        ttl: int | timedelta = 10,
        workers: int | None = None,
        url: str | None = None,
        token: str | None = None,
        iam: bool | None = None,
        timeout: Seconds | None = None,
        clock: Clock | None = None,
        encryptor: Encryptor | None = None,
    ) -> Resonate:
        """A connection to a Resonate server: `resonate dev`, or a deployed API.

        What is not given is taken from the environment (`RESONATE_URL`, `RESONATE_HOST`, `RESONATE_TOKEN` and more,
        see `resonate_store.remote.settings`); where nothing is said, the server is at http://localhost:8001.

        Args:
            auth: user name and password, for HTTP basic authentication.
            host: scheme and name of the server, such as `http://localhost`.
            message_source_port: where work is polled for, if not at the store's port.
            store_port: where requests go, 8001 if not said.
            url: the server's whole address; instead of `host` and `store_port`.
            token: a JWT.
            iam: whether requests are signed with AWS credentials; by itself for the addresses of API Gateway.
            timeout: seconds that one request may take, all tries together; 30 if not given.

        The other arguments are those of `Resonate`.

        Raises:
            TypeError, ValueError: an argument has the wrong type or value.
        """
        from resonate.stores.remote import RemoteStore
        from resonate_store.remote.settings import server_of
        from resonate_store.remote.store import TIMEOUT_S

        clock = clock or ambient()
        server = server_of(
            os.environ,
            url=url,
            host=host,
            store_port=store_port,
            message_source_port=message_source_port,
            auth=auth,
            token=token,
            iam=iam,
        )
        return cls(
            dependencies=dependencies,
            group=group,
            log_level=log_level,
            pid=pid,
            registry=registry,
            retry_policy=retry_policy,
            store=RemoteStore(
                server=server, timeout=TIMEOUT_S if timeout is None else seconds_of(timeout), clock=clock
            ),
            ttl=ttl,
            workers=workers,
            clock=clock,
            encryptor=encryptor,
        )

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

    @property
    def promises(self) -> Promises:
        """Promises by hand: get, create, resolve, reject, cancel."""
        return self._promises

    @property
    def schedules(self) -> Schedules:
        """Schedules by hand: create, get, delete, pause, resume, trigger."""
        from resonate.schedules import Schedules  # most programs have none, and every cold start would pay for it

        return Schedules(self._store, time_of(self._store, self._clock))

    def start(self) -> None:
        """Begin to accept work; running or waiting for anything does it too.

        Threads do not survive a fork: start after it, in each process that is to work.

        Raises:
            RuntimeError: it was started in the process that this one was forked from.
        """
        self._runtime.start()

    def stop(self) -> None:
        """Stop accepting work: functions that run finish, handles that wait raise `ResonateShutdownError`."""
        self._runtime.stop()

    def set_dependency(self, name: str, obj: Any) -> None:
        """Let functions in this process reach `obj` by `ctx.get_dependency(name)`."""
        require("name", name, str)
        self._dependencies[name] = obj

    @by_name(lambda _: "Resonate.options")
    def options(
        self,
        *,
        catch_up: CatchUp | None = None,
        encoder: Encoder[Any, str | None] | None = None,
        idempotency_key: str | Callable[[str], str] | None = None,
        overlap: Overlap | None = None,
        retry_policy: RetryPolicy | PolicyFor | None = None,
        tags: dict[str, str] | None = None,
        target: str | None = None,
        timeout: Seconds | None = None,
        timezone: str | None = None,
        version: int | None = None,
    ) -> Resonate:
        """This connection with options for what it starts; a timeout that is a number is in seconds, options add up.

        `catch_up`, `overlap` and `timezone` are for `schedule`.
        """
        copy = object.__new__(type(self))
        vars(copy).update(vars(self))
        copy._options = self._options.merge(
            catch_up=catch_up,
            encoder=encoder,
            idempotency_key=idempotency_key,
            overlap=overlap,
            retry_policy=retry_policy,
            tags=tags,
            target=target,
            timeout=timeout,
            timezone=timezone,
            version=version,
        )
        return copy

    @overload
    def register(
        self,
        func: Callable[Concatenate[Context, P], R],
        /,
        *,
        name: str | None = None,
        version: int = 1,
        validate: bool = True,
    ) -> Function[P, R]: ...
    @overload
    def register(self, /, *, name: str | None = None, version: int = 1, validate: bool = True) -> Registering: ...
    def register(
        self,
        func: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        validate: bool = True,
    ) -> Any:
        """Make a function known under a name and version; also `@register` and `@register(name=, version=)`.

        Args:
            func: the function.
            name: its name, if it is not the function's own.
            version: its version, 1 or more.
            validate: whether arguments that do not fit its annotations are refused; otherwise those arrive as plain
                JSON data.

        Raises:
            TypeError, ValueError: the function, name or version cannot be registered.
        """
        if name is not None:
            require("name", name, str)
        require("version", version, int)
        require("validate", validate, bool)
        if func is None:
            return functools.partial(self.register, name=name, version=version, validate=validate)
        registered: Function[..., Any] = Function(self, self._registry.add(func, name, version, validate=validate))
        return registered

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
        _check_call(id, func)
        asked = kwargs.pop("result_type", None) if isinstance(func, str) else None
        name, version = self._named(func, args, kwargs)
        self._runtime.start()
        creation = self._creation(id, name, version, args, kwargs, self._target_of(name, version))
        self._attach(id, name, _accepted(self._store.apply(creation)))
        return self._handle(id, func, asked=asked)

    @overload
    def schedule(self, id: str, func: str, cron: str, *args: Any, **kwargs: Any) -> DurableSchedule: ...
    @overload
    def schedule(
        self, id: str, func: Callable[Concatenate[Context, P], Any], cron: str, *args: P.args, **kwargs: P.kwargs
    ) -> DurableSchedule: ...
    def schedule(
        self, id: str, func: Callable[..., Any] | str, cron: str, *args: Any, **kwargs: Any
    ) -> DurableSchedule:
        """Have a function run by a worker whenever `cron` occurs, with no process of ours running meanwhile.

        Each occurrence is an execution of its own, `{id}.{instant in milliseconds}`. The function, its version and its
        arguments are as for `begin_rpc`; `options` gives target, timeout, tags, `timezone`, `catch_up` and `overlap`.
        Defining the same schedule again, as every start of a worker does, changes nothing.

        Args:
            id: names the schedule.
            func: the function or its registered name.
            cron: five fields in Unix numbering, or `@hourly` and the like; see `resonate_store.model.cron`.

        Raises:
            ResonateStoreError: a schedule with this id is defined otherwise (code 100.40901), or `cron` is wrong.
            SignatureError: `func` is a function that the arguments do not fit.
        """
        _check_call(id, func)
        name, version = self._named(func, args, kwargs)
        self._runtime.start()
        each = self._creation(id, name, version, args, kwargs, self._target_of(name, version))
        options = self._options
        request = ScheduleCreate(
            id,
            cron,
            "{{.id}}.{{.timestamp}}",
            within_time(round((DEFAULT_TIMEOUT if options.timeout is None else options.timeout) * 1000)),
            each.param,
            {name: text for name, text in each.tags.items() if name not in (ORIGIN, BRANCH, PARENT, PREFIX)},
            options.timezone,
            cast("CatchUp", options.catch_up or "all"),
            cast("Overlap", options.overlap or "allow"),
        )
        return self.schedules.define(request)

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

    def handler(self, *, span_processor: SpanProcessor | None = None) -> Callable[[Any, Any], Any]:
        """The Lambda handler that works on the tasks it is sent; see `resonate.aws_lambda.handler`.

        Args:
            span_processor: gets an OpenTelemetry span for every execution and step; see `resonate.tracing`.
        """
        from resonate.aws_lambda.handler import LambdaHandler

        spans = None
        if span_processor is not None:
            from resonate.tracing import Spans

            spans = Spans(span_processor)
        return LambdaHandler(
            self._store,
            self._registry,
            self._dependencies,
            self._clock,
            self._pid,
            spans,
            group=self._group,
            private=self._worker.private,
        )

    def _begin(
        self, id: str, func: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Response:
        _check_call(id, func)
        registered = self._registry.get(func, self._options.version or 0)
        check(registered.func, registered.name, args, kwargs)
        # A policy that cannot be had is refused before anything is created.
        options = self._options.merge(retry_policy=self._options.policy_for(registered.func))
        creation = self._creation(id, registered.name, registered.version, args, kwargs, self._group)
        response = self._store.apply(TaskCreate(self._pid, self._ttl, creation))
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


def _check_call(id: str, func: Any) -> None:
    require("id", id, str)
    if problem := problem_with(id):
        raise ValueError(problem)
    if not callable(func) and not isinstance(func, str):
        raise TypeError(f"func must be a function or its name, {instead(func)}")


def _accepted(response: Response) -> PromiseView:
    if response.promise is None:
        raise refusal(response.status, response.error)
    return response.promise

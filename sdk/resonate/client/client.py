"""Client of Resonate: registers functions, starts executions and waits for their results."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from resonate.client.function import Function
from resonate.client.scheduling import Scheduling
from resonate.dependencies import Dependencies
from resonate.errors.mistakes import ArgumentValueError
from resonate.interceptors import Interceptor, checked
from resonate.message_sources.source import Messages
from resonate.process.runtime import Runtime
from resonate.process.store_choice import check_stores, encrypted, memory_store, messages_of, store_of_environment
from resonate.promises import Promises
from resonate.retry_policies import RetryPolicy
from resonate.validation import Seconds, require, seconds_of
from resonate.worker.resources import Resources
from resonate.worker.worker import Worker
from resonate.workflow.context import Context
from resonate.workflow.options import Options, PolicyFor
from resonate.workflow.registry import Registry
from resonate_store.interface import MinimalStore, completed
from resonate_store.model.clock import Clock, ambient
from resonate_store.model.ids import random_id
from resonate_store.server_clock import time_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

    from resonate.encryption import Encryptor
    from resonate.executions import Executions
    from resonate.message_sources import LocalMessageSource, MessageSource

P = ParamSpec("P")
R = TypeVar("R")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Registering(Protocol):
    """The decorator that `@register(name=..., version=...)` returns."""

    def __call__(self, func: Callable[Concatenate[Context, P], R], /) -> Function[P, R]: ...


class Resonate(Scheduling):
    """A program's connection to Resonate: in memory, with a server, with DynamoDB, or in a Lambda function::

        resonate = Resonate.local()

        @resonate.register
        def greet(ctx: Context, name: str) -> str:
            return f"hello {name}"

        resonate.run("greet-ada", greet, "ada")

    Args:
        dependencies: objects that `ctx.get_dependency` returns, by name.
        group: the worker group of this process; "default" by default. A call without a target goes to this group if its
            function is registered here, else to the group "default".
        log_level: level of the `resonate` loggers, a number or a name.
        message_source: where the messages of `store` arrive. Only a `resonate.stores.LocalStore` needs one; by default
            it is derived from the store.
        pid: the name of this process; random by default.
        registry: the registered functions; a new registry by default.
        retry_policy: the retry policy of calls that do not name one. A `RetryPolicy` applies to steps only, and
            workflows are not retried. A function that gets the called function and returns its policy applies to both.
            By default steps are retried with `Exponential()`: after pauses of 2, 4, 8, 16, 30, 30 ... seconds, until
            they time out after a year.
        store: the store of the promises. By default it is the DynamoDB table that the environment variable
            `RESONATE_TABLE` names, else the server at `RESONATE_URL`, else memory.
        ttl: the lease of a task without a heartbeat, in seconds or as a `timedelta`; 10 s by default.
        workers: how many tasks, and functions started by `begin_run`, run at the same time; by default the number of
            processors, at most 32.
        clock: the source of time, which must advance by itself, because threads wait on it. By default that of the
            store, or the system's.
        encryptor: encrypts all payloads, for example `resonate.encryption.AESGCMEncryptor`.
        interceptors: run around calls, the first one outermost; see `resonate.interceptors`.

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
        store: MinimalStore | None = None,
        ttl: int | timedelta = 10,
        workers: int | None = None,
        clock: Clock | None = None,
        encryptor: Encryptor | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        require("group", group, str)
        lease = seconds_of(ttl)
        for name, number in (("ttl", lease), ("workers", 1 if workers is None else workers)):
            require(name, number, (int, float) if isinstance(ttl, timedelta) else int)
            if number < 1:
                raise ArgumentValueError(f"{name} must be at least 1, got {number}")
        if pid is not None:
            require("pid", pid, str)
        if registry is not None:
            require("registry", registry, Registry)
        if dependencies is not None:
            require("dependencies", dependencies, dict)
        if isinstance(log_level, str) and log_level not in _LOG_LEVELS:
            raise ArgumentValueError(
                f"log_level must be a number or one of {', '.join(_LOG_LEVELS)}, got {log_level!r}"
            )
        require("log_level", log_level, (int, str))
        logging.getLogger("resonate").setLevel(log_level)
        local_source = check_stores(store, message_source)
        if local_source:
            # Messages are addressed to the source, so this process takes its group and id.
            local = cast("LocalMessageSource", message_source)
            group, pid = local.group, pid or local.id
        own = None if store is None else completed(store)
        clock = clock or (own.embedded.clock if own is not None and own.embedded is not None else ambient())
        connected = store_of_environment(clock) if own is None else own
        if encryptor is not None:
            connected = encrypted(connected, encryptor)
        pid = pid or random_id()
        registry = registry or Registry()
        if retry_policy is not None:
            registry.retry_policy = Options().merge(retry_policy=retry_policy).retry_policy
        if interceptors:
            registry.interceptors = checked(interceptors)
        # A `Dependencies` is shared: the program may add to it later.
        shared = isinstance(dependencies, Dependencies)
        dependencies = dependencies if shared else dict(dependencies or {})
        messages = message_source if isinstance(message_source, Messages) else None
        if messages is None:
            messages = messages_of(connected, group, pid, registry)
        # A process that receives no messages serves no group.
        served = group if messages is not None or connected.embedded is not None else None
        resources = Resources(connected, clock)
        worker = Worker(resources, registry, dependencies, pid, group=served, private=encryptor is not None)
        ttl_ms = round(lease * 1000)
        threads = workers or min(32, os.cpu_count() or 1)
        super().__init__(
            connected,
            registry,
            dependencies,
            clock,
            group=group,
            served=served,
            pid=pid,
            ttl_ms=ttl_ms,
            worker=worker,
            runtime=Runtime(resources, worker, group, pid, ttl_ms, threads, messages),
        )
        self._promises = Promises(connected, checked=True)
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
        interceptors: Sequence[Interceptor] = (),
    ) -> Resonate:
        """Return a connection to a store in this process's memory, whatever the environment variables are.

        The arguments are those of `Resonate`; `log_level` is INFO by default. All promises are lost when the process
        ends.
        """
        clock = clock or ambient()
        made = cls(
            dependencies=dependencies,
            group=group,
            log_level=log_level,
            pid=pid,
            registry=registry,
            retry_policy=retry_policy,
            store=memory_store(clock),
            ttl=ttl,
            workers=workers,
            clock=clock,
            encryptor=encryptor,
            interceptors=interceptors,
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
        interceptors: Sequence[Interceptor] = (),
    ) -> Resonate:
        """Return a connection to a Resonate server: `resonate dev`, or a deployed API.

            resonate = Resonate.remote(url="https://api.example.com", token=token, group="worker")

        Settings that are not given are read from the environment variables (`RESONATE_URL`, `RESONATE_HOST`,
        `RESONATE_TOKEN` and more, see `resonate_store.remote.settings`). By default the server is at
        http://localhost:8001.

        Args:
            auth: user name and password, for HTTP basic authentication.
            host: scheme and name of the server, such as `http://localhost`.
            message_source_port: the port of the message stream; by default that of the store.
            store_port: the port of requests; 8001 by default.
            url: the whole address of the server, instead of `host` and `store_port`.
            token: a JWT.
            iam: whether to sign requests with AWS credentials. By default this is on for addresses of API Gateway, if
                neither `token` nor `auth` is given.
            timeout: the time limit of one request, retries included, in seconds or as a `timedelta`; 30 s by default.

        The other arguments are those of `Resonate`; `log_level` is INFO by default.

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
            interceptors=interceptors,
        )

    @property
    def promises(self) -> Promises:
        """Promises of the store: get, create, resolve, reject, cancel. See `resonate.promises.Promises`."""
        return self._promises

    @property
    def executions(self) -> Executions:
        """Executions of the store: list, get, count, retry, fork, delete. See `resonate.executions.Executions`."""
        from resonate.executions import Executions  # here, because every cold start would pay for it

        return Executions(self._store, time_of(self._store, self._clock))

    def start(self) -> None:
        """Start the threads, receive tasks, and return. Running a function or waiting for a result also starts them.

        The threads are daemons: they end with the program. A program that is only a worker stays alive by
        `threading.Event().wait()`, or in an async program by `await asyncio.Event().wait()`.

        Threads do not survive a fork: start after it, in each process that is to work.

        Raises:
            RuntimeError: this process was forked after `Resonate` had started its threads.
        """
        self._runtime.start()

    def stop(self) -> None:
        """Stop receiving tasks, and wait for the functions that run.

        Async functions are cancelled after 5 s, and their tasks released for other workers. Callers that wait for a
        result get a `ResonateShutdownError`.
        """
        self._runtime.stop()

    def set_dependency(self, name: str, obj: Any) -> None:
        """Make `ctx.get_dependency(name)` return an object in this process.

            resonate.set_dependency("db", connect())

        Args:
            name: the name of the dependency.
            obj: the object; each process sets its own.

        Raises:
            TypeError: `name` is not a `str`.
        """
        require("name", name, str)
        self._dependencies[name] = obj

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
        """Register a function under a name and version, as a call or as a decorator.

            @resonate.register
            def greet(ctx: Context, name: str) -> str: ...

            @resonate.register(name="greet", version=2)
            def greet_politely(ctx: Context, name: str) -> str: ...

        Args:
            func: a function, generator function or async function whose first parameter is a `Context`.
            name: its name; the function's own by default.
            version: its version, 1 or more; 1 by default.
            validate: whether arguments that do not fit its annotations are refused with a `SignatureError` (the
                default). If not, those stay plain JSON data.

        Returns:
            A `Function`, which can be called like the function, and can start executions of it.

        Raises:
            TypeError, ValueError: the function, name or version cannot be registered, or is registered already.
        """
        if name is not None:
            require("name", name, str)
        require("version", version, int)
        require("validate", validate, bool)
        if func is None:
            return functools.partial(self.register, name=name, version=version, validate=validate)
        registered: Function[..., Any] = Function(self, self._registry.add(func, name, version, validate=validate))
        return registered

    def handler(self, *, span_processor: SpanProcessor | None = None) -> Callable[[Any, Any], Any]:
        """Return the Lambda handler of a worker: `handler = resonate.handler()`. See `resonate.aws_lambda.handler`.

        Args:
            span_processor: receives an OpenTelemetry span for every execution and step; see `resonate.tracing`.
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

"""Calls of registered functions: create an execution with an id, or attach to the one that exists.

`Caller` is the part of `Resonate` that a registered `Function` needs to start executions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, overload

from resonate.client.cancellation import Canceling, answer_in, request_of
from resonate.client.checks import accepted, check_call, has_other_arguments
from resonate.client.handle import Handle
from resonate.engine.functions.attempt_limits import limits_of
from resonate.engine.model import kind_of
from resonate.errors import ResonateStoreError, refusal
from resonate.idempotency import already_exists, created_alike
from resonate.interceptors import prepared
from resonate.payloads import codec
from resonate.payloads.restore import Asked
from resonate.process.runtime import Runtime
from resonate.validation import require, users_line, within_time
from resonate.worker.worker import Call, Worker
from resonate.workflow.deterministic import source_of_chance
from resonate.workflow.options import DEFAULT_TARGET, DEFAULT_TIMEOUT, Options, ScheduleOptions, by_name
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import UNKNOWN, Signature, check, signature_of
from resonate_store.interface import Store
from resonate_store.model.addresses import expand
from resonate_store.model.clock import Clock
from resonate_store.model.records import PromiseView, Value
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
    """Starter of executions; see `Resonate`.

    Args:
        store: the store of the promises, encrypted if the program encrypts.
        registry: the functions known here.
        dependencies: the dependencies of functions, by name.
        clock: the source of time.
        group: the worker group of this process.
        served: the worker group whose messages this process receives; None if it receives none.
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
        """The store of the promises. With an encryptor, payloads in it are encrypted."""
        return self._store.underlying

    @property
    def registry(self) -> Registry:
        """The functions that are registered here."""
        return self._registry

    @property
    def group(self) -> str:
        """The worker group of this process."""
        return self._group

    @property
    def dependencies(self) -> Mapping[str, Any]:
        """The objects that `ctx.get_dependency` returns, by name."""
        return self._dependencies

    @by_name(lambda _: "Resonate.options", ScheduleOptions)
    def options(self, **options: Unpack[ScheduleOptions]) -> Self:
        """Return a copy of this client that starts executions with these options, added to those that it has.

            resonate.options(timeout=60, target="gpu").rpc("render-7", "render", 7)

        The options are explained in `ScheduleOptions` and its bases, in `resonate.workflow.options`.

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
        """Run a registered function in this process, durably, and wait for its result.

            greeting = resonate.run("greet-ada", greet, "ada")

        If this process ends, another worker of the group continues the function, unless the store is in memory.

        Args:
            id: the id of the execution. A call with an existing id does not run the function again, but waits for the
                result of the existing execution.
            func: the function, or its registered name.
            args, kwargs: its arguments after the context, which must have a JSON form.

        Returns:
            The result, restored to the annotation of the function.

        Raises:
            ValueError: the function is not registered here, or the id is not valid.
            SignatureError: the arguments do not fit the function. No execution is created.
            PayloadError: an argument has no JSON form, or is too large. No execution is created.
            ResonateStoreError: the id exists with another idempotency key (code 100.40900), or the store refuses the
                call.
            ResonateTimedoutError, ResonateCanceledError: the execution timed out (by default after a year), or was
                cancelled.
            ResonateHaltedError: its task is halted.
            ResonateShutdownError: `stop` was called meanwhile.
            Exception: the error that the function failed with.
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
        """Start a registered function in this process, durably, without waiting for it.

        Arguments and errors are those of `run`. Errors of the execution are raised by `Handle.result`.

        Returns:
            A handle on the execution.
        """
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
        """Call a function on a worker of the target group, durably, and wait for its result.

            greeting = resonate.options(target="greeters").rpc("greet-ada", "greet", "ada")

        Args:
            id: the id of the execution. A call with an existing id attaches to the existing execution.
            func: a registered function, or a name. A name need not be registered in this process.
            args, kwargs: its arguments after the context, which must have a JSON form.
            result_type: only with a name: the type that the result is restored to. The result of a function is restored
                to its annotation, or stays plain JSON data.

        Raises:
            SignatureError: the arguments do not fit the function. For a name, the worker that runs it checks them.
            ResultTypeError: the result does not fit `result_type`.
            Exception: the error that the function failed with; for all other errors see `run`.
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
        """Start a function on a worker of the target group, durably, without waiting for it.

        Arguments and errors are those of `rpc`. Errors of the execution are raised by `Handle.result`.

        Returns:
            A handle on the execution.
        """
        check_call(id, func)
        asked = kwargs.pop("result_type", None) if isinstance(func, str) else None
        name, version = self._named(func, args, kwargs)
        self._runtime.start()
        self._create(id, name, version, args, kwargs)
        return self._handle(id, func, asked=asked)

    def create_execution(self, id: str, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> PromiseView:
        """Create an execution as `begin_rpc` does, and return its promise. Arguments and errors are those of `rpc`.

        If the id exists, that promise is returned. A warning is logged if it has another function or other arguments.
        To refuse such a call, give `idempotency_key`. It starts no thread, unless the store is in this process.
        """
        check_call(id, func)
        name, version = self._named(func, args, kwargs)
        if self._store.embedded is not None:
            self._runtime.start()
        return self._create(id, name, version, args, kwargs)

    def _create(self, id: str, name: str, version: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> PromiseView:
        made = self._creation(id, name, version, args, kwargs, self._target_of(name, version))
        promise = accepted(self._store.apply(prepared(self._registry.interceptors, made)))
        self._attach(id, name, promise, made.param)
        return promise

    def send(self, id: str, name: str, value: Any = None, *, idempotency_key: str | None = None) -> None:
        """Send a message to a running execution, which takes it by `ctx.receive(name)`.

            resonate.send("order-7", "note", "leave it at the door")

        The message is accepted when this returns. It waits if the execution does not wait for it yet.

        Args:
            id: the id of the execution.
            name: the name that it is received by, 1 to 200 bytes.
            value: a value with a JSON form.
            idempotency_key: a second message to the execution with this key is not accepted again. By default it is a
                random text, so each call sends another message.

        Raises:
            ReceiverNotFoundError: the execution does not exist, or has no inbox.
            ReceiverEndedError: the execution has ended.
            InboxFullError: 10,000 messages or 4 MiB wait.
            MessageConflictError: the key was used for another name or value.
            MessagesNotSupportedError: the store or server has no messages.
            PayloadError: the value has no JSON form, or is too large.
            TypeError, ValueError: another argument has the wrong type or value.
        """
        from resonate.client.messages import send  # here, because most programs send no messages

        key = idempotency_key
        if key is None:
            key = f"{source_of_chance(self._dependencies).getrandbits(128):032x}"
        send(self._store, id, name, value, key, compared=idempotency_key is not None)

    @overload
    def get(self, id: str, *, result_type: type[T]) -> Handle[T]: ...
    @overload
    def get(self, id: str, *, result_type: Any = None) -> Handle[Any]: ...
    def get(self, id: str, *, result_type: Any = None) -> Handle[Any]:
        """Return a handle on an existing execution, or on any promise.

        Args:
            id: its id.
            result_type: the type that its result is restored to. If the result does not fit, `Handle.result` raises a
                `ResultTypeError`.

        Raises:
            ResonateStoreError: the promise does not exist (code 100.40400), or it may not be read (100.40300).
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
        if self._options.attempt_timeout is not None:
            limits_of(self._options, kind_of(registered.func), registered.name)  # raises an error for a workflow
        # An error of the function that chooses the policy is raised before the execution is created.
        options = self._options.merge(retry_policy=self._options.policy_for(registered.func))
        made = self._creation(id, registered.name, registered.version, args, kwargs, self._group)
        creation = prepared(self._registry.interceptors, made)
        response = self._store.apply(TaskCreate(self._pid, self._ttl_ms, creation))
        if response.status in (409, 422):  # it exists: attach to it
            found = accepted(self._store.apply(PromiseGet(id)))
            self._attach(id, registered.name, found, creation.param)
            self._remember(found, options)
            return response
        try:
            self._attach(id, registered.name, accepted(response), creation.param)
        except ResonateStoreError:
            if (task := response.task) is not None and task.state == "acquired":
                self._store.apply(TaskRelease(task.id, task.version, handover=True))
            raise
        self._remember(accepted(response), options)
        if options.encoder is not None:
            self._worker.calls[id] = Call(registered.name, list(args), kwargs, registered.version)
        return response

    def _remember(self, promise: PromiseView, options: Options) -> None:
        """Store the options of a call for as long as this process works on it."""
        if promise.pending:
            self._worker.remember(promise.id, options)

    def _attach(self, id: str, name: str, promise: PromiseView, param: Value) -> None:
        """Attach to a promise that another call may have created. Warn if that call has another function or arguments.

        Raises:
            ResonateStoreError: the promise was created with another idempotency key.
        """
        if not created_alike(promise, self._options.key_for(id)):
            raise already_exists(id)
        existing = promise.tags.get(FUNC, name)
        if existing != name:
            logger.warning("%s exists and calls %s, not %s: its result is that of %s", id, existing, name, existing)
        elif has_other_arguments(promise, param):
            logger.warning(
                "%s exists with other arguments (%s): this call gets its result; give another id to run %s again",
                id,
                users_line(),
                name,
            )

    def _named(self, func: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, int]:
        if isinstance(func, str):
            return func, self._options.version or self._registry.latest(func)
        registered = self._registry.get(func, self._options.version or 0)
        check(registered.func, registered.name, args, kwargs)
        return registered.name, registered.version

    def _target_of(self, name: str, version: int) -> str:
        return self._registry.target_of(name, version, self._served, DEFAULT_TARGET)

    def cancel(self, id: str, reason: str = "", *, force: bool = False) -> Canceling:
        """Cancel an execution. Its workflow gets an error, and may run compensating steps before it ends.

            resonate.cancel("trip-7", "the customer has cancelled the trip")

        A workflow that waits gets `resonate.errors.canceled.Canceled` at what it awaits. Calls that it has begun are
        cancelled first. Detached calls continue. An execution that has not begun, and a promise without a function, are
        settled at once.

        Args:
            id: the id of the execution.
            reason: shown to the workflow and to people; at most 1,000 characters.
            force: settle its promise at once. The workflow gets no error, and loses its task.

        Returns:
            "accepted", "already" if it was cancelled before, or the state in which it has ended: "resolved",
            "rejected", "rejected_canceled" or "rejected_timedout".

        Raises:
            ResonateStoreError: it does not exist, or the server does not know this request.
        """
        return answer_in(self._store.apply(request_of(id, reason, force)), id)

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
        annotation = self._signature(func, self._options.version or 0).result if asked is None else Asked(asked)
        return Handle(id, self._runtime, annotation, self._options.encoder, settled)

    def _signature(self, func: Callable[..., Any] | str, version: int) -> Signature:
        """Return the signature of a function that may not be registered here."""
        try:
            return signature_of(self._registry.get(func, version).func)
        except ValueError:
            return UNKNOWN

"""Worker: one task, from its acquisition until this process cannot continue it.

It reads the call from the task's promise, runs it (`task_run`), and reports how the run ended. A run ends in one of
these ways (docs/rules.md R15):

- *completed*: the promise is settled.
- *suspended*: the task waits for promises that it does not settle itself.
- *released*: the time is running out, or something failed that is not the workflow.
- *lost*: another worker holds the task.
- *halted*: a person must first correct the code or the data; to continue would do harm.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, ValidationError, convert, json
from msgspec.structs import replace

from resonate.encoders import Encoder
from resonate.engine.functions.attempt_limits import limits_of_root
from resonate.engine.interpreter import Execution
from resonate.engine.model import MOST_BLOCKS, Lineage, Node, Work, kind_of
from resonate.errors import (
    DecryptionError,
    NonDeterminismError,
    PayloadError,
    ResonateError,
    ResultTypeError,
    SignatureError,
)
from resonate.errors.mistakes import NotRegisteredError
from resonate.idempotency import KEYS, ForkNames
from resonate.interceptors import headers_of
from resonate.payloads import codec
from resonate.validation import similar
from resonate.worker.generations import NO_GENERATIONS, RootFunction, is_older, later_generation
from resonate.worker.lease import Lease, Lost
from resonate.worker.resources import Resources
from resonate.worker.task_run import HandOver, Report, TaskRun
from resonate.workflow.commands import state_of
from resonate.workflow.context import Info
from resonate.workflow.continuation import Callee, context_of_root
from resonate.workflow.options import DEFAULT_TARGET, UNSET, Options
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import signature_of
from resonate_store.interface import StoreError, whole
from resonate_store.model.addresses import FunctionVersion, group_of
from resonate_store.model.records import PromiseView, Task
from resonate_store.model.requests import Response, TaskAcquire, TaskHalt, TaskRelease
from resonate_store.model.tags import FUNC, IDEMPOTENCY_KEY, KEY_STEM, ORIGIN, PREFIX, TARGET

logger = logging.getLogger("resonate.worker")

LONGEST_LEASE_MS = 366 * 86_400_000
"""The lease of a task whose server does not name one."""
MOST_REMEMBERED = 10_000
"""Maximum number of begun calls that a process remembers. Other workers may have settled some of them."""


class Call(Struct):
    """The call in the param of a task's promise."""

    func: str
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    version: int | None = None


_calls = json.Decoder(Call)


class Worker:
    """Worker that acquires tasks and runs them.

    Args:
        resources: what its tasks share: the store, the clock and the threads.
        registry: the functions that can be run.
        dependencies: the dependencies of contexts, by name.
        pid: the process that acquires tasks.
        default_target: the target of calls that name none.
        group: their target if their function is registered here.
        runs_as: the version of the Lambda function that this process runs. The reason of a halt names it.
        pins: whether the first acquisition of a task pins it to `runs_as` (docs/rules.md N1).
        private: whether payloads are encrypted. Then only the type of an error of user code or payloads is logged and
            stored, because its message or traceback may contain what is encrypted.

    Attributes:
        encoders: the encoders of calls from this process, by promise id.
        calls: the calls that this process has begun with an encoder, by promise id, because an encoder may not store
            the call.
        options: the options of the calls that this process has begun, by promise id, until they are settled here.
    """

    def __init__(
        self,
        resources: Resources,
        registry: Registry,
        dependencies: Mapping[str, Any],
        pid: str,
        default_target: str = DEFAULT_TARGET,
        *,
        group: str | None = None,
        runs_as: FunctionVersion | None = None,
        pins: bool = False,
        private: bool = False,
    ) -> None:
        self.resources = resources
        self.registry = registry
        self.dependencies = dependencies
        self.pid = pid
        self.default_target = default_target
        self.group = group
        self.runs_as = runs_as
        self.pin = runs_as.address if pins and runs_as is not None else None
        self.private = private
        self.encoders: dict[str, Encoder[Any, str | None]] = {}
        self.calls: dict[str, Call] = {}
        self.options: OrderedDict[str, Options] = OrderedDict()
        self._store = resources.store
        self._clock = resources.clock

    def run(
        self, id: str, version: int, ttl_ms: int, deadline: int | None = None, lease: Lease | None = None
    ) -> Report:
        """Acquire the task that an execute message offers, and run it.

        Args:
            id, version: as in the message.
            ttl_ms: the length of the lease; it must be longer than the time that this process may still run.
            deadline: the instant (ms) after which no function is started.
            lease: the lease, if the caller extends it while this runs.

        Raises:
            StoreError: the store cannot answer. The task is offered again when the lease ends.
        """
        lease = lease or Lease(id, version + 1, self._clock.now(), ttl_ms)
        try:
            response = self._store.apply(TaskAcquire(id, version, self.pid, ttl_ms, self.pin))
        except DecryptionError as error:
            _tell_release(id, str(error))
            return Report("released", str(error))
        if response.task is None or response.promise is None:
            return _refused(response, "acquire")
        return self.run_acquired(response.task, response.promise, deadline, lease)

    def remember(self, id: str, options: Options) -> None:
        """Use these options of the caller, such as a retry policy, whenever this process runs the call `id`.

        They contain code, so they cannot be stored. Only those of the latest `MOST_REMEMBERED` calls are kept.
        """
        if options.retry_policy is options.non_retryable_exceptions is options.attempt_timeout is None:
            return
        self.options[id] = options
        if len(self.options) > MOST_REMEMBERED:
            self.options.popitem(last=False)

    def run_acquired(
        self, task: Task, promise: PromiseView, deadline: int | None = None, lease: Lease | None = None
    ) -> Report:
        """Run a task that this process holds. Without `lease`, its lease begins now."""
        lease = lease or Lease(task.id, task.version, self._clock.now(), task.ttl or LONGEST_LEASE_MS)
        children: Sequence[PromiseView] | None = None
        if task.generation is not None:
            try:
                promise, children = later_generation(
                    self._store, task.generation, promise, has_messages=task.messages > 0
                )
            except (StoreError, DecryptionError) as error:
                return self._release(task, f"{type(error).__name__}: {error}")
        known: RootFunction | None = None
        run: TaskRun | None = None
        while True:
            try:
                known, root = self._root(promise, task.generation, children, known, first=task.version == 1)
            except SignatureError as error:
                return self._halt(task, error)
            except (PayloadError, ValueError) as error:
                return self._release(task, str(error))
            if run is None:
                run = TaskRun(self.resources, lease, task, self._execution_of(root), deadline)
            else:
                run.restart(task, root)
            report = self._run_history(task, children, run)
            if report.arguments is None:
                return report
            generation = 2 if task.generation is None else task.generation + 1
            task = replace(task, generation=generation, resumed_by=(), messages=report.seen)
            children = report.waiting
            promise = replace(promise, param=report.arguments)

    def _execution_of(self, root: Work) -> Execution:
        return Execution(
            root,
            self.registry,
            self.dependencies,
            self.default_target,
            group=self.group,
            private=self.private,
            encoders=self.encoders,
        )

    def _run_history(self, task: Task, children: Sequence[PromiseView] | None, run: TaskRun) -> Report:
        """Run one history of a task. `children` are its records, if they are known already."""
        try:
            report = self._run_to_the_end(task, children, run)
        finally:
            endless = run.execution.close()
        if endless and report.status in ("suspended", "released"):
            return self._halt_endless(task, endless[0])
        return report

    def _run_to_the_end(self, task: Task, children: Sequence[PromiseView] | None, run: TaskRun) -> Report:
        execution = run.execution
        try:
            execution.takes_messages = self._store.takes_messages
            if children is None:
                children = self._store.children(task.id) if task.version > 1 or task.messages else ()
            if execution.root.lineage.names is not None:
                children = [whole(child, self._store) if child.id.endswith(KEYS) else child for child in children]
            now = self.resources.time.now()
            execution.start(children, now, task.resumed_by, task.cancel, task.version)
            report = run.to_the_end()
            if report.status == "completed":
                self.encoders.pop(task.id, None)
                self.calls.pop(task.id, None)
                self.options.pop(task.id, None)
            return report
        except Lost:
            return Report("lost")
        except HandOver:
            response = self._store.apply(TaskRelease(task.id, task.version, handover=True))
            return Report("released") if response.ok else _refused(response, "release")
        except (NonDeterminismError, ResultTypeError) as error:
            return self._halt(task, error)
        except StoreError as error:
            return self._release(task, f"{type(error).__name__}: {error}")
        except Exception as error:
            if self.private:
                return self._release(task, type(error).__name__)
            return self._release(task, f"{type(error).__name__}: {error}", error)

    def _halt_endless(self, task: Task, name: str) -> Report:
        """Halt a task whose workflow does not end when it is closed, because it would continue without its records."""
        reason = (
            f"{name} catches GeneratorExit, which ends a workflow when it is suspended, and yields again, {MOST_BLOCKS}"
            " times: write `except Exception` instead of `except BaseException` or a bare `except`"
        )
        return self._halted(task.id, None, reason)

    def _halt(self, task: Task, error: ResonateError) -> Report:
        """Halt a task until its code or data has been corrected."""
        reason = str(error)
        if self.private and isinstance(error, ResultTypeError):
            reason = f"{type(error).__name__}: a result does not fit its result_type"
        if isinstance(error, NonDeterminismError) and (cause := error.__cause__) is not None:
            reason += f"; it raised {type(cause).__name__}" + ("" if self.private else f": {cause}")
        if self.runs_as is not None:
            reason += f"; it ran version {self.runs_as.version} of the function {self.runs_as.function}"
        return self._halted(task.id, task.version, reason)

    def _halted(self, id: str, version: int | None, reason: str) -> Report:
        logger.error("task %s is halted: %s", id, reason)
        response = self._store.apply(TaskHalt(id, version, reason))
        return Report("halted", reason) if response.ok else _refused(response, "halt")

    def _release(self, task: Task, error: str, unexpected: Exception | None = None) -> Report:
        _tell_release(task.id, error, unexpected)
        response = self._store.apply(TaskRelease(task.id, task.version, error=error))
        return Report("released", error) if response.ok else _refused(response, "release")

    def _root(
        self,
        promise: PromiseView,
        generation: int | None = None,
        children: Sequence[PromiseView] | None = None,
        known: RootFunction | None = None,
        *,
        first: bool = False,
    ) -> tuple[RootFunction, Work]:
        """Return the function that the task's promise calls, or one that fails if the arguments do not fit it.

        Args:
            promise: the task's promise; its param is the call of this generation.
            generation: the generation; None is the first.
            children: the records of this generation, if they are known.
            known: the function of the generation before, if this process has run that.
            first: whether the task has not been acquired before.

        Raises:
            PayloadError: the call cannot be read.
            SignatureError: the arguments do not fit the function, and the execution has a history.
            ValueError: the function is not registered here.
        """
        options = self.options.get(promise.id, UNSET)
        encoder = self._encoder_of(promise) if known is None else known.callee.encoder
        call = self._call(promise, encoder, generation)
        if known is None or known.callee.name != call.func or known.callee.version != call.version:
            known = self._root_function(promise, call, encoder)
        callee, kind = known.callee, known.kind
        func = callee.func
        try:
            args, kwargs = known.restored(call.args or [], call.kwargs or {})
        except SignatureError as refused:
            # The deployment may be wrong, so an execution that an earlier one has begun is not rejected.
            if children is None:
                children = self._store.children(promise.id)
            if (generation is None and not first) or any(not is_older(child) for child in children):
                if self.private or encoder is not None:
                    # The reason of a halted task is not encrypted, so it must not contain payloads.
                    raise SignatureError(f"the arguments of {promise.id} do not fit {callee.name}") from None
                raise
            func = _raising(refused)
            args, kwargs = call.args or [], call.kwargs or {}
        node = Node(promise.id, promise.timeout_at, "", "", callee.signature.result, encoder)
        tags, timeout = promise.tags, promise.timeout_at / 1000
        info = Info(1, timeout, tags, callee.version, known.key, generation or 1, known.headers)
        context = context_of_root(promise.id, info, self.registry, self.dependencies, callee)
        work = Work(
            node,
            func,
            callee.name,
            tuple(args),
            kwargs,
            context,
            state_of(context),
            known.lineage,
            tags,
            None if options is UNSET else options.policy_for(callee.func),
            options.non_retryable_exceptions or (),
            promise.id,
            kind,
            kind == "workflow",
            limits=None if options is UNSET else limits_of_root(options, kind),
            interceptors=self.registry.interceptors,
        )
        return known, work

    def _encoder_of(self, promise: PromiseView) -> Encoder[Any, str | None] | None:
        encoder = self.encoders.get(promise.id)
        return self.registry.encoders.get(promise.tags.get(FUNC, "")) if encoder is None else encoder

    def _root_function(
        self, promise: PromiseView, call: Call, encoder: Encoder[Any, str | None] | None
    ) -> RootFunction:
        """Return the function that a promise calls.

        Raises:
            ValueError: it is not registered here.
        """
        try:
            registered = self.registry.get(call.func, call.version or 0)
        except ValueError as error:
            if self.private and call.func != promise.tags.get(FUNC):  # the name is known from the payload only
                raise NotRegisteredError(
                    f"the function that promise {promise.id} calls is not registered here"
                ) from None
            group = group_of(promise.tags.get(TARGET, ""))
            if group is None or similar(call.func, self.registry.names()):  # perhaps the name or version is wrong
                raise
            advice = f"If another program of the group {group!r} has it, give each program a group of its own"
            if self._store.embedded is not None:
                advice = "The promises of this process are in memory: with RESONATE_URL it calls workers of a server"
            raise NotRegisteredError(f"{error}. {advice}") from None
        func = registered.func
        refusal = None if self._store.has_generations else NO_GENERATIONS
        callee = Callee(func, registered.name, registered.version, signature_of(func), encoder, refusal)
        key = promise.tags.get(IDEMPOTENCY_KEY) or promise.tags.get(KEY_STEM, promise.id)
        lineage, headers = _lineage_of(promise), headers_of(promise.tags)
        return RootFunction(callee, registered.validate, kind_of(func), key, lineage, headers)

    def _call(self, promise: PromiseView, encoder: Encoder[Any, str | None] | None, generation: int | None) -> Call:
        """Read the call from the promise's param, or return the one that this process has begun.

        Raises:
            PayloadError: the call cannot be read.
        """
        if encoder is None and (plain := codec.decode_as(promise.param, _calls)) is not None:
            return plain
        try:
            return convert(codec.decode(promise.param, encoder=encoder), Call)
        except (PayloadError, ValidationError) as error:
            known = self.calls.get(promise.id)
            if known is not None and generation is None:
                return known
            reason = error.mesg if isinstance(error, PayloadError) else error
            if self.private:
                reason = type(error.__cause__ or error).__name__
            raise PayloadError(
                f"the param of promise {promise.id} is not a call ({reason}): it needs a JSON object"
                ' {"func": name, "args": [...], "kwargs": {...}, "version": number}; if it was written with an encoder'
                " that this process was not told of, give it to the registered function: function.options(encoder=...)"
            ) from None


def _lineage_of(promise: PromiseView) -> Lineage:
    tags, id = promise.tags, promise.id
    return Lineage.of(id, tags.get(ORIGIN, id), tags.get(PREFIX, id), promise.timeout_at, ForkNames.of(promise))


def _tell_release(id: str, error: str, unexpected: Exception | None = None) -> None:
    """Log that a task cannot be run, because the caller may ignore the report."""
    logger.warning("task %s is released, and will be tried again: %s", id, error, exc_info=unexpected)


def _raising(error: Exception) -> Callable[..., Any]:
    """Return a function that raises this error when it is called."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def _refused(response: Response, what: str) -> Report:
    if response.status in (404, 409):
        return Report("lost")
    raise StoreError(f"cannot {what}: {response.status} {response.error}")

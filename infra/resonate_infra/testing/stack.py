"""The offline stack: the deployment of `template.yaml` on moto, in one process, under a clock that can be moved.

It creates what the template describes and then does what AWS does between the functions: it pumps the table's stream
to the dispatcher, queue messages and due schedules to the tick function, and asynchronous invokes to the worker. It is
single-threaded and deterministic: the same program, the same events in the same order. A test says to it what it says
to the stack in memory (`resonate.testing.Stack`), and what only a deployment has on top of it.

    with OfflineStack() as stack:
        assert stack.run("sleeping_workflow", "w1", 5.0) == "Workflow w1 completed after sleeping for 5.0 seconds."
"""

from __future__ import annotations

import functools
import logging
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast
from unittest.mock import patch

from resonate.client.function import Function as Registered
from resonate.testing.faults import Killed
from resonate.testing.functions import name_of
from resonate.testing.stack import Stack, Stuck
from resonate_infra.effects.settings import SWEEP_INTERVAL_MS
from resonate_infra.testing.gateway import Gateway, HttpResponse
from resonate_infra.testing.mocks import Mocks
from resonate_infra.testing.moto.cloud import ENVIRONMENT, Cloud, CountedCall
from resonate_infra.testing.process import LimitedClock, Processes
from resonate_infra.testing.pumps import ExpiryPump, QueuePump, SchedulePump, StreamPump
from resonate_infra.testing.template import template as templates
from resonate_infra.testing.template.buckets import empty_bucket
from resonate_infra.testing.template.deployment import Deployment, TemplateFunction
from resonate_infra.testing.template.resources import create, delete
from resonate_store.dynamo.items import entry_of, is_entry
from resonate_store.dynamo.large_values import Payloads
from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import Clock, ManualClock
from resonate_store.model.records import Record
from resonate_store.settings import groups_of

__all__ = ["Event", "OfflineStack", "Stuck"]

logger = logging.getLogger("resonate.offline")

SERVANTS = ("ApiFunction", "DispatchFunction", "TickFunction")
"""The functions that are the server; all others are workers."""


class Event(NamedTuple):
    """Something that happened in the stack, for whoever watches."""

    at: int
    function: str
    event: Any
    response: Any
    error: BaseException | None


_aside: weakref.WeakSet[OfflineStack] = weakref.WeakSet()
"""The stacks that are set aside; they make room for one of the same name."""


class OfflineStack(Stack):
    """A deployed stack; open it with `with`.

    Args:
        clock: the stack's time; a `ManualClock` unless given.
        template: the template to deploy; `template.yaml` of the working directory, or of this project.
        parameters: values of its parameters.
        code: files to load instead of the code of the functions with these logical ids.
        name: the stack's name.
        target: where executions go that are started without naming one.

    Attributes:
        cloud: moto; its `fault` makes calls fail.
        invocations: how often each function has been invoked, by logical id.
        watch: called with everything that happens, if set.
        lost: says of a stream record, before it is delivered, that it never arrives.
        duplicate: whether everything is delivered twice, to all functions.
        expires: whether items whose time to live is over are deleted, at once; DynamoDB takes up to a few days.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        template: Path | None = None,
        parameters: Mapping[str, str | int] | None = None,
        code: Mapping[str, Path] | None = None,
        name: str = "resonate",
        target: str = "worker",
    ) -> None:
        limited = LimitedClock(clock or ManualClock())
        super().__init__(limited)
        self.cloud = Cloud(limited)
        self.watch: Callable[[Event], None] | None = None
        self.lost: Callable[[dict[str, Any]], bool] | None = None
        self.duplicate = False
        self.expires = False
        path = template or templates.default_template()
        self._template = _load(path, path.stat().st_mtime_ns, name, tuple(sorted((parameters or {}).items())))
        # One thread only: moto takes no locks.
        settings = {"RESONATE_FUNCTIONS": "1", "RESONATE_REQUESTS": "1"}
        self.processes = Processes(limited, {**ENVIRONMENT, **settings}, code)
        self.deployment: Deployment
        self.gateway: Gateway
        self._target = target
        self._store: DynamoStore
        self._swept_at = 0
        self._wakes: tuple[int, int | None] = (-1, None)
        """The earliest `wake_at` in the table, as of a number of writes to it."""
        self._mocks: Mocks
        self._hooks = ExitStack()

    def __enter__(self) -> OfflineStack:
        self.cloud.open()
        try:
            self._deploy()
        except BaseException:
            self.cloud.close()
            raise
        self._hook()
        return self

    @property
    def intact(self) -> bool:
        """Whether what the stack was created with is still there; a program that uses moto itself may reset it."""
        return self.cloud.has_table(self.deployment.stream_arn)

    @contextmanager
    def set_aside(self) -> Generator[None]:
        """Give the process back its environment, its time and its AWS clients for as long as the block runs.

        The stack and everything in it is kept, so that tests which do not use it can come in between; but not if one of
        them opens a stack of the same name, or begins to use moto itself. `intact` tells.
        """
        self._hooks.close()
        self.cloud.suspend()
        _aside.add(self)
        try:
            yield
        finally:
            _aside.discard(self)
            self.cloud.resume()
            self._hook()

    def _hook(self) -> None:
        self._hooks.enter_context(self._fail_points.around_functions())
        for method in ("apply", "children"):
            self._hooks.enter_context(patch.object(DynamoStore, method, self._watched(method)))

    def __exit__(self, *_: object) -> None:
        self._hooks.close()
        self._forget()
        self.cloud.fault = None
        self.processes.forget_all()
        try:
            if self.intact:
                delete(self.deployment, self.cloud.client)
        finally:
            self.cloud.close()

    def _deploy(self) -> None:
        client = self.cloud.client
        for other in [stack for stack in _aside if stack.deployment.stack_name == self._template.stack.name]:
            if other.intact:  # moto is in use all the while, and has not forgotten it
                delete(other.deployment, client)
        deployment = self.deployment = create(self._template, client)
        try:
            for function in deployment.functions.values():
                self.processes.check(function)
        except FileNotFoundError:
            delete(deployment, client)
            raise
        # Receivers of pushes are on this machine.
        dispatch = deployment.functions["DispatchFunction"]
        environment = {**dispatch.environment, "RESONATE_PUSH_PRIVATE": "on"}
        deployment.functions["DispatchFunction"] = replace(dispatch, environment=environment)
        self.cloud.functions = {
            name: function.logical_id
            for function in deployment.functions.values()
            for name in (function.name, function.arn)
        }
        urls = {queue.arn: queue.url for queue in deployment.queues.values()}
        self._expiry = ExpiryPump(self.cloud, deployment.table_name)
        self._streams = [
            StreamPump(self.cloud, source, self._deliver, self._is_lost, self._expiry.see)
            for source in deployment.event_sources
            if source.kind == "stream"
        ]
        self._queues = [
            QueuePump(self.cloud, urls[source.arn], source, self._deliver)
            for source in deployment.event_sources
            if source.kind == "queue"
        ]
        self._schedules = SchedulePump(self.cloud, deployment.schedule_group, self._deliver)
        self._mocks = Mocks(self.cloud, deployment, self.processes)
        self.gateway = Gateway(deployment.routes, self.invoke, self.clock.now)
        self._begin()

    def _begin(self) -> None:
        self._connect()
        self._wakes = (-1, None)
        self._swept_at = self.clock.now()
        self.reset_counts()

    def _connect(self) -> None:
        environment = {**self.deployment.functions["TickFunction"].environment, "RESONATE_REQUESTS": "1"}
        table = self.deployment.table_name
        payloads = Payloads.of(environment, table)
        self._store = DynamoStore(table, clock=self.clock, groups=groups_of(environment), payloads=payloads)

    def clear(self) -> None:
        """Forget everything that was stored, sent or scheduled: a new stack, at a hundredth of the price.

        Functions stay warm, and may remember records; use other ids, or have `processes` forget them.
        """
        self.watch = self.lost = self.cloud.fault = None
        self.duplicate = self.expires = False
        self._schedules.clear()
        for queue in self.deployment.queues.values():
            self.cloud.client("sqs").purge_queue(QueueUrl=queue.url)
        empty_bucket(self.cloud.client, self.deployment.bucket)
        self.cloud.empty_table(self.deployment.stream_arn)
        for stream in self._streams:
            stream.clear()
        self._expiry.clear()
        self.cloud.invocations.clear()
        self._forget()
        self._mocks.clear()
        self._begin()

    @property
    def store(self) -> DynamoStore:
        return self._store

    # What happened

    def reset_counts(self) -> None:
        """Forget the calls, requests and invocations so far."""
        super().reset_counts()
        self.cloud.calls.clear()

    @property
    def calls(self) -> list[CountedCall]:
        """Every call of an AWS service since the counts were reset, those of the stack itself left out."""
        return [call for call in self.cloud.calls if call.caller]

    def operations(self, service: str = "dynamodb") -> Counter[str]:
        """How often the functions called each operation of a service."""
        return Counter(call.operation for call in self.calls if call.service == service)

    # What happens next

    def mock(self, name: str, function: Callable[..., Any], *, target: str | None = None, version: int = 1) -> None:
        """See `Stack.mock`; what has no target is called in the worker itself, so the target is needed here."""
        if self._mocks.add(name, function, target, version):
            self._connect()

    def redeploy(self, function: str, code: Path) -> None:
        """Replace the code of a function, as a deployment while executions sleep does.

        Args:
            function: its logical id, name or ARN.
            code: the file to load from the next invocation on.

        Raises:
            FileNotFoundError: the file is not there.
        """
        self.processes.replace_code(self.function(function), code)

    def invoke(self, function: str, event: Any) -> Any:
        """Invoke a function by its logical id, name or ARN, and return its response.

        Raises:
            Exception: whatever the function raises; `Killed` if it was.
        """
        mocked = self.cloud.functions.get(function, function) in self._mocks
        logical_id = function if mocked else self.function(function).logical_id
        self.invocations[logical_id] += 1
        caller, self.cloud.caller = self.cloud.caller, logical_id
        response: Any = None
        error: BaseException | None = None
        try:
            if mocked:
                response = self._mocks.invoke(logical_id, event, self._store, self.clock)
            else:
                response = self.processes.invoke(self.function(logical_id), event)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.cloud.caller = caller
            if self.watch is not None:
                self.watch(Event(self.clock.now(), logical_id, event, response, error))
        return response

    def api(
        self,
        body: bytes = b"",
        *,
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
    ) -> HttpResponse:
        """Send a request to the API, signed with AWS credentials unless told otherwise."""
        return self.gateway.request(method, path, body, headers, signed=signed)

    def function(self, name: str) -> TemplateFunction:
        """A function of the stack by its logical id, name or ARN."""
        return self.deployment.functions[self.cloud.functions.get(name, name)]

    def pump(self) -> int:
        """Deliver everything that can be delivered now, without moving the clock.

        Returns:
            The number of deliveries.
        """
        total = 0
        while delivered := self._pump_once():
            total += delivered
        return total

    def sweep(self) -> Any:
        """Let the minute sweep happen now, and everything that follows."""
        (schedule,) = (each for each in self.deployment.schedules if each.expression == "rate(1 minute)")
        self._swept_at = self.clock.now()
        try:
            response = self.invoke(schedule.target_arn, {"kind": "sweep"})
        except (Exception, Killed):
            response = None
        self.pump()
        return response

    def next_event_at(self) -> int | None:
        """The earliest instant (ms) at which something will happen by itself."""
        messages = (queue.next_at() for queue in self._queues)
        instants = [*(at for at in messages if at is not None), *self._schedules.instants().values()]
        expiry = self._expiry.next_at() if self.expires else None
        if expiry is not None:
            instants.append(max(expiry, self.clock.now()))
        due = self._next_wake_at()
        if due is not None:
            sweeps = max(1, -(-(due - self._swept_at) // SWEEP_INTERVAL_MS))
            instants.append(self._swept_at + sweeps * SWEEP_INTERVAL_MS)
        return min(instants, default=None)

    # Parts

    def _called(self, workflow: Callable[..., Any] | str, version: int | None) -> tuple[str, int, str]:
        registered = workflow.version if isinstance(workflow, Registered) else 1
        return name_of(cast("Callable[..., Any] | str", workflow)), version or registered, self._target

    def _result_type(self, name: str, version: int) -> Any:  # noqa: ARG002 - the function is the deployment's
        return Any

    def _record(self, id: str) -> Record | None:
        return self._store.record(id)

    def _records(self) -> list[Record]:
        pages = self.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=self.deployment.table_name)
        entries = [entry_of(item) for item in pages.search("Items[]") if is_entry(item)]
        return [entry for entry in entries if isinstance(entry, Record)]

    def _watched(self, method: str) -> Any:
        """A method of the store that counts what workers ask, and lets requests meet fail-points."""
        original = getattr(DynamoStore, method)

        def watched(store: DynamoStore, *args: Any, **kwargs: Any) -> Any:
            if self.cloud.caller in ("", *SERVANTS):
                return original(store, *args, **kwargs)
            kind, id = ("children", args[0]) if method == "children" else (args[0].kind, getattr(args[0], "id", ""))
            self.requests[kind] += 1
            return self._fail_points.around((kind,), id, lambda: original(store, *args, **kwargs))

        return watched

    def _next_wake_at(self) -> int | None:
        changes = self.cloud.changes["dynamodb"]
        if self._wakes[0] != changes:
            self._wakes = changes, self.cloud.earliest_wake(self.deployment.stream_arn)
        return self._wakes[1]

    def _proceed_to(self, at: int) -> None:
        self.clock.sleep(at - self.clock.now())
        self.pump()
        due = self._next_wake_at()
        if due is not None and due <= self.clock.now() and self.clock.now() - self._swept_at >= SWEEP_INTERVAL_MS:
            self.sweep()

    def _is_lost(self, record: dict[str, Any]) -> bool:
        return self.lost is not None and self.lost(record)

    def _pump_once(self) -> int:
        delivered = self._expiry.pump() if self.expires else 0
        for stream in self._streams:
            delivered += stream.pump()
        waiting, self.cloud.invocations = self.cloud.invocations, []
        for invocation in waiting:
            # An asynchronous invoke is over when it failed: the template allows no retries.
            copies = self._messages.copies()
            for _ in range(2 if copies and self.duplicate else copies):
                self._attempt(invocation.function, invocation.event)
        delivered += len(waiting)
        delivered += sum(queue.pump() for queue in self._queues)
        return delivered + self._schedules.pump()

    def _attempt(self, function: str, event: Any) -> None:
        try:
            self.invoke(function, event)
        except (Exception, Killed) as error:
            logger.info("%s failed: %r", function, error)

    def _deliver(self, function: str, event: Any) -> Any:
        """Invoke for a pump, to which a killed function is one that failed."""
        try:
            if self.duplicate:
                self.invoke(function, event)
            return self.invoke(function, event)
        except Killed as killed:
            raise RuntimeError("the function was killed") from killed


@functools.cache
def _load(path: Path, _modified: int, name: str, parameters: tuple[tuple[str, str | int], ...]) -> templates.Template:
    return templates.load(path, stack=templates.TemplateStack(name), parameters=dict(parameters))

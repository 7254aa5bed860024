"""Offline stack: the deployment of `template.yaml` on moto, in one process, under a clock that a test can move.

The stack creates the resources of the template, and then does what AWS does between the functions. It delivers records
of the table's stream to the dispatcher, messages and due schedules to the tick function, and asynchronous invocations
to the worker. It has one thread and is deterministic: the same program causes the same events in the same order. It has
the methods of the stack in memory (`resonate.testing.Stack`), and methods for what only a deployment has.

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
from typing import Any, cast
from unittest.mock import patch

from resonate.client.function import Function as Registered
from resonate.testing.diagnosis import Stuck
from resonate.testing.faults import Killed
from resonate.testing.functions import name_of
from resonate.testing.stack import Stack
from resonate_infra.effects.settings import SWEEP_INTERVAL_MS
from resonate_infra.testing.gateway import Gateway, HttpResponse
from resonate_infra.testing.lineage import RecursionDetected, continued, is_too_long
from resonate_infra.testing.mocks import Mocks
from resonate_infra.testing.moto.cloud import ENVIRONMENT, Cloud, CountedCall, Invocation
from resonate_infra.testing.process import Event, LimitedClock, Processes
from resonate_infra.testing.pumps import ExpiryPump, QueuePump, SchedulePump, StreamPump
from resonate_infra.testing.template import template as templates
from resonate_infra.testing.template.buckets import empty_bucket
from resonate_infra.testing.template.deployment import Deployment, TemplateFunction
from resonate_infra.testing.template.resources import create, delete
from resonate_infra.testing.versions import Versions
from resonate_infra.testing.workers import SERVANTS, advice_about
from resonate_store.delivery.environment import delivery_of
from resonate_store.dynamo.items import entry_of, is_entry
from resonate_store.dynamo.large_values import Payloads
from resonate_store.dynamo.store import DynamoStore
from resonate_store.model.clock import Clock, ManualClock
from resonate_store.model.records import Record
from resonate_store.settings import groups_of

__all__ = ["Event", "OfflineStack", "Stuck"]

logger = logging.getLogger("resonate.offline")

_aside: weakref.WeakSet[OfflineStack] = weakref.WeakSet()
"""Stacks that are set aside. The next stack of the same name deletes them."""


class OfflineStack(Stack):
    """Deployed stack on moto. Open it with `with`.

    Args:
        clock: the time of the stack. Default: a new `ManualClock`.
        template: the template to deploy. Default: `template.yaml` of the working directory if it creates a table,
            otherwise the template of Resonate Serverless.
        parameters: values for parameters of the template. Default: the template's own.
        code: maps logical ids of functions to files that are loaded instead of their code.
        name: the name of the stack.
        target: the target of executions that a test starts without one.

    Attributes:
        cloud: the moto account. Its `fault` makes calls fail.
        processes, deployment, gateway: the loaded functions, the created resources, and the API.
        versions: the published versions of functions; a deployment with `PinVersions=on` has them.
        invocations: how often each function was invoked, by logical id.
        dropped: the functions whose invocations were dropped, because a chain of requests invoked them too often.
        watch: called with an `Event` after each invocation, if it is not None.
        lost: called with each stream record before its delivery. If it returns True, the record is lost.
        duplicate: whether every event is delivered twice.
        expires: whether expired items are deleted, at once. DynamoDB takes up to a few days.

    Raises:
        TemplateError: the template is invalid, or the offline stack does not support a part of it.
        FileNotFoundError: when it is opened, the code of a function does not exist.
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
        self.dropped: list[str] = []
        self.watch: Callable[[Event], None] | None = None
        self.lost: Callable[[dict[str, Any]], bool] | None = None
        self.duplicate = False
        self.expires = False
        path = template or templates.default_template()
        self._template = _load(path, path.stat().st_mtime_ns, name, tuple(sorted((parameters or {}).items())))
        # Use one thread only, because moto has no locks.
        settings = {"RESONATE_FUNCTIONS": "1", "RESONATE_REQUESTS": "1"}
        self.processes = Processes(limited, {**ENVIRONMENT, **settings}, code)
        self.deployment: Deployment
        self.gateway: Gateway
        self._target = target
        self._store: DynamoStore
        self._swept_at = 0
        self._wakes: tuple[int, int | None] = (-1, None)
        """The number of writes to the table, and the earliest `wake_at` (ms) in it after them."""
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
        """Whether the resources of the stack still exist. A program that uses moto itself may have deleted them."""
        return self.cloud.has_table(self.deployment.stream_arn)

    @contextmanager
    def set_aside(self) -> Generator[None]:
        """Restore the environment, the clock and the AWS clients of the process while the block runs.

        The stack keeps its content, so that tests which do not use it can run meanwhile. It loses its content if one of
        them opens a stack of the same name or starts moto. `intact` is then False.
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
            if other.intact:  # Its resources still exist in moto, under the names that this stack needs.
                delete(other.deployment, client)
        deployment = self.deployment = create(self._template, client)
        try:
            for function in deployment.functions.values():
                self.processes.check(function)
        except FileNotFoundError:
            delete(deployment, client)
            raise
        # In tests, the receivers of pushes are on this machine.
        dispatch = deployment.functions["DispatchFunction"]
        environment = {**dispatch.environment, "RESONATE_PUSH_PRIVATE": "on"}
        deployment.functions["DispatchFunction"] = replace(dispatch, environment=environment)
        self.versions = Versions(self.cloud, deployment, self.processes)
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
        # A program outside of the deployment knows the table, the bucket and the groups.
        outside = {name: environment.get(name, "") for name in ("RESONATE_DELIVERY", "RESONATE_GROUPS")}
        delivery = delivery_of(outside, self.clock)
        groups = groups_of(environment)
        self._store = DynamoStore(table, clock=self.clock, groups=groups, payloads=payloads, delivery=delivery)

    def clear(self) -> None:
        """Delete everything that was stored, sent or scheduled. It takes a hundredth of the time of a new stack.

        Functions stay loaded, and may have records in memory. Use other ids, or call `processes.forget_all()`.
        """
        self.watch = self.lost = self.cloud.fault = None
        self.duplicate = self.expires = False
        self._schedules.clear()
        for queue in self.deployment.queues.values():
            self.cloud.empty_queue(queue.arn)
        if self.cloud.has_objects(self.deployment.bucket):
            empty_bucket(self.cloud.client, self.deployment.bucket)
        self.cloud.empty_table(self.deployment.stream_arn)
        for stream in self._streams:
            stream.clear()
        self._expiry.clear()
        self.cloud.invocations.clear()
        self.dropped.clear()
        self._forget()
        self._mocks.clear()
        self._begin()

    @property
    def store(self) -> DynamoStore:
        return self._store

    # Calls and counts

    def reset_counts(self) -> None:
        """Set the counts of requests and invocations to 0, and clear `calls`."""
        super().reset_counts()
        self.cloud.calls.clear()

    @property
    def calls(self) -> list[CountedCall]:
        """Every call of an AWS service by a function since `reset_counts`. Calls of the stack itself are omitted."""
        return [call for call in self.cloud.calls if call.caller]

    def operations(self, service: str = "dynamodb") -> Counter[str]:
        """Return how often the functions called each operation of `service`, such as `sqs`, since `reset_counts`."""
        return Counter(call.operation for call in self.calls if call.service == service)

    # Actions

    def mock(self, name: str, function: Callable[..., Any], *, target: str | None = None, version: int = 1) -> None:
        """Serve calls of a remote function that is not part of the test, see `Stack.mock`.

        Raises:
            ValueError: the target is missing (the worker then calls its own function), or is of another kind.
        """
        if self._mocks.add(name, function, target, version):
            self._connect()

    def redeploy(self, function: str, code: Path) -> None:
        """Replace the code of a function, like a deployment while executions sleep. Publish a version if it has some.

        Args:
            function: the logical id, name or ARN of the function.
            code: the file to load at the next invocation.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        self.processes.replace_code(self.function(function), code)
        self.versions.publish(self.function(function).logical_id)

    def invoke(self, function: str, event: Any, trace: str = "") -> Any:
        """Invoke a function and return its response.

        Args:
            function: the logical id, name or ARN of the function.
            event: the event.
            trace: the trace header of the request. Empty begins a new chain of invocations.

        Raises:
            KeyError: the function does not exist.
            RecursionDetected: Lambda drops the invocation.
            Exception: any error of the function; `Killed` if it was killed.
        """
        mocked = self.cloud.functions.get(function, function) in self._mocks
        invoked = None if mocked else self.function(function)
        logical_id = function if invoked is None else invoked.logical_id
        if invoked is not None and not invoked.allows_recursion and is_too_long(trace, logical_id):
            self.dropped.append(logical_id)
            raise RecursionDetected(f"one chain of requests has invoked {logical_id} too often")
        trace = continued(trace, logical_id)
        self.invocations[logical_id] += 1
        caller, self.cloud.caller = self.cloud.caller, logical_id
        response: Any = None
        error: BaseException | None = None
        try:
            if invoked is None:
                response = self._mocks.invoke(logical_id, event, self._store, self.clock)
            else:
                response = self.processes.invoke(invoked, event, trace)
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
        """Send a request to the API and return the response; see `Gateway.request`."""
        return self.gateway.request(method, path, body, headers, signed=signed)

    def function(self, name: str) -> TemplateFunction:
        """Return the function of a logical id, `name` or ARN, also with a version or an alias, or raise `KeyError`."""
        return self.versions.find(self.cloud.functions.get(name, name))

    def pump(self) -> int:
        """Deliver everything that can be delivered now, without moving the clock. Return the number of deliveries."""
        total = 0
        while delivered := self._pump_once():
            total += delivered
        return total

    def sweep(self) -> Any:
        """Run the minute sweep now and deliver what follows. Return the tick function's response, None if it failed."""
        (schedule,) = (each for each in self.deployment.schedules if each.expression == "rate(1 minute)")
        self._swept_at = self.clock.now()
        try:
            response = self.invoke(schedule.target_arn, {"kind": "sweep"})
        except (Exception, Killed):
            response = None
        self.pump()
        return response

    def next_event_at(self) -> int | None:
        """Return the earliest instant (ms) at which a message, a schedule, a sweep or an expiry is due, or None."""
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

    # Internal

    def _called(self, workflow: Callable[..., Any] | str, version: int | None) -> tuple[str, int, str]:
        registered = workflow.version if isinstance(workflow, Registered) else 1
        return name_of(cast("Callable[..., Any] | str", workflow)), version or registered, self._target

    def _result_type(self, name: str, version: int) -> Any:  # noqa: ARG002 - the function is the deployment's
        return Any

    def _record(self, id: str) -> Record | None:
        return self._store.record(id)

    def _advice(self, texts: list[str]) -> str:
        return advice_about(texts, self.deployment.functions, self.processes.file_of)

    def _records(self) -> list[Record]:
        pages = self.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=self.deployment.table_name)
        entries = [entry_of(item) for item in pages.search("Items[]") if is_entry(item)]
        return [entry for entry in entries if isinstance(entry, Record)]

    def _watched(self, method: str) -> Any:
        """Return a method of the store that counts the requests of workers and applies fail-points to them."""
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
            # A failed asynchronous invocation is not retried, because the template allows no retries.
            copies = self._messages.copies()
            for _ in range(2 if copies and self.duplicate else copies):
                self._attempt(invocation)
        delivered += len(waiting)
        delivered += sum(queue.pump() for queue in self._queues)
        return delivered + self._schedules.pump()

    def _attempt(self, invocation: Invocation) -> None:
        try:
            self.invoke(*invocation)
        except (Exception, Killed) as error:
            logger.info("%s failed: %r", invocation.function, error)

    def _deliver(self, function: str, event: Any, trace: str = "", /) -> Any:
        """Invoke a function for a pump. Raise `RuntimeError` for a killed function."""
        try:
            if self.duplicate:
                self.invoke(function, event, trace)
            return self.invoke(function, event, trace)
        except Killed as killed:
            raise RuntimeError("the function was killed") from killed


@functools.cache
def _load(path: Path, _modified: int, name: str, parameters: tuple[tuple[str, str | int], ...]) -> templates.Template:
    return templates.load(path, stack=templates.TemplateStack(name), parameters=dict(parameters))

"""The offline stack: the deployment of `template.yaml` on moto, in one process, under a clock that can be moved.

It creates what the template describes and then does what AWS does between the functions: it pumps the table's stream
to the dispatcher, queue messages and due schedules to the tick function, and asynchronous invokes to the worker. It is
single-threaded and deterministic: the same program, the same events in the same order.

    with OfflineStack() as stack:
        stack.client().options(target="worker").begin_rpc("w1", "sleeping_workflow", "w1", 5.0)
        assert stack.run_until_complete("w1").state == "resolved"
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from resonate import Resonate
from resonate_infra.testing import template as templates
from resonate_infra.testing.aws import ENVIRONMENT, Call, Cloud
from resonate_infra.testing.gateway import Gateway, HttpResponse
from resonate_infra.testing.process import Killed, LimitedClock, Processes
from resonate_infra.testing.pumps import QueuePump, SchedulePump, StreamPump
from resonate_infra.testing.resources import Deployment, Function, create, delete
from resonate_store.clock import Clock, ManualClock
from resonate_store.dynamo import DynamoStore
from resonate_store.records import Promise, Record
from resonate_store.settings import groups_of

SWEEP_INTERVAL = 60_000
"""The sweep's interval (ms), as the template says."""


class Event(NamedTuple):
    """Something that happened in the stack, for whoever watches."""

    at: int
    function: str
    event: Any
    response: Any
    error: BaseException | None


class Stuck(AssertionError):
    """Nothing in the stack will ever make the execution go on."""


class OfflineStack:
    """A deployed stack; open it with `with`.

    Args:
        clock: the stack's time; a `ManualClock` unless given.
        template: the template to deploy; `template.yaml` of the working directory, or of this project.
        parameters: values of its parameters.
        code: files to load instead of the code of the functions with these logical ids.
        name: the stack's name.

    Attributes:
        cloud: moto; its `fault` makes calls fail.
        watch: called with everything that happens, if set.
        lost: says of a stream record, before it is delivered, that it never arrives.
        duplicate: whether everything is delivered twice.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        template: Path | None = None,
        parameters: Mapping[str, str | int] | None = None,
        code: Mapping[str, Path] | None = None,
        name: str = "resonate",
    ) -> None:
        self.clock = LimitedClock(clock or ManualClock())
        self.cloud = Cloud(self.clock)
        self.watch: Callable[[Event], None] | None = None
        self.lost: Callable[[dict[str, Any]], bool] | None = None
        self.duplicate = False
        path = template or templates.default_template()
        self._template = _load(path, path.stat().st_mtime_ns, name, tuple(sorted((parameters or {}).items())))
        # One thread only: moto takes no locks.
        self.processes = Processes(
            self.clock, {**ENVIRONMENT, "RESONATE_FUNCTIONS": "1", "RESONATE_REQUESTS": "1"}, code
        )
        self.invocations: Counter[str] = Counter()
        self.deployment: Deployment
        self.gateway: Gateway
        self.store: DynamoStore
        self._swept_at = 0

    def __enter__(self) -> OfflineStack:
        self.cloud.open()
        try:
            self._deploy()
        except BaseException:
            self.cloud.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cloud.fault = None
        self.processes.forget_all()
        try:
            delete(self.deployment, self.cloud.client)
        finally:
            self.cloud.close()

    def _deploy(self) -> None:
        client = self.cloud.client
        deployment = self.deployment = create(self._template, client)
        self.cloud.functions = {
            name: function.logical_id
            for function in deployment.functions.values()
            for name in (function.name, function.arn)
        }
        urls = {queue.arn: queue.url for queue in deployment.queues.values()}
        self._streams = [
            StreamPump(self.cloud, source, self._deliver, lambda record: self.lost is not None and self.lost(record))
            for source in deployment.event_sources
            if source.kind == "stream"
        ]
        self._queues = [
            QueuePump(self.cloud, urls[source.arn], source, self._deliver)
            for source in deployment.event_sources
            if source.kind == "queue"
        ]
        self._schedules = SchedulePump(self.cloud, deployment.schedule_group, self._deliver)
        self.gateway = Gateway(deployment.routes, self.invoke, self.clock.now)
        self._begin()

    def _begin(self) -> None:
        groups = groups_of(self.deployment.functions["TickFunction"].environment)
        self.store = DynamoStore(self.deployment.table_name, clock=self.clock, groups=groups)
        self._swept_at = self.clock.now()
        self.reset_counts()

    def clear(self) -> None:
        """Forget everything that was stored, sent or scheduled: a new stack, at a hundredth of the price.

        Functions stay warm, and may remember records; use other ids, or have `processes` forget them.
        """
        self.watch = self.lost = self.cloud.fault = None
        self.duplicate = False
        self._schedules.clear()
        for queue in self.deployment.queues.values():
            self.cloud.client("sqs").purge_queue(QueueUrl=queue.url)
        self.cloud.empty_table(self.deployment.stream_arn)
        for stream in self._streams:
            stream.clear()
        self.cloud.invocations.clear()
        self.cloud.delayed_until.clear()
        self._begin()

    def client(self, **arguments: Any) -> Resonate:
        """A program outside of Lambda that talks to the table; arguments are those of `Resonate`."""
        return Resonate(store=self.store, clock=self.clock, **arguments)

    # What happened

    def reset_counts(self) -> None:
        """Forget the calls and invocations so far."""
        self.cloud.calls.clear()
        self.invocations.clear()

    @property
    def calls(self) -> list[Call]:
        """Every call of an AWS service since the counts were reset, those of the stack itself left out."""
        return [call for call in self.cloud.calls if call.caller]

    def requests(self, service: str = "dynamodb") -> Counter[str]:
        """How often the functions called each operation of a service."""
        return Counter(call.operation for call in self.calls if call.service == service)

    def history(self, id: str) -> list[Record]:
        """The records of an execution, its root first, in the order of their ids."""
        ids = [id]
        for known in ids:
            ids += [child.id for child in self.store.children(known)]
        records = [self.store.record(known) for known in sorted(ids, key=_natural)]
        return [record for record in records if record is not None]

    # What happens next

    def invoke(self, function: str, event: Any) -> Any:
        """Invoke a function by its logical id, name or ARN, and return its response.

        Raises:
            Exception: whatever the function raises; `Killed` if it was.
        """
        described = self.function(function)
        self.invocations[described.logical_id] += 1
        caller, self.cloud.caller = self.cloud.caller, described.logical_id
        response: Any = None
        error: BaseException | None = None
        try:
            response = self.processes.invoke(described, event)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.cloud.caller = caller
            if self.watch is not None:
                self.watch(Event(self.clock.now(), described.logical_id, event, response, error))
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

    def function(self, name: str) -> Function:
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
        now = self.clock.now()
        self.cloud.delayed_until = sorted(at for at in self.cloud.delayed_until if at > now)
        instants = [*self.cloud.delayed_until[:1], *self._schedules.instants().values()]
        due = self._next_wake_at()
        if due is not None:
            sweeps = max(1, -(-(due - self._swept_at) // SWEEP_INTERVAL))
            instants.append(self._swept_at + sweeps * SWEEP_INTERVAL)
        return min(instants, default=None)

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let time pass, and everything happen in it at its time."""
        end = self.clock.now() + round((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000)
        self.pump()
        while (at := self.next_event_at()) is not None and at <= end:
            self._proceed_to(at)
        self.clock.sleep(end - self.clock.now())
        self.pump()

    def run_until_complete(self, id: str, *, days: float = 400) -> Promise:
        """Let time pass until the execution has an outcome, and return its promise.

        Raises:
            Stuck: nothing more will happen, or not within `days`.
        """
        end = self.clock.now() + round(days * 86_400_000)
        self.pump()
        while (promise := self._promise(id)).pending:
            at = self.next_event_at()
            if at is None or at > end:
                raise Stuck(f"{id} is pending and nothing will happen to it: {self.store.record(id)}")
            self._proceed_to(at)
        return promise

    def _next_wake_at(self) -> int | None:
        # One scan of the index, where the store would query shard after shard.
        pages = self.cloud.client("dynamodb").get_paginator("scan")
        items = pages.paginate(TableName=self.deployment.table_name, IndexName="wake").search("Items[]")
        return min((int(item["wake_at"]["N"]) for item in items), default=None)

    def _promise(self, id: str) -> Promise:
        record = self.store.record(id)
        if record is None:
            raise Stuck(f"there is no promise {id}")
        return record.promise()

    def _proceed_to(self, at: int) -> None:
        self.clock.sleep(at - self.clock.now())
        self.pump()
        due = self._next_wake_at()
        if due is not None and due <= self.clock.now() and self.clock.now() - self._swept_at >= SWEEP_INTERVAL:
            self.sweep()

    def _pump_once(self) -> int:
        delivered = 0
        for stream in self._streams:
            delivered += stream.pump()
        waiting, self.cloud.invocations = self.cloud.invocations, []
        for invocation in waiting:
            # An asynchronous invoke is over when it failed: the template allows no retries.
            for _ in range(2 if self.duplicate else 1):
                self._attempt(invocation.function, invocation.event)
        delivered += len(waiting)
        delivered += sum(queue.pump() for queue in self._queues)
        return delivered + self._schedules.pump()

    def _attempt(self, function: str, event: Any) -> None:
        with suppress(Exception, Killed):
            self.invoke(function, event)

    def _deliver(self, function: str, event: Any) -> Any:
        """Invoke for a pump, to which a killed function is one that failed."""
        try:
            if self.duplicate:
                self.invoke(function, event)
            return self.invoke(function, event)
        except Killed as killed:
            raise RuntimeError("the function was killed") from killed


def _natural(id: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in id.split(".")]


@functools.cache
def _load(path: Path, _modified: int, name: str, parameters: tuple[tuple[str, str | int], ...]) -> templates.Template:
    return templates.load(path, stack=templates.Stack(name), parameters=dict(parameters))

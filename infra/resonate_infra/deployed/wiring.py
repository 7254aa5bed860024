"""Wiring of the deployed functions: settings, AWS clients, and the parts that use them.

The functions in `functions/` contain little else. Each part is created once in a process, at its first use. So a cold
start creates only the parts that its event needs.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from resonate_infra.deployed.dispatch import Dispatch
from resonate_infra.effects.settings import Settings
from resonate_infra.effects.sinks import StreamOutlets
from resonate_infra.effects.tick import Sweep, Tick
from resonate_infra.effects.timers import Timers
from resonate_infra.effects.transports import Pusher, Transports
from resonate_store.aws.clients import client_of
from resonate_store.aws.connections import CallLimits
from resonate_store.dynamo.large_values import S3_REQUESTS, Payloads
from resonate_store.dynamo.store import DynamoStore
from resonate_store.machine.effects import Change
from resonate_store.model.addresses import function_of
from resonate_store.model.clock import ambient
from resonate_store.model.records import Record
from resonate_store.parallel import each
from resonate_store.settings import number_of, push_token_of

CLIENT = CallLimits(connect_timeout_s=3, read_timeout_s=10, attempts=3)
"""Limits of AWS clients. A call fails early enough for its function to report the failure."""
BATCH = 10
"""Messages in a batch of the push queue. `template.yaml` has the same value. They are posted at the same time."""


WIDTH = 8
"""How many records of a batch are handled at the same time, unless `RESONATE_REQUESTS` says otherwise."""

T = TypeVar("T")


class Wiring:
    """The store, AWS clients and handlers of a deployed function. Each is created at its first use, once in a process.

    Args:
        observe: receives the name and value of each metric.
        count: receives the metrics of executions that end.
    """

    def __init__(
        self,
        observe: Callable[[str, int], None] = lambda _name, _value: None,
        count: Callable[[dict[str, int]], None] = lambda _counts: None,
    ) -> None:
        self._observe = observe
        self._count = count

    @functools.cached_property
    def settings(self) -> Settings:
        return Settings.of(os.environ)

    @functools.cached_property
    def store(self) -> DynamoStore:
        settings = self.settings
        payloads = Payloads.of(os.environ, settings.table)
        width = number_of(os.environ, "RESONATE_REQUESTS", S3_REQUESTS)
        return DynamoStore(settings.table, clock=ambient(), groups=settings.groups, payloads=payloads, width=width)

    def counts_start_of(self, change: Change) -> bool:
        """Return whether the dispatcher counts the start of an execution. A worker on Lambda counts it otherwise."""
        after = change.after
        target = after.target if isinstance(after, Record) else None
        return self.settings.by_stream or target is None or not self.transports.invokes(target)

    def side_by_side(self, function: Callable[[T], Any], items: Sequence[T]) -> list[Any]:
        """Apply a function to each item of a batch, several at the same time.

        Returns:
            For each item the result, or the error that the function raised.
        """

        def attempted(item: T) -> Any:
            try:
                return function(item)
            except Exception as error:  # One record must not make Lambda deliver all of them again.
                return error

        return each(attempted, items, number_of(os.environ, "RESONATE_REQUESTS", WIDTH))

    @functools.cached_property
    def sqs(self) -> Any:
        return client_of("sqs", CLIENT)

    @functools.cached_property
    def timers(self) -> Timers:
        return Timers(self.sqs, LateClient(lambda: client_of("scheduler", CLIENT)), self.settings, ambient())

    @functools.cached_property
    def transports(self) -> Transports:
        settings = self.settings
        own = (function_of(self._tick_address),)
        return Transports(client_of("lambda", CLIENT), self.sqs, settings.groups, settings.push_queue_url, own)

    @functools.cached_property
    def outlets(self) -> StreamOutlets:
        announces = "everything" if self.settings.by_stream else "rest"
        return StreamOutlets(
            self.store, self.timers, self.transports, self.settings.retention_s, announces, self._count
        )

    @functools.cached_property
    def dispatch(self) -> Dispatch:
        token, public_only = push_token_of(os.environ), not self.settings.push_private
        pusher = Pusher(LateClient(_session), token=token, public_only=public_only, width=BATCH)
        debug = self.store.debug() if self.settings.debug_requests else None
        return Dispatch(self.outlets, pusher, self.transports.enqueue, debug)

    @functools.cached_property
    def tick(self) -> Tick:
        stopped = self.store.debug().paused if self.settings.debug_requests else lambda: False
        return Tick(self.outlets, ambient(), self._observe, self._sweep_elsewhere, stopped=stopped)

    def _sweep_elsewhere(self, sweep: Sweep) -> None:
        self.transports.send(self._tick_address, msgspec.to_builtins(sweep))

    @property
    def _tick_address(self) -> str:
        return f"lambda://{self.settings.tick_arn}"


class LateClient:
    """Client or session of boto3 that is created when an attribute of it is read.

    boto3 takes most of the time of a cold start, and few invocations need it.

    Args:
        create: returns the client.
    """

    def __init__(self, create: Callable[[], Any]) -> None:
        self._create = functools.cache(create)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._create(), name)


def _session() -> Any:
    import boto3

    return boto3.Session()

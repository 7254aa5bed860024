"""Outlets of a write's effects on AWS, for the functions of the deployment.

The dispatcher delivers what other processes have announced, and the sweep what they have lost. What follows from their
own writes they deliver themselves, unless the deployment leaves everything to the stream (`Delivery=stream`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from resonate_store.delivery.sinks import Kind, MessageSink, TimerOutlets, TimerSink, VersionDeleted
from resonate_store.delivery.writer import Announces, Delivery, give_up, halt_pinned
from resonate_store.dynamo.store import DynamoStore
from resonate_store.machine.effects import Change, Prune
from resonate_store.model.records import PromiseView
from resonate_store.model.requests import Request, Response

logger = logging.getLogger("resonate.effects")


class NoTimers:
    """Timer sink that does nothing. The deployment finds what is due by reading its table instead."""

    def reaches(self, at: int | None) -> bool:  # noqa: ARG002
        return True

    def arm(self, kind: Kind, id: str, at: int) -> None:
        pass

    def disarm(self, kind: Kind, id: str) -> None:
        pass

    def recur(self, id: str, cron: str, timezone: str | None) -> None:
        pass

    def cease(self, id: str) -> None:
        pass


class EveryAddress:
    """Base of message sinks that reach every address."""

    def reaches(self, address: str) -> bool:  # noqa: ARG002
        return True

    def notifies(self, address: str) -> bool:  # noqa: ARG002
        return True


class StreamOutlets(TimerOutlets):
    """Surroundings of the effects on AWS.

    Args:
        store: the table.
        timers, transports: carry timers and messages.
        retention_s: how long a settled execution is kept.
        announces: what the writes of this process leave to the dispatcher.
        count: takes the metrics of executions that end.

    Attributes:
        prune_with: deletes the earlier generations of an execution. The dispatcher limits it to small ones.
    """

    def __init__(
        self,
        store: DynamoStore,
        timers: TimerSink,
        transports: MessageSink,
        retention_s: int,
        announces: Announces = "everything",
        count: Callable[[dict[str, int]], None] = lambda _: None,
    ) -> None:
        self.delivery = Delivery(timers, transports, retention_s, announces=announces, count=count)
        self.store = store.delivered_by(self.delivery)
        self.timers = timers
        self.transports = transports
        self.retention_s = retention_s
        self.count = count
        self.prune_with: Callable[[Prune], object] = lambda outdated: self.store.delete_generations(outdated)

    def apply(self, request: Request) -> Response:
        return self.store.apply(request)

    def send(self, address: str, message: dict[str, Any]) -> None:
        if self.transports.leads_home(address):
            give_up(self.apply, message, f"its target {address} is a function of the deployment and not a worker")
            return
        try:
            self.transports.send(address, message)
        except VersionDeleted:
            halt_pinned(self.apply, address, message)

    def notify(self, address: str, promise: PromiseView) -> None:
        self.transports.notify(address, promise, self)

    def retain(self, id: str, created_at: int, settled_at: int) -> None:
        self.store.retain(id, created_at, settled_at, self.retention_s)

    def prune(self, outdated: Prune) -> None:
        self.prune_with(outdated)


class SweepOutlets(StreamOutlets):
    """The same without the stream: the effects of every write are carried out at once."""

    def __init__(
        self,
        store: DynamoStore,
        timers: TimerSink,
        transports: MessageSink,
        retention_s: int,
        count: Callable[[dict[str, int]], None] = lambda _: None,
    ) -> None:
        super().__init__(store, timers, transports, retention_s, "nothing", count)

    def carry_out(self, changes: Iterable[Change]) -> None:
        """Carry out the effects of writes that were made without the stream. Leave those that fail to the sweep."""
        self.delivery.carry_out(changes, self.store)

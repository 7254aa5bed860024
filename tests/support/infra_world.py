"""A table of moto with everything around it but AWS: timers, transports and outlets over stand-ins."""

from __future__ import annotations

import json
from typing import Any

from resonate_infra.deployed.dispatch import Dispatch
from resonate_infra.effects.sinks import StreamOutlets, SweepOutlets
from resonate_infra.effects.tick import Tick
from resonate_infra.effects.timers import Timers
from resonate_infra.effects.transports import Transports
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Record
from resonate_store.model.requests import PromiseCreate, Response, TaskAcquire, TaskSuspend
from resonate_store.model.tags import ORIGIN, TARGET, TIMER
from tests.support.aws_doubles import SETTINGS, Lambda, Scheduler, Sqs
from tests.support.dynamo import Table

HOUR = 3_600_000


class Pushed:
    """Stands for the pusher: notes what it should post."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, dict[str, Any]]] = []

    def push_all(self, pushes: list[tuple[str, dict[str, Any]]]) -> list[bool]:
        self.pushed += pushes
        return [True] * len(pushes)


class InfraWorld:
    """The parts that the dispatch and tick functions are made of, over one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.clock = ManualClock()
        self.sqs, self.scheduler, self.functions, self.pusher = Sqs(), Scheduler(), Lambda(), Pushed()
        self.store = table.store(self.clock)
        timers = Timers(self.sqs, self.scheduler, SETTINGS, self.clock)
        transports = Transports(self.functions, self.sqs, SETTINGS.groups, SETTINGS.push_queue_url, ("tick",))
        self.outlets = StreamOutlets(table.store(self.clock), timers, transports, SETTINGS.retention_s)
        self.sweeping = SweepOutlets(table.store(self.clock), timers, transports, SETTINGS.retention_s)
        self.dispatch = Dispatch(self.outlets, self.pusher, transports.enqueue)  # pyright: ignore[reportArgumentType]
        self.tick = Tick(self.outlets, self.clock)

    def create(
        self, id: str, *, target: str | None = None, timer: bool = False, after: int = HOUR, origin: str | None = None
    ) -> Response:
        tags = ({TARGET: target} if target else {}) | ({TIMER: "true"} if timer else {})
        tags |= {ORIGIN: origin} if origin else {}
        response = self.store.apply(PromiseCreate(id, self.clock.now() + after, tags=tags))
        assert response.ok, response.error
        return response

    def suspended(self, id: str, *awaited: str, target: str = "poll://any@default") -> None:
        """A task that is suspended on these promises, which exist."""
        self.create(id, target=target, after=10 * HOUR)
        assert self.store.apply(TaskAcquire(id, 0, "p", 60_000)).ok
        assert self.store.apply(TaskSuspend(id, 1, awaited)).ok

    def record(self, id: str) -> Record:
        record = self.store.record(id)
        assert record is not None
        return record

    def images(self, id: str) -> dict[str, Any]:
        """The item of a promise, as the stream shows it."""
        return json.loads(json.dumps(self.table.item(id)))

    def markers(self) -> list[str]:
        """The retention markers in the table."""
        return [item["sk"]["S"] for item in self.table.items() if item["sk"]["S"].startswith("expiry#")]

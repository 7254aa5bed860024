"""A remote store over a line that can be disturbed, and the memory behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Value
from resonate_store.model.requests import PromiseCreate, PromiseRecord, Request, Response, TaskCreate
from resonate_store.model.tags import SCOPE, TARGET
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.wire import URL, Line

T0 = ManualClock().now()
LATER = T0 + 3_600_000
TARGETED = {TARGET: "poll://any@default"}


class Client:
    """A remote store, the line, and the memory behind it.

    Args:
        old: whether the server knows only the kinds of the official protocol.
    """

    def __init__(self, *, old: bool = False) -> None:
        self.clock = ManualClock()
        self.memory = MemoryStore(self.clock)
        self.line = Line(self.memory, old=old)
        self.store = HttpStore(URL, clock=self.clock, jitter=lambda: 0.0, post=self.line, timeout=10)

    def apply(self, request: Request) -> Response:
        return self.store.apply(request)

    def hold(self, id: str = "w", pid: str = "p") -> Response:
        return self.apply(TaskCreate(pid, 60_000, PromiseCreate(id, LATER, tags=TARGETED)))

    def count(self, action: Callable[[], Any]) -> int:
        """The round trips that an action takes."""
        before = len(self.line.bodies)
        action()
        return len(self.line.bodies) - before

    def kinds(self) -> list[str]:
        return [msgspec.json.decode(body)["kind"] for body in self.line.bodies]


@pytest.fixture(name="client")
def new_client() -> Client:
    return Client()


def step(id: str, data: str = "out", tags: dict[str, str] | None = None) -> PromiseRecord:
    return PromiseRecord(id, LATER, T0, "resolved", Value(data=data), tags={SCOPE: "local", **(tags or {})})


def envelope(status: int, data: Any) -> Reply:
    head = {"corrId": "0", "status": status, "version": "2026-04-01"}
    return Reply(status, {}, msgspec.json.encode({"kind": "x", "head": head, "data": data}))

"""A store behind a server, without the network: requests and responses travel as the JSON of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from resonate_store.interface import Store
from resonate_store.local.memory import MemoryStore
from resonate_store.machine.effects import Change
from resonate_store.model.clock import Clock, ManualClock
from resonate_store.model.records import Record
from resonate_store.model.requests import PromiseRecord, ProtocolRequest, Request, Response
from resonate_store.protocol.service import Service
from resonate_store.remote.http import Fault, Post, Reply
from resonate_store.remote.store import HttpStore
from tests.support.substrates import World, _Memory

URL = "http://server"


def posted_to(store: Store) -> Post:
    """A server of this store that is always there."""
    service = Service(store)

    def post(body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:  # noqa: ARG001
        status, answer = service.answer(body)
        return Reply(status, {}, answer)

    return post


class Line:
    """What lies between a client and a server, with its faults.

    Attributes:
        faults: what happens to the next tries, the first first: `lost` performs the request and drops the response,
            `refused` reaches nobody, a `Reply` is answered by somebody in between, a callable is called with the body
            and decides by what it returns; None lets it pass. Then everything passes.
        bodies: of every try.
        headers: of every try.
        timeouts: of every try, in seconds.
    """

    def __init__(self, store: Store) -> None:
        self.faults: list[Any] = []
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.timeouts: list[float] = []
        self.post = posted_to(store)

    def __call__(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:
        self.bodies.append(body)
        self.headers.append(headers)
        self.timeouts.append(timeout)
        fault = self.faults.pop(0) if self.faults else None
        if callable(fault):
            fault = fault(body)
        if fault == "refused":
            raise Fault("connection refused", sent=False)
        if isinstance(fault, Reply):
            return fault
        reply = self.post(body, headers, timeout)
        if fault == "lost":
            raise Fault("connection reset by peer", sent=True)
        return reply


class _Behind:
    """The same memory behind a server. Internal requests cannot travel: they are the server's own."""

    def __init__(self, memory: MemoryStore, clock: Clock) -> None:
        self._memory = _Memory(memory, clock)
        self._changes: list[Change] = []
        self._client = HttpStore(URL, clock=clock, post=posted_to(self))
        self.record: Callable[[str], Record | None] = self._memory.record
        self.due = self._memory.due
        self.children = self._memory.children

    def transact(self, request: Request) -> tuple[Response, list[Change]]:
        self._changes = []
        travels = isinstance(request, ProtocolRequest | PromiseRecord)
        response = self._client.apply(request) if travels else self.apply(request)
        return response, self._changes

    def apply(self, request: Request) -> Response:
        response, changes = self._memory.transact(request)
        self._changes += changes
        return response

    def open(self) -> _Behind:
        return self

    def close(self) -> None: ...


def over_the_wire(clock: ManualClock) -> World:
    """An empty store in memory behind a server."""
    memory = MemoryStore(clock)
    return World(lambda reading: _Behind(memory, reading), clock)

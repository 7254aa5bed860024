"""A store behind a server, without the network: requests and responses travel as the JSON of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from resonate_store.interface import Store
from resonate_store.protocol.service import Service
from resonate_store.protocol.wire import KINDS, OWN_KINDS
from resonate_store.remote.http import Fault, Post, Reply

URL = "http://server"


def posted_to(store: Store, *, old: bool = False) -> Post:
    """A server of this store that is always there. An old one knows no kinds but those of the official protocol."""
    service = Service(store)

    def post(body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:  # noqa: ARG001
        if not old:
            status, answer = service.answer(body)
            return Reply(status, {}, answer)
        kind = msgspec.json.decode(body)["kind"]
        if kind in OWN_KINDS:
            body = body.replace(kind.encode(), b"task.unknown")
        status, answer = service.answer(body)
        envelope = msgspec.json.decode(answer)
        del envelope["head"][KINDS]
        return Reply(status, {}, msgspec.json.encode(envelope))

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

    def __init__(self, store: Store, *, old: bool = False) -> None:
        self.faults: list[Any] = []
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.timeouts: list[float] = []
        self.post = posted_to(store, old=old)

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

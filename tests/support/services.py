"""The protocol's server side over each substrate, as scripts and races need it: debug requests included."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from resonate_infra.deployed.debugging import TableDebug
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.debug import EmbeddedDebug, RequestClock
from resonate_store.protocol.service import Service
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from tests.support.dynamo import Table

DEBUG_TIME = "resonate:debug_time"
RETENTION = 86_400
"""Seconds for which settled executions are kept in a table."""


def service_over(make: Callable[[RequestClock], Any], clock: ManualClock | None = None) -> Service:
    """A server that answers debug requests, over the store that `make` makes on a clock."""
    timed = RequestClock(clock or ManualClock())
    store = make(timed)
    return Service(store, debug=EmbeddedDebug(store, timed))


def answers_of_a_client(make: Callable[[RequestClock], Any]) -> Callable[[bytes], tuple[int, bytes]]:
    """Return what answers as a server does, but asks another over the wire, as a client does.

    Debug requests, which no client makes, go to that other one as they are, and the time of every other with it.
    """
    server = service_over(make)
    clock = ManualClock()
    time: dict[str, Any] = {}

    def post(body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:  # noqa: ARG001
        envelope = json.loads(body)
        envelope["head"].update(time)
        status, answer = server.answer(json.dumps(envelope).encode())
        return Reply(status, {}, answer)

    store = HttpStore("http://server", clock=clock, jitter=lambda: 0.0, post=post)
    client = Service(store)

    def answer(body: bytes) -> tuple[int, bytes]:
        try:
            envelope = json.loads(body)
            kind, head = envelope["kind"], envelope["head"]
        except (ValueError, TypeError, KeyError):
            return client.answer(body)
        if not isinstance(kind, str) or not isinstance(head, dict) or kind.startswith("debug."):
            return server.answer(body)
        at = head.pop(DEBUG_TIME, None)
        if at is not None and not isinstance(at, int):
            return server.answer(body)
        time.clear()
        time.update({} if at is None else {DEBUG_TIME: at})
        return client.answer(json.dumps(envelope).encode())

    return answer


@contextmanager
def service_over_a_table(client: Any) -> Generator[Service]:
    """A server over a table of its own, as a deployment is that may be debugged; stopped, for nobody reads a stream."""
    timed = RequestClock(ManualClock())
    table = Table(client, streaming=False)
    debug = TableDebug(table.store(timed, shards=2), timed, RETENTION)
    debug.start()
    yield Service(debug, debug=debug)
    debug.close()
    table.delete()

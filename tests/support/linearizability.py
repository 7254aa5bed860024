"""Whether what concurrent clients saw can have happened one after the other.

A history is linearizable if its operations can be put in an order in which each takes effect at one instant between
its call and its return, and a single-threaded store, asked in that order, gives every one the answer it got. The
search is Wing and Gong's, with Lowe's memory of what has been tried: a set of operations done and the state they led
to need not be looked at twice. The model is `MemoryStore` itself, asked by nobody else, behind the same envelope.

Histories have to be short, a dozen operations or so: each step of the search replays the operations before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from resonate_infra.conformance.runner import START
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.protocol.debug import EmbeddedDebug, RequestClock
from resonate_store.protocol.service import Service
from resonate_store.protocol.wire import VERSION


class Operation(NamedTuple):
    """One request of a client, all of them made at the instant START.

    Attributes:
        called, returned: instants on a clock that all clients share.
        status, answer: what came back; a preload says nothing here, for it is read beside the operation.
    """

    called: int
    returned: int
    kind: str
    data: dict[str, Any]
    status: int
    answer: Any


def envelope(kind: str, data: Any) -> bytes:
    """A request at the instant START."""
    head = {"corrId": "1", "version": VERSION, "resonate:debug_time": START}
    return json.dumps({"kind": kind, "head": head, "data": data}).encode()


def answer_in(body: bytes) -> tuple[int, Any]:
    """Status and data of a response, without its preload, and without the workers that the server counts."""
    response = json.loads(body)
    data = response["data"]
    if isinstance(data, dict):
        data.pop("preload", None)
        (data.get("task") or {}).pop("workers", None)
    return response["head"]["status"], data


class _Model:
    """One state of the sequential store: what a sequence of operations leads to."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        clock = RequestClock(ManualClock(START))
        self._store = MemoryStore(clock)
        self._service = Service(self._store, debug=EmbeddedDebug(self._store, clock))
        for operation in operations:
            self.step(operation)

    def step(self, operation: Operation) -> bool:
        """Carry an operation out, and say whether it is answered as it was."""
        _, body = self._service.answer(envelope(operation.kind, operation.data))
        return answer_in(body) == (operation.status, operation.answer)

    def state(self) -> bytes:
        """Everything that later answers depend on."""
        return msgspec.msgpack.encode([msgspec.structs.replace(record, rev=0) for record in self._store.records()])


def linearization(history: Sequence[Operation]) -> list[Operation] | None:
    """An order in which the operations of a history can have happened, or None if there is none."""
    tried: set[tuple[frozenset[int], bytes]] = set()
    done: list[int] = []

    def search(left: frozenset[int]) -> bool:
        if not left:
            return True
        earliest = min(history[number].returned for number in left)
        for number in sorted(left, key=lambda number: history[number].returned):
            if history[number].called > earliest:
                continue  # something else had returned before this was called
            model = _Model(history[each] for each in done)
            if not model.step(history[number]):
                continue
            rest = left - {number}
            known = (rest, model.state())
            if known in tried:
                continue
            tried.add(known)
            done.append(number)
            if search(rest):
                return True
            done.pop()
        return False

    return [history[number] for number in done] if search(frozenset(range(len(history)))) else None

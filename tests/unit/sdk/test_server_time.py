"""A worker whose clock differs from its server's: deadlines are the server's, lease and pauses the worker's."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import msgspec
import pytest

from resonate import Context, Resonate
from resonate.worker.resources import Resources
from resonate.worker.worker import Worker
from resonate.workflow.registry import Registry
from resonate_store.local.memory import MemoryStore
from resonate_store.model.clock import ManualClock
from resonate_store.model.records import Record, Value
from resonate_store.model.requests import PromiseCreate, PromiseGet
from resonate_store.protocol.service import Service
from resonate_store.protocol.wire import TIME
from resonate_store.remote.http import Reply
from resonate_store.remote.store import HttpStore
from resonate_store.server_clock import ServerClock, deadline_in

T0 = ManualClock().now()


MINUTES = 5 * 60_000


class Distant:
    """A server, and a store over a line to it, each with a clock of its own.

    Args:
        ahead: how far the server's clock is ahead of the worker's (ms).
        has_time: whether responses have the time of the server.
    """

    def __init__(self, ahead: int, *, has_time: bool = True) -> None:
        self.here, self.there = ManualClock(T0), ManualClock(T0 + ahead)
        self.memory = MemoryStore(self.there)
        self.service = Service(self.memory, clock=self.there if has_time else None)
        self.kinds: list[str] = []
        self.store = HttpStore("http://127.0.0.1:9", clock=self.here, post=self.post)

    def post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:  # noqa: ARG002
        self.kinds.append(msgspec.json.decode(body)["kind"])
        status, answer = self.service.answer(body)
        return Reply(status, {}, answer)

    def record(self, id: str) -> Record:
        record = self.memory.record(id)
        assert record is not None
        return record


def nap(ctx: Context) -> Generator[Any, Any, str]:
    yield ctx.sleep(2)
    return "awake"


def napping(distant: Distant) -> Worker:
    """Return a worker for the execution `w`, which is pending."""
    registry = Registry()
    registry.add(nap)
    call = Value(data="eyJmdW5jIjoibmFwIn0=")
    distant.memory.apply(PromiseCreate("w", T0 + 86_400_000, call, {"resonate:target": "poll://any@default"}))
    return Worker(Resources(distant.store, distant.here), registry, {}, "me")


def test_sleep_lasts_as_long_as_asked_on_any_clock(subtests: pytest.Subtests) -> None:
    for ahead in (MINUTES, -MINUTES, 0):
        with subtests.test(ahead=ahead):
            distant = Distant(ahead)
            assert napping(distant).run("w", 0, 60_000).status == "suspended"
            assert distant.record("w.1").timeout_at == distant.there.now() + 2_000


def test_deadline_of_the_invocation_stays_in_the_workers_time() -> None:
    distant = Distant(MINUTES)
    worker = napping(distant)
    worker.resources.worth_suspending_ms = 60_000

    assert worker.run("w", 0, 60_000, T0 + 1_000).status == "released"
    assert distant.here.now() == T0


@pytest.mark.parametrize(("timeout", "kinds"), [(60, ["promise.get", "promise.create"]), (None, ["promise.create"])])
def test_client_reads_the_time_before_a_short_deadline(timeout: float | None, kinds: list[str]) -> None:
    distant = Distant(MINUTES)
    resonate = Resonate(store=distant.store, clock=distant.here)
    resonate = resonate.options(timeout=timeout) if timeout else resonate
    resonate.begin_rpc("w", "nap")
    resonate.stop()

    assert distant.kinds == kinds
    if timeout:
        assert distant.record("w").timeout_at == distant.there.now() + 60_000


def test_server_without_its_time_is_asked_once() -> None:
    distant = Distant(MINUTES, has_time=False)
    deadlines = [deadline_in(1_000, distant.store, distant.here, "w") for _ in range(2)]

    assert deadlines == [T0 + 1_000] * 2
    assert distant.kinds == ["promise.get"]


def test_response_has_the_time_of_the_server() -> None:
    service = Service(MemoryStore(), clock=ManualClock(T0))
    for body in (b"", b"{}", msgspec.json.encode({"kind": "x", "head": {"corrId": "", "version": ""}, "data": {}})):
        assert msgspec.json.decode(service.answer(body)[1])["head"][TIME] == T0


def test_server_clock_changes_only_if_it_must_be_wrong(subtests: pytest.Subtests) -> None:
    cases = [(0, 10, 5, 0), (0, 10, 305, 295), (0, 10, -300, -300), (0, 10, 10, 0), (0, 10, None, 0)]
    for sent, received, theirs, ahead in cases:
        with subtests.test(theirs=theirs):
            clock = ServerClock(ManualClock(T0))
            clock.hear(T0 + sent, T0 + received, None if theirs is None else T0 + theirs)
            assert clock.now() == T0 + ahead


def test_children_are_read_by_the_time_of_the_server() -> None:
    distant = Distant(-MINUTES)
    distant.store.apply(PromiseCreate("w.1", distant.there.now() + 1_000, tags={"resonate:parent": "w"}))

    assert [promise.id for promise in distant.store.children("w")] == ["w.1"]
    assert distant.store.apply(PromiseGet("w.1")).ok

"""Workers that are killed before or after any request, or whose responses are lost: the result stays the same.

Random workflows (`tests.support.programs`) run undisturbed. Then they run once for each request, or for some of many,
with a fault at it: in memory, and with a server behind a line. The lease brings the task back, and every offer arrives
twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings

from resonate.payloads import codec
from resonate_store.model.requests import Request
from resonate_store.remote.http import Fault, Reply
from resonate_store.remote.store import HttpStore
from tests.support.driver import Driver, Killed
from tests.support.hypothesis_settings import examples
from tests.support.program_calls import witness
from tests.support.program_records import contradictions, intervene, miscompensated, plain, unfinished
from tests.support.programs import FUNCTIONS, PROGRAMS, Program
from tests.support.wire import URL, posted_to

MOST = examples(12, in_ci=60)
"""At how many requests of one program a fault happens."""


def positions(many: int) -> range:
    """Return the requests at which faults happen: all of a short program, and evenly some of a long one."""
    step = max(1, -(-many // MOST))
    return range(1 + many % step, many + 1, step)


class Machine(Driver):
    """A driver whose workflow interprets a program, and whose worker is killed at one request.

    Attributes:
        repeated: the ids of steps that ran although their outcome was recorded.
        made: how many requests the worker has made.
    """

    def __init__(self, kill_at: int | None = None, *, after: bool = False) -> None:
        super().__init__()
        witness.forget()
        witness.is_recorded = self._is_recorded
        self.repeated = witness.repeated
        self.made = 0
        self._kill_at = kill_at
        if after:
            self.tap.after = self._count
        else:
            self.tap.answer = self._count
        for function in FUNCTIONS:
            self.register(function)

    def execute(self, program: Program) -> str:
        """Return the outcome of the program; promises are settled from outside when nothing else can happen."""
        self.create("w", {"func": "interpret", "args": [program]})
        while unfinished(self.store.records(), self.clock.now()):
            while self.offers:
                self.offers.insert(1, self.offers[0])
                for _ in range(2):
                    with suppress(Killed):
                        self.invoke()
            found = intervene(self.store, self.store.records())
            if not found and not self.offers and unfinished(self.store.records(), self.clock.now()):
                at = self.store.next_wake_at()
                assert at is not None
                self.clock.advance_to(at)
                self.store.tick()
        self.resources.async_functions.stop()
        assert contradictions(self.store.records()) == {}
        assert miscompensated(self.store.records()) == []
        try:
            return plain(codec.outcome_of(self.promise("w")))
        except Exception as error:
            return plain(repr(error))

    def _is_recorded(self, id: str) -> bool:
        record = self.store.record(id)
        return record is not None and not record.pending

    def _count(self, _: Request | str) -> None:
        self.made += 1
        if self.made == self._kill_at:
            raise Killed


@settings(max_examples=examples(2, in_ci=6), deadline=None)
@given(PROGRAMS)
def test_killed_worker_changes_neither_result_nor_steps(program: Program) -> None:
    undisturbed = Machine()
    expected = undisturbed.execute(program)
    assert undisturbed.repeated == []

    for kill_at in positions(undisturbed.made):
        for after in (False, True):
            machine = Machine(kill_at, after=after)
            outcome = machine.execute(program)
            note(f"killed {'after' if after else 'before'} request {kill_at}: {machine.tap.kinds()[:kill_at]}")
            assert outcome == expected
            assert machine.repeated == []


class RemoteMachine(Machine):
    """A machine whose worker reaches the store over the wire, and has a fault at one round trip.

    Attributes:
        trips: round trips so far.
    """

    def __init__(self, fault: str | None = None, at: int | None = None) -> None:
        super().__init__()
        self.tap.answer = lambda _: None
        self.trips = 0
        self._fault = fault
        self._at = at
        self._server = posted_to(self.store)
        self._begin_process()

    def _begin_process(self) -> None:
        self.tap.store = HttpStore(URL, clock=self.clock, jitter=lambda: 0.0, post=self._post)

    def _post(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:
        self.trips += 1
        fault = self._fault if self.trips == self._at else None
        if fault == "killed before":
            self._begin_process()
            raise Killed
        reply = self._server(body, headers, timeout)
        if fault == "killed after":
            self._begin_process()
            raise Killed
        if fault == "lost":
            raise Fault("connection reset by peer", sent=True)
        return reply


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Do not log every lost response."""
    logger = logging.getLogger("resonate.store")
    logger.disabled = True
    yield
    logger.disabled = False


@settings(max_examples=examples(1, in_ci=3), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PROGRAMS)
def test_fault_of_a_round_trip_changes_neither_result_nor_steps(program: Program) -> None:
    expected: Any = Machine().execute(program)
    undisturbed = RemoteMachine()
    assert undisturbed.execute(program) == expected
    assert undisturbed.repeated == []

    for at in positions(undisturbed.trips):
        for fault in ("killed before", "killed after", "lost"):
            client = RemoteMachine(fault, at)
            outcome = client.execute(program)
            note(f"{fault} at round trip {at}: {client.tap.kinds()}")
            assert outcome == expected
            assert client.repeated == []
            if fault == "lost":
                assert "released" not in [report.status for report in client.reports if report.error], client.reports
